/**
 * BERT: an encoder whose every position sees the whole text, with learned positions, segments for pairs of texts, and
 * normalization after each sub-layer.
 *
 * Paper: "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", Devlin et al., 2018. Names,
 * layouts and configuration keys are those of Hugging Face's `bert` checkpoints. MiniLM and the sentence encoders made of
 * it are BERTs. The heads are in bert-heads.ts.
 *
 * Shapes: B batch, T time, C channels (hidden_size), H heads, D head size (C / H), V vocabulary.
 */

import {
  add,
  attentionWeights,
  ArgumentError,
  arange,
  ConfigError,
  defaultGenerator,
  type Generator,
  reshape,
  scaledDotProductAttention,
  scope,
  select,
  slice,
  tanh,
  type Tensor,
  transpose,
} from '../../lib/index.js';
import { Dropout, Embedding, LayerNorm, Linear, Module, runLayers } from '../nn/index.js';
import { type Activation, activationNames, activations } from './activations.js';
import { checkConfig, checkFits, knownKeys, type ConfigRules } from './config.js';
import { encoderPadding, once, type Padding, type SegmentedEncoderOptions } from './encoder.js';
import { type EncoderFamily, type LoadEncoderOptions, loadEncoder, saveEncoder } from './encoder-files.js';
import { labelDefaults, labelNames, type LabelConfig, problemTypes } from './labels.js';
import { type Checkpoint, type ConfigFile } from './checkpoint.js';
import { columnsOf, pack, type Packing, unpack } from './packing.js';
import { type SaveModelOptions } from './pretrained.js';

/** The keys of Hugging Face's config.json for `model_type` bert. */
export interface BertConfig extends LabelConfig {
  /** Vocabulary size, V. */
  vocab_size: number;
  /** Channels, C. */
  hidden_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  /** Width of the feed-forward layer. */
  intermediate_size: number;
  hidden_act: Activation;
  /** Dropout of the embeddings and of each sub-layer's output. */
  hidden_dropout_prob: number;
  attention_probs_dropout_prob: number;
  /** Dropout before a classifier; null means hidden_dropout_prob. */
  classifier_dropout: number | null;
  /** Longest sequence: the number of learned positions. */
  max_position_embeddings: number;
  /** Number of segments. */
  type_vocab_size: number;
  /** Standard deviation of the initial weights. */
  initializer_range: number;
  layer_norm_eps: number;
  pad_token_id: number | null;
  /** Whether the head that predicts tokens is the token embedding. */
  tie_word_embeddings: boolean;
}

const defaults: BertConfig = {
  vocab_size: 30522,
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  hidden_act: 'gelu',
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  classifier_dropout: null,
  max_position_embeddings: 512,
  type_vocab_size: 2,
  initializer_range: 0.02,
  layer_norm_eps: 1e-12,
  pad_token_id: 0,
  tie_word_embeddings: true,
  ...labelDefaults,
};

const presets = {
  'bert-base-uncased': {}, // 110 M parameters
  'bert-large-uncased': {
    hidden_size: 1024,
    num_hidden_layers: 24,
    num_attention_heads: 16,
    intermediate_size: 4096,
  }, // 335 M
  'all-MiniLM-L6-v2': { hidden_size: 384, num_hidden_layers: 6, intermediate_size: 1536 }, // 23 M
} satisfies Record<string, Partial<BertConfig>>;

/** Names of the published sizes. */
export type BertPreset = keyof typeof presets;

const rules: ConfigRules<BertConfig> = {
  vocab_size: 'positive integer',
  hidden_size: 'positive integer',
  num_hidden_layers: 'layer count',
  num_attention_heads: 'positive integer',
  intermediate_size: 'positive integer',
  hidden_act: activationNames,
  hidden_dropout_prob: 'probability',
  attention_probs_dropout_prob: 'probability',
  classifier_dropout: 'probability or null',
  max_position_embeddings: 'positive integer',
  type_vocab_size: 'positive integer',
  initializer_range: 'positive number',
  layer_norm_eps: 'positive number',
  pad_token_id: 'token id or null',
  tie_word_embeddings: 'boolean',
  id2label: 'object',
  problem_type: [...problemTypes, null],
};

