/** The model architectures, one file each. */

export { KVCache, type KVCacheSizes, type LayerCache } from './cache.js';
export { Llama, type LlamaConfig, type LlamaModelType, type LlamaPreset } from './llama.js';
export type { DecoderOptions } from './placement.js';
export type { RopeScaling } from './rope.js';
export { GPT, type GPTConfig, type GPTPreset } from './gpt.js';
export { BertModel, type BertConfig, type BertOptions, type BertPreset } from './bert.js';
export {
  BertForMaskedLM,
  BertForPreTraining,
  BertForQuestionAnswering,
  BertForSequenceClassification,
  BertForTokenClassification,
} from './bert-heads.js';
export { poolTokens, type EncoderOptions, type Pooling, type SegmentedEncoderOptions } from './encoder.js';
export { type LoadEncoderOptions } from './encoder-files.js';
export {
  answerLoss,
  classificationLoss,
  labelIndex,
  tokenClassificationLoss,
  type AnswerLogits,
  type LabelConfig,
  type ProblemType,
} from './labels.js';
export { maskedTokenLoss, preTrainingLoss, type MaskedLanguageModel } from './masked-loss.js';
export {
  DistilBertForMaskedLM,
  DistilBertForQuestionAnswering,
  DistilBertForSequenceClassification,
  DistilBertForTokenClassification,
  DistilBertModel,
  type DistilBertConfig,
} from './distilbert.js';
export {
  RobertaForMaskedLM,
  RobertaForQuestionAnswering,
  RobertaForSequenceClassification,
  RobertaForTokenClassification,
  RobertaModel,
  type RobertaConfig,
} from './roberta.js';
export { Seq2SeqCache } from './seq2seq-cache.js';
export { seq2seqLoss, shiftRight } from './seq2seq-loss.js';
export { T5, type T5Config, type T5DecoderOptions, type T5Preset } from './t5.js';
