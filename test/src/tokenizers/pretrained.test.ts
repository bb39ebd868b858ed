/** The parts of a tokenizer.json, offsets, truncation, padding, saving and streaming, on small tokenizers made here. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ArgumentError, TokenizerError } from '../../../lib/errors.js';
import { readTokenizerConfig } from '../../../src/tokenizers/config.js';
import {
  AutoTokenizer,
  PretrainedTokenizer,
  StreamingDecoder,
  trainBpe,
} from '../../../src/tokenizers/index.js';
import { partsFromJson } from '../../../src/tokenizers/sources/tokenizer-json.js';
import { writeGguf } from '../../support/gguf.js';
import { isMissing, shared } from '../../support/shared.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-tokenizer-'))));
afterEach(() => rmSync(folder, { recursive: true }));

const make = (json: object, config: object = {}): PretrainedTokenizer =>
  new PretrainedTokenizer(partsFromJson(json), readTokenizerConfig(config));

/** Words of one letter or more, with BERT's special tokens. */
const words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'a', 'b', 'c', 'd', 'e', '##b', 'ab', ',', "'"];
const bert = (config: object = {}): PretrainedTokenizer =>
  make(
    {
      added_tokens: words.slice(0, 4).map((content, id) => ({ id, content, special: true })),
      normalizer: { type: 'BertNormalizer', lowercase: true },
      pre_tokenizer: { type: 'BertPreTokenizer' },
      post_processor: { type: 'BertProcessing', cls: ['[CLS]', 2], sep: ['[SEP]', 3] },
      decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
      model: { type: 'WordPiece', vocab: Object.fromEntries(words.map((word, id) => [word, id])) },
    },
    { pad_token: '[PAD]', ...config },
  );

/** Single bytes, all 256. */
const bytes = (): PretrainedTokenizer => {
  const letters = Array.from({ length: 256 }, (_, byte) => {
    if ((byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174)
      return String.fromCharCode(byte);
    return String.fromCharCode(256 + (byte <= 32 ? byte : byte <= 160 ? byte - 94 : 67));
  });
  return make({
    added_tokens: [{ id: 256, content: '<|end|>', special: true }],
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false },
    decoder: { type: 'ByteLevel' },
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(letters.map((letter, byte) => [letter, byte])),
      merges: [],
    },
  });
};

describe('encodePlus', () => {
  it('tells everything about the tokens', () => {
    const encoding = bert().encodePlus('É  ab,x', { textPair: 'b' });
    expect(encoding.tokens).toEqual(['[CLS]', 'e', 'ab', ',', '[UNK]', '[SEP]', 'b', '[SEP]']);
    expect([...encoding.ids]).toEqual([2, 8, 10, 11, 1, 3, 5, 3]);
    expect(encoding.offsets).toEqual([
      [0, 0],
      [0, 1],
      [3, 5],
      [5, 6],
      [6, 7],
      [0, 0],
      [0, 1],
      [0, 0],
    ]);
    expect([...encoding.typeIds]).toEqual([0, 0, 0, 0, 0, 0, 1, 1]);
    expect([...encoding.specialTokensMask]).toEqual([1, 0, 0, 0, 0, 1, 0, 1]);
    expect([...encoding.attentionMask]).toEqual(new Array(8).fill(1));
  });

  it('gives offsets that cut whole characters out of the text', () => {
    const tokenizer = bytes();
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const { offsets, ids } = tokenizer.encodePlus(text);
        let bytesSeen = 0;
        offsets.forEach(([from, to], at) => {
          expect(Array.from(text.slice(from, to)).length).toBe(1);
          expect(Buffer.from(text.slice(from, to)).includes(ids[at])).toBe(true);
          bytesSeen++;
        });
        expect(bytesSeen).toBe(Buffer.byteLength(text));
      }),
    );
  });

  it('finds added tokens: longest at the leftmost place, alone, with the white space about them', () => {
    const token = (content: string, id: number, flags: object = {}): object => ({ id, content, ...flags });
    const tokenizer = make({
      added_tokens: [
        token('<a>', 10),
        token('<a><b>', 11),
        token('cat', 12, { single_word: true }),
        token('<l>', 13, { lstrip: true }),
        token('<r>', 14, { rstrip: true, special: true }),
      ],
      model: { type: 'WordLevel', vocab: { '[UNK]': 0 }, unk_token: '[UNK]' },
    });
    const find = (text: string): (string | number)[] => {
      const { ids, offsets } = tokenizer.encodePlus(text);
      return Array.from(ids, (id, at) => (id === 0 ? text.slice(...offsets[at]) : id));
    };
    expect(find('x<a><b><a>y')).toEqual(['x', 11, 10, 'y']);
    expect(find('cats cat,cat')).toEqual(['cats ', 12, ',', 12]);
    expect(find('x  <l>  y  <r>  z')).toEqual(['x', 13, '  y  ', 14, 'z']);
    expect([...tokenizer.encode('<r>', { parseSpecialTokens: false })]).toEqual([0]);
  });

  it('reads half a surrogate pair as U+FFFD', () => {
    const tokenizer = bytes();
    expect(tokenizer.decode(tokenizer.encode('a\ud800b\udc00'))).toBe('a\ufffdb\ufffd');
    expect(tokenizer.encodePlus('\ud800').offsets).toEqual([
      [0, 1],
      [0, 1],
      [0, 1],
    ]);
  });

  it('checks its arguments', () => {
    expect(() => bert().encode('a', { addSpecialToken: true } as never)).toThrow(
      "did you mean 'addSpecialTokens'?",
    );
    expect(() => bert().encode(5 as never)).toThrow('the text must be a string, got 5');
    expect(() => bert().decode([1], { skip: true } as never)).toThrow(ArgumentError);
  });
});

