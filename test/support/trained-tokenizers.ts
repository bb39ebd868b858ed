/** One small tokenizer of each kind. */

import {
  CharTokenizer,
  trainBpe,
  trainUnigram,
  trainWordPiece,
  type Tokenizer,
} from '../../src/tokenizers/index.js';

export const trainedKinds = ['char', 'bpe', 'wordpiece', 'unigram'] as const;

/**
 * @param text What all but `char` are trained on.
 * @param alphabet Has all characters that `char` will see.
 */
export async function trainTokenizers(text: string, alphabet: string): Promise<Map<string, Tokenizer>> {
  return new Map<string, Tokenizer>([
    ['char', CharTokenizer.fromText(alphabet)],
    ['bpe', await trainBpe([text], { vocabSize: 500, specialTokens: ['<|endoftext|>'] })],
    ['wordpiece', await trainWordPiece([text], { vocabSize: 300 })],
    ['unigram', await trainUnigram([text], { vocabSize: 300 })],
  ]);
}
