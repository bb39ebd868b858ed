/**
 * RoBERTa: BERT's layers, trained longer on more text, and without segments.
 *
 * Paper: "RoBERTa: A Robustly Optimized BERT Pretraining Approach", Liu et al., 2019. Names, layouts and configuration keys are
 * those of Hugging Face's `roberta` checkpoints; XLM-RoBERTa and CamemBERT are the same model. What differs from BERT
 * (bert.ts): positions count the tokens of a row that are no padding, from pad_token_id + 1 on; the heads have other names;
 * a text is classified from its first token without the pooler.
 *
 * Shapes: B batch, T time, C channels (hidden_size), L labels, V vocabulary.
 */

import {
  add,
  ArgumentError,
  ConfigError,
  defaultGenerator,
  type Generator,
  linear,
  scope,
  select,
  slice,
  tanh,
  type Tensor,
  tensor,
  zeros,
} from '../../lib/index.js';
import { Dropout, Embedding, LayerNorm, Linear, Module } from '../nn/index.js';
import {
  BertEncoder,
  type BertConfig,
  BertModel,
  type BertOptions,
  BertPooler,
  bertFamily,
  checkBertConfig,
  knownBertKeys,
} from './bert.js';
import { answerLogits } from './bert-heads.js';
import { checkFits } from './config.js';
import { type Checkpoint } from './checkpoint.js';
import { encoderOptions, encoderPadding, type EncoderOptions, firstPlaces, onlyReading } from './encoder.js';
import {
  type EncoderPart,
  type LoadedEncoder,
  type LoadEncoderOptions,
  loadEncoder,
  saveEncoder,
} from './encoder-files.js';
import { type AnswerLogits, labelNames } from './labels.js';
import { pack, type Packing } from './packing.js';
import { type SaveModelOptions } from './pretrained.js';

/** The keys of Hugging Face's config.json for `model_type` roberta, which are BERT's. */
export type RobertaConfig = BertConfig;

const defaults: Partial<RobertaConfig> = {
  vocab_size: 50265,
  max_position_embeddings: 514,
  type_vocab_size: 1,
  layer_norm_eps: 1e-5,
  pad_token_id: 1,
};

/** The values of `model_type` that this architecture has. */
export const robertaTypes = ['roberta', 'xlm-roberta', 'camembert'];

const family = {
  modelTypes: robertaTypes,
  base: 'roberta',
  heads: ['lm_head', 'classifier', 'qa_outputs'],
  dropouts: bertFamily.dropouts,
};

const load = <M extends LoadedEncoder>(
  Model: new (config: Partial<RobertaConfig>, options: BertOptions) => M,
  part: EncoderPart,
  source: string | Checkpoint,
  options: LoadEncoderOptions,
): M =>
  loadEncoder(
    source,
    family,
    part,
    (config, more) => new Model(knownBertKeys('RoBERTa', config), more),
    options,
  );

class Embeddings extends Module {
  readonly word_embeddings: Embedding;
  readonly position_embeddings: Embedding;
  readonly token_type_embeddings: Embedding;
  readonly LayerNorm: LayerNorm;
  readonly dropout: Dropout;

  constructor(
    private readonly c: RobertaConfig,
    generator: Generator,
  ) {
    super();
    const init = { std: c.initializer_range, generator };
    this.word_embeddings = new Embedding(c.vocab_size, c.hidden_size, init);
    this.position_embeddings = new Embedding(c.max_position_embeddings, c.hidden_size, init);
    this.token_type_embeddings = new Embedding(c.type_vocab_size, c.hidden_size, init);
    this.LayerNorm = new LayerNorm(c.hidden_size, c.layer_norm_eps);
    this.dropout = new Dropout(c.hidden_dropout_prob, generator);
  }

  /** @returns (B, T, C), or (1, N, C) packed */
  forward(ids: Tensor, packing: Packing | null): Tensor {
    const tokens = (x: Tensor): Tensor => (packing === null ? x : pack(x, packing));
    const positions = tokens(positionsOf(ids, this.c.pad_token_id!));
    const segment = slice(this.token_type_embeddings.weight, 0, 0, 1); // (1, C)
    const words = this.word_embeddings.forward(tokens(ids));
    const sum = add(add(words, segment), this.position_embeddings.forward(positions));
    return this.dropout.forward(this.LayerNorm.forward(sum));
  }
}

