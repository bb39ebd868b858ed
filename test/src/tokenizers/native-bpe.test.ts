import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { TokenizerError } from '../../../lib/errors.js';
import { native } from '../../../lib/native.js';
import { getThreads, setThreads } from '../../../lib/threads.js';
import { AutoTokenizer, trainBpe, type PretrainedTokenizer } from '../../../src/tokenizers/index.js';
import { NativeBpe, nativeSplitOf, type NativeSplit } from '../../../src/tokenizers/native-bpe.js';
import { isMissing, shared } from '../../support/shared.js';
import { repositoryRoot } from '../../support/golden.js';

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-bpe-'))));
afterAll(() => rmSync(folder, { recursive: true }));

const threads = getThreads();
afterEach(() => setThreads(threads));

/** The patterns for JavaScript: \s is White_Space, and (?i:...) is written out (ſ is an s when case is folded). */
const space = '\\p{White_Space}';
const modern = (numbers: string, end = ''): string =>
  "'[sSſ]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|" +
  `[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${numbers}| ?[^${space}\\p{L}\\p{N}]+[\\r\\n]*|` +
  `${end}${space}*[\\r\\n]+|${space}+(?!\\P{White_Space})|${space}+`;
const patterns: Record<NativeSplit, RegExp> = {
  gpt2: new RegExp(
    `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${space}\\p{L}\\p{N}]+|${space}+(?!\\P{White_Space})|${space}+`,
    'gu',
  ),
  llama3: new RegExp(modern('\\p{N}{1,3}'), 'gu'),
  cl100k: new RegExp(modern('\\p{N}{1,3}', `${space}+$|`), 'gu'),
  qwen2: new RegExp(modern('\\p{N}'), 'gu'),
};
const splits = Object.keys(patterns) as NativeSplit[];

const byteCharacters = Array.from({ length: 256 }, (_, byte) => byte);
const printable = (b: number): boolean => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
const alphabet = byteCharacters.map((byte) =>
  String.fromCodePoint(
    printable(byte) ? byte : 256 + byteCharacters.filter((b) => b < byte && !printable(b)).length,
  ),
);
const written = (text: string): string[] => Array.from(Buffer.from(text, 'utf8'), (byte) => alphabet[byte]);

/** A vocabulary that merges whatever stands together in some words, so that texts show where they were cut. */
function toy(words: readonly string[]) {
  const tokens = [...alphabet];
  const merges: string[] = [];
  for (const word of words) {
    const parts = written(word);
    for (let token = parts[0], i = 1; i < parts.length; i++) {
      const merge = `${token} ${parts[i]}`;
      token += parts[i];
      if (!merges.includes(merge)) merges.push(merge);
      if (!tokens.includes(token)) tokens.push(token);
    }
  }
  return { tokens, merges, ids: Int32Array.from(tokens, (_, id) => id) };
}

/** BPE as its definition has it. */
function reference(text: string, split: NativeSplit, { tokens, merges }: ReturnType<typeof toy>): number[] {
  const ranks = new Map(merges.map((merge, rank) => [merge, rank]));
  const ids = new Map(tokens.map((token, id) => [token, id]));
  return (Buffer.from(text, 'utf8').toString('utf8').match(patterns[split]) ?? []).flatMap((word) => {
    const parts = written(word);
    for (;;) {
      let best = -1;
      let lowest = Infinity;
      for (let i = 0; i + 1 < parts.length; i++) {
        const rank = ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
        if (rank < lowest) [best, lowest] = [i, rank];
      }
      if (best < 0) return parts.map((part) => ids.get(part)!);
      parts.splice(best, 2, parts[best] + parts[best + 1]);
    }
  });
}

const shakespeare = readFileSync(`${repositoryRoot}/examples/data/tinyshakespeare.txt`, 'utf8');
/** Words with every border that the patterns know, so that a word cut elsewhere gets other ids. */
const words = ["'s", "'S", "'re", "'ll", "'LL", ' the', 'the', ' 12', '123', '12', '  ', '   ', '\n\n', ' \n']
  .concat([
    ' !',
    '!!',
    '!\n',
    'ſ',
    "'ſ",
    'éé',
    ' é',
    '日本',
    '१२',
    '\u00a0a',
    '\ta',
    '.a',
    "'a",
    'aaaa',
    'abab',
  ])
  .concat(['...', ' ...', '\r\n', '😀😀', '\u0301a', 'e\u0301', '\u2028\u2028', '\u0085 ']);
