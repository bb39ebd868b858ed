/**
 * Models whose class the files name: by the `model_type` of their configuration (GGUF: `general.architecture`), and for
 * models with a head by `architectures`. {@link AutoModel} gives whatever a folder holds; the others, named as Hugging
 * Face's, give one kind and refuse the rest.
 */

import { ConfigError, didYouMean } from '../../lib/index.js';
import {
  BertForMaskedLM,
  BertForPreTraining,
  BertForQuestionAnswering,
  BertForSequenceClassification,
  BertForTokenClassification,
} from './bert-heads.js';
import { BertModel } from './bert.js';
import { type Checkpoint, openCheckpoint } from './checkpoint.js';
import {
  DistilBertForMaskedLM,
  DistilBertForQuestionAnswering,
  DistilBertForSequenceClassification,
  DistilBertForTokenClassification,
  DistilBertModel,
} from './distilbert.js';
import { type LoadEncoderOptions } from './encoder-files.js';
import { ownType } from './gpt-config.js';
import { GPT } from './gpt.js';
import { modelTypes as llamaTypes } from './llama-config.js';
import { Llama } from './llama.js';
import { holdsLora, loadLora, loraBase } from './lora-files.js';
import type { Module } from '../nn/index.js';
import type { LoadModelOptions } from './pretrained.js';
import {
  RobertaForMaskedLM,
  RobertaForQuestionAnswering,
  RobertaForSequenceClassification,
  RobertaForTokenClassification,
  RobertaModel,
  robertaTypes,
} from './roberta.js';
import { T5 } from './t5.js';

/** The decoders: models that continue text. */
export type DecoderModel = GPT | Llama;
/** The encoders without a head: models that give a vector for each token. */
export type EncoderModel = BertModel | RobertaModel | DistilBertModel;
/** Encoders that predict the tokens behind a mask. */
export type MaskedModel = BertForMaskedLM | BertForPreTraining | RobertaForMaskedLM | DistilBertForMaskedLM;
/** Encoders that classify texts. */
export type TextClassifier =
  BertForSequenceClassification | RobertaForSequenceClassification | DistilBertForSequenceClassification;
/** Encoders that classify tokens. */
export type TokenClassifier =
  BertForTokenClassification | RobertaForTokenClassification | DistilBertForTokenClassification;
/** Encoders that find answers in a text. */
export type AnswerModel =
  BertForQuestionAnswering | RobertaForQuestionAnswering | DistilBertForQuestionAnswering;
/** All of them, and the encoder-decoders. */
export type PretrainedModel =
  DecoderModel | T5 | EncoderModel | MaskedModel | TextClassifier | TokenClassifier | AnswerModel;

/** Loads a class from an open checkpoint. */
type Load<M, O> = (checkpoint: Checkpoint, options: O) => M;

/** A family's class for each `model_type`. */
type Families<M, O> = Readonly<Record<string, Load<M, O>>>;

const each = <T>(types: readonly string[], load: T): Record<string, T> =>
  Object.fromEntries(types.map((type) => [type, load]));

const decoders: Families<DecoderModel, LoadModelOptions> = {
  ...each(['gpt2', ownType], (from, options) => GPT.fromPretrained(from, options)),
  ...each(llamaTypes, (from, options) => Llama.fromPretrained(from, options)),
};

const encoderDecoders: Families<T5, LoadModelOptions> = {
  t5: (from, options) => T5.fromPretrained(from, options),
};

const pooler = ({ weights }: Checkpoint): boolean =>
  weights.names().some((name) => /^(\w+\.)?pooler\.dense\.weight$/.test(name));

const encoders: Families<EncoderModel, LoadModelOptions> = {
  bert: (from, options) => BertModel.fromPretrained(from, { ...options, pooler: pooler(from) }),
  ...each(robertaTypes, (from: Checkpoint, options: LoadModelOptions) =>
    RobertaModel.fromPretrained(from, { ...options, pooler: pooler(from) }),
  ),
  distilbert: (from, options) => DistilBertModel.fromPretrained(from, options),
};

/** A class with a head for each family of encoders. */
function heads<M>(
  bert: { fromPretrained: Load<M, LoadEncoderOptions> },
  roberta: { fromPretrained: Load<M, LoadEncoderOptions> },
  distilbert: { fromPretrained: Load<M, LoadEncoderOptions> },
): Families<M, LoadEncoderOptions> {
  return {
    bert: (from, options) => bert.fromPretrained(from, options),
    ...each(robertaTypes, (from: Checkpoint, options: LoadEncoderOptions) =>
      roberta.fromPretrained(from, options),
    ),
    distilbert: (from, options) => distilbert.fromPretrained(from, options),
  };
}

const maskedModels = heads<MaskedModel>(BertForMaskedLM, RobertaForMaskedLM, DistilBertForMaskedLM);
const textClassifiers = heads<TextClassifier>(
  BertForSequenceClassification,
  RobertaForSequenceClassification,
  DistilBertForSequenceClassification,
);
const tokenClassifiers = heads<TokenClassifier>(
  BertForTokenClassification,
  RobertaForTokenClassification,
  DistilBertForTokenClassification,
);
const answerModels = heads<AnswerModel>(
  BertForQuestionAnswering,
  RobertaForQuestionAnswering,
  DistilBertForQuestionAnswering,
);

