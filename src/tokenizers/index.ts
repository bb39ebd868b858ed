/** Tokenizers: text to ids and back. */

export type { AddedToken } from './added-tokens.js';
export { AutoTokenizer } from './auto.js';
export type { ChatMessage, ChatTemplateOptions } from './chat-template.js';
export { CharTokenizer, type CharTokenizerOptions } from './char.js';
export type { SpecialTokenName, TokenizerConfig } from './config.js';
export type { EncodeBatchOptions, EncodeOptions, Encoding, Side, TruncationStrategy } from './encoding.js';
export { packTokenizer, tokenizerHash, unpackTokenizer } from './packed.js';
export { encodeText, type EncodeTextOptions, type EncodeTextProgress } from './pieces.js';
export { PretrainedTokenizer, type EncodeChatOptions } from './pretrained.js';
export { StreamingDecoder, type StreamingDecoderOptions } from './streaming-decoder.js';
export type { DecodeOptions, Tokenizer, TokenizerEncodeOptions } from './tokenizer.js';
export { trainBpe, type TrainBpeOptions } from './train-bpe.js';
export { t5SpecialTokens, trainUnigram, type TrainUnigramOptions } from './train-unigram.js';
export { trainWordPiece, type TrainWordPieceOptions } from './train-wordpiece.js';
export type { MergeOptions } from './bpe-learning.js';
export type {
  TokenizerTrainingControl,
  TokenizerTrainingProgress,
  TokenizerTrainingSource,
} from './training-texts.js';
