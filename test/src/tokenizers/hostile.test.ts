/** Tokenizer files that are damaged or made to do harm: a typed error that names the file, soon, and no other harm. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { FileError, TokenizerError, TsgptError } from '../../../lib/errors.js';
import { AutoTokenizer, type PretrainedTokenizer } from '../../../src/tokenizers/index.js';
import { sharedData, sharedMissing } from '../../support/shared.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-hostile-'))));
afterEach(() => rmSync(folder, { recursive: true }));

function open(name: string, content: string | Uint8Array | object): PretrainedTokenizer {
  const text = typeof content === 'string' || content instanceof Uint8Array;
  writeFileSync(join(folder, name), text ? content : JSON.stringify(content));
  return AutoTokenizer.fromPretrained(join(folder, name)) as PretrainedTokenizer;
}

/** Expects a FileError of one line that begins with the file's name. */
function refuse(name: string, content: string | Uint8Array | object, reason: string | RegExp): void {
  const run = (): unknown => open(name, content);
  expect(run).toThrow(FileError);
  expect(run).toThrow(reason);
  expect(run).toThrow(join(folder, name));
  expect(run).toThrow(/^.*$/);
}

const bpe = (model: object, rest: object = {}): object => ({
  model: { type: 'BPE', vocab: { a: 0, b: 1, ab: 2 }, merges: [['a', 'b']], ...model },
  ...rest,
});
const split = (Regex: string, behavior = 'Isolated'): object => ({
  pre_tokenizer: { type: 'Split', pattern: { Regex }, behavior },
});
const map = (bytes: Uint8Array): object => ({
  normalizer: { type: 'Precompiled', precompiled_charsmap: Buffer.from(bytes).toString('base64') },
});

