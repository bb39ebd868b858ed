/** `tsgpt eval` as users run it, against the library's perplexity. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { CharTokenizer, Generator, GPT, perplexity } from '../../../src/index.js';
import { compiled, tsgpt } from '../../support/cli.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-eval-'));
const path = join(folder, 'model');
const data = join(folder, 'text.txt');
const text = 'wörds, words and more words\n'.repeat(12);
const tokenizer = CharTokenizer.fromText(text);
const model = new GPT(
  {
    vocab_size: tokenizer.vocabSize,
    n_positions: 32,
    n_embd: 16,
    n_layer: 1,
    n_head: 2,
    initializer_range: 0.3,
  },
  { generator: new Generator(1) },
).eval();

beforeAll(async () => {
  await compiled();
  model.savePretrained(path);
  tokenizer.save(path);
  writeFileSync(data, text);
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

const evaluate = (...args: string[]) => tsgpt(['eval', '--model', path, '--data', data, ...args]);

interface Report {
  perplexity: number;
  loss: number;
  bits_per_byte: number;
  tokens: number;
  bytes: number;
  window: number;
  stride: number;
  tokens_per_second: number;
}

describe('tsgpt eval', () => {
  it('gives the perplexity of a text, and bits per byte', async () => {
    const [json, plain, piped] = await Promise.all([
      evaluate('--json', '--window', '20', '--stride', '7'),
      evaluate(),
      tsgpt(['eval', '--model', path, '--json'], { input: text }),
    ]);
    expect([json.code, json.stderr]).toEqual([0, '']);
    const found = JSON.parse(json.stdout) as Report;
    const ids = tokenizer.encode(text);
    const expected = await perplexity(model, ids, { window: 20, stride: 7 });
    expect(found.loss).toBeCloseTo(expected.loss, 6);
    expect(found.perplexity).toBeCloseTo(expected.perplexity, 4);
    expect(found).toMatchObject({
      tokens: ids.length - 1,
      bytes: Buffer.byteLength(text) - 1,
      window: 20,
      stride: 7,
    });
    expect(found.bits_per_byte).toBeCloseTo((found.loss * found.tokens) / Math.LN2 / found.bytes, 6);
    const whole = await perplexity(model, ids);
    const bits = (whole.loss * whole.tokens) / Math.LN2 / found.bytes;
    expect(plain.stdout).toBe(
      `perplexity ${whole.perplexity.toFixed(4)}  loss ${whole.loss.toFixed(4)}  bits per byte ${bits.toFixed(4)}\n`,
    );
    expect(plain.stderr).toMatch(/^\d+ tokens, window 32, stride 16, \S+ tok\/s\n$/);
    expect((JSON.parse(piped.stdout) as Report).loss).toBeCloseTo(whole.loss, 6);
  });

  it('stops at Ctrl-C', async () => {
    const long = join(folder, 'long.txt');
    writeFileSync(long, text.repeat(3000));
    const { code, stdout, stderr } = await tsgpt(['eval', '--model', path, '--data', long, '--stride', '1'], {
      started: (child) => setTimeout(() => child.kill('SIGINT'), 1500),
    });
    expect([code, stdout]).toEqual([130, '']);
    expect(stderr).toContain('stopped');
  });

  it.each([
    [['--window', '33'], 2, "--window 33 is more than the model's context of 32"],
    [['--stride', '32'], 2, '--stride 32 must be below the window of 32'],
    [['--window', '1'], 2, '--window must be a whole number of at least 2, got "1"'],
    [['--data', join(folder, 'none')], 1, 'none'],
    [['--model', join(folder, 'none')], 1, 'none'],
  ])('%j: exit code %i', async (args, expected, part) => {
    const { code, stdout, stderr } = await evaluate(...args);
    expect([code, stdout]).toEqual([expected, '']);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stderr).toContain(part);
    expect(stderr).not.toContain('internal error');
  });
});
