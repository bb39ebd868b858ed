/** Data: texts, and the batches of tokens that models learn from. */

export { type BatchSource, type JsonValue, type RunIdentity, type StreamState } from './batch-source.js';
export { decodeUtf8, readTexts, streamTexts, textExtensions, type TextPiece, type Texts } from './text.js';
export {
  BatchSampler,
  sequentialBatches,
  splitTokens,
  type Batch,
  type BatchOptions,
  type TokenSplit,
} from './tokens.js';
