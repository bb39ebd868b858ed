import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ArgumentError, FileError, TokenizerError } from '../../../lib/errors.js';
import { AutoTokenizer, CharTokenizer } from '../../../src/tokenizers/index.js';
import { golden, readGolden } from '../../support/golden.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-tokenizer-'))));
afterEach(() => rmSync(folder, { recursive: true }));

describe('CharTokenizer', () => {
  it('numbers the characters of a text by code point', () => {
    const tokenizer = CharTokenizer.fromText('hello\n😀ﬀé');
    expect(tokenizer.alphabet).toEqual(['\n', 'e', 'h', 'l', 'o', 'é', 'ﬀ', '😀']);
    expect(tokenizer.vocabSize).toBe(8);
    expect([...tokenizer.encode('hé😀ﬀ')]).toEqual([2, 5, 7, 6]);
  });

  it('is lossless for its alphabet', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }), (text) => {
        const tokenizer = CharTokenizer.fromText(text);
        const ids = tokenizer.encode(text);
        expect(ids.length).toBe(Array.from(text).length);
        expect(tokenizer.decode(ids)).toBe(text);
      }),
    );
  });

  it('takes unknown characters for errors that say where they are', () => {
    const tokenizer = CharTokenizer.fromText('abc');
    expect(() => tokenizer.encode('ab😀')).toThrow(TokenizerError);
    expect(() => tokenizer.encode('abcX')).toThrow(
      "encode: 'X' (U+0058) at position 3: it is not in the tokenizer's",
    );
    expect(() => tokenizer.encode('a\tb')).toThrow('character U+0009 at position 1');
    expect(() => tokenizer.encode('ab\ud800')).toThrow('half a surrogate pair (U+D800) at position 2');
    expect(() => tokenizer.encode('\udc00')).toThrow('half a surrogate pair (U+DC00) at position 0');
  });

  it('takes an unknown token where one was asked for', () => {
    const tokenizer = CharTokenizer.fromText('abc', { unknown: '<unk>' });
    expect(tokenizer.vocabSize).toBe(4);
    expect([...tokenizer.encode('a😀c\ud800')]).toEqual([0, 3, 2, 3]);
    expect(tokenizer.decode([0, 3, 2])).toBe('a<unk>c');
  });

  it('refuses ids outside the vocabulary', () => {
    const tokenizer = CharTokenizer.fromText('abc');
    for (const id of [3, -1, 0.5, NaN]) {
      expect(() => tokenizer.decode([0, id])).toThrow(
        `decode: id ${id} at position 1 is outside the vocabulary of 3`,
      );
    }
  });

  it('refuses alphabets that are none', () => {
    expect(() => CharTokenizer.fromText('')).toThrow(TokenizerError);
    expect(() => CharTokenizer.fromText('a\ud83d')).toThrow(
      'half a surrogate pair (U+D83D) at position 1 of the text',
    );
    expect(() => new CharTokenizer(['a', 'bc'])).toThrow(ArgumentError);
    expect(() => new CharTokenizer(['a', '\ud800'])).toThrow('entry 1 of the alphabet must be one character');
    expect(() => new CharTokenizer(['a', 'b', 'a'])).toThrow("'a' (U+0061) is twice in the alphabet");
    expect(() => new CharTokenizer(['a'], { unknown: 'a' })).toThrow('the unknown token must differ');
    expect(() => new CharTokenizer(['a'], { unkown: 'x' } as never)).toThrow("did you mean 'unknown'?");
  });

  it('takes time in proportion to the text', () => {
    const tokenizer = CharTokenizer.fromText('ab😀');
    const text = 'ab😀'.repeat(1_000_000);
    const start = performance.now();
    expect(tokenizer.decode(tokenizer.encode(text)).length).toBe(text.length);
    expect(performance.now() - start).toBeLessThan(5000);
  });
});

describe('saving and loading', () => {
  it.each([undefined, '<unk>', 'unknown'])('gives the same tokenizer back (unknown %s)', (unknown) => {
    const tokenizer = CharTokenizer.fromText('0123 "\\\n\u2028😀', unknown === undefined ? {} : { unknown });
    tokenizer.save(folder);
    tokenizer.save(join(folder, 'again.json'));
    const file = join(folder, 'tokenizer.json');
    expect(readFileSync(join(folder, 'again.json'))).toEqual(readFileSync(file));
    for (const path of [folder, file]) {
      const loaded = AutoTokenizer.fromPretrained(path) as CharTokenizer;
      expect(loaded).toBeInstanceOf(CharTokenizer);
      expect(loaded.alphabet).toEqual(tokenizer.alphabet);
      expect(loaded.unknown).toBe(unknown);
    }
  });

  it("gives what Hugging Face's tokenizers library gives for the same file", () => {
    for (const name of ['plain', 'unknown']) {
      const tokenizer = AutoTokenizer.fromPretrained(golden('char-tokenizer', `${name}.json`));
      const cases = readGolden<{ text: string; ids: number[]; decoded: string }[]>(
        'char-tokenizer',
        `${name}-ids.json`,
      );
      expect(cases.length).toBeGreaterThan(3);
      for (const { text, ids, decoded } of cases) {
        expect([...tokenizer.encode(text)]).toEqual(ids);
        expect(tokenizer.decode(ids)).toBe(decoded);
      }
    }
  });

  it.each([
    ['no JSON', '{\n  "model": word\n}', 'is not valid JSON'],
    ['no tokenizer', '[]', 'is no tokenizer.json'],
    ['null', 'null', 'is no tokenizer.json'],
    [
      'another kind',
      '{"model":{"type":"Other","vocab":{}}}',
      'is damaged: model: a model of type "Other" is not known',
    ],
  ])('refuses a file with %s', (_, content, reason) => {
    const file = join(folder, 'tokenizer.json');
    writeFileSync(file, content);
    expect(() => AutoTokenizer.fromPretrained(folder)).toThrow(FileError);
    expect(() => AutoTokenizer.fromPretrained(folder)).toThrow(`${file}: ${reason}`);
    expect(() => AutoTokenizer.fromPretrained(folder)).toThrow(/^.*$/); // one line
  });

  it('refuses a folder without a tokenizer', () => {
    expect(() => AutoTokenizer.fromPretrained(folder)).toThrow(FileError);
    expect(() => AutoTokenizer.fromPretrained(folder)).toThrow(`${folder}: holds no tokenizer: none of`);
    const absent = join(folder, 'absent.json');
    expect(() => AutoTokenizer.fromPretrained(absent)).toThrow(
      `${absent}: cannot be read: there is no such file`,
    );
  });

  it.each([
    ['an id twice', { a: 0, b: 0 }],
    ['a gap', { a: 0, b: 2 }],
    ['a huge id', { a: 1e9 }],
    ['an id that is none', { a: 'x' }],
    ['a word', { ab: 0 }],
  ])('refuses a vocabulary with %s', (_, vocab) => {
    const json = CharTokenizer.fromText('ab').toJSON() as any;
    writeFileSync(
      join(folder, 'tokenizer.json'),
      JSON.stringify({ ...json, model: { ...json.model, vocab } }),
    );
    expect(() => AutoTokenizer.fromPretrained(folder)).toThrow('is damaged: ');
  });
});
