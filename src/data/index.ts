/** Data: texts, and the batches of tokens that models learn from. */

export {
  documentExtensions,
  streamDocuments,
  type DocumentFormat,
  type DocumentOptions,
  type DocumentPiece,
} from './documents.js';
export {
  decodeUtf8,
  listFiles,
  readTexts,
  streamTexts,
  textExtensions,
  type TextPiece,
  type Texts,
} from './text.js';
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
export { TokenFile, TokenFileWriter, type TokenFileInfo, type TokenFileOptions } from './token-file.js';
export {
  tokenizeFiles,
  type TokenizeOptions,
  type TokenizeProgress,
  type TokenizeResult,
} from './tokenize.js';
