import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ArgumentError, FileError, TokenizerError } from '../../../lib/errors.js';
import { trainBpe, type TrainBpeOptions } from '../../../src/tokenizers/train-bpe.js';
import { findCut } from '../../../src/tokenizers/training-texts.js';
import { readGolden, repositoryRoot } from '../../support/golden.js';
import { isMissing, shared } from '../../support/shared.js';

interface BpeFile {
  model: { vocab: Record<string, number>; merges: string[]; end_of_word_suffix: string | null };
  added_tokens: { id: number; content: string }[];
}

const train = async (...args: Parameters<typeof trainBpe>): Promise<BpeFile> =>
  (await trainBpe(...args)).toJSON() as BpeFile;
const tokensOf = ({ model }: BpeFile): string[] =>
  Object.keys(model.vocab).sort((a, b) => model.vocab[a] - model.vocab[b]);

const shakespeare = readFileSync(join(repositoryRoot, 'examples/data/tinyshakespeare.txt'), 'utf8');

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-train-'))));
afterEach(() => rmSync(folder, { recursive: true }));

describe('trainBpe', () => {
  const recorded = readGolden<{
    characters: number;
    others: string;
    cases: Record<string, { options: TrainBpeOptions; vocab: string[]; merges: string[]; ids: number[] }>;
  }>('tokenizer-training', 'huggingface.json');
  const texts = [shakespeare.slice(0, recorded.characters), recorded.others];

  it.each(Object.keys(recorded.cases))("equals Hugging Face's trainer: %s", async (name) => {
    const { options, vocab, merges, ids } = recorded.cases[name];
    const tokenizer = await trainBpe(texts, options);
    expect([...tokenizer.encode(texts[0].slice(1000, 1200) + texts[1])]).toEqual(ids);
    const file = tokenizer.toJSON() as BpeFile;
    expect(tokensOf(file)).toEqual(vocab);
    expect(file.model.merges).toEqual(merges);
    expect(file.added_tokens.map((token) => token.content)).toEqual(options.specialTokens ?? []);
  });

  it('gives from files what it gives from their whole text', async () => {
    const special = '<|a b|>';
    // Special tokens all over, so that pieces of the file would cut some of them.
    const text = shakespeare.replaceAll('\n\n', special).repeat(3);
    writeFileSync(join(folder, 'a.txt'), `\ufeff${text}`);
    writeFileSync(join(folder, 'b.txt'), 'é'.repeat(3_000_000));
    const options = { vocabSize: 400, specialTokens: [special] };
    const expected = await train([text, 'é'.repeat(3_000_000)], options);
    expect(await train({ files: folder }, options)).toEqual(expected);
    expect(tokensOf(expected)[0]).toBe(special);
    expect(
      tokensOf(expected).some((token) => token.includes('|') && token.length > 1 && token !== special),
    ).toBe(false);
  });

  it('refuses files without words', async () => {
    const file = join(folder, 'endless.txt');
    writeFileSync(file, 'a'.repeat(2 ** 26 + 2 ** 20));
    const attempt = train({ files: file }, { vocabSize: 300 });
    await expect(attempt).rejects.toThrow(TokenizerError);
    await expect(attempt).rejects.toThrow('67108864 characters of a file have no end of a word among them');
  }, 60_000);

  it('takes texts as they come', async () => {
    const options = { vocabSize: 300, initialAlphabet: [] };
    async function* slowly(): AsyncGenerator<string> {
      for (const text of texts) yield await Promise.resolve(text);
    }
    expect(await train(slowly(), options)).toEqual(await train(texts, options));
    expect(await train(new Set(texts), options)).toEqual(await train([...texts].reverse(), options));
  });

  it('reports progress and stops when told to', async () => {
    const seen: string[] = [];
    const controller = new AbortController();
    const training = train(texts, {
      vocabSize: 5000,
      signal: controller.signal,
      onProgress: ({ stage, characters, tokens }) => {
        seen.push(`${stage} ${characters}`);
        if (tokens > 1000) controller.abort(new Error('enough'));
      },
    });
    await expect(training).rejects.toThrow('enough');
    expect(seen.slice(0, 3)).toEqual(['reading 200000', 'reading 200103', 'learning 200103']);
  });

  it('refuses wrong options and sources', async () => {
    const refuse = async (options: object, message: string): Promise<void> => {
      const attempt = train(texts, options);
      await expect(attempt).rejects.toThrow(ArgumentError);
      await expect(attempt).rejects.toThrow(message);
    };
    await refuse({ vocabsize: 5 }, "trainBpe: unknown option 'vocabsize' (did you mean 'vocabSize'?)");
    await refuse({ vocabSize: 0 }, 'trainBpe: vocabSize must be a whole number of at least 1, got 0');
    await refuse(
      { minFrequency: 1.5 },
      'trainBpe: minFrequency must be a whole number of at least 0, got 1.5',
    );
    await refuse({ maxTokenLength: NaN }, 'trainBpe: maxTokenLength must be a whole number of at least 1');
    await refuse({ initialAlphabet: ['ab'] }, 'initialAlphabet must be single characters, got "ab"');
    await refuse({ ties: 'first' }, "ties must be 'lower-ids' or 'greater-strings', got \"first\"");
    await refuse({ split: 'o200k' }, 'split must be gpt2, llama3, qwen2, cl100k or spaces, got "o200k"');
    await refuse({ endOfWordSuffix: '</w>' }, "endOfWordSuffix is for split 'spaces'");
    await refuse({ split: 'spaces', unkToken: '<unk>' }, 'unkToken must be one of specialTokens');
    await refuse({ specialTokens: ['a', 'a'] }, 'the special token "a" is given twice');
    await refuse({ specialTokens: [''] }, 'special tokens must be strings that are not empty');
    await expect(train('text')).rejects.toThrow(
      'the texts must be an iterable of strings or { files: paths }',
    );
    await expect(train(5 as never)).rejects.toThrow(ArgumentError);
    await expect(train([5] as never)).rejects.toThrow('trainBpe: each text must be a string, got number');
    await expect(train([])).rejects.toThrow('trainBpe: the texts are empty, there is nothing to learn from');
    await expect(train({ files: join(folder, 'none') })).rejects.toThrow(FileError);
    writeFileSync(join(folder, 'latin.txt'), Buffer.from([0x61, 0xe9, 0x62]));
    await expect(train({ files: folder })).rejects.toThrow('latin.txt: is not UTF-8 text');
  });
});

