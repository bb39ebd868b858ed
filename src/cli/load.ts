/** A model and its tokenizer, as the commands that use a trained model open them. */

import { ConfigError, FileError, setThreads, StateDictError } from '../../lib/index.js';
import {
  AutoModel,
  AutoModelForCausalLM,
  AutoModelForSequenceClassification,
  type DecoderModel,
  GPT,
  Llama,
  type MaskedModel,
  type PretrainedModel,
  T5,
  type TextClassifier,
} from '../models/index.js';
import { openCheckpoint } from '../models/checkpoint.js';
import { AutoTokenizer, PretrainedTokenizer, type Tokenizer } from '../tokenizers/index.js';

/** A model that writes text, and its tokenizer. */
export interface Opened<M extends PretrainedModel = DecoderModel | T5> {
  readonly model: M;
  readonly tokenizer: Tokenizer;
}

interface OpenValues {
  readonly model: string;
  readonly tokenizer?: string;
  readonly threads?: number;
}

/** Opens a model that writes text: a decoder, or an encoder-decoder. */
export const openModel = (values: OpenValues): Opened => noting(openWith(values, generativeModel));

/** Opens a model that continues text. */
export const openDecoder = (values: OpenValues): Opened<DecoderModel> =>
  noting(openWith(values, (path) => AutoModelForCausalLM.fromPretrained(path)));

/** Opens a model that classifies texts. @throws FileError that says how a folder without a head for classes gets one. */
export const openClassifier = (values: OpenValues): Opened<TextClassifier> => openWith(values, classifier);

function classifier(path: string): TextClassifier {
  try {
    return AutoModelForSequenceClassification.fromPretrained(path);
  } catch (error) {
    if (!(error instanceof StateDictError) || isClassifier(path)) throw error;
    throw new FileError(
      path,
      `has learned no labels; train it on a table of texts and labels: tsgpt train --arch bert --from ${path} --data labels.tsv --model FOLDER`,
    );
  }
}

/** Whether the model in a folder of Hugging Face's layout has a head for the classes of texts. */
export function isClassifier(folder: string): boolean {
  const { architectures } = openCheckpoint(folder).config;
  return String(architectures).endsWith('ForSequenceClassification');
}

function generativeModel(path: string): DecoderModel | T5 {
  const model = AutoModel.fromPretrained(path);
  if (model instanceof GPT || model instanceof Llama || model instanceof T5) return model;
  throw new ConfigError(
    `${path}: is a ${model.constructor.name}, which writes no text; tsgpt embed takes it`,
  );
}

/** Opens both and checks that they belong together. */
export function openWith<M extends PretrainedModel>(
  values: OpenValues,
  load: (path: string) => M,
): Opened<M> {
  if (values.threads !== undefined) setThreads(values.threads);
  const model = load(values.model);
  const tokenizer = AutoTokenizer.fromPretrained(values.tokenizer ?? values.model);
  const { vocab_size: rows } = model.config;
  if (tokenizer.vocabSize <= rows) return { model, tokenizer };
  throw new FileError(
    values.tokenizer ?? values.model,
    `its tokenizer has ${tokenizer.vocabSize} tokens, the model in ${values.model} ${rows}: they do not belong together`,
  );
}

/** Says on standard error what is odd about them. */
function noting<M extends PretrainedModel>(opened: Opened<M>): Opened<M> {
  const { model, tokenizer } = opened;
  if (tokenizer.vocabSize < model.config.vocab_size) {
    process.stderr.write(
      `note: the tokenizer has ${tokenizer.vocabSize} tokens, the model ${model.config.vocab_size}; ` +
        'those that only the model has are never drawn\n',
    );
  }
  return opened;
}

/** The tokenizer as one of a pre-trained model, whose special tokens are known. @throws FileError for one of characters. */
export function pretrainedTokenizer(values: OpenValues, tokenizer: Tokenizer): PretrainedTokenizer {
  if (tokenizer instanceof PretrainedTokenizer) return tokenizer;
  throw new FileError(
    values.tokenizer ?? values.model,
    `is a tokenizer of kind ${tokenizer.type}, which has no special tokens for this model`,
  );
}

/** Longest text of an encoder with a head, in tokens. */
export function encoderLength(model: MaskedModel | TextClassifier): number {
  if ('bert' in model) return model.bert.contextLength;
  return 'roberta' in model ? model.roberta.contextLength : model.distilbert.contextLength;
}
