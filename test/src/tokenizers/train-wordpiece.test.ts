import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { ArgumentError } from '../../../lib/errors.js';
import { trainWordPiece } from '../../../src/tokenizers/index.js';
import { readGolden, repositoryRoot } from '../../support/golden.js';

const recorded = readGolden<{
  characters: number;
  others: string;
  wordpiece: { vocab: string[]; tokens: number };
}>('tokenizer-training', 'huggingface.json');
const shakespeare = readFileSync(join(repositoryRoot, 'examples/data/tinyshakespeare.txt'), 'utf8');
const texts = [shakespeare.slice(0, recorded.characters), recorded.others];
const vocabOf = (tokenizer: { toJSON(): object }): Record<string, number> =>
  (tokenizer.toJSON() as { model: { vocab: Record<string, number> } }).model.vocab;

describe('trainWordPiece', () => {
  it("learns Hugging Face's vocabulary", async () => {
    const tokenizer = await trainWordPiece(texts, { vocabSize: 1000 });
    expect(Object.keys(vocabOf(tokenizer)).sort()).toEqual([...recorded.wordpiece.vocab].sort());
    const ids = tokenizer.encode(texts[0], { addSpecialTokens: false });
    expect(ids.length).toBe(recorded.wordpiece.tokens);
  });

  it('has the special tokens of BERT at their places', async () => {
    const tokenizer = await trainWordPiece(texts, { vocabSize: 1000 });
    expect(tokenizer.tokenize('The, Ω')).toEqual(['[CLS]', 'the', ',', '[UNK]', '[SEP]']);
    const { padId, unkId, clsId, sepId, maskId } = tokenizer;
    expect([padId, unkId, clsId, sepId, maskId]).toEqual([0, 1, 2, 3, 4]);
    const pair = tokenizer.encodePlus('a', { textPair: 'a' });
    expect([...pair.typeIds]).toEqual([0, 0, 0, 1, 1]);
    expect(tokenizer.decode(tokenizer.encode('Romeo, thou art'), { skipSpecialTokens: true })).toBe(
      'romeo, thou art',
    );
  });

  it('keeps case and accents when told to, and does without [CLS]', async () => {
    const tokenizer = await trainWordPiece(['Ünder Ünder under'], {
      ...{ lowercase: false, specialTokens: ['<unk>'], unkToken: '<unk>' },
    });
    expect(tokenizer.tokenize('Ünder under x')).toEqual(['Ünder', 'under', '<unk>']);
  });

  it('gives the same for the same words in any order', async () => {
    const first = vocabOf(await trainWordPiece(['one two three three', 'two'], { vocabSize: 40 }));
    expect(vocabOf(await trainWordPiece(['two', 'three two one three'], { vocabSize: 40 }))).toEqual(first);
  });

  it('refuses wrong options', async () => {
    const refuse = async (options: object, message: string): Promise<void> => {
      const attempt = trainWordPiece(texts, options);
      await expect(attempt).rejects.toThrow(ArgumentError);
      await expect(attempt).rejects.toThrow(message);
    };
    await refuse(
      { lowerCase: true },
      "trainWordPiece: unknown option 'lowerCase' (did you mean 'lowercase'?)",
    );
    await refuse({ lowercase: 1 }, 'trainWordPiece: lowercase must be true or false, got 1');
    await refuse({ unkToken: '?' }, "trainWordPiece: unkToken must be one of specialTokens, got '?'");
    await refuse({ limitAlphabet: -1 }, 'limitAlphabet must be a whole number of at least 0, got -1');
    await expect(trainWordPiece([''])).rejects.toThrow('trainWordPiece: the texts are empty');
  });
});
