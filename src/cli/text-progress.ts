/** How far texts are that are made tokens, and tokenizers that learn from them, before a training begins. */

import { encodeText, type Tokenizer, type TokenizerTrainingProgress } from '../tokenizers/index.js';
import { formatCount } from './format.js';
import { StatusLine } from './status-line.js';

/** Trains a tokenizer with its progress on standard error. @param train Is given who shows it. */
export async function showTraining<T>(
  train: (show: (state: TokenizerTrainingProgress) => void) => Promise<T>,
): Promise<T> {
  const line = new StatusLine();
  try {
    return await train(({ stage, characters, tokens }) =>
      line.update(() => [
        `tokenizer: ${stage} ${formatCount(characters)} characters`,
        ...(stage === 'learning' ? [`${tokens} tokens`] : []),
      ]),
    );
  } finally {
    line.end();
  }
}

/** The ids of a text, with progress on standard error. */
export async function encodeShown(tokenizer: Tokenizer, text: string): Promise<Int32Array> {
  const line = new StatusLine();
  try {
    return await encodeText(tokenizer, text, {
      onProgress: ({ characters, totalCharacters, tokens }) =>
        line.update(() => {
          const { percent = '', left = '' } = line.share(characters, totalCharacters);
          return [`tokenizing ${percent}`, `${formatCount(tokens)} tokens`, left];
        }),
    });
  } finally {
    line.end();
  }
}
