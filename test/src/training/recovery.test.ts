import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { FileError } from '../../../lib/index.js';
import { readTrainingProgress, recoverRun } from '../../../src/training/index.js';
import { compiled, tsgpt, type Outcome } from '../../support/cli.js';

let folder: string;
let whole: string;
let run: string;
const toy =
  '--layers 1 --embed 16 --heads 2 --seq 8 --batch 2 --seed 1 --gen-samples 0 --steps 12 --dropout 0.1 --eval-interval 4 --save-interval 3'.split(
    ' ',
  );
const train = (model: string, ...args: string[]): Promise<Outcome> =>
  tsgpt(['train', '--model', model, ...args]);
const weights = (model: string): Buffer => readFileSync(join(model, 'model.safetensors'));

beforeAll(async () => {
  await compiled();
  folder = mkdtempSync(join(tmpdir(), 'tsgpt-recovery-'));
  writeFileSync(join(folder, 'fox.txt'), 'the quick brown fox jumps over the lazy dog; '.repeat(20));
  whole = join(folder, 'whole');
  expect((await train(whole, '--data', join(folder, 'fox.txt'), ...toy)).code).toBe(0);
}, 180_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  run = join(folder, 'run');
  rmSync(run, { recursive: true, force: true });
  cpSync(whole, run, { recursive: true });
});

/** Changes one bit in the middle of a file. */
function flip(path: string): void {
  const bytes = readFileSync(path);
  bytes[Math.floor(bytes.length / 2)] ^= 1;
  writeFileSync(path, bytes);
}

describe('a damaged save', () => {
  it('has checksums that others can check', () => {
    expect(readdirSync(run)).toEqual(
      expect.arrayContaining(['checkpoint-12', 'checkpoint-9', 'checksums.sha256']),
    );
    const { status, stdout } = spawnSync('sha256sum', ['-c', 'checksums.sha256'], {
      cwd: run,
      encoding: 'utf8',
    });
    if (status === null) return; // no sha256sum here
    expect([status, stdout]).toEqual([0, 'model.safetensors: OK\ntraining_state.safetensors: OK\n']);
    expect(recoverRun(run)).toBeNull();
  });

  const damages: [string, (save: string) => void, RegExp][] = [
    [
      'a bit of the weights',
      (save) => flip(join(save, 'model.safetensors')),
      /model\.safetensors: its checksum differs/,
    ],
    [
      'a bit of the state',
      (save) => flip(join(save, 'training_state.safetensors')),
      /training_state\.safetensors: its checksum differs/,
    ],
    [
      'the end of the state',
      (save) => truncateSync(join(save, 'training_state.safetensors'), 100),
      /checksum differs/,
    ],
    ['the weights', (save) => unlinkSync(join(save, 'model.safetensors')), /model\.safetensors is missing/],
    [
      'the state',
      (save) => unlinkSync(join(save, 'training_state.safetensors')),
      /training_state\.safetensors is missing/,
    ],
    ['the configuration', (save) => truncateSync(join(save, 'config.json'), 10), /config\.json is not JSON/],
    ['the checksums', (save) => flip(join(save, 'checksums.sha256')), /checksums?/],
  ];

  it.each(damages)('gives way to the one before: %s', async (_, damage, message) => {
    damage(run);
    damage(join(run, 'checkpoint-12')); // where the files are the same ones
    const resumed = await train(run, '--resume');
    expect(resumed.code, resumed.stderr).toBe(0);
    const [warning, ...rest] = resumed.stderr.split('\n');
    expect(warning).toMatch(message);
    expect(warning).toMatch(
      /^warning: the newest save in \S+run is damaged \(.+\); going on from the one before, \S+checkpoint-9, at step 9$/,
    );
    expect(rest.join('\n')).toContain(`resuming ${run} at step 9 of 12`);
    expect(weights(run).equals(weights(whole))).toBe(true);
    expect(weights(join(run, 'best')).equals(weights(join(whole, 'best')))).toBe(true);
    expect(recoverRun(run)).toBeNull();
  });

  it('is said to be all there is when no earlier one is whole', async () => {
    for (const save of [run, join(run, 'checkpoint-12'), join(run, 'checkpoint-9')])
      flip(join(save, 'model.safetensors'));
    expect(() => recoverRun(run)).toThrow(FileError);
    const resumed = await train(run, '--resume');
    expect([resumed.code, resumed.stderr.trim()]).toEqual([
      1,
      `tsgpt: ${run}: its save is damaged (model.safetensors: its checksum differs), and no earlier one is there that is whole; start again in another folder`,
    ]);
  });

  it('of an earlier release, without checksums, is opened only', () => {
    unlinkSync(join(run, 'checksums.sha256'));
    expect(recoverRun(run)).toBeNull();
    truncateSync(join(run, 'training_state.safetensors'), 100);
    expect(recoverRun(run)).toMatchObject({ from: join(run, 'checkpoint-12'), step: 12 });
    expect(readTrainingProgress(run).step).toBe(12);
  });
});
