/** Training in two processes: the results of one, and what happens when one of them is killed. */

import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';

import { TokenFileWriter } from '../../../src/data/index.js';
import { CharTokenizer, packTokenizer, tokenizerHash } from '../../../src/tokenizers/index.js';
import { readMetrics, readTrainingProgress } from '../../../src/training/index.js';
import { compiled, tsgpt, type Outcome } from '../../support/cli.js';
import { mpirun, mpiTsgpt, processOfRank } from '../../support/mpi.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-mpi-'));
const data = join(folder, 'text.txt');
const sizes = [
  '--layers',
  '1',
  '--heads',
  '2',
  '--embed',
  '16',
  '--seq',
  '16',
  '--batch',
  '4',
  '--seed',
  '7',
];
const flagsOf = (name: string): string[] => [
  'train',
  '--data',
  data,
  '--model',
  join(folder, name),
  ...sizes,
  '--gen-samples',
  '0',
];

beforeAll(async () => {
  await compiled();
  const lines = Array.from(
    { length: 120 },
    (_, i) => `line ${i}: the quick brown fox jumps over the lazy dog\n`,
  );
  writeFileSync(data, lines.join(''));
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

const needsMpi = (context: TestContext): void => {
  if (mpirun === undefined) context.skip("Open MPI's mpirun is not installed");
};
const inOne = (name: string, ...args: string[]): Promise<Outcome> =>
  tsgpt([...flagsOf(name), ...args], { env: { TSGPT_THREADS: '1' } });
const inTwo = (name: string, ...args: string[]): Promise<Outcome> => mpiTsgpt(2, [...flagsOf(name), ...args]);

/** Losses and norms of a run's steps and evaluations. */
const numbersOf = (name: string): number[] =>
  [...readMetrics(join(folder, name))].flatMap((record) =>
    record.type === 'step'
      ? [record.loss!, record.gradNorm!]
      : record.type === 'evaluation'
        ? [record.loss!]
        : [],
  );

describe('two processes', { timeout: 120_000 }, () => {
  it.each([
    ['each one batch a step', ['--steps', '30', '--eval-interval', '10', '--grad-accum-steps', '2']],
    [
      'each two, the last step with fewer',
      ['--epochs', '1.7', '--eval-interval', '5', '--grad-accum-steps', '4'],
    ],
    [
      'another architecture and optimizer',
      [
        '--steps',
        '12',
        '--grad-accum-steps',
        '2',
        '--use-rope',
        '--use-swiglu',
        '--untied',
        '--ema',
        '0.9',
        '--optimizer',
        'muon',
      ],
    ],
  ])('come to the results of one: %s', async (name, args) => {
    if (mpirun === undefined) {
      console.warn("skipped: Open MPI's mpirun is not installed");
      return;
    }
    const [one, two] = [await inOne(`${name} 1`, ...args), await inTwo(`${name} 2`, ...args, '--json')];
    expect(one.code, one.stderr).toBe(0);
    expect(two.code, two.stderr).toBe(0);
    expect(two.stdout.trimEnd().split('\n')).toHaveLength(1); // one process speaks
    const [expected, found] = [numbersOf(`${name} 1`), numbersOf(`${name} 2`)];
    expect(found).toHaveLength(expected.length);
    found.forEach((value, i) => expect(Math.abs(value - expected[i]) / expected[i]).toBeLessThan(1e-5));
    const tokens = [1, 2].map((n) => readTrainingProgress(join(folder, `${name} ${n}`)).tokens);
    expect(tokens[1]).toBe(tokens[0]);
  });

  it('make a batch for each by default, with dropout of their own, and resume with another number', async (context) => {
    needsMpi(context);
    const args = ['--steps', '20', '--eval-interval', '5', '--dropout', '0.1'];
    expect(await inTwo('dropout', ...args)).toMatchObject({ code: 0 });
    expect(readTrainingProgress(join(folder, 'dropout'))).toMatchObject({
      step: 20,
      tokens: 20 * 2 * 4 * 16,
    });
    const { code, stderr } = await tsgpt([
      'train',
      '--model',
      join(folder, 'dropout'),
      '--resume',
      '--steps',
      '24',
      '--gen-samples',
      '0',
    ]);
    expect([code, stderr]).toEqual([0, expect.stringContaining('resuming')]);
    expect(stderr).not.toContain('gradAccumSteps');
  });

  it('end together when one is killed, and go on from the last save with the same numbers', async (context) => {
    needsMpi(context);
    const args = ['--steps', '600', '--eval-interval', '100', '--dropout', '0.1'];
    let killed = false;
    const { code, stderr } = await mpiTsgpt(2, [...flagsOf('killed'), ...args], {
      started: (parent) => {
        const timer = setInterval(() => {
          const state = join(folder, 'killed', 'training_state.safetensors');
          if (!existsSync(state) || readTrainingProgress(join(folder, 'killed')).step < 100) return;
          const pid = processOfRank(parent, 1);
          if (pid === undefined) return;
          clearInterval(timer);
          process.kill(pid, 'SIGKILL');
          killed = true;
        }, 20);
      },
    });
    expect(killed).toBe(true);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(
      /tsgpt: another of the 2 processes has ended or does not answer, so the run ends at step \d+; it is saved at step \d+, continue with: mpirun .* --resume/,
    );
    expect(stderr).toMatch(/mpirun.* noticed that process rank 1 .* exited on signal 9/);
    const { step } = readTrainingProgress(join(folder, 'killed'));
    expect(step).toBeGreaterThanOrEqual(100);
    expect(step).toBeLessThan(600);
    const resumed = await mpiTsgpt(2, [
      'train',
      '--model',
      join(folder, 'killed'),
      '--resume',
      '--gen-samples',
      '0',
    ]);
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(await inTwo('whole', ...args)).toMatchObject({ code: 0 });
    expect(numbersOf('killed')).toEqual(numbersOf('whole'));
  });

  it('learn from token files as one does, and go on from the save before a damaged one with the same numbers', async (context) => {
    needsMpi(context);
    const tokenizer = CharTokenizer.fromText(
      String.fromCharCode(...Array.from({ length: 65 }, (_, i) => 48 + i)),
    );
    const packed = { tokenizerHash: tokenizerHash(tokenizer), tokenizerJson: packTokenizer(tokenizer) };
    const files = [1, 3].map((factor) => join(folder, `tokens-${factor}.bin`));
    for (const [file, path] of files.entries()) {
      using writer = new TokenFileWriter(path, { vocabSize: 65, ...packed });
      for (let document = 0; document < 100; document++) {
        const length = 9 + (document % 20);
        writer.append(Int32Array.from({ length }, (_, i) => ((2 * file + 1) * i + document) % 65));
        writer.endDocument();
      }
      writer.finish();
    }
    const pace = ['--steps', '30', '--eval-interval', '10', '--save-interval', '5'];
    const flags = (name: string): string[] => [
      ...['train', '--data', `${files[0]}:0.7,${files[1]}:0.3`, '--documents', '--model', join(folder, name)],
      ...[...sizes, ...pace, '--grad-accum-steps', '2', '--gen-samples', '0'],
    ];
    const one = await tsgpt(flags('tokens 1'), { env: { TSGPT_THREADS: '1' } });
    const two = await mpiTsgpt(2, flags('tokens 2'));
    expect([one.code, two.code], one.stderr + two.stderr).toEqual([0, 0]);
    const [expected, found] = [numbersOf('tokens 1'), numbersOf('tokens 2')];
    expect(found).toHaveLength(expected.length);
    found.forEach((value, i) => expect(Math.abs(value - expected[i]) / expected[i]).toBeLessThan(1e-5));

    for (const save of ['', 'checkpoint-30']) {
      writeFileSync(join(folder, 'tokens 2', save, 'model.safetensors'), 'not any more');
    }
    const resumed = await mpiTsgpt(2, ['train', '--model', join(folder, 'tokens 2'), '--resume']);
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(resumed.stderr.match(/^warning: .*/gm)).toEqual([
      expect.stringMatching(/ is damaged \(.*\); going on from the one before, .*checkpoint-25, at step 25$/),
    ]);
    expect(readTrainingProgress(join(folder, 'tokens 2')).step).toBe(30);
    expect(numbersOf('tokens 2')).toEqual(found);
  });

  it('refuse what cannot be divided', async (context) => {
    needsMpi(context);
    const odd = await inTwo('odd', '--steps', '4', '--grad-accum-steps', '3');
    expect(odd.stderr).toContain(
      'tsgpt: --grad-accum-steps 3 must be a multiple of 2: the 2 processes divide',
    );
    const input = await mpiTsgpt(2, ['train', '--data', '-', '--model', join(folder, 'input')]);
    expect(input.stderr).toContain('tsgpt: --data - cannot be read by several processes');
    expect(existsSync(join(folder, 'odd', 'config.json'))).toBe(false);
  });
});

describe('without a library', () => {
  it('says what to install', async () => {
    const empty = join(folder, 'libraries');
    mkdirSync(empty);
    for (const name of ['libmpi.so.40', 'libmpi.so']) writeFileSync(join(empty, name), 'this is no library');
    const env = {
      OMPI_COMM_WORLD_SIZE: '2',
      OMPI_COMM_WORLD_RANK: '0',
      OMPI_COMM_WORLD_LOCAL_SIZE: '2',
      LD_LIBRARY_PATH: empty,
    };
    const { code, stderr } = await tsgpt([...flagsOf('none')], { env });
    expect(code).toBe(1);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stderr).toMatch(
      /^tsgpt: MPI: Open MPI's library \(libmpi\.so\.40\) cannot be opened: .*; install Open MPI 4 \(Debian: apt-get install openmpi-bin\)/,
    );
  });

  it("tells another MPI's mpirun", async () => {
    const { code, stderr } = await tsgpt([...flagsOf('none')], { env: { PMI_SIZE: '2', PMI_RANK: '0' } });
    expect(code).toBe(1);
    expect(stderr).toContain("was started by another MPI's mpirun");
  });
});
