/**
 * BERT with the heads of its paper: predicting hidden tokens, predicting whether one text follows another, classes of texts and of
 * tokens, and answers in a text. Each is the base model (bert.ts) and one or two layers. `forward` gives logits; the
 * losses are functions beside it (labels.ts, masked-loss.ts), so that a model that only answers computes none.
 *
 * Shapes: B batch, T time, C channels (hidden_size), L labels, V vocabulary.
 */

import {
  defaultGenerator,
  type Generator,
  linear,
  scope,
  select,
  type Tensor,
  zeros,
} from '../../lib/index.js';
import { Dropout, LayerNorm, Linear, Module } from '../nn/index.js';
import { activations } from './activations.js';
import { bertFamily, BertModel, type BertConfig, type BertOptions, knownBertKeys } from './bert.js';
import { type Checkpoint } from './checkpoint.js';
import { firstPlaces, onlyReading, type SegmentedEncoderOptions } from './encoder.js';
import { type EncoderPart, type LoadEncoderOptions, loadEncoder, saveEncoder } from './encoder-files.js';
import { type AnswerLogits, labelNames } from './labels.js';
import { type SaveModelOptions } from './pretrained.js';
import { type LoadedEncoder } from './encoder-files.js';

type Build<M> = new (config: Partial<BertConfig>, options: BertOptions) => M;

const load = <M extends LoadedEncoder>(
  Model: Build<M>,
  part: EncoderPart,
  source: string | Checkpoint,
  options: LoadEncoderOptions,
): M =>
  loadEncoder(
    source,
    bertFamily,
    part,
    (config, more) => new Model(knownBertKeys('BERT', config), more),
    options,
  );

class Transform extends Module {
  readonly dense: Linear;
  readonly LayerNorm: LayerNorm;

  constructor(
    private readonly c: BertConfig,
    generator: Generator,
  ) {
    super();
    this.dense = new Linear(c.hidden_size, c.hidden_size, { std: c.initializer_range, generator });
    this.LayerNorm = new LayerNorm(c.hidden_size, c.layer_norm_eps);
  }

  forward(hidden: Tensor): Tensor {
    return this.LayerNorm.forward(this.dense.forward(hidden, { activation: activations[this.c.hidden_act] }));
  }
}

/** The head that predicts tokens: a dense layer, then the token embedding and a bias. */
class TokenPredictions extends Module {
  readonly transform: Transform;
  /** Null where its matrix is the token embedding; then the bias stands alone. */
  readonly decoder: Linear | null;
  readonly bias: Tensor | null;

  constructor(c: BertConfig, generator: Generator) {
    super();
    const { hidden_size: C, vocab_size: V, tie_word_embeddings: tied, initializer_range: std } = c;
    this.transform = new Transform(c, generator);
    this.decoder = tied ? null : new Linear(C, V, { std, generator });
    this.bias = tied ? zeros([V], { requiresGrad: true }) : null;
  }

  /** @param hidden (..., C) @returns (..., V) */
  forward(hidden: Tensor, embedding: Tensor): Tensor {
    const x = this.transform.forward(hidden);
    return this.decoder === null ? linear(x, embedding, this.bias) : this.decoder.forward(x);
  }
}

// Of each pair a model has one; files may hold the other, or both.
const tiedPredictions = [
  { name: 'cls.predictions.decoder.weight', to: 'bert.embeddings.word_embeddings.weight' },
  { name: 'cls.predictions.decoder.bias', to: 'cls.predictions.bias' },
  { name: 'cls.predictions.bias', to: 'cls.predictions.decoder.bias' },
];

/** BERT that predicts the tokens behind `[MASK]`. */
export class BertForMaskedLM extends Module {
  readonly config: Readonly<BertConfig>;
  readonly bert: BertModel;
  readonly cls: MaskedHead;
  initialized: readonly string[] = [];

  /** See {@link BertModel}. */
  constructor(config: Partial<BertConfig> = {}, options: BertOptions = {}) {
    super();
    this.bert = new BertModel(config, { ...options, pooler: false });
    this.config = this.bert.config;
    this.cls = new MaskedHead(this.config, options.generator ?? defaultGenerator);
  }

  /** The model in a folder of Hugging Face's layout, in evaluation mode. Its files stay mapped. */
  static fromPretrained(source: string | Checkpoint, options: LoadEncoderOptions = {}): BertForMaskedLM {
    const part = { head: ['cls.predictions'], pooler: false, tied: tiedPredictions };
    return load(BertForMaskedLM, part, source, options);
  }