const vocabulary = toy(words);
/** An encoder with its split. */
const withSplit = (bpe: NativeBpe, split: NativeSplit) => ({
  encode: (text: string) => bpe.encode(text, split),
  offsets: (text: string, ids: Int32Array) => bpe.offsets(text, ids),
});
const make = (split: NativeSplit) =>
  withSplit(new NativeBpe(vocabulary.tokens, vocabulary.ids, vocabulary.merges), split);

describe('NativeBpe', () => {
  it.each(splits)('splits and merges as the pattern and the definition of BPE say: %s', (split) => {
    const encoder = make(split);
    const piece = fc.oneof(
      fc.constantFrom(
        ...words,
        ...Array.from(" \n\r\t'’sStTdreVLl019.!-_aB\u00a0\u3000\ufeff\u0085\u001c\ud800\udc00²ⅷ"),
      ),
      fc.string({ unit: 'binary', maxLength: 3 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const text = pieces.join('');
        expect([...encoder.encode(text)]).toEqual(reference(text, split, vocabulary));
      }),
      { numRuns: 500 },
    );
  });

  it('gives the same ids with any number of threads, and from words it remembers', () => {
    const texts = [
      shakespeare,
      '日本語の文。'.repeat(20000),
      'x'.repeat(100_000),
      ` ${'12 '.repeat(50_000)}`,
    ];
    for (const split of splits) {
      const encoder = make(split);
      for (const text of texts) {
        setThreads(1);
        const alone = encoder.encode(text);
        setThreads(3);
        expect(Buffer.compare(Buffer.from(make(split).encode(text).buffer), Buffer.from(alone.buffer))).toBe(
          0,
        );
        expect(Buffer.compare(Buffer.from(encoder.encode(text).buffer), Buffer.from(alone.buffer))).toBe(0);
      }
    }
  });

  it('forgets words when there are too many, and stays right', () => {
    const encoder = make('gpt2');
    const many = Array.from({ length: 150_000 }, (_, i) => ` w${i.toString(36)}`).join('');
    const expected = encoder.encode(many);
    expect(expected.length).toBeGreaterThan(300_000);
    expect(Buffer.compare(Buffer.from(encoder.encode(many).buffer), Buffer.from(expected.buffer))).toBe(0);
    expect([...encoder.encode(' the the')]).toEqual(reference(' the the', 'gpt2', vocabulary));
  });

  it('merges long words by a heap as short ones by scanning', () => {
    const encoder = make('gpt2');
    for (const word of ['a'.repeat(300), 'ab'.repeat(150), `${'aab'.repeat(77)}b`, 'é'.repeat(99)]) {
      expect([...encoder.encode(word)]).toEqual(reference(word, 'gpt2', vocabulary));
    }
  });

  it('takes a word of the vocabulary whole when merges are ignored', () => {
    const tokens = [...alphabet, 'ab', 'abc'];
    const ids = Int32Array.from(tokens, (_, id) => id);
    const encode = (ignoreMerges: boolean): number[] => [
      ...new NativeBpe(tokens, ids, ['a b'], { ignoreMerges }).encode('abc abc', 'gpt2'),
    ];
    expect(encode(false)).toEqual([256, 0x63, 0x20, 256, 0x63]);
    expect(encode(true)).toEqual([257, 0x20, 256, 0x63]);
  });

  it('ranks merges by what they make when told to', () => {
    const tokens = [...alphabet, 'aa', 'aaa', 'aaaa'];
    const ids = Int32Array.from(tokens, (_, id) => id);
    const merges = ['a a', 'a aa', 'aa aa', 'aa a'];
    const encode = (text: string, rankByToken: boolean): number[] => [
      ...new NativeBpe(tokens, ids, merges, { rankByToken }).encode(text, 'gpt2'),
    ];
    expect(encode('aaaaa', false)).toEqual([258, 0x61]); // aa aa a: 'aa aa' comes before 'aa a'
    expect(encode('aaaaa', true)).toEqual([256, 257]); // 'aa a' makes what 'a aa' makes: its rank
  });

  it('says where tokens stand, in UTF-16 units', () => {
    const encoder = make('gpt2');
    const text = 'the é𝄞 \ud800x';
    const ids = encoder.encode(text);
    const offsets = encoder.offsets(text, ids);
    const spans = Array.from(ids, (_, i) => [offsets[2 * i], offsets[2 * i + 1]]);
    expect(spans.at(0)).toEqual([0, 3]);
    expect(spans.slice(1, 3)).toEqual([
      [3, 4],
      [4, 5],
    ]);
    expect(spans.slice(3, 7)).toEqual(Array(4).fill([5, 7])); // the four bytes of the emoji
    expect(spans.at(-1)).toEqual([9, 10]);
    expect(encoder.offsets('', new Int32Array(0))).toEqual(new Int32Array(0));
    for (const wrong of [[], [...ids, 1], [...ids.subarray(1)], [-1], [1 << 20]]) {
      expect(() => encoder.offsets(text, Int32Array.from(wrong))).toThrow(
        'BPE: the ids are not those of the text',
      );
    }
  });

  it('drops bytes that the vocabulary lacks and says that it has not all', () => {
    const encoder = new NativeBpe(['a', 'b', 'ab'], Int32Array.of(5, 7, 9), ['a b']);
    expect(encoder.hasAllBytes).toBe(false);
    expect(new NativeBpe(vocabulary.tokens, vocabulary.ids, []).hasAllBytes).toBe(true);
    expect([...encoder.encode('axb', 'gpt2')]).toEqual([9]);
    const odd = new NativeBpe(['a', 'b\nc', 'b'], Int32Array.of(5, 6, 7), []);
    expect([...odd.encode('ab', 'gpt2')]).toEqual([5, 7]); // tokens that are no bytes are passed over
  });

  it('refuses wrong vocabularies', () => {
    const refuse = (call: () => unknown, message: string): void => {
      expect(call).toThrow(TokenizerError);
      expect(call).toThrow(message);
    };
    const ids = Int32Array.of(0, 1);
    refuse(
      () => new NativeBpe(['a', 'b'], ids, ['a b']),
      "BPE: merge 0 ('a b') must be two tokens of the vocabulary that make one of it",
    );
    refuse(() => new NativeBpe(['a', 'b'], ids, ['ab']), "merge 0 ('ab') must be two tokens");
    refuse(() => new NativeBpe(['a', 'a'], ids, []), 'BPE: a token is twice in the vocabulary');
    refuse(() => new NativeBpe(['a', 'b'], Int32Array.of(0, -1), []), 'BPE: an id is out of range');
    refuse(() => new NativeBpe(['a'], Int32Array.of(2 ** 31 - 1), []), 'BPE: an id is out of range');
  });

  it('refuses foreign objects and types in native code', () => {
    const handle = native.createWordCounts(0);
    expect(() => native.encodeBpe(handle as never, 'a', 0)).toThrow('argument is not an object of this kind');
    expect(() => native.encodeBpe({}, 'a', 0)).toThrow('argument is not an object of this kind');
    expect(() => native.createBpe('a', new Float32Array(1) as never, '', false, false)).toThrow(
      'argument is not an Int32Array',
    );
    expect(() => native.createBpe('a\nb', Int32Array.of(0), '', false, false)).toThrow(
      'there are more tokens than ids',
    );
    expect(() => native.createWordCounts(9)).toThrow('unknown split');
    expect(() => native.countText(handle, 5 as never)).toThrow('argument is not a string');
  });

  it('takes linear time for long texts, runs of spaces, single words and half surrogates', () => {
    const encoder = make('cl100k');
    const start = performance.now();
    for (const text of [
      'a b1 '.repeat(2_000_000),
      ' '.repeat(1e6) + 'x',
      'ab'.repeat(5e5),
      '\ud800'.repeat(1e6),
    ]) {
      expect(encoder.encode(text).length).toBeGreaterThan(1000);
    }
    expect(performance.now() - start).toBeLessThan(20_000);
  });

  it('works in a worker thread', async () => {
    const addon = `${repositoryRoot}/build/Release/tsgpt.node`;
    const code = `
      const { parentPort } = require('node:worker_threads');
      const native = require(${JSON.stringify(addon)});
      const bpe = native.createBpe('a\\nb\\nab', Int32Array.of(0, 1, 2), 'a b', false, false);
      parentPort.postMessage([...native.encodeBpe(bpe, 'abba', 0)]);`;
    const ids = await new Promise((resolve, reject) => {
      new Worker(code, { eval: true }).once('message', resolve).once('error', reject);
    });
    expect(ids).toEqual([2, 1, 0]);
  });
});

