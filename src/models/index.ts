/** The model architectures, one file each. */

export {
  AutoModel,
  AutoModelForCausalLM,
  AutoModelForMaskedLM,
  AutoModelForQuestionAnswering,
  AutoModelForSeq2SeqLM,
  AutoModelForSequenceClassification,
  AutoModelForTextEncoding,
  AutoModelForTokenClassification,
  type AnswerModel,
  type DecoderModel,
  type EncoderModel,
  type MaskedModel,
  type PretrainedModel,
  type TextClassifier,
  type TokenClassifier,
} from './auto.js';
export type { Checkpoint, GenerationConfig, WeightFiles } from './checkpoint.js';
export { KVCache, type KVCacheSizes, type LayerCache } from './cache.js';
export { Llama } from './llama.js';
export type { LlamaConfig, LlamaModelType, LlamaPreset } from './llama-config.js';
export { causalMask, type CausalMaskOptions, type DecoderOptions } from './placement.js';
export type { RopeScaling } from './rope.js';
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
export { GPT } from './gpt.js';
export type { GPTConfig, GPTPreset, GPTSwitches } from './gpt-config.js';
export type { LoadModelOptions, SaveModelOptions } from './pretrained.js';
export {
  holdsLora,
  loadLora,
  loraBase,
  loraTrainable,
  saveLora,
  type SaveLoraOptions,
} from './lora-files.js';
