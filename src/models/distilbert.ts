/**
 * DistilBERT: a BERT of half the depth that was taught by BERT; without segments and without a pooler.
 *
 * Paper: "DistilBERT, a distilled version of BERT", Sanh et al., 2019. Names, layouts and configuration keys are those of
 * Hugging Face's `distilbert` checkpoints, which share none with BERT's below the embeddings.
 *
 * Shapes: B batch, T time, C channels (dim), H heads, D head size (C / H), L labels, V vocabulary.
 */

import {
  add,
  arange,
  attentionWeights,
  ConfigError,
  defaultGenerator,
  type Generator,
  linear,
  relu,
  reshape,
  scaledDotProductAttention,
  scope,
  select,
  type Tensor,
  transpose,
  zeros,
} from '../../lib/index.js';
import { Dropout, Embedding, LayerNorm, Linear, Module, runLayers } from '../nn/index.js';
import { type Activation, activationNames, activations } from './activations.js';
import { type BertOptions } from './bert.js';
import { answerLogits } from './bert-heads.js';
import { checkConfig, checkFits, type ConfigRules, knownKeys } from './config.js';
import {
  encoderOptions,
  encoderPadding,
  type EncoderOptions,
  firstPlaces,
  once,
  onlyReading,
  type Padding,
} from './encoder.js';
import {
  type EncoderPart,
  type LoadedEncoder,
  type LoadEncoderOptions,
  loadEncoder,
  saveEncoder,
} from './encoder-files.js';
import { type AnswerLogits, type LabelConfig, labelDefaults, labelNames, problemTypes } from './labels.js';
import { type Checkpoint, type ConfigFile } from './checkpoint.js';
import { columnsOf, pack, type Packing, unpack } from './packing.js';
import { type SaveModelOptions } from './pretrained.js';

/** The keys of Hugging Face's config.json for `model_type` distilbert. */
export interface DistilBertConfig extends LabelConfig {
  /** Vocabulary size, V. */
  vocab_size: number;
  /** Longest sequence: the number of learned positions. */
  max_position_embeddings: number;
  /** Channels, C. */
  dim: number;
  n_layers: number;
  n_heads: number;
  /** Width of the feed-forward layer. */
  hidden_dim: number;
  activation: Activation;
  dropout: number;
  attention_dropout: number;
  /** Dropout before the head that answers, and before the one that classifies texts. */
  qa_dropout: number;
  seq_classif_dropout: number;
  /** Standard deviation of the initial weights. */
  initializer_range: number;
  pad_token_id: number | null;
  /** Whether the head that predicts tokens is the token embedding. */
  tie_word_embeddings: boolean;
}

const defaults: DistilBertConfig = {
  vocab_size: 30522,
  max_position_embeddings: 512,
  dim: 768,
  n_layers: 6,
  n_heads: 12,
  hidden_dim: 3072,
  activation: 'gelu',
  dropout: 0.1,
  attention_dropout: 0.1,
  qa_dropout: 0.1,
  seq_classif_dropout: 0.2,
  initializer_range: 0.02,
  pad_token_id: 0,
  tie_word_embeddings: true,
  ...labelDefaults,
};

const rules: ConfigRules<DistilBertConfig> = {
  vocab_size: 'positive integer',
  max_position_embeddings: 'positive integer',
  dim: 'positive integer',
  n_layers: 'layer count',
  n_heads: 'positive integer',
  hidden_dim: 'positive integer',
  activation: activationNames,
  dropout: 'probability',
  attention_dropout: 'probability',
  qa_dropout: 'probability',
  seq_classif_dropout: 'probability',
  initializer_range: 'positive number',
  pad_token_id: 'token id or null',
  tie_word_embeddings: 'boolean',
  id2label: 'object',
  problem_type: [...problemTypes, null],
};

const normEps = 1e-12; // not configurable

const family = {
  modelTypes: ['distilbert'],
  base: 'distilbert',
  heads: [
    'vocab_transform',
    'vocab_layer_norm',
    'vocab_projector',
    'pre_classifier',
    'classifier',
    'qa_outputs',
  ],
  dropouts: ['dropout', 'attention_dropout', 'qa_dropout', 'seq_classif_dropout'],
};

