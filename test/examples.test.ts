/** The examples of encoders run from a clone, at toy size, and say what they measure. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { compiled, root, runNode } from './support/cli.js';
import { sanitized } from './support/sanitized.js';

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tsgpt-examples-'));
  await compiled();
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function run(name: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runNode([join(root, 'dist', 'examples', `${name}.js`), ...args]);
  expect(code, stderr).toBe(0);
  return stdout;
}

// Sanitizers would see the kernels of other tests again, in half an hour.
describe.skipIf(sanitized)('examples', { timeout: 300_000 }, () => {
  it('pre-train BERT, and fine-tune it beside a bag of words', async () => {
    const bert = join(folder, 'bert');
    const learned = await run('08-pretrain-bert', '2', 'examples/data/tinyshakespeare.txt', bert);
    expect(learned).toMatch(/hidden tokens BERT finds \d+\.\d %\nthe most frequent token is \d+\.\d %/);
    const tuned = await run(
      '09-classify-reviews',
      '0.05',
      bert,
      'examples/data/sentiment.tsv',
      join(folder, 'reviews'),
    );
    expect(tuned).toMatch(/BERT: accuracy \d+\.\d %/);
    const [, bag] = /bag of words: accuracy (\d+\.\d) %/.exec(tuned)!;
    expect(Number(bag)).toBeGreaterThan(78);
  });

  it('copy and reverse, and translate, with T5', async () => {
    expect(await run('10-copy-and-reverse', '3', join(folder, 'reverse'))).toMatch(
      /\d+ of 200 new rows are right/,
    );
    const translated = await run('11-translate', '0.2', 'examples/data/eng-fra.tsv', join(folder, 'french'));
    expect(translated).toMatch(/BLEU \d+\.\d\nBLEU of the English as it is: \d+\.\d/);
  });
});
