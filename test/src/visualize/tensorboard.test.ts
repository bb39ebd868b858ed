import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import type { MetricsRecord } from '../../../src/training/index.js';
import { TensorBoardWriter } from '../../../src/visualize/index.js';
import { crc32c } from '../../../src/visualize/tensorboard.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-tensorboard-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** TensorBoard's own bytes: test/golden/record-tensorboard.py. */
const golden = JSON.parse(
  readFileSync(new URL('../../golden/tensorboard.json', import.meta.url), 'utf8'),
) as Record<'version' | 'start' | 'step' | 'evaluation' | 'sample', string>;

const step = {
  lr: 1e-3,
  gradNorm: 0.75,
  tokens: 5,
  tokensPerSecond: 12345.5,
  memory: 123456789,
  lossScale: 65536,
};
const records: MetricsRecord[] = [
  { type: 'step', step: 300, loss: 2.5, ...step, time: 1.7e9 },
  { type: 'evaluation', step: 300, loss: 2.25, time: 1.7e9 + 0.25 },
  { type: 'evaluation', step: 300, loss: null, time: 1.7e9 + 0.25 }, // not a number: nothing to write
  { type: 'sample', step: 70000, prompt: 'ROMEO:', text: '\nÜnd <b>\n', time: 1.7e9 + 0.5 },
];

/** A file's records in hexadecimal, cut by their lengths. */
function recordsOf(bytes: Buffer): string[] {
  const found: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 16 + Number(bytes.readBigUInt64LE(at));
    found.push(bytes.toString('hex', at, end));
    at = end;
  }
  return found;
}

/** A record without its first field, the time, and its checksum. */
const timeless = (record: string): string => record.slice(0, 24) + record.slice(24 + 18, -8);

describe('event files', () => {
  it("are TensorBoard's to the byte", () => {
    using writer = new TensorBoardWriter(join(folder, 'run'), 300);
    for (const record of records) writer.add(record);
    const [version, start, ...rest] = recordsOf(readFileSync(writer.path));
    expect(timeless(version)).toBe(timeless(golden.version));
    expect(timeless(start)).toBe(timeless(golden.start));
    expect(rest).toEqual([golden.step, golden.evaluation, golden.sample]);
  });

  it('begin without a restart where the run begins', () => {
    using writer = new TensorBoardWriter(join(folder, 'fresh'));
    expect(recordsOf(readFileSync(writer.path))).toHaveLength(1);
    expect(writer.path).toMatch(/events\.out\.tfevents\.\d{10}\./);
  });

  it('say where they cannot be written', () => {
    expect(() => new TensorBoardWriter(import.meta.filename)).toThrow('is not a folder');
  });
});

describe('crc32c', () => {
  it('gives the checksums of RFC 3720, appendix B.4', () => {
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8ab43);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => 31 - i))).toBe(0x113fdb5c);
  });
});