describe('tokenizer.json', () => {
  it.each([
    ['an id twice', bpe({ vocab: { a: 0, b: 0 } }), 'the tokens "a" and "b" have the same id 0'],
    ['a negative id', bpe({ vocab: { a: -1 } }), 'the id of "a" must be a whole number from 0 to'],
    ['a fractional id', bpe({ vocab: { a: 1.5 } }), 'the id of "a" must be a whole number'],
    ['a huge id', bpe({ vocab: { a: 2 ** 31 } }), 'got 2147483648'],
    ['a vocabulary that is none', bpe({ vocab: 5 }), 'model.vocab: must be an object, got 5'],
    [
      'a merge of absent tokens',
      bpe({ merges: ['a x'] }),
      'merge 0 ("a" and "x") needs the token "x", which is not',
    ],
    ['a merge into an absent token', bpe({ merges: ['b a'] }), 'needs the token "ba", which is not'],
    ['a merge of three parts', bpe({ merges: ['a b c'] }), "merge 0 must be 'a b' or ['a', 'b'], got"],
    ['merges that are none', bpe({ merges: [5] }), "merge 0 must be 'a b' or ['a', 'b'], got 5"],
    [
      'an unknown normalizer',
      bpe({}, { normalizer: { type: 'Magic' } }),
      'a normalizer of type "Magic" is not known',
    ],
    [
      'an inherited name',
      bpe({}, { normalizer: { type: 'constructor' } }),
      'type "constructor" is not known',
    ],
    [
      'an unknown pre-tokenizer',
      bpe({}, { pre_tokenizer: { type: 'X' } }),
      'a pre-tokenizer of type "X" is not known',
    ],
    [
      'an unknown post-processor',
      bpe({}, { post_processor: { type: 'X' } }),
      'a post-processor of type "X" is not',
    ],
    ['an unknown decoder', bpe({}, { decoder: { type: 'X' } }), 'a decoder of type "X" is not known'],
    ['an unknown behavior', bpe({}, split('a', 'Hidden')), 'behavior: must be one of Removed, Isolated'],
    [
      'an added token twice',
      bpe(
        {},
        {
          added_tokens: [
            { id: 5, content: 'x' },
            { id: 6, content: 'x' },
          ],
        },
      ),
      'is there twice',
    ],
    [
      'an added id twice',
      bpe(
        {},
        {
          added_tokens: [
            { id: 5, content: 'x' },
            { id: 5, content: 'y' },
          ],
        },
      ),
      'the same id 5',
    ],
    [
      'an added id of a token',
      bpe({}, { added_tokens: [{ id: 1, content: 'x' }] }),
      'which is that of the token "b"',
    ],
    [
      'an added token without text',
      bpe({}, { added_tokens: [{ id: 1 }] }),
      'added_tokens[0].content: must be a string',
    ],
    [
      'a template with an unknown token',
      bpe(
        {},
        { post_processor: { type: 'TemplateProcessing', single: [{ SpecialToken: { id: 'x' } }], pair: [] } },
      ),
      '"x" is not among the special_tokens',
    ],
    [
      'a unigram without scores',
      { model: { type: 'Unigram', vocab: [['a']] } },
      'entry 0 must be a token and its score',
    ],
    [
      'an unknown id outside',
      { model: { type: 'Unigram', vocab: [['a', 0]], unk_id: 9 } },
      'model.unk_id: must be a whole',
    ],
    [
      'a WordPiece without [UNK]',
      { model: { type: 'WordPiece', vocab: { a: 0 } } },
      'the unknown token "[UNK]" is not in',
    ],
    [
      'an empty charsmap',
      bpe({}, map(Uint8Array.of(1))),
      'the precompiled character map is damaged: it has 1 bytes',
    ],
    [
      'a truncated charsmap',
      bpe({}, map(Uint8Array.of(0, 4, 0, 0, 1, 2))),
      'it has 6 bytes and says that its trie has 1024',
    ],
    [
      'a charsmap without an end',
      bpe({}, map(Uint8Array.of(4, 0, 0, 0, 1, 2, 3, 4, 65))),
      'its last replacement has no end',
    ],
  ])('with %s', (_, json, reason) => refuse('tokenizer.json', json, reason));

  it('with nesting without end', () => {
    const deep = '{"type":"Sequence","normalizers":['.repeat(50_000) + ']}'.repeat(50_000);
    refuse(
      'tokenizer.json',
      `{"model":{"type":"BPE","vocab":{}},"normalizer":${deep}}`,
      'it nests too deeply',
    );
  });

  it('with members named like those of every object', () => {
    const vocab = JSON.parse('{"__proto__": 0, "constructor": 1, "toString": 2}') as object;
    const tokenizer = open('tokenizer.json', {
      pre_tokenizer: { type: 'WhitespaceSplit' },
      model: { type: 'WordLevel', vocab, unk_token: 'toString' },
    });
    expect([...tokenizer.encode('__proto__ constructor valueOf')]).toEqual([0, 1, 2]);
  });

  it('with a map whose trie leads outside', () => {
    const charsmap = new Uint8Array(4 + 64).fill(255);
    charsmap.set([64, 0, 0, 0]);
    const tokenizer = open('tokenizer.json', bpe({ unk_token: 'a' }, map(charsmap)));
    expect([...tokenizer.encode('ab é')].length).toBeGreaterThan(0);
  });

  it.each(['(a+)+b', '(a|a)*$b', '(?:a*)*c', '([a-z]+)*\\d'])(
    'with an expression that backtracks: %s',
    (regex) => {
      const tokenizer = open('tokenizer.json', bpe({}, split(regex)));
      const started = performance.now();
      expect(() => tokenizer.encode('a'.repeat(50))).toThrow(TokenizerError);
      expect(() => tokenizer.encode('a'.repeat(50))).toThrow('it backtracks without end');
      expect(performance.now() - started).toBeLessThan(15_000);
      expect([...tokenizer.encode('b')]).toEqual([1]);
    },
  );
});