/** `sinusoidal_pos_embds` says how the position table began; the table itself is in the file. */
const known = (config: ConfigFile): Partial<DistilBertConfig> => knownKeys('DistilBERT', config, rules, {});

const load = <M extends LoadedEncoder>(
  Model: new (config: Partial<DistilBertConfig>, options: BertOptions) => M,
  part: EncoderPart,
  source: string | Checkpoint,
  options: LoadEncoderOptions,
): M => loadEncoder(source, family, part, (config, more) => new Model(known(config), more), options);

/** What a layer needs of a forward pass beside x. */
interface Context extends Padding {
  /** Where attention weights are wanted. */
  readonly attentions?: Tensor[];
}

class Embeddings extends Module {
  readonly word_embeddings: Embedding;
  readonly position_embeddings: Embedding;
  readonly LayerNorm: LayerNorm;
  readonly dropout: Dropout;

  constructor(c: DistilBertConfig, generator: Generator) {
    super();
    const init = { std: c.initializer_range, generator };
    this.word_embeddings = new Embedding(c.vocab_size, c.dim, init);
    this.position_embeddings = new Embedding(c.max_position_embeddings, c.dim, init);
    this.LayerNorm = new LayerNorm(c.dim, normEps);
    this.dropout = new Dropout(c.dropout, generator);
  }

  /** @returns (B, T, C), or (1, N, C) packed */
  forward(ids: Tensor, packing: Packing | null): Tensor {
    const columns = packing === null ? arange(0, ids.shape[1], 1, { dtype: 'int32' }) : columnsOf(packing);
    const words = this.word_embeddings.forward(packing === null ? ids : pack(ids, packing));
    const sum = add(words, this.position_embeddings.forward(columns));
    return this.dropout.forward(this.LayerNorm.forward(sum));
  }
}

class Attention extends Module {
  readonly q_lin: Linear;
  readonly k_lin: Linear;
  readonly v_lin: Linear;
  readonly out_lin: Linear;

  constructor(
    private readonly c: DistilBertConfig,
    private readonly generator: Generator,
  ) {
    super();
    const projection = (): Linear => new Linear(c.dim, c.dim, { std: c.initializer_range, generator });
    [this.q_lin, this.k_lin, this.v_lin] = [projection(), projection(), projection()];
    this.out_lin = projection();
  }

  /** x + attention(x) */
  forward(x: Tensor, { mask, packing, attentions }: Context): Tensor {
    const [B, T, C] = x.shape;
    const H = this.c.n_heads;
    const heads = (t: Tensor): Tensor => transpose(reshape(t, [B, T, H, C / H]), 1, 2);
    const [q, k, v] = [this.q_lin, this.k_lin, this.v_lin].map((p) => heads(p.forward(x))); // each (B, H, T, D)
    attentions?.push(attentionWeights(q, k, { mask }).keep());
    const y = scaledDotProductAttention(q, k, v, {
      mask,
      queryLengths: packing?.lengths,
      keyLengths: packing?.lengths,
      dropout: this.training ? this.c.attention_dropout : 0,
      generator: this.generator,
    });
    return this.out_lin.forward(reshape(transpose(y, 1, 2), [B, T, C]), { residual: x });
  }
}

class FeedForward extends Module {
  readonly lin1: Linear;
  readonly lin2: Linear;
  readonly dropout: Dropout;

  constructor(
    private readonly c: DistilBertConfig,
    generator: Generator,
  ) {
    super();
    const init = { std: c.initializer_range, generator };
    this.lin1 = new Linear(c.dim, c.hidden_dim, init);
    this.lin2 = new Linear(c.hidden_dim, c.dim, init);
    this.dropout = new Dropout(c.dropout, generator);
  }

  /** x + dropout(lin2(act(lin1 x))) */
  forward(x: Tensor): Tensor {
    const inner = this.lin1.forward(x, { activation: activations[this.c.activation] });
    return this.dropout.addTo(x, (finish) => this.lin2.forward(inner, finish));
  }
}

class Layer extends Module {
  readonly attention: Attention;
  readonly sa_layer_norm: LayerNorm;
  readonly ffn: FeedForward;
  readonly output_layer_norm: LayerNorm;