  /** Writes config.json and model.safetensors, which Hugging Face's class of this name loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    saveEncoder(folder, this, 'bert', options);
  }

  /**
   * Logits of the token at every position. For training see {@link maskedTokenLoss}.
   *
   * @param ids (B, T) int32
   * @returns (B, T, V)
   */
  forward(ids: Tensor, options: SegmentedEncoderOptions = {}): Tensor {
    return scope(() => this.predict(this.hidden(ids, options)));
  }

  /** What {@link predict} is applied to, (B, T, C). */
  hidden(ids: Tensor, options: SegmentedEncoderOptions = {}): Tensor {
    return this.bert.forward(ids, options);
  }

  /** Logits (..., V) of the tokens at the positions of `hidden`, (..., C). */
  predict(hidden: Tensor): Tensor {
    return scope(() => this.cls.predictions.forward(hidden, this.bert.embeddings.word_embeddings.weight));
  }
}

class MaskedHead extends Module {
  readonly predictions: TokenPredictions;

  constructor(c: BertConfig, generator: Generator) {
    super();
    this.predictions = new TokenPredictions(c, generator);
  }
}

class PreTrainingHeads extends MaskedHead {
  readonly seq_relationship: Linear;

  constructor(c: BertConfig, generator: Generator) {
    super(c, generator);
    this.seq_relationship = new Linear(c.hidden_size, 2, { std: c.initializer_range, generator });
  }
}

/** BERT with both heads of its pre-training: the tokens behind `[MASK]`, and whether the second text follows the first. */
export class BertForPreTraining extends Module {
  readonly config: Readonly<BertConfig>;
  readonly bert: BertModel;
  readonly cls: PreTrainingHeads;
  initialized: readonly string[] = [];

  /** See {@link BertModel}. */
  constructor(config: Partial<BertConfig> = {}, options: BertOptions = {}) {
    super();
    this.bert = new BertModel(config, options);
    this.config = this.bert.config;
    this.cls = new PreTrainingHeads(this.config, options.generator ?? defaultGenerator);
  }

  /** The model in a folder of Hugging Face's layout, in evaluation mode. Its files stay mapped. */
  static fromPretrained(source: string | Checkpoint, options: LoadEncoderOptions = {}): BertForPreTraining {
    return load(BertForPreTraining, { head: ['cls'], pooler: true, tied: tiedPredictions }, source, options);
  }

  /** Writes config.json and model.safetensors, which Hugging Face's class of this name loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    saveEncoder(folder, this, 'bert', options);
  }

  /**
   * Logits of both heads. For training see {@link maskedTokenLoss}.
   *
   * @param ids (B, T) int32
   * @returns The tokens' (B, T, V), and the relationship's (B, 2): 0, the second text follows the first; 1, it does not.
   */
  forward(ids: Tensor, options: SegmentedEncoderOptions = {}): { predictions: Tensor; relationship: Tensor } {
    return scope(() => {
      const hidden = this.hidden(ids, options);
      return { predictions: this.predict(hidden), relationship: this.relate(hidden) };
    });
  }

  /** What {@link predict} and {@link relate} are applied to, (B, T, C). */
  hidden(ids: Tensor, options: SegmentedEncoderOptions = {}): Tensor {
    return this.bert.forward(ids, options);
  }

  /** Logits (..., V) of the tokens at the positions of `hidden`, (..., C). */
  predict(hidden: Tensor): Tensor {
    return scope(() => this.cls.predictions.forward(hidden, this.bert.embeddings.word_embeddings.weight));
  }

  /** Logits (B, 2) of whether the second text follows the first. */
  relate(hidden: Tensor): Tensor {
    return scope(() => this.cls.seq_relationship.forward(this.bert.pool(hidden)));
  }
}

/** A classifier's dropout and layer. */
function classifier(c: BertConfig, { generator = defaultGenerator }: BertOptions): [Dropout, Linear] {
  const labels = labelNames('BERT', c).length;
  return [
    new Dropout(c.classifier_dropout ?? c.hidden_dropout_prob, generator),
    new Linear(c.hidden_size, labels, { std: c.initializer_range, generator }),
  ];
}

/** BERT that classifies texts, or pairs of them. */
export class BertForSequenceClassification extends Module {
  readonly config: Readonly<BertConfig>;
  readonly bert: BertModel;
  readonly dropout: Dropout;
  readonly classifier: Linear;
  initialized: readonly string[] = [];