describe('regular expressions', () => {
  it.each([
    ['(?i:k)', ['k', 'K', '\u212a'], ['x']],
    ['\\A\\s\\z', [' ', '\u0085', '\u3000'], ['\ufeff', 'x', '\u001c']],
    ['\\A\\w\\z', ['a', '_', '½', '\u0301'], ['-', ' ']],
    ['\\A\\h\\z', ['a', 'F', '9'], ['g']],
    ['\\A[^\\s\\p{L}]++\\z', ['12', '-'], ['a1']],
    ['\\A(?>a+)b\\z', ['aab'], ['ab ']],
    ['\\A(?>a+)ab', [], ['aab']],
    ['\\A\\p{Han}\\z', ['日'], ['か']],
    ['\\A[[:alpha:]]\\z', ['é'], ['1', '_']],
    ['\\Aa{,2}b\\z', ['b', 'aab'], ['aaab']],
    ['\\A\\x{1F600}\\z', ['😀'], ['x']],
    ['^b', ['a\nb'], ['ab']],
    ['a$', ['a\nb'], ['ab']],
    ['\\A.\\z', ['\r', '\u2028'], ['\n']],
    ['\\A[\\]\\-\\/]\\z', [']', '-', '/'], ['a']],
    ['\\bx', ['a x'], ['ax']],
  ])('%s', (regex, matching, other) => {
    const tokenizer = open('tokenizer.json', {
      pre_tokenizer: { type: 'Split', pattern: { Regex: regex }, behavior: 'Removed' },
      model: { type: 'Unigram', vocab: [['<unk>', 0]], unk_id: 0 },
    });
    const length = (text: string): number =>
      tokenizer.encodePlus(text).offsets.reduce((sum, [from, to]) => sum + to - from, 0);
    for (const text of matching) expect(length(text), JSON.stringify(text)).toBeLessThan(text.length);
    for (const text of other) expect(length(text), JSON.stringify(text)).toBe(text.length);
  });

  it.each([
    ['a)', 'a bracket is closed that was not opened'],
    ['(a', 'a bracket is not closed'],
    ['[a', 'a character class is not closed'],
    ['*a', 'a quantifier has nothing to repeat'],
    ['(?<=a+', 'a bracket is not closed'],
    ['\\Ga', "'\\G' has no translation"],
    ['(a)\\1', "'\\1' has no translation"],
    ['[a-z&&b]', "the intersection '&&' of classes has no translation"],
    ['[a[bc]]', 'a class inside a class has no translation'],
    ['\\p{Nonsense}', '\\p{Nonsense} is not known'],
    ['(?x:a b)', "the group '(?x:a' has no translation"],
    ['(?i:\\p{Lu})', '\\p{Lu} where case is ignored has no translation'],
    ['\\', 'it ends with a backslash'],
    ['[z-a]', 'the range z-a is empty'],
  ])('%s is refused', (regex, reason) => refuse('tokenizer.json', bpe({}, split(regex)), reason));
});

describe('vocab.txt', () => {
  const lines = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'a', '##b'];

  it('with CRLF is read all the same', () => {
    const tokenizer = open('vocab.txt', lines.join('\r\n') + '\r\n');
    expect(tokenizer.vocabSize).toBe(6);
    expect([...tokenizer.encode('ab x')]).toEqual([2, 4, 5, 1, 3]);
  });

  it('with a word twice, without [UNK], or not in UTF-8', () => {
    refuse('vocab.txt', [...lines, 'a'].join('\n'), 'the token "a" is twice in the vocabulary');
    refuse('vocab.txt', 'a\nb\n', 'the unknown token "[UNK]" is not in the vocabulary');
    refuse('vocab.txt', Uint8Array.of(0xff, 0xfe, 10), 'is not valid UTF-8');
    refuse('vocab.txt', '', 'the unknown token');
  });
});

describe('merges.txt', () => {
  it('that is wrong is named', () => {
    writeFileSync(join(folder, 'vocab.json'), '{"a":0,"b":1}');
    const run = (merges: string) => (): unknown => {
      writeFileSync(join(folder, 'merges.txt'), merges);
      return AutoTokenizer.fromPretrained(folder);
    };
    expect(run('#version: 0.2\na b\n')).toThrow(
      `${join(folder, 'merges.txt')}: is damaged: merge 0 ("a" and "b") needs`,
    );
    expect(run('a b c\n')).toThrow('line 1 of the merges must be two tokens, got "a b c"');
    expect(run('a\n')).toThrow(FileError);
  });
});