/** Keys of config.json that change the computation and are served with these values only. */
const fixed = { position_embedding_type: 'absolute', is_decoder: false, add_cross_attention: false };

class Embeddings extends Module {
  readonly word_embeddings: Embedding;
  readonly position_embeddings: Embedding;
  readonly token_type_embeddings: Embedding;
  readonly LayerNorm: LayerNorm;
  readonly dropout: Dropout;

  constructor(c: BertConfig, generator: Generator) {
    super();
    const init = { std: c.initializer_range, generator };
    this.word_embeddings = new Embedding(c.vocab_size, c.hidden_size, init);
    this.position_embeddings = new Embedding(c.max_position_embeddings, c.hidden_size, init);
    this.token_type_embeddings = new Embedding(c.type_vocab_size, c.hidden_size, init);
    this.LayerNorm = new LayerNorm(c.hidden_size, c.layer_norm_eps);
    this.dropout = new Dropout(c.hidden_dropout_prob, generator);
  }

  /** @returns (B, T, C), or (1, N, C) packed */
  forward(ids: Tensor, tokenTypeIds: Tensor | null, packing: Packing | null = null): Tensor {
    const tokens = (x: Tensor): Tensor => (packing === null ? x : pack(x, packing));
    const columns = packing === null ? arange(0, ids.shape[1], 1, { dtype: 'int32' }) : columnsOf(packing);
    const segments =
      tokenTypeIds === null
        ? slice(this.token_type_embeddings.weight, 0, 0, 1) // (1, C)
        : this.token_type_embeddings.forward(tokens(tokenTypeIds)); // (B, T, C)
    const words = this.word_embeddings.forward(tokens(ids));
    const sum = add(add(words, segments), this.position_embeddings.forward(columns));
    return this.dropout.forward(this.LayerNorm.forward(sum));
  }
}

/** What a layer needs of a forward pass beside x. */
interface Context extends Padding {
  /** Where attention weights are wanted. */
  readonly attentions?: Tensor[];
}

class SelfAttention extends Module {
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;

  constructor(
    private readonly c: BertConfig,
    private readonly generator: Generator,
  ) {
    super();
    const projection = (): Linear =>
      new Linear(c.hidden_size, c.hidden_size, { std: c.initializer_range, generator });
    [this.query, this.key, this.value] = [projection(), projection(), projection()];
  }

  forward(x: Tensor, { mask, packing, attentions }: Context): Tensor {
    const [B, T, C] = x.shape;
    const H = this.c.num_attention_heads;
    const heads = (t: Tensor): Tensor => transpose(reshape(t, [B, T, H, C / H]), 1, 2);
    const [q, k, v] = [this.query, this.key, this.value].map((p) => heads(p.forward(x))); // each (B, H, T, D)
    attentions?.push(attentionWeights(q, k, { mask }).keep());
    const y = scaledDotProductAttention(q, k, v, {
      mask,
      queryLengths: packing?.lengths,
      keyLengths: packing?.lengths,
      dropout: this.training ? this.c.attention_probs_dropout_prob : 0,
      generator: this.generator,
    });
    return reshape(transpose(y, 1, 2), [B, T, C]);
  }
}

/** The end of a sub-layer: LayerNorm(x + dropout(dense(y))). */
class Output extends Module {
  readonly dense: Linear;
  readonly LayerNorm: LayerNorm;
  readonly dropout: Dropout;

  constructor(inputs: number, c: BertConfig, generator: Generator) {
    super();
    this.dense = new Linear(inputs, c.hidden_size, { std: c.initializer_range, generator });
    this.LayerNorm = new LayerNorm(c.hidden_size, c.layer_norm_eps);
    this.dropout = new Dropout(c.hidden_dropout_prob, generator);
  }