describe('truncation', () => {
  const ids = (options: object): number[] => [...bert().encode('a b c d e', options)];

  it('cuts to maxLength with the special tokens', () => {
    expect(ids({ truncation: true, maxLength: 4 })).toEqual([2, 4, 5, 3]);
    expect(ids({ truncation: true, maxLength: 4, truncationSide: 'left' })).toEqual([2, 7, 8, 3]);
    expect(ids({ truncation: true })).toEqual([2, 4, 5, 6, 7, 8, 3]);
    expect([...bert({ model_max_length: 3 }).encode('a b c', { truncation: true })]).toEqual([2, 4, 3]);
  });

  it.each([
    ['longest_first', 8, [3, 2]],
    ['longest_first', 7, [2, 2]],
    ['longest_first', 6, [2, 1]],
    ['only_first', 7, [2, 2]],
    ['only_second', 9, [5, 1]],
  ] as const)('of a pair: %s to %i', (truncation, maxLength, [first, second]) => {
    const { typeIds } = bert().encodePlus('a b c d e', { textPair: 'a b', truncation, maxLength });
    expect(typeIds.filter((type) => type === 0).length - 2).toBe(first);
    expect(typeIds.filter((type) => type === 1).length - 1).toBe(second);
  });

  it('refuses what leaves nothing', () => {
    expect(() => ids({ truncation: true, maxLength: 1 })).toThrow('has no room for the 2 special tokens');
    expect(() => ids({ truncation: true, maxLength: -1 })).toThrow('maxLength must be a whole number');
    expect(() => ids({ truncation: 'longest', maxLength: 3 })).toThrow('truncation must be true, false');
    expect(() => ids({ truncation: 'only_second', maxLength: 3 })).toThrow('needs a second text');
    expect(() => ids({ textPair: 'a', truncation: 'only_second', maxLength: 4 })).toThrow(
      'too few tokens to cut',
    );
  });
});

