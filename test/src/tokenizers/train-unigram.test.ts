import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { ArgumentError } from '../../../lib/errors.js';
import { trainUnigram } from '../../../src/tokenizers/index.js';
import { readGolden, repositoryRoot } from '../../support/golden.js';

const recorded = readGolden<{
  characters: number;
  others: string;
  unigram: { vocab: string[]; tokens: number; logLikelihood: number };
}>('tokenizer-training', 'huggingface.json');
const shakespeare = readFileSync(join(repositoryRoot, 'examples/data/tinyshakespeare.txt'), 'utf8');
const texts = [shakespeare.slice(0, recorded.characters), recorded.others];
const piecesOf = (tokenizer: { toJSON(): object }): [string, number][] =>
  (tokenizer.toJSON() as { model: { vocab: [string, number][] } }).model.vocab;

describe('trainUnigram', () => {
  it("fits its texts as well as Hugging Face's vocabulary of the same size", async () => {
    const tokenizer = await trainUnigram(texts, { vocabSize: 1000 });
    const pieces = piecesOf(tokenizer);
    expect(pieces.length).toBe(1000);
    const ids = tokenizer.encode(texts[0]);
    const logLikelihood = ids.reduce((sum, id) => sum + pieces[id][1], 0);
    expect(ids.length).toBeLessThan(recorded.unigram.tokens);
    expect(logLikelihood).toBeGreaterThan(recorded.unigram.logLikelihood);
    const known = new Set(recorded.unigram.vocab);
    expect(pieces.filter(([piece]) => known.has(piece)).length).toBeGreaterThan(700);
  });

  it('knows every character of its texts and gives them back', async () => {
    const tokenizer = await trainUnigram(texts, { vocabSize: 400 });
    for (const text of ['日本語の文を切る。', 'Größe', 'ROMEO: O, she doth teach the torches']) {
      expect(tokenizer.encode(text)).not.toContain(0);
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    }
    expect([...tokenizer.encode('Ω')]).toEqual([tokenizer.tokenToId('▁'), tokenizer.unkId]);
    expect(piecesOf(tokenizer).slice(1)).toEqual(
      [...piecesOf(tokenizer).slice(1)].sort((a, b) => b[1] - a[1]),
    );
  });

  it('gives the same for the same words in any order', async () => {
    const lines = texts[0].split('\n').slice(0, 500);
    const first = piecesOf(await trainUnigram(lines, { vocabSize: 200 }));
    const second = piecesOf(await trainUnigram(lines.reverse(), { vocabSize: 200 }));
    expect(second.map(([piece]) => piece)).toEqual(first.map(([piece]) => piece));
  });

  it('has special tokens first, and pieces no longer than wanted', async () => {
    const specialTokens = ['<pad>', '</s>', '<unk>'];
    const tokenizer = await trainUnigram(texts, { vocabSize: 300, specialTokens, maxPieceLength: 3 });
    expect([tokenizer.padId, tokenizer.eosId, tokenizer.unkId]).toEqual([0, 1, 2]);
    expect(piecesOf(tokenizer).length).toBe(300);
    expect(
      piecesOf(tokenizer)
        .slice(3)
        .every(([piece]) => piece.length <= 3),
    ).toBe(true);
  });

  it('reports progress and stops when told to', async () => {
    const stages = new Set<string>();
    const controller = new AbortController();
    const training = trainUnigram(texts, {
      vocabSize: 100,
      signal: controller.signal,
      onProgress: ({ stage, tokens }) => {
        stages.add(stage);
        if (stage === 'learning' && tokens < 8000) controller.abort(new Error('enough'));
      },
    });
    await expect(training).rejects.toThrow('enough');
    expect([...stages]).toEqual(['reading', 'learning']);
  });

  it('refuses wrong options', async () => {
    const refuse = async (options: object, message: string): Promise<void> => {
      const attempt = trainUnigram(texts, options);
      await expect(attempt).rejects.toThrow(ArgumentError);
      await expect(attempt).rejects.toThrow(message);
    };
    await refuse({ vocab: 5 }, "trainUnigram: unknown option 'vocab'");
    await refuse({ vocabSize: 1 }, 'trainUnigram: vocabSize must be a whole number of at least 2, got 1');
    await refuse({ vocabSize: 20 }, 'trainUnigram: vocabSize 20 has no room for the');
    await refuse({ seedSize: 0 }, 'seedSize must be a whole number of at least 1, got 0');
    await refuse({ maxPieceLength: 0 }, 'maxPieceLength must be a whole number of at least 1, got 0');
    await refuse({ shrinkingFactor: 1 }, 'shrinkingFactor must be between 0 and 1, got 1');
    await refuse({ unkToken: '?' }, "unkToken must be one of specialTokens, got '?'");
  });
});