  constructor(c: DistilBertConfig, generator: Generator) {
    super();
    this.attention = new Attention(c, generator);
    this.sa_layer_norm = new LayerNorm(c.dim, normEps);
    this.ffn = new FeedForward(c, generator);
    this.output_layer_norm = new LayerNorm(c.dim, normEps);
  }

  /** The scope gives back at once what neither the next layer nor backward needs. */
  forward(x: Tensor, context: Context): Tensor {
    return scope(() => {
      const attended = this.sa_layer_norm.forward(this.attention.forward(x, context));
      return this.output_layer_norm.forward(this.ffn.forward(attended));
    });
  }
}

class Transformer extends Module {
  readonly layer: Layer[];

  constructor(c: DistilBertConfig, generator: Generator) {
    super();
    this.layer = Array.from({ length: c.n_layers }, () => new Layer(c, generator));
  }
}

/** DistilBERT without a head: texts to a vector for each token. */
export class DistilBertModel extends Module {
  readonly config: Readonly<DistilBertConfig>;
  readonly embeddings: Embeddings;
  readonly transformer: Transformer;
  /** Parameters that {@link fromPretrained} did not find in the file. */
  initialized: readonly string[] = [];

  /**
   * A model with random weights, N(0, 0.02).
   *
   * @param config What differs from distilbert-base-uncased; see {@link DistilBertConfig}.
   * @throws ConfigError naming the key, the value and the rule.
   */
  constructor(config: Partial<DistilBertConfig> = {}, { generator = defaultGenerator }: BertOptions = {}) {
    super();
    const c = checkConfig('DistilBertModel', { ...defaults, ...config }, rules);
    if (c.dim % c.n_heads !== 0) {
      throw new ConfigError(
        `DistilBertModel: dim must be a multiple of n_heads, got ${c.dim} and ${c.n_heads}`,
      );
    }
    labelNames('DistilBertModel', c);
    checkFits('DistilBertModel', DistilBertModel.countParameters(c));
    this.config = c;
    this.embeddings = new Embeddings(c, generator);
    this.transformer = new Transformer(c, generator);
  }

  /** Number of weights of a configuration, without building it; like the constructor's, it says what differs. */
  static countParameters(config: Partial<DistilBertConfig> = {}): number {
    const c = { ...defaults, ...config };
    const [C, I] = [c.dim, c.hidden_dim];
    const layer = 4 * (C + 1) * C + (C + 1) * I + (I + 1) * C + 4 * C;
    return (c.vocab_size + c.max_position_embeddings + 2) * C + c.n_layers * layer;
  }

  /** The model in a folder of Hugging Face's layout, of the base model or with any head, in evaluation mode. */
  static fromPretrained(
    source: string | Checkpoint,
    options: Omit<LoadEncoderOptions, 'newHead' | 'labels'> = {},
  ): DistilBertModel {
    return load(DistilBertModel, { head: [], pooler: false }, source, options);
  }

  /** Writes config.json and model.safetensors, which Hugging Face's DistilBertModel loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    saveEncoder(folder, this, 'distilbert', options);
  }

  /** Longest sequence the model can see. */
  get contextLength(): number {
    return this.config.max_position_embeddings;
  }

  /**
   * A vector for each token; {@link poolTokens} makes one of a text's.
   *
   * @param ids (B, T) int32, `[CLS]` first
   * @returns (B, T, C)
   * @throws ShapeError when the sequence is longer than the context; IndexError when an id is outside the vocabulary.
   */
  forward(ids: Tensor, options: EncoderOptions = {}): Tensor {
    const padding = encoderPadding('DistilBertModel', ids, options, this.contextLength, encoderOptions);
    return scope(() => {
      const { packing } = padding;
      const x = this.embeddings.forward(ids, packing);
      const context = { ...padding, attentions: options.attentions };
      const y = runLayers(once(this, context), this.transformer.layer, x, context, (layer, z, shared) =>
        layer.forward(z, shared),
      );
      return packing === null ? y : unpack(y, packing); // (B, T, C)
    });
  }
}