describe('PretrainedTokenizer', () => {
  it.each(splits)('gives the same by native code as without: %s', async (split) => {
    const trained = await trainBpe([shakespeare.slice(0, 50_000), words.join(' ')], {
      ...{ split, vocabSize: 500, specialTokens: ['<|end|>'] },
    });
    const json = trained.toJSON() as { pre_tokenizer: { type: string; pretokenizers?: object[] } };
    const steps = json.pre_tokenizer.pretokenizers ?? [json.pre_tokenizer];
    // A step that changes nothing, and that native code does not know.
    const nothing = {
      type: 'Split',
      pattern: { String: 'no such text' },
      behavior: 'Isolated',
      invert: false,
    };
    const plain = { type: 'Sequence', pretokenizers: [nothing, ...steps] };
    const load = (preTokenizer: object): PretrainedTokenizer => {
      const file = join(folder, `${split}.json`);
      writeFileSync(file, JSON.stringify({ ...json, pre_tokenizer: preTokenizer }));
      return AutoTokenizer.fromPretrained(file) as PretrainedTokenizer;
    };
    const tokenizers = [load(json.pre_tokenizer), load(plain)];
    const piece = fc.oneof(
      fc.constantFrom(...words, '<|end|>', ' the', 'e\u0301', '\ud800', '😀', 'ROMEO', '\n\n'),
      fc.string({ unit: 'binary', maxLength: 3 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
        const [fast, slow] = tokenizers.map((tokenizer) => tokenizer.encodePlus(pieces.join('')));
        expect(fast).toEqual(slow);
      }),
      { numRuns: 200 },
    );
  });

  it('puts a space before texts where the pre-tokenizer says so', async () => {
    const trained = await trainBpe([' the the'], { vocabSize: 300 });
    const json = trained.toJSON() as { pre_tokenizer: object };
    const file = join(folder, 'prefix.json');
    writeFileSync(
      file,
      JSON.stringify({ ...json, pre_tokenizer: { ...json.pre_tokenizer, add_prefix_space: true } }),
    );
    const tokenizer = AutoTokenizer.fromPretrained(file) as PretrainedTokenizer;
    expect(tokenizer.encodePlus('the the')).toMatchObject({
      tokens: ['Ġthe', 'Ġthe'],
      offsets: [
        [0, 3],
        [3, 7],
      ],
    });
    expect(tokenizer.tokenize(' the')).toEqual(['Ġthe']);
  });
});