describe('encodeBatch', () => {
  it('fills short rows up', () => {
    const [long, short] = bert().encodeBatch(['a b c', 'a'], { padding: true, padToMultipleOf: 4 });
    expect([...long.ids]).toEqual([2, 4, 5, 6, 3, 0, 0, 0]);
    expect([...short.ids]).toEqual([2, 4, 3, 0, 0, 0, 0, 0]);
    expect([...short.attentionMask]).toEqual([1, 1, 1, 0, 0, 0, 0, 0]);
    expect(short.tokens.slice(3, 5)).toEqual(['[PAD]', '[PAD]']);
    const [left] = bert().encodeBatch(['a'], { padding: 'max_length', maxLength: 5, paddingSide: 'left' });
    expect([...left.ids]).toEqual([0, 0, 2, 4, 3]);
    expect([...left.attentionMask]).toEqual([0, 0, 1, 1, 1]);
    expect(left.offsets[3]).toEqual([0, 1]);
    expect(bert({ padding_side: 'left' }).encodeBatch(['a', ''], { padding: true })[1].ids[0]).toBe(0);
  });

  it('takes pairs', () => {
    const [pair] = bert().encodeBatch(['a'], { textPairs: ['b'] });
    expect([...pair.ids]).toEqual([2, 4, 3, 5, 3]);
    expect(() => bert().encodeBatch(['a'], { textPairs: [] })).toThrow(
      'must have a text for each of the 1, got 0',
    );
  });

  it('refuses padding without a pad token, a length or a known kind', () => {
    expect(() => bytes().encodeBatch(['a', 'ab'], { padding: true })).toThrow('padding needs a pad token');
    expect(() => bert().encodeBatch(['a'], { padding: 'max_length' })).toThrow(
      "padding 'max_length' needs maxLength",
    );
    expect(() => bert().encodeBatch(['a'], { padding: 'all' as never })).toThrow("'longest' or 'max_length'");
    expect(() => bert().encodeBatch(['a'], { padding: true, padToMultipleOf: 0 })).toThrow(
      'padToMultipleOf must be',
    );
  });
});

describe('decode', () => {
  it('leaves special tokens out and spaces away where asked', () => {
    const tokenizer = bert();
    expect(tokenizer.decode([2, 4, 9, 11, 5, 3])).toBe('[CLS] ab, b [SEP]');
    expect(tokenizer.decode([2, 4, 9, 11, 5, 3], { skipSpecialTokens: true })).toBe('ab, b');
  });

  it.each([-1, 2 ** 31, NaN, 1.5, Infinity, 13])('refuses the id %s', (id) => {
    expect(() => bert().decode([4, id])).toThrow(TokenizerError);
    expect(() => bert().decode([4, id])).toThrow(
      `decode: id ${id} at position 1 is outside the vocabulary of 13`,
    );
  });

  it('takes a gap of the vocabulary for nothing', () => {
    const tokenizer = make({
      decoder: { type: 'Fuse' },
      model: { type: 'WordLevel', vocab: { a: 0, b: 5 } },
    });
    expect(tokenizer.vocabSize).toBe(6);
    expect(tokenizer.decode([0, 3, 5])).toBe('ab');
  });
});

describe('StreamingDecoder', () => {
  const stream = (tokenizer: PretrainedTokenizer, ids: Iterable<number>, options = {}): string[] => {
    const decoder = new StreamingDecoder(tokenizer, options);
    return [...Array.from(ids, (id) => decoder.push(id)), decoder.end()];
  };

  it('never hands out half a character', () => {
    const tokenizer = bytes();
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const pieces = stream(tokenizer, tokenizer.encode(text));
        expect(pieces.join('')).toBe(text);
        for (const piece of pieces) expect(piece).not.toMatch(/\p{Surrogate}/u);
      }),
    );
    expect(stream(tokenizer, tokenizer.encode('é'))).toEqual(['', 'é', '']);
  });

  it('gives bytes that are no text up after a character', () => {
    const pieces = stream(bytes(), new Array<number>(10).fill(0xff));
    expect(pieces.join('')).toBe('\ufffd'.repeat(10));
    expect(pieces.slice(0, -1).join('').length).toBeGreaterThanOrEqual(7);
  });

  it('leaves special tokens out', () => {
    expect(stream(bytes(), [65, 256, 66], { skipSpecialTokens: true }).join('')).toBe('AB');
  });

  it.skipIf(isMissing()).each(['phi-3', 't5', 'bert-base-uncased', 'gpt2'])(
    'gives the text of %s',
    (name) => {
      const tokenizer = AutoTokenizer.fromPretrained(shared('tokenizers', name)) as PretrainedTokenizer;
      const ids = tokenizer.encode('hello world, this is text: naïve 日本 😀 ok.  Two  spaces', {
        addSpecialTokens: false,
      });
      expect(stream(tokenizer, ids).join('')).toBe(tokenizer.decode(ids));
    },
  );
});