describe('SentencePiece .model', () => {
  const field = (number: number, content: string | readonly number[]): number[] => {
    const bytes = typeof content === 'string' ? [...Buffer.from(content)] : content;
    return [number * 8 + 2, bytes.length, ...bytes];
  };
  const piece = (text: string, kind = 1): number[] => field(1, [...field(1, text), 3 * 8, kind]);

  it.each([
    ['nothing in it', [], 'the file has no pieces'],
    ['a field that reaches beyond the end', [10, 100, 1], 'a field of 100 bytes reaches beyond the end'],
    ['a length of 64 bits', [10, ...new Array<number>(9).fill(255), 1], 'reaches beyond the end'],
    ['a number that overflows', [8, ...new Array<number>(10).fill(255), 1], 'a number has more than 64 bits'],
    ['a number that is cut off', [8, 255], 'it ends inside a number'],
    ['an unknown kind of field', [15, 1], 'a field has the unknown kind 7'],
    ['a field 0', [2, 0], 'a field has the number 0'],
    ['a byte piece that is none', piece('<0x-1>', 6), 'the byte piece "<0x-1>" names no byte'],
    ['a piece twice', [...piece('<unk>', 2), ...piece('a'), ...piece('a')], 'the token "a" is twice'],
    [
      'a score that is no number',
      field(1, [...field(1, 'a'), 2 * 8 + 5, 0, 0, 0xc0, 0x7f]),
      'has the score NaN',
    ],
    ['an unknown type of model', [...piece('a'), ...field(2, [3 * 8, 9])], 'a model of type 9 is not known'],
  ])('with %s', (_, bytes, reason) => refuse('x.model', Uint8Array.from(bytes), reason));

  it.skipIf(sharedMissing)('cut off anywhere', () => {
    const whole = readFileSync(
      sharedData('tokenizers', 'sentencepiece-fixtures', 'test_sentencepiece.model'),
    );
    for (let length = 0; length < whole.length; length += 2477) {
      try {
        open('x.model', whole.subarray(0, length)).encode('text');
      } catch (error) {
        expect(error).toBeInstanceOf(TsgptError);
      }
    }
  });
});

describe('other files', () => {
  it('tiktoken files that are none', () => {
    refuse('x.tiktoken', 'YQ== 0\nYg== 1\n', 'has 2 tokens, and a rank file does not say how text is split');
    refuse('x.tiktoken', 'YQ== x\n', 'line 1 must be a token in base64 and its rank');
    refuse('x.tiktoken', 'YQ== 0\nYQ== 1\n', 'is twice in the vocabulary');
  });

  it('a configuration that is wrong is named', () => {
    writeFileSync(join(folder, 'tokenizer_config.json'), '{"padding_side":"middle"}');
    const run = (): unknown => open('tokenizer.json', bpe({}));
    expect(run).toThrow(FileError);
    expect(run).toThrow(
      `${join(folder, 'tokenizer_config.json')}: is damaged: tokenizer_config.padding_side: must be`,
    );
  });

  it('pipes are not waited for', () => {
    execFileSync('mkfifo', [join(folder, 'tokenizer.json')]);
    expect(() => AutoTokenizer.fromPretrained(join(folder, 'tokenizer.json'))).toThrow(
      'it is not a regular file',
    );
  });

  it.each([
    [{}, 'tokenizer.ggml.model: must be a text, got nothing'],
    [{ model: 'other', tokens: [] }, 'a vocabulary of the kind "other" is not known'],
    [{ model: 'gpt2', tokens: [1] }, 'tokenizer.ggml.tokens: must be a list of texts'],
    [{ model: 'gpt2', tokens: ['a'], merges: ['a b'] }, 'needs the token "b"'],
    [
      { model: 'gpt2', tokens: ['a'], merges: [], pre: 'x' },
      'the splitting "x" is not known; known are gpt-2',
    ],
    [{ model: 'llama', tokens: ['a'] }, 'there must be one for each of the 1 tokens, got 0'],
    [{ model: 'llama', tokens: ['a'], scores: 'x' }, 'tokenizer.ggml.scores: must be a list of numbers'],
    [{ model: 'bert', tokens: ['a', 'a'] }, 'is twice in the vocabulary'],
    [{ model: 'bert', tokens: ['a'], bos_token_id: -1 }, 'tokenizer.ggml.bos_token_id: must be an id'],
  ])('GGUF metadata %j', (members, reason) => {
    const metadata = new Map(Object.entries(members).map(([key, value]) => [`tokenizer.ggml.${key}`, value]));
    expect(() => AutoTokenizer.fromGguf(metadata)).toThrow(TokenizerError);
    expect(() => AutoTokenizer.fromGguf(metadata)).toThrow(reason);
  });
});