/** For each token how many stand before it in its row, from pad + 1 on; pad for padding. */
function positionsOf(ids: Tensor, pad: number): Tensor {
  const [B, T] = ids.shape;
  const positions = Int32Array.from(ids.data);
  for (let row = 0, at = 0; row < B; row++) {
    for (let column = 0, next = pad + 1; column < T; column++, at++) {
      positions[at] = positions[at] === pad ? pad : next++;
    }
  }
  return tensor(positions, { shape: [B, T] });
}

/** RoBERTa without a head: texts to a vector for each token. */
export class RobertaModel extends Module {
  readonly config: Readonly<RobertaConfig>;
  readonly embeddings: Embeddings;
  readonly encoder: BertEncoder;
  /** Null in models that were trained without it. */
  readonly pooler: BertPooler | null;
  /** Parameters that {@link fromPretrained} did not find in the file. */
  initialized: readonly string[] = [];

  /**
   * A model with random weights, N(0, 0.02).
   *
   * @param config What differs from roberta-base.
   * @param options.pooler Whether there is a pooler, true by default.
   * @throws ConfigError naming the key, the value and the rule.
   */
  constructor(config: Partial<RobertaConfig> = {}, options: BertOptions & { pooler?: boolean } = {}) {
    super();
    const c = checkBertConfig('RobertaModel', { ...defaults, ...config });
    const { pad_token_id: pad, max_position_embeddings: positions } = c;
    if (pad === null || pad + 1 >= positions) {
      throw new ConfigError(
        `RobertaModel: positions count from pad_token_id + 1 on, got pad_token_id ${pad} and max_position_embeddings ${positions}`,
      );
    }
    const { generator = defaultGenerator, pooler = true } = options;
    checkFits('RobertaModel', BertModel.countParameters(c, { pooler }));
    this.config = c;
    this.embeddings = new Embeddings(c, generator);
    this.encoder = new BertEncoder(c, generator);
    this.pooler = pooler ? new BertPooler(c, generator) : null;
  }

  /**
   * The model in a folder of Hugging Face's layout, of the base model or with any head, in evaluation mode.
   *
   * @param options.pooler False for a file without one: that of a model which was trained to predict tokens only.
   */
  static fromPretrained(
    source: string | Checkpoint,
    options: Omit<LoadEncoderOptions, 'newHead' | 'labels'> & { pooler?: boolean } = {},
  ): RobertaModel {
    const { pooler = true, ...rest } = options;
    const build = (config: Record<string, unknown>, more: BertOptions): RobertaModel =>
      new RobertaModel(knownBertKeys('RoBERTa', config), { ...more, pooler });
    return loadEncoder(source, family, { head: [], pooler }, build, rest);
  }

  /** Writes config.json and model.safetensors, which Hugging Face's RobertaModel loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    saveEncoder(folder, this, 'roberta', options);
  }

  /** Longest sequence the model can see. */
  get contextLength(): number {
    return this.config.max_position_embeddings - this.config.pad_token_id! - 1;
  }

  /**
   * A vector for each token; {@link poolTokens} makes one of a text's.
   *
   * @param ids (B, T) int32, `<s>` first; padding must be pad_token_id
   * @returns (B, T, C)
   * @throws ShapeError when the sequence is longer than the context; IndexError when an id is outside the vocabulary.
   */
  forward(ids: Tensor, options: EncoderOptions = {}): Tensor {
    const padding = encoderPadding('RobertaModel', ids, options, this.contextLength, encoderOptions);
    return scope(() => {
      const x = this.embeddings.forward(ids, padding.packing);
      return this.encoder.forward(x, { ...padding, attentions: options.attentions });
    });
  }

  /** See {@link BertModel.pool}. */
  pool(hidden: Tensor): Tensor {
    if (this.pooler === null) {
      throw new ArgumentError(`RobertaModel.pool: this model has no pooler; use poolTokens(hidden, 'mean')`);
    }
    return scope(() => this.pooler!.forward(hidden));
  }
}