describe('saving', () => {
  it('writes both files, from which the same tokenizer comes back', () => {
    const template = '{{ messages[0].content }}';
    const tokenizer = bert({ chat_template: template, padding_side: 'left', model_max_length: 7 });
    tokenizer.save(folder);
    const loaded = AutoTokenizer.fromPretrained(folder) as PretrainedTokenizer;
    expect(loaded.type).toBe('wordpiece');
    expect(loaded.toJSON()).toEqual(tokenizer.toJSON());
    expect(loaded.specialTokens).toEqual({ pad: '[PAD]' });
    expect(loaded.config.paddingSide).toBe('left');
    expect(loaded.config.maxLength).toBe(7);
    expect(loaded.applyChatTemplate([{ role: 'user', content: 'x' }])).toBe('x');
    tokenizer.save(join(folder, 'other.json'));
    expect(readFileSync(join(folder, 'other.json'))).toEqual(readFileSync(join(folder, 'tokenizer.json')));
  });

  it
    .skipIf(isMissing())
    .each([
      'tokenizers/gpt2/vocab.json',
      'tokenizers/qwen2',
      'tokenizers/phi-3',
      'tokenizers/t5/spiece.model',
      'tokenizers/bert-base-uncased/vocab.txt',
      'tokenizers/tiktoken/cl100k_base.tiktoken',
      'tokenizers/sentencepiece-fixtures/test_sentencepiece_with_bytefallback.model',
    ])('keeps the ids of %s', (path) => {
    const tokenizer = AutoTokenizer.fromPretrained(shared(path)) as PretrainedTokenizer;
    tokenizer.save(folder);
    const loaded = AutoTokenizer.fromPretrained(folder) as PretrainedTokenizer;
    const text = "The naïve ﬁsh, 12345  and日本語\n\n😀 DON'T </s> end ";
    expect(loaded.encode(text)).toEqual(tokenizer.encode(text));
    expect(loaded.vocabSize).toBe(tokenizer.vocabSize);
    expect(loaded.decode(loaded.encode(text))).toBe(tokenizer.decode(tokenizer.encode(text)));
  });
});

describe('a GGUF file', () => {
  it('holds the tokenizer that it was written from', async () => {
    const text = "The naïve fish, 12345  and日本語\n\n😀 DON'T end ";
    const tokenizer = await trainBpe([text, text, 'the fish and the end'], {
      vocabSize: 280,
      specialTokens: ['<|endoftext|>'],
    });
    const { vocab, merges } = (
      tokenizer.toJSON() as { model: { vocab: Record<string, number>; merges: string[] } }
    ).model;
    const tokens = Object.entries(vocab).sort((a, b) => a[1] - b[1]);
    const path = join(folder, 'vocab.gguf');
    writeGguf(path, {
      'tokenizer.ggml.model': { string: 'gpt2' },
      'tokenizer.ggml.pre': { string: 'gpt-2' },
      'tokenizer.ggml.tokens': { strings: tokens.map(([token]) => token) },
      'tokenizer.ggml.token_type': { ints: tokens.map(([token]) => (token === '<|endoftext|>' ? 3 : 1)) },
      'tokenizer.ggml.merges': { strings: merges },
      'tokenizer.ggml.eos_token_id': { uint32: vocab['<|endoftext|>'] },
    });
    const opened = AutoTokenizer.fromPretrained(path) as PretrainedTokenizer;
    expect([...opened.encode(`${text}<|endoftext|>`)]).toEqual([...tokenizer.encode(`${text}<|endoftext|>`)]);
    expect(opened.decode(opened.encode(text))).toBe(text);
    expect(opened.eosId).toBe(tokenizer.encode('<|endoftext|>')[0]);
  });
});

describe('long texts', () => {
  const millions = 3;
  it.skipIf(isMissing()).each(['gpt2', 'qwen2', 'phi-3', 't5', 'bert-base-uncased'])(
    'take linear time: %s',
    (name) => {
      const tokenizer = AutoTokenizer.fromPretrained(shared('tokenizers', name)) as PretrainedTokenizer;
      for (const unit of [' ', 'a', 'ab', '\n ', '日', '😀', '\ud800', '▁', "'"]) {
        const text = unit.repeat((millions * 1e6) / unit.length / 3);
        const started = performance.now();
        tokenizer.encode(text);
        // A quadratic step would take hours.
        expect(performance.now() - started, JSON.stringify(unit)).toBeLessThan(20_000);
      }
    },
    200_000,
  );
});