  forward(y: Tensor, x: Tensor): Tensor {
    return this.LayerNorm.forward(this.dropout.addTo(x, (finish) => this.dense.forward(y, finish)));
  }
}

class Attention extends Module {
  readonly self: SelfAttention;
  readonly output: Output;

  constructor(c: BertConfig, generator: Generator) {
    super();
    this.self = new SelfAttention(c, generator);
    this.output = new Output(c.hidden_size, c, generator);
  }

  forward(x: Tensor, context: Context): Tensor {
    return this.output.forward(this.self.forward(x, context), x);
  }
}

class Intermediate extends Module {
  readonly dense: Linear;

  constructor(
    private readonly c: BertConfig,
    generator: Generator,
  ) {
    super();
    this.dense = new Linear(c.hidden_size, c.intermediate_size, { std: c.initializer_range, generator });
  }

  forward(x: Tensor): Tensor {
    return this.dense.forward(x, { activation: activations[this.c.hidden_act] });
  }
}

class Layer extends Module {
  readonly attention: Attention;
  readonly intermediate: Intermediate;
  readonly output: Output;

  constructor(c: BertConfig, generator: Generator) {
    super();
    this.attention = new Attention(c, generator);
    this.intermediate = new Intermediate(c, generator);
    this.output = new Output(c.intermediate_size, c, generator);
  }

  /** The scope gives back at once what neither the next layer nor backward needs. */
  forward(x: Tensor, context: Context): Tensor {
    return scope(() => {
      const attended = this.attention.forward(x, context);
      return this.output.forward(this.intermediate.forward(attended), attended);
    });
  }
}

/** The layers, which RoBERTa shares. */
export class BertEncoder extends Module {
  readonly layer: Layer[];

  constructor(c: BertConfig, generator: Generator) {
    super();
    this.layer = Array.from({ length: c.num_hidden_layers }, () => new Layer(c, generator));
  }

  /** @param x (B, T, C), or (1, N, C) packed @returns (B, T, C) */
  forward(x: Tensor, context: Context): Tensor {
    const y = runLayers(once(this, context), this.layer, x, context, (layer, z, shared) =>
      layer.forward(z, shared),
    );
    return context.packing === null ? y : unpack(y, context.packing);
  }
}

/** tanh(dense(x at the first position)). */
export class BertPooler extends Module {
  readonly dense: Linear;

  constructor(c: BertConfig, generator: Generator) {
    super();
    this.dense = new Linear(c.hidden_size, c.hidden_size, { std: c.initializer_range, generator });
  }

  forward(hidden: Tensor): Tensor {
    return tanh(this.dense.forward(select(hidden, 1, 0)));
  }
}

/** Options of the constructors of BERT's classes. */
export interface BertOptions {
  /** The stream of the weights and of dropout. */
  readonly generator?: Generator;
}

/** BERT without a head: texts to a vector for each token. */
export class BertModel extends Module {
  readonly config: Readonly<BertConfig>;
  readonly embeddings: Embeddings;
  readonly encoder: BertEncoder;
  /** Null in models that were trained without it. */
  readonly pooler: BertPooler | null;
  /** Parameters that {@link fromPretrained} did not find in the file. */
  initialized: readonly string[] = [];

  /**
   * A model with random weights, N(0, 0.02).
   *
   * @param config What differs from bert-base-uncased; see {@link BertConfig}.
   * @param options.pooler Whether there is a pooler, true by default.
   * @throws ConfigError naming the key, the value and the rule.
   */
  constructor(config: Partial<BertConfig> = {}, options: BertOptions & { pooler?: boolean } = {}) {
    super();
    const c = checkBertConfig('BertModel', config);
    const { generator = defaultGenerator, pooler = true } = options;
    checkFits('BertModel', BertModel.countParameters(c, { pooler }));
    this.config = c;
    this.embeddings = new Embeddings(c, generator);
    this.encoder = new BertEncoder(c, generator);
    this.pooler = pooler ? new BertPooler(c, generator) : null;
  }

