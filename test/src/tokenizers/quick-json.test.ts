import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { VocabularyMembers } from '../../../src/tokenizers/models/model.js';
import { parseTokenizerJson } from '../../../src/tokenizers/sources/quick-json.js';

/** What was parsed, with an object for the vocabulary's members. */
function parsed(text: string): unknown {
  const json = parseTokenizerJson(text) as { model?: { vocab?: unknown } };
  const vocab = json.model?.vocab;
  if (!(vocab instanceof VocabularyMembers)) return json;
  const members = Object.fromEntries(vocab.tokens.map((token, at) => [token, vocab.ids[at]]));
  return { ...json, model: { ...json.model, vocab: members } };
}

const isQuick = (text: string): boolean =>
  (parseTokenizerJson(text) as { model: { vocab: unknown } }).model.vocab instanceof VocabularyMembers;

const bpe = (vocab: string, rest = ''): string =>
  `{"added_tokens":[],"model":{"type":"BPE","vocab":${vocab},"merges":["a b"]}${rest}}`;

describe('parseTokenizerJson', () => {
  test('gives what JSON.parse gives, for tokens of all characters', () => {
    const ids = fc.integer({ min: 0, max: 999_999_999 });
    const vocab = fc.dictionary(fc.string({ unit: 'binary' }), ids, { minKeys: 1 });
    fc.assert(
      fc.property(vocab, fc.constantFrom(undefined, 1, '\t'), (members, indent) => {
        const text = JSON.stringify({ model: { type: 'BPE', vocab: members, merges: [] } }, null, indent);
        expect(parsed(text)).toEqual(JSON.parse(text));
        expect(isQuick(text)).toBe(true);
      }),
    );
  });

  test.each(['{}', '{"a":-1}', '{"a":1.5}', '{"a":1e3}', '{"a":"1"}', '{"a":null}', '{"a":1234567890123}'])(
    'leaves a vocabulary of other things to JSON.parse: %s',
    (vocab) => {
      expect(isQuick(bpe(vocab))).toBe(false);
      expect(parsed(bpe(vocab))).toEqual(JSON.parse(bpe(vocab)));
    },
  );

  test('leaves other models, and a second vocabulary, to JSON.parse', () => {
    const wordPiece = bpe('{"a":0}').replace('BPE', 'WordPiece');
    const twice = bpe('{"a":0}', ',"other":{"vocab":{"b":1}}');
    const elsewhere = '{"other":{"vocab":{"b":1}},"model":{"type":"BPE","vocab":[]}}';
    for (const text of [wordPiece, twice, elsewhere])
      expect(parseTokenizerJson(text)).toEqual(JSON.parse(text));
  });

  test('is not misled by a token that spells the name', () => {
    const text = bpe(JSON.stringify({ '"vocab": {': 0, '\\"vocab":{"x":1}': 1 }));
    expect(parsed(text)).toEqual(JSON.parse(text));
  });

  test('reads tokens with escapes of any length', () => {
    for (const token of ['\\'.repeat(1e6), '\\"'.repeat(1e6), `\n${'a'.repeat(2e7)}`, '"', '\\']) {
      const text = bpe(JSON.stringify({ [token]: 7, after: 8 }));
      const { vocab } = (parseTokenizerJson(text) as { model: { vocab: VocabularyMembers } }).model;
      expect(vocab.tokens[0] === token && vocab.tokens[1] === 'after').toBe(true);
      expect(vocab.ids).toEqual([7, 8]);
    }
  });

  test.each([
    '{"a":1',
    '{"a":1,}',
    '{"a" 1}',
    '{"a":01}',
    '{"a\nb":1}',
    '{"\\x":1}',
    '{"a":1 "b":2}',
    '{"a',
    '{,}',
  ])('throws the error of JSON.parse for %j', (vocab) => {
    const text = bpe(vocab);
    const message = (parse: (text: string) => unknown): string => {
      try {
        parse(text);
      } catch (error) {
        return String(error);
      }
      return 'no error';
    };
    expect(message(JSON.parse)).toContain('SyntaxError');
    expect(message(parseTokenizerJson)).toBe(message(JSON.parse));
  });
});
