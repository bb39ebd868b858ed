/** Tokenizers: text to ids and back. */

export { CharTokenizer, type CharTokenizerOptions } from './char.js';
export { loadTokenizer } from './load.js';
export type { Tokenizer } from './tokenizer.js';