  /** Number of weights of a configuration, without building it; like the constructor's, it says what differs. */
  static countParameters(config: Partial<BertConfig> = {}, { pooler = true } = {}): number {
    const c = { ...defaults, ...config };
    const [C, I] = [c.hidden_size, c.intermediate_size];
    const tables = (c.vocab_size + c.max_position_embeddings + c.type_vocab_size + 2) * C;
    return (
      tables +
      c.num_hidden_layers * (4 * (C + 1) * C + (C + 1) * I + (I + 1) * C + 4 * C) +
      (pooler ? (C + 1) * C : 0)
    );
  }

  /** A published size with random weights; `overrides` change single keys. */
  static fromPreset(
    name: BertPreset,
    overrides: Partial<BertConfig> = {},
    options: BertOptions = {},
  ): BertModel {
    return new BertModel({ ...bertPreset(name), ...overrides }, options);
  }

  /**
   * The model in a folder of Hugging Face's layout, of the base model or with any head, in evaluation mode.
   *
   * @param options.pooler False for a file without one: that of a model which was trained to predict tokens only.
   */
  static fromPretrained(
    source: string | Checkpoint,
    options: Omit<LoadEncoderOptions, 'newHead' | 'labels'> & { pooler?: boolean } = {},
  ): BertModel {
    const { pooler = true, ...rest } = options;
    const build = (config: ConfigFile, more: BertOptions): BertModel =>
      new BertModel(knownBertKeys('BertModel', config), { ...more, pooler });
    return loadEncoder(source, bertFamily, { head: [], pooler }, build, rest);
  }

  /** Writes config.json and model.safetensors, which Hugging Face's BertModel loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    saveEncoder(folder, this, 'bert', options);
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
   * @throws ShapeError when the sequence is longer than max_position_embeddings or an option's shape is not that of the
   *   ids; IndexError when an id is outside the vocabulary, or a segment outside the segments.
   */
  forward(ids: Tensor, options: SegmentedEncoderOptions = {}): Tensor {
    const padding = encoderPadding('BertModel', ids, options, this.contextLength);
    return scope(() => {
      const x = this.embeddings.forward(ids, options.tokenTypeIds ?? null, padding.packing);
      return this.encoder.forward(x, { ...padding, attentions: options.attentions }); // (B, T, C)
    });
  }

  /**
   * What the model was trained to say about a whole text or pair: tanh of a dense layer on the first position.
   *
   * @param hidden (B, T, C), what {@link forward} gave
   * @returns (B, C)
   * @throws ArgumentError when the model has no pooler.
   */
  pool(hidden: Tensor): Tensor {
    if (this.pooler === null) {
      throw new ArgumentError(`BertModel.pool: this model has no pooler; use poolTokens(hidden, 'mean')`);
    }
    return scope(() => this.pooler!.forward(hidden));
  }
}

/** The configuration with its defaults, every key checked. */
export function checkBertConfig(model: string, config: Partial<BertConfig>): BertConfig {
  const c = checkConfig(model, { ...defaults, ...config }, rules);
  if (c.hidden_size % c.num_attention_heads !== 0) {
    throw new ConfigError(
      `${model}: hidden_size must be a multiple of num_attention_heads, got ${c.hidden_size} and ${c.num_attention_heads}`,
    );
  }
  labelNames(model, c);
  return c;
}

/** The keys of a config.json that BERT knows. */
export const knownBertKeys = (model: string, config: ConfigFile): Partial<BertConfig> =>
  knownKeys(model, config, rules, fixed);

export function bertPreset(name: BertPreset): Partial<BertConfig> {
  if (!Object.hasOwn(presets, name)) {
    throw new ArgumentError(`BERT: no preset '${name}'; there are ${Object.keys(presets).join(', ')}`);
  }
  return presets[name];
}

/** How BERT's files are named. */
export const bertFamily: EncoderFamily = {
  modelTypes: ['bert'],
  base: 'bert',
  heads: ['cls', 'classifier', 'qa_outputs'],
  dropouts: ['hidden_dropout_prob', 'attention_probs_dropout_prob', 'classifier_dropout'],
};