/** What the class name in `architectures` ends with, and who loads such a model. */
const byHead: Readonly<Record<string, Families<PretrainedModel, LoadEncoderOptions>>> = {
  Model: encoders,
  ForMaskedLM: maskedModels,
  ForPreTraining: { bert: (from, options) => BertForPreTraining.fromPretrained(from, options) },
  ForSequenceClassification: textClassifiers,
  ForTokenClassification: tokenClassifiers,
  ForQuestionAnswering: answerModels,
};

/** Loads the models of one kind, whatever their family. */
class AutoClass<M extends Module, O extends LoadModelOptions> {
  readonly #name: string;
  readonly #families: Families<M, O>;

  constructor(name: string, families: Families<M, O>) {
    this.#name = name;
    this.#families = families;
  }

  /** The values of `model_type` that are known. */
  get modelTypes(): readonly string[] {
    return Object.keys(this.#families);
  }

  /**
   * The model in a folder of Hugging Face's layout, or in a GGUF file, in evaluation mode. Its files stay mapped. A folder of
   * adapters (LoRA) gives the model that they belong to with them added.
   *
   * @param source The folder or file.
   * @param options.dtype What matrices and tables are kept in; the file's own width by default.
   * @throws ConfigError for a type that is not known; FileError, ConfigError or StateDictError naming what does not fit.
   */
  fromPretrained(source: string, options: O = {} as O): M {
    if (holdsLora(source)) {
      const model = this.fromPretrained(loraBase(source), options);
      loadLora(source, model).merge();
      return model;
    }
    const checkpoint = openCheckpoint(source);
    return familyOf(this.#name, checkpoint, this.#families)(checkpoint, options);
  }
}

function familyOf<M, O>(name: string, { path, config }: Checkpoint, families: Families<M, O>): Load<M, O> {
  const { model_type: type } = config;
  const known = Object.keys(families);
  const loads = `${name} loads ${known.join(', ')}`;
  if (typeof type === 'string' && Object.hasOwn(families, type)) return families[type];
  const elsewhere = typeof type === 'string' && Object.hasOwn(allFamilies, type);
  const hint = elsewhere ? '; AutoModel loads it' : didYouMean(String(type), known);
  throw new ConfigError(`${path}: model_type is ${JSON.stringify(type)}, ${loads}${hint}`);
}

/** An encoder with the head that its configuration names. */
function loadByHead(checkpoint: Checkpoint, options: LoadModelOptions): PretrainedModel {
  const { path, config } = checkpoint;
  const { model_type: type, architectures } = config as { model_type: string; architectures?: unknown };
  const [architecture = 'Model'] = Array.isArray(architectures) ? (architectures as unknown[]) : [];
  const kind = /(Model|For\w+)$/.exec(String(architecture))?.[0] ?? '';
  if (Object.hasOwn(byHead, kind) && Object.hasOwn(byHead[kind], type)) {
    return byHead[kind][type](checkpoint, options);
  }
  const known = Object.keys(byHead).filter((name) => Object.hasOwn(byHead[name], type));
  throw new ConfigError(
    `${path}: architectures is ${JSON.stringify(architectures)}, known for ${type} are those that end with ${known.join(', ')}; ` +
      'AutoModelForTextEncoding loads the base model of any',
  );
}

const allFamilies: Families<PretrainedModel, LoadModelOptions> = {
  ...decoders,
  ...encoderDecoders,
  ...each(Object.keys(encoders), loadByHead),
};

/**
 * Loads whatever a folder holds: `instanceof` tells what it is.
 *
 * @example
 * const model = AutoModel.fromPretrained('all-MiniLM-L6-v2'); // a BertModel
 */
export const AutoModel = new AutoClass<PretrainedModel, LoadModelOptions>('AutoModel', allFamilies);

/**
 * Loads models that continue text.
 *
 * @example
 * const model = AutoModelForCausalLM.fromPretrained('SmolLM2-135M', { dtype: 'bfloat16' });
 */
export const AutoModelForCausalLM = new AutoClass('AutoModelForCausalLM', decoders);

/** Loads models that read a text and write another. */
export const AutoModelForSeq2SeqLM = new AutoClass('AutoModelForSeq2SeqLM', encoderDecoders);

/** Loads the encoder of a model with any head, or without: what {@link EncoderModel} says. */
export const AutoModelForTextEncoding = new AutoClass('AutoModelForTextEncoding', encoders);

/** Loads encoders that predict masked tokens; with `newHead` the head starts from random weights. */
export const AutoModelForMaskedLM = new AutoClass('AutoModelForMaskedLM', maskedModels);

/**
 * Loads encoders that classify texts.
 *
 * @example
 * const model = AutoModelForSequenceClassification.fromPretrained('bert-base-uncased', {
 *   newHead: true,
 *   labels: ['negative', 'positive'],
 * });
 */
export const AutoModelForSequenceClassification = new AutoClass(
  'AutoModelForSequenceClassification',
  textClassifiers,
);

/** Loads encoders that classify tokens. */
export const AutoModelForTokenClassification = new AutoClass(
  'AutoModelForTokenClassification',
  tokenClassifiers,
);

/** Loads encoders that find answers in a text. */
export const AutoModelForQuestionAnswering = new AutoClass('AutoModelForQuestionAnswering', answerModels);