/** The head that predicts tokens: a dense layer, then the token embedding and a bias. */
class LMHead extends Module {
  readonly dense: Linear;
  readonly layer_norm: LayerNorm;
  /** Null where its matrix is the token embedding; then the bias stands alone. */
  readonly decoder: Linear | null;
  readonly bias: Tensor | null;

  constructor(c: RobertaConfig, generator: Generator) {
    super();
    const { hidden_size: C, vocab_size: V, tie_word_embeddings: tied, initializer_range: std } = c;
    this.dense = new Linear(C, C, { std, generator });
    this.layer_norm = new LayerNorm(C, c.layer_norm_eps);
    this.decoder = tied ? null : new Linear(C, V, { std, generator });
    this.bias = tied ? zeros([V], { requiresGrad: true }) : null;
  }

  forward(hidden: Tensor, embedding: Tensor): Tensor {
    const x = this.layer_norm.forward(this.dense.forward(hidden, { activation: 'gelu' }));
    return this.decoder === null ? linear(x, embedding, this.bias) : this.decoder.forward(x);
  }
}

/** RoBERTa that predicts the tokens behind `<mask>`. */
export class RobertaForMaskedLM extends Module {
  readonly config: Readonly<RobertaConfig>;
  readonly roberta: RobertaModel;
  readonly lm_head: LMHead;
  initialized: readonly string[] = [];

  /** See {@link RobertaModel}. */
  constructor(config: Partial<RobertaConfig> = {}, options: BertOptions = {}) {
    super();
    this.roberta = new RobertaModel(config, { ...options, pooler: false });
    this.config = this.roberta.config;
    this.lm_head = new LMHead(this.config, options.generator ?? defaultGenerator);
  }

  /** The model in a folder of Hugging Face's layout, in evaluation mode. Its files stay mapped. */
  static fromPretrained(source: string | Checkpoint, options: LoadEncoderOptions = {}): RobertaForMaskedLM {
    const tied = [
      { name: 'lm_head.decoder.weight', to: 'roberta.embeddings.word_embeddings.weight' },
      { name: 'lm_head.decoder.bias', to: 'lm_head.bias' },
      { name: 'lm_head.bias', to: 'lm_head.decoder.bias' },
    ];
    return load(RobertaForMaskedLM, { head: ['lm_head'], pooler: false, tied }, source, options);
  }

  /** Writes config.json and model.safetensors, which Hugging Face's class of this name loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    saveEncoder(folder, this, 'roberta', options);
  }

  /** Logits of the token at every position, (B, T, V). For training see {@link maskedTokenLoss}. */
  forward(ids: Tensor, options: EncoderOptions = {}): Tensor {
    return scope(() => this.predict(this.hidden(ids, options)));
  }

  /** What {@link predict} is applied to, (B, T, C). */
  hidden(ids: Tensor, options: EncoderOptions = {}): Tensor {
    return this.roberta.forward(ids, options);
  }

  /** Logits (..., V) of the tokens at the positions of `hidden`, (..., C). */
  predict(hidden: Tensor): Tensor {
    return scope(() => this.lm_head.forward(hidden, this.roberta.embeddings.word_embeddings.weight));
  }
}

/** The head that classifies a text by its first token. */
class ClassificationHead extends Module {
  readonly dense: Linear;
  readonly dropout: Dropout;
  readonly out_proj: Linear;

  constructor(c: RobertaConfig, generator: Generator) {
    super();
    const init = { std: c.initializer_range, generator };
    this.dense = new Linear(c.hidden_size, c.hidden_size, init);
    this.dropout = new Dropout(c.classifier_dropout ?? c.hidden_dropout_prob, generator);
    this.out_proj = new Linear(c.hidden_size, labelNames('RoBERTa', c).length, init);
  }

  forward(hidden: Tensor): Tensor {
    const first = this.dropout.forward(select(hidden, 1, 0)); // (B, C)
    return this.out_proj.forward(this.dropout.forward(tanh(this.dense.forward(first))));
  }
}

/** RoBERTa that classifies texts, or pairs of them. */
export class RobertaForSequenceClassification extends Module {
  readonly config: Readonly<RobertaConfig>;
  readonly roberta: RobertaModel;
  readonly classifier: ClassificationHead;
  initialized: readonly string[] = [];