describe('nativeSplitOf', () => {
  it('knows the patterns of published files', () => {
    const llama3 =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    expect(nativeSplitOf(llama3)).toBe('llama3');
    expect(nativeSplitOf(llama3.replace('{1,3}', ''))).toBe('qwen2');
    expect(nativeSplitOf('\\s+')).toBeUndefined();
  });
});

describe.skipIf(isMissing())('NativeBpe with published vocabularies', () => {
  const read = (...path: string[]): string => readFileSync(shared(...path), 'utf8');
  const load = (name: string, split: NativeSplit) => {
    const vocab = JSON.parse(read('tokenizers', name, 'vocab.json')) as Record<string, number>;
    const merges = read('tokenizers', name, 'merges.txt')
      .split(/\r?\n/)
      .filter((line) => line !== '' && !line.startsWith('#version'));
    return withSplit(new NativeBpe(Object.keys(vocab), Int32Array.from(Object.values(vocab)), merges), split);
  };
  const gpt2 = isMissing() ? undefined : load('gpt2', 'gpt2');

  it("encodes tinyshakespeare to GPT-2's ids, on one thread and on more", () => {
    for (const count of [1, 2, 4]) {
      setThreads(count);
      const ids = gpt2!.encode(read('text', 'tinyshakespeare.txt'));
      expect(ids.length).toBe(338_025);
      expect(createHash('sha256').update(ids).digest('hex')).toMatch(/^0c00ab83dc7f/);
    }
  });

  it.each([
    ['gpt-2', 'gpt2', 'gpt2'],
    ['qwen2', 'qwen2', 'qwen2'],
  ] as const)('equals the recorded ids of llama.cpp for %s', (file, name, split) => {
    const encoder = name === 'gpt2' ? gpt2! : load(name, split);
    const texts = read('vectors', 'llama.cpp', `ggml-vocab-${file}.gguf.inp`).split(
      '\n__ggml_vocab_test__\n',
    );
    const lines = read('vectors', 'llama.cpp', `ggml-vocab-${file}.gguf.out`).split('\n');
    expect(texts.length).toBeGreaterThan(40);
    texts.forEach((text, i) => {
      const normal = name === 'qwen2' ? text.normalize('NFC') : text;
      expect(encoder.encode(normal).join(' '), JSON.stringify(text)).toBe(lines[i].trim());
    });
  });
});
