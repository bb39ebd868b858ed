import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { beforeAll, describe, expect, it } from 'vitest';

import {
  AutoTokenizer,
  CharTokenizer,
  encodeText,
  PretrainedTokenizer,
  type Tokenizer,
} from '../../../src/tokenizers/index.js';
import { PieceEncoder } from '../../../src/tokenizers/pieces.js';
import { root } from '../../support/cli.js';
import { isMissing, shared } from '../../support/shared.js';
import { trainedKinds, trainTokenizers } from '../../support/trained-tokenizers.js';

const corpus = readFileSync(join(root, 'examples/data/tinyshakespeare.txt'), 'utf8').slice(0, 700_000);
// What the trained tokenizers must not be irritated by: special tokens, several spaces, other scripts, no space for long.
const hard = `${corpus} <|endoftext|>  two  spaces\u00a0and ﬁ ½ 你好 😀é e\u0301 ${'x-'.repeat(90_000)}\n\n \t${corpus}`;

let tokenizers: Map<string, Tokenizer>;
beforeAll(async () => {
  tokenizers = await trainTokenizers(corpus.slice(0, 200_000), hard);
});

const whole = (tokenizer: Tokenizer, text: string): Int32Array =>
  tokenizer instanceof PretrainedTokenizer
    ? tokenizer.encode(text, { addSpecialTokens: false })
    : tokenizer.encode(text);
const isEqual = (a: Int32Array, b: Int32Array): boolean =>
  a.length === b.length && a.every((id, i) => id === b[i]);

describe('encodeText', () => {
  it.each(trainedKinds)('gives the tokens of the whole text: %s', async (name) => {
    const tokenizer = tokenizers.get(name)!;
    expect(new PieceEncoder(tokenizer).cuts).toBe(true);
    for (const text of [hard, corpus, 'a', '']) {
      expect(isEqual(await encodeText(tokenizer, text), whole(tokenizer, text)), text.slice(0, 9)).toBe(true);
    }
  });

  it.skipIf(isMissing('tokenizers')).each([
    ['gpt2', true],
    ['bert-base-uncased', true],
    ['t5', true],
    ['qwen2', true],
    ['phi-3', false],
  ])('gives the tokens of a published tokenizer: %s (cut: %s)', async (name, cuts) => {
    const tokenizer = AutoTokenizer.fromPretrained(shared('tokenizers', name));
    expect(new PieceEncoder(tokenizer).cuts).toBe(cuts);
    const text = hard.slice(500_000, 1_000_000);
    expect(isEqual(await encodeText(tokenizer, text), whole(tokenizer, text))).toBe(true);
  });

  it('tells how far it is, lets others have their turn, and ends when it is told', async () => {
    const tokenizer = tokenizers.get('wordpiece')!;
    const text = corpus.repeat(4);
    const seen: number[] = [];
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const ids = await encodeText(tokenizer, text, {
      onProgress: ({ characters, totalCharacters, tokens }) => {
        expect(totalCharacters).toBe(text.length);
        expect(tokens > 0 || characters === 0).toBe(true);
        seen.push(characters);
      },
    });
    clearInterval(timer);
    expect(ids.length).toBeGreaterThan(200_000);
    expect(seen.length).toBeGreaterThan(4);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(text.length);
    expect(turns).toBeGreaterThan(2);
    const controller = new AbortController();
    const options = { signal: controller.signal, onProgress: () => controller.abort(new Error('enough')) };
    await expect(encodeText(tokenizer, corpus, options)).rejects.toThrow('enough');
  });

  it('says where in all of the text something is wrong, and what options there are', async () => {
    const tokenizer = CharTokenizer.fromText('abc');
    await expect(encodeText(tokenizer, `${'abc'.repeat(100_000)}X`)).rejects.toThrow(
      "'X' (U+0058) at position 300000",
    );
    await expect(encodeText(tokenizer, 'abc', { other: 1 } as object)).rejects.toThrow(/other/);
  });
});