  /** See {@link RobertaModel}; the number of `id2label`'s entries is that of the classes. */
  constructor(config: Partial<RobertaConfig> = {}, options: BertOptions = {}) {
    super();
    this.roberta = new RobertaModel(config, { ...options, pooler: false });
    this.config = this.roberta.config;
    this.classifier = new ClassificationHead(this.config, options.generator ?? defaultGenerator);
  }

  /** The model in a folder of Hugging Face's layout, in evaluation mode. Its files stay mapped. */
  static fromPretrained(
    source: string | Checkpoint,
    options: LoadEncoderOptions = {},
  ): RobertaForSequenceClassification {
    return load(RobertaForSequenceClassification, { head: ['classifier'], pooler: false }, source, options);
  }

  /** Writes config.json and model.safetensors, which Hugging Face's class of this name loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    saveEncoder(folder, this, 'roberta', options);
  }

  /** Logits of the classes, (B, L). For training see {@link classificationLoss}. */
  forward(ids: Tensor, options: EncoderOptions = {}): Tensor {
    const read = onlyReading(options, firstPlaces(ids));
    return scope(() => this.classifier.forward(this.roberta.forward(ids, read)));
  }
}

/** RoBERTa that classifies each token. */
export class RobertaForTokenClassification extends Module {
  readonly config: Readonly<RobertaConfig>;
  readonly roberta: RobertaModel;
  readonly dropout: Dropout;
  readonly classifier: Linear;
  initialized: readonly string[] = [];

  /** See {@link RobertaModel}; the number of `id2label`'s entries is that of the classes. */
  constructor(config: Partial<RobertaConfig> = {}, options: BertOptions = {}) {
    super();
    this.roberta = new RobertaModel(config, { ...options, pooler: false });
    const { generator = defaultGenerator } = options;
    const c = (this.config = this.roberta.config);
    this.dropout = new Dropout(c.classifier_dropout ?? c.hidden_dropout_prob, generator);
    const labels = labelNames('RoBERTa', c).length;
    this.classifier = new Linear(c.hidden_size, labels, { std: c.initializer_range, generator });
  }

  /** The model in a folder of Hugging Face's layout, in evaluation mode. Its files stay mapped. */
  static fromPretrained(
    source: string | Checkpoint,
    options: LoadEncoderOptions = {},
  ): RobertaForTokenClassification {
    return load(RobertaForTokenClassification, { head: ['classifier'], pooler: false }, source, options);
  }

  /** Writes config.json and model.safetensors, which Hugging Face's class of this name loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    saveEncoder(folder, this, 'roberta', options);
  }

  /** Logits of the classes at every position, (B, T, L). For training see {@link tokenClassificationLoss}. */
  forward(ids: Tensor, options: EncoderOptions = {}): Tensor {
    return scope(() => this.classifier.forward(this.dropout.forward(this.roberta.forward(ids, options))));
  }
}

/** RoBERTa that finds the answer to a question in a text. */
export class RobertaForQuestionAnswering extends Module {
  readonly config: Readonly<RobertaConfig>;
  readonly roberta: RobertaModel;
  readonly qa_outputs: Linear;
  initialized: readonly string[] = [];

  /** See {@link RobertaModel}. */
  constructor(config: Partial<RobertaConfig> = {}, options: BertOptions = {}) {
    super();
    this.roberta = new RobertaModel(config, { ...options, pooler: false });
    const { hidden_size, initializer_range: std } = (this.config = this.roberta.config);
    this.qa_outputs = new Linear(hidden_size, 2, { std, generator: options.generator });
  }

  /** The model in a folder of Hugging Face's layout, in evaluation mode. Its files stay mapped. */
  static fromPretrained(
    source: string | Checkpoint,
    options: LoadEncoderOptions = {},
  ): RobertaForQuestionAnswering {
    return load(RobertaForQuestionAnswering, { head: ['qa_outputs'], pooler: false }, source, options);
  }

  /** Writes config.json and model.safetensors, which Hugging Face's class of this name loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    saveEncoder(folder, this, 'roberta', options);
  }

  /** Logits of where the answer starts and ends. For training see {@link answerLoss}. */
  forward(ids: Tensor, options: EncoderOptions = {}): AnswerLogits {
    return scope(() => answerLogits(this.qa_outputs.forward(this.roberta.forward(ids, options))));
  }
}
