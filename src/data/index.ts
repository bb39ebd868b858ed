/** Data: texts, and the batches of tokens that models learn from. */

export { type BatchSource, type JsonValue, type RunIdentity, type StreamState } from './batch-source.js';
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
  type StreamOptions,
  type TextPiece,
  type Texts,
} from './text.js';
export {
  BatchSampler,
  sequentialBatches,
  splitTokens,
  type Batch,
  type BatchOptions,
  type TokenSplit,
} from './tokens.js';
export { permutation } from './permutation.js';
export {
  splitTokenFile,
  TokenFileSource,
  TokenFileWindows,
  type TokenFileSourceOptions,
  type TokenRange,
} from './token-windows.js';
export {
  isTokenFile,
  TokenFile,
  TokenFileWriter,
  type TokenFileInfo,
  type TokenFileOptions,
} from './token-file.js';
export {
  tokenizeFiles,
  type TokenizeOptions,
  type TokenizeProgress,
  type TokenizeResult,
} from './tokenize.js';