  /** See {@link BertModel}; the number of `id2label`'s entries is that of the classes. */
  constructor(config: Partial<BertConfig> = {}, options: BertOptions = {}) {
    super();
    this.bert = new BertModel(config, options);
    this.config = this.bert.config;
    [this.dropout, this.classifier] = classifier(this.config, options);
  }

  /**
   * The model in a folder of Hugging Face's layout, in evaluation mode. Its files stay mapped.
   *
   * @example
   * const model = BertForSequenceClassification.fromPretrained('bert-base-uncased', {
   *   newHead: true,
   *   labels: ['negative', 'positive'],
   * });
   */
  static fromPretrained(
    source: string | Checkpoint,
    options: LoadEncoderOptions = {},
  ): BertForSequenceClassification {
    return load(BertForSequenceClassification, { head: ['classifier'], pooler: true }, source, options);
  }

  /** Writes config.json and model.safetensors, which Hugging Face's class of this name loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    saveEncoder(folder, this, 'bert', options);
  }

  /**
   * Logits of the classes. For training see {@link classificationLoss}.
   *
   * @param ids (B, T) int32
   * @returns (B, L)
   */
  forward(ids: Tensor, options: SegmentedEncoderOptions = {}): Tensor {
    return scope(() => {
      const pooled = this.bert.pool(this.bert.forward(ids, onlyReading(options, firstPlaces(ids))));
      return this.classifier.forward(this.dropout.forward(pooled));
    });
  }
}

/** BERT that classifies each token: names, parts of speech. */
export class BertForTokenClassification extends Module {
  readonly config: Readonly<BertConfig>;
  readonly bert: BertModel;
  readonly dropout: Dropout;
  readonly classifier: Linear;
  initialized: readonly string[] = [];

  /** See {@link BertModel}; the number of `id2label`'s entries is that of the classes. */
  constructor(config: Partial<BertConfig> = {}, options: BertOptions = {}) {
    super();
    this.bert = new BertModel(config, { ...options, pooler: false });
    this.config = this.bert.config;
    [this.dropout, this.classifier] = classifier(this.config, options);
  }

  /** The model in a folder of Hugging Face's layout, in evaluation mode. Its files stay mapped. */
  static fromPretrained(
    source: string | Checkpoint,
    options: LoadEncoderOptions = {},
  ): BertForTokenClassification {
    return load(BertForTokenClassification, { head: ['classifier'], pooler: false }, source, options);
  }

  /** Writes config.json and model.safetensors, which Hugging Face's class of this name loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    saveEncoder(folder, this, 'bert', options);
  }

  /**
   * Logits of the classes at every position. For training see {@link tokenClassificationLoss}.
   *
   * @param ids (B, T) int32
   * @returns (B, T, L)
   */
  forward(ids: Tensor, options: SegmentedEncoderOptions = {}): Tensor {
    return scope(() => this.classifier.forward(this.dropout.forward(this.bert.forward(ids, options))));
  }
}

/** BERT that finds the answer to a question in a text: its first and its last token. */
export class BertForQuestionAnswering extends Module {
  readonly config: Readonly<BertConfig>;
  readonly bert: BertModel;
  readonly qa_outputs: Linear;
  initialized: readonly string[] = [];

  /** See {@link BertModel}. */
  constructor(config: Partial<BertConfig> = {}, options: BertOptions = {}) {
    super();
    this.bert = new BertModel(config, { ...options, pooler: false });
    this.config = this.bert.config;
    const { hidden_size, initializer_range: std } = this.config;
    this.qa_outputs = new Linear(hidden_size, 2, { std, generator: options.generator });
  }

  /** The model in a folder of Hugging Face's layout, in evaluation mode. Its files stay mapped. */
  static fromPretrained(
    source: string | Checkpoint,
    options: LoadEncoderOptions = {},
  ): BertForQuestionAnswering {
    return load(BertForQuestionAnswering, { head: ['qa_outputs'], pooler: false }, source, options);
  }

  /** Writes config.json and model.safetensors, which Hugging Face's class of this name loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    saveEncoder(folder, this, 'bert', options);
  }

  /**
   * Logits of where the answer starts and ends. For training see {@link answerLoss}.
   *
   * @param ids (B, T) int32, `[CLS] question [SEP] text [SEP]`
   */
  forward(ids: Tensor, options: SegmentedEncoderOptions = {}): AnswerLogits {
    return scope(() => answerLogits(this.qa_outputs.forward(this.bert.forward(ids, options))));
  }
}

/** (B, T, 2) to start and end, (B, T) each. */
export function answerLogits(logits: Tensor): AnswerLogits {
  return { start: select(logits, 2, 0), end: select(logits, 2, 1) };
}
