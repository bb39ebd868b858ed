/** Data: texts, and the batches of tokens that models learn from. */

export { decodeUtf8, readTexts, streamTexts, textExtensions, type TextPiece, type Texts } from './text.js';
export {
  BatchSampler,
  sequentialBatches,
  splitTokens,
  type Batch,
  type BatchOptions,
  type SamplerState,
  type TokenSplit,
} from './tokens.js';
export { permutation } from './permutation.js';
