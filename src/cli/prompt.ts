/** What to continue when nobody says what, and what is said of a prompt that is too long. */

import type { GeneratedSequence } from '../generation/index.js';
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

/** Says on standard error when the model saw only the end of a prompt. */
export function noteCut({
  promptTokens,
  prefillTokens,
}: Pick<GeneratedSequence, 'promptTokens' | 'prefillTokens'>): void {
  if (prefillTokens === 0 || prefillTokens >= promptTokens) return;
  process.stderr.write(
    `note: the prompt has ${promptTokens} tokens, more than the model's context; it saw the last ${prefillTokens}\n`,
  );
}
