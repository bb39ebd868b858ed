/** What to continue when nobody says what. */

import type { Tokenizer } from '../tokenizers/index.js';

/** A line break, as after it a new piece of text begins; the first token where the vocabulary has no line break. */
export function defaultPrompt(tokenizer: Tokenizer): string {
  try {
    tokenizer.encode('\n');
    return '\n';
  } catch {
    return tokenizer.decode([0]);
  }
}
