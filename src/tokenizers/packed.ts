/** A tokenizer as one text, for files that bring theirs along, and the hash by which files name theirs. */

import { createHash } from 'node:crypto';

import { FileError } from '../../lib/errors.js';
import { CharTokenizer } from './char.js';
import { readTokenizerConfig } from './config.js';
import { PretrainedTokenizer } from './pretrained.js';
import { naming } from './sources/files.js';
import { partsFromJson } from './sources/tokenizer-json.js';
import type { Tokenizer } from './tokenizer.js';

/** SHA-256 of a tokenizer's `tokenizer.json`, in hexadecimal: equal for tokenizers that give equal ids. */
export const tokenizerHash = (tokenizer: Tokenizer): string =>
  createHash('sha256').update(JSON.stringify(tokenizer)).digest('hex');

/** JSON of `{ tokenizer, config }`: the contents of its `tokenizer.json` and `tokenizer_config.json`. */
export function packTokenizer(tokenizer: Tokenizer): string {
  const config = tokenizer instanceof PretrainedTokenizer ? tokenizer.configToJSON() : {};
  return JSON.stringify({ tokenizer, config });
}

/**
 * The tokenizer that {@link packTokenizer} wrote.
 * @param file Where the text comes from, for messages.
 * @throws FileError when it is none.
 */
export function unpackTokenizer(file: string, text: string): CharTokenizer | PretrainedTokenizer {
  let packed: { tokenizer?: unknown; config?: unknown } | null;
  try {
    packed = JSON.parse(text) as typeof packed;
  } catch (cause) {
    throw new FileError(file, 'is damaged: the tokenizer in it is not JSON; tokenize again', { cause });
  }
  const { tokenizer, config } = packed ?? {};
  return naming(
    file,
    () =>
      CharTokenizer.fromJSON(tokenizer) ??
      new PretrainedTokenizer(partsFromJson(tokenizer), readTokenizerConfig(config)),
  );
}