/** The last layer of the head that predicts tokens. */
class Projector extends Module {
  /** Null where it is the token embedding. */
  readonly weight: Tensor | null;
  readonly bias: Tensor;

  constructor(c: DistilBertConfig, generator: Generator) {
    super();
    const own = c.tie_word_embeddings
      ? null
      : new Linear(c.dim, c.vocab_size, { std: c.initializer_range, generator });
    this.weight = own?.weight ?? null;
    this.bias = own?.bias ?? zeros([c.vocab_size], { requiresGrad: true });
  }
}

/** DistilBERT that predicts the tokens behind `[MASK]`. */
export class DistilBertForMaskedLM extends Module {
  readonly config: Readonly<DistilBertConfig>;
  readonly distilbert: DistilBertModel;
  readonly vocab_transform: Linear;
  readonly vocab_layer_norm: LayerNorm;
  readonly vocab_projector: Projector;
  initialized: readonly string[] = [];

  /** See {@link DistilBertModel}. */
  constructor(config: Partial<DistilBertConfig> = {}, options: BertOptions = {}) {
    super();
    this.distilbert = new DistilBertModel(config, options);
    const { generator = defaultGenerator } = options;
    const c = (this.config = this.distilbert.config);
    this.vocab_transform = new Linear(c.dim, c.dim, { std: c.initializer_range, generator });
    this.vocab_layer_norm = new LayerNorm(c.dim, normEps);
    this.vocab_projector = new Projector(c, generator);
  }

  /** The model in a folder of Hugging Face's layout, in evaluation mode. Its files stay mapped. */
  static fromPretrained(
    source: string | Checkpoint,
    options: LoadEncoderOptions = {},
  ): DistilBertForMaskedLM {
    const head = ['vocab_transform', 'vocab_layer_norm', 'vocab_projector'];
    const tied = [{ name: 'vocab_projector.weight', to: 'distilbert.embeddings.word_embeddings.weight' }];
    return load(DistilBertForMaskedLM, { head, pooler: false, tied }, source, options);
  }

  /** Writes config.json and model.safetensors, which Hugging Face's class of this name loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    saveEncoder(folder, this, 'distilbert', options);
  }

  /** Logits of the token at every position, (B, T, V). For training see {@link maskedTokenLoss}. */
  forward(ids: Tensor, options: EncoderOptions = {}): Tensor {
    return scope(() => this.predict(this.hidden(ids, options)));
  }

  /** What {@link predict} is applied to, (B, T, C). */
  hidden(ids: Tensor, options: EncoderOptions = {}): Tensor {
    return this.distilbert.forward(ids, options);
  }

  /** Logits (..., V) of the tokens at the positions of `hidden`, (..., C). */
  predict(hidden: Tensor): Tensor {
    return scope(() => {
      const x = this.vocab_transform.forward(hidden, { activation: activations[this.config.activation] });
      const { weight, bias } = this.vocab_projector;
      const embedding = this.distilbert.embeddings.word_embeddings.weight;
      return linear(this.vocab_layer_norm.forward(x), weight ?? embedding, bias);
    });
  }
}

/** DistilBERT that classifies texts, or pairs of them. */
export class DistilBertForSequenceClassification extends Module {
  readonly config: Readonly<DistilBertConfig>;
  readonly distilbert: DistilBertModel;
  readonly pre_classifier: Linear;
  readonly classifier: Linear;
  readonly dropout: Dropout;
  initialized: readonly string[] = [];

  /** See {@link DistilBertModel}; the number of `id2label`'s entries is that of the classes. */
  constructor(config: Partial<DistilBertConfig> = {}, options: BertOptions = {}) {
    super();
    this.distilbert = new DistilBertModel(config, options);
    const { generator = defaultGenerator } = options;
    const c = (this.config = this.distilbert.config);
    const init = { std: c.initializer_range, generator };
    this.pre_classifier = new Linear(c.dim, c.dim, init);
    this.classifier = new Linear(c.dim, labelNames('DistilBERT', c).length, init);
    this.dropout = new Dropout(c.seq_classif_dropout, generator);
  }

