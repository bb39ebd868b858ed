/** Tokenizers: text to ids and back. */

export type { AddedToken } from './added-tokens.js';
export { AutoTokenizer } from './auto.js';
export { CharTokenizer, type CharTokenizerOptions } from './char.js';
export type { SpecialTokenName, TokenizerConfig } from './config.js';
export type { EncodeBatchOptions, EncodeOptions, Encoding, Side, TruncationStrategy } from './encoding.js';
export { PretrainedTokenizer } from './pretrained.js';
export type { DecodeOptions, Tokenizer, TokenizerEncodeOptions } from './tokenizer.js';
