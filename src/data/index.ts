/** Data: texts and tables, and the batches that models learn from. */

export { type BatchSource, type JsonValue, type RunIdentity } from './batch-source.js';
export {
  classBatches,
  encodeClassExamples,
  encodeSeq2SeqExamples,
  exampleBatches,
  ExampleSource,
  seq2seqBatches,
  shuffle,
  type ClassBatch,
  type ClassExample,
  type ExampleSourceOptions,
  type Seq2SeqExample,
} from './examples.js';
export { TokenMasker, type MaskedIds, type MaskingOptions } from './masked.js';
export {
  maskedBatches,
  MaskedTextSource,
  NextSentenceSource,
  splitSentences,
  type MaskedBatch,
} from './masked-text.js';
export { padIds, padRows, type PaddedIds } from './padding.js';
export {
  classesOf,
  labelsOf,
  readLabelledTexts,
  readTextPairs,
  type ExampleColumns,
  type LabelledText,
  type TextPair,
  type TextPairColumns,
} from './rows.js';
export {
  corruptedBatches,
  corruptSpans,
  restoreSpans,
  spanCounts,
  SpanCorruptionSource,
  spanVocabulary,
  type CorruptedIds,
  type Seq2SeqBatch,
  type SpanBatchOptions,
  type SpanCorruptionOptions,
  type SpanVocabulary,
} from './span-corruption.js';
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
} from '../../lib/formats/text-files.js';
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