  /** The model in a folder of Hugging Face's layout, in evaluation mode. Its files stay mapped. */
  static fromPretrained(
    source: string | Checkpoint,
    options: LoadEncoderOptions = {},
  ): DistilBertForSequenceClassification {
    const head = ['pre_classifier', 'classifier'];
    return load(DistilBertForSequenceClassification, { head, pooler: false }, source, options);
  }

  /** Writes config.json and model.safetensors, which Hugging Face's class of this name loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    saveEncoder(folder, this, 'distilbert', options);
  }

  /** Logits of the classes, (B, L). For training see {@link classificationLoss}. */
  forward(ids: Tensor, options: EncoderOptions = {}): Tensor {
    return scope(() => {
      const first = select(this.distilbert.forward(ids, onlyReading(options, firstPlaces(ids))), 1, 0); // (B, C)
      return this.classifier.forward(this.dropout.forward(relu(this.pre_classifier.forward(first))));
    });
  }
}

/** DistilBERT that classifies each token. */
export class DistilBertForTokenClassification extends Module {
  readonly config: Readonly<DistilBertConfig>;
  readonly distilbert: DistilBertModel;
  readonly dropout: Dropout;
  readonly classifier: Linear;
  initialized: readonly string[] = [];

  /** See {@link DistilBertModel}; the number of `id2label`'s entries is that of the classes. */
  constructor(config: Partial<DistilBertConfig> = {}, options: BertOptions = {}) {
    super();
    this.distilbert = new DistilBertModel(config, options);
    const { generator = defaultGenerator } = options;
    const c = (this.config = this.distilbert.config);
    this.dropout = new Dropout(c.dropout, generator);
    const labels = labelNames('DistilBERT', c).length;
    this.classifier = new Linear(c.dim, labels, { std: c.initializer_range, generator });
  }

  /** The model in a folder of Hugging Face's layout, in evaluation mode. Its files stay mapped. */
  static fromPretrained(
    source: string | Checkpoint,
    options: LoadEncoderOptions = {},
  ): DistilBertForTokenClassification {
    return load(DistilBertForTokenClassification, { head: ['classifier'], pooler: false }, source, options);
  }

  /** Writes config.json and model.safetensors, which Hugging Face's class of this name loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    saveEncoder(folder, this, 'distilbert', options);
  }

  /** Logits of the classes at every position, (B, T, L). For training see {@link tokenClassificationLoss}. */
  forward(ids: Tensor, options: EncoderOptions = {}): Tensor {
    return scope(() => this.classifier.forward(this.dropout.forward(this.distilbert.forward(ids, options))));
  }
}

/** DistilBERT that finds the answer to a question in a text. */
export class DistilBertForQuestionAnswering extends Module {
  readonly config: Readonly<DistilBertConfig>;
  readonly distilbert: DistilBertModel;
  readonly dropout: Dropout;
  readonly qa_outputs: Linear;
  initialized: readonly string[] = [];

  /** See {@link DistilBertModel}. */
  constructor(config: Partial<DistilBertConfig> = {}, options: BertOptions = {}) {
    super();
    this.distilbert = new DistilBertModel(config, options);
    const { generator = defaultGenerator } = options;
    const c = (this.config = this.distilbert.config);
    this.dropout = new Dropout(c.qa_dropout, generator);
    this.qa_outputs = new Linear(c.dim, 2, { std: c.initializer_range, generator });
  }

  /** The model in a folder of Hugging Face's layout, in evaluation mode. Its files stay mapped. */
  static fromPretrained(
    source: string | Checkpoint,
    options: LoadEncoderOptions = {},
  ): DistilBertForQuestionAnswering {
    return load(DistilBertForQuestionAnswering, { head: ['qa_outputs'], pooler: false }, source, options);
  }

  /** Writes config.json and model.safetensors, which Hugging Face's class of this name loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    saveEncoder(folder, this, 'distilbert', options);
  }

  /** Logits of where the answer starts and ends. For training see {@link answerLoss}. */
  forward(ids: Tensor, options: EncoderOptions = {}): AnswerLogits {
    return scope(() => {
      const hidden = this.dropout.forward(this.distilbert.forward(ids, options));
      return answerLogits(this.qa_outputs.forward(hidden));
    });
  }
}