describe('findCut', () => {
  it('finds places where words end, outside of special tokens', () => {
    expect(findCut('one two three', [])).toBe(7);
    expect(findCut('one two, three', [])).toBe(7);
    expect(findCut('one <a b> two', ['<a b>'])).toBe(3);
    expect(findCut('one two <a b', ['<a b>'])).toBe(7);
    expect(findCut('oneword', [])).toBe(0);
    expect(findCut('', [])).toBe(0);
  });
});

describe.skipIf(isMissing())('trainBpe on recorded vocabularies', () => {
  const read = (...path: string[]): string =>
    readFileSync(shared('vectors', 'bpe-training', ...path), 'utf8');

  it("reproduces Stanford's CS336 reference", async () => {
    const file = await train([read('cs336', 'corpus.en')], {
      vocabSize: 500,
      specialTokens: ['<|endoftext|>'],
      ties: 'greater-strings',
    });
    const merges = read('cs336', 'train-bpe-reference-merges.txt').trimEnd().split('\n');
    expect(merges.length).toBe(243);
    expect(file.model.merges).toEqual(merges);
    expect(file.model.vocab).toEqual(JSON.parse(read('cs336', 'train-bpe-reference-vocab.json')));
  });

  it("reproduces subword-nmt's merges", async () => {
    const file = await train([read('cs336', 'corpus.en')], {
      ...{ vocabSize: 5000, minFrequency: 2, split: 'spaces', endOfWordSuffix: '</w>' },
      ties: 'greater-strings',
    });
    const merges = read('subword-nmt', 'bpe.ref').trimEnd().split('\n').slice(1);
    expect(merges.length).toBe(1000);
    expect(file.model.merges.slice(0, 1000)).toEqual(merges);
    expect(file.model.end_of_word_suffix).toBe('</w>');
  });
});
