/**
 * T5: an encoder that reads a text and a decoder that writes another, attending to what it has written and to the encoder's
 * output. Positions are relative: a bias on the scores by the distance of key and query, learned for buckets of distances.
 *
 * Paper: "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", Raffel et al., 2020; the gated
 * form (v1.1, Flan) after "GLU Variants Improve Transformer", Shazeer, 2020. Names, layouts and configuration keys are
 * those of Hugging Face's `t5` checkpoints. Scores are not scaled, no layer has a bias, normalization is before each sub-layer.
 *
 * Shapes: B batch, S source length, T target length, C channels (d_model), H heads, D head size (d_kv), V vocabulary.
 */

import {
  add,
  ArgumentError,
  ConfigError,
  defaultGenerator,
  expandRelativeBias,
  formatShape,
  type Generator,
  linear,
  mul,
  scope,
  ShapeError,
  type Tensor,
} from '../../lib/index.js';
import { checkOptions } from '../../lib/errors.js';
import { checkTensor } from '../../lib/tensor.js';
import { Embedding, Linear, Module } from '../nn/index.js';
import { type Activation, activationNames } from './activations.js';
import { checkConfig, checkFits, knownKeys, type ConfigRules } from './config.js';
import {
  encoderOptions,
  encoderPadding,
  type EncoderOptions,
  hidingMask,
  noPadding,
  type Padding,
  paddingOf,
} from './encoder.js';
import { pack, unpack } from './packing.js';
import { type Checkpoint, type ConfigFile, type GenerationConfig, tokenIds } from './checkpoint.js';
import {
  loadCheckpoint,
  type LoadModelOptions,
  saveCheckpoint,
  type SaveModelOptions,
} from './pretrained.js';
import { Seq2SeqCache } from './seq2seq-cache.js';
import { type CrossAttentionLayer, type T5Context, type T5Scores, T5Stack } from './t5-layers.js';

/** The keys of Hugging Face's config.json for `model_type` t5. */
export interface T5Config {
  /** Vocabulary size, V. */
  vocab_size: number;
  /** Channels, C. */
  d_model: number;
  /** Size of a head, D; H D need not be C. */
  d_kv: number;
  /** Width of the feed-forward layers. */
  d_ff: number;
  /** Layers of the encoder. */
  num_layers: number;
  /** Layers of the decoder; null means as many. */
  num_decoder_layers: number | null;
  num_heads: number;
  relative_attention_num_buckets: number;
  /** Distances from here on share a bucket. */
  relative_attention_max_distance: number;
  dropout_rate: number;
  layer_norm_epsilon: number;
  /** Factor of the initial weights' standard deviations. */
  initializer_factor: number;
  /** The activation, with `gated-` before it where it gates a second projection. */
  feed_forward_proj: `${'' | 'gated-'}${Activation}`;
  /** Whether the output head is the token embedding. */
  tie_word_embeddings: boolean;
  /** Whether the decoder's output is multiplied by 1 / √C before the head; as tie_word_embeddings by default. */
  scale_decoder_outputs: boolean;
  /** What the decoder starts from. */
  decoder_start_token_id: number | null;
  pad_token_id: number | null;
  eos_token_id: number | number[] | null;
}

const defaults: T5Config = {
  vocab_size: 32128,
  d_model: 512,
  d_kv: 64,
  d_ff: 2048,
  num_layers: 6,
  num_decoder_layers: null,
  num_heads: 8,
  relative_attention_num_buckets: 32,
  relative_attention_max_distance: 128,
  dropout_rate: 0.1,
  layer_norm_epsilon: 1e-6,
  initializer_factor: 1,
  feed_forward_proj: 'relu',
  tie_word_embeddings: true,
  scale_decoder_outputs: true,
  decoder_start_token_id: 0,
  pad_token_id: 0,
  eos_token_id: 1,
};

const base = { d_model: 768, num_layers: 12, num_heads: 12 };
const gated = { feed_forward_proj: 'gated-gelu', tie_word_embeddings: false } as const;
const presets = {
  't5-small': {}, // 61 M parameters
  't5-base': { ...base, d_ff: 3072 }, // 223 M
  'flan-t5-small': { ...gated, d_ff: 1024, num_layers: 8, num_heads: 6 }, // 77 M
  'flan-t5-base': { ...gated, ...base, d_ff: 2048 }, // 248 M
} satisfies Record<string, Partial<T5Config>>;

/** Names of the published sizes. */
export type T5Preset = keyof typeof presets;

const rules: ConfigRules<T5Config> = {
  vocab_size: 'positive integer',
  d_model: 'positive integer',
  d_kv: 'positive integer',
  d_ff: 'positive integer',
  num_layers: 'layer count',
  num_decoder_layers: 'layer count or null',
  num_heads: 'positive integer',
  relative_attention_num_buckets: 'positive integer',
  relative_attention_max_distance: 'positive integer',
  dropout_rate: 'probability',
  layer_norm_epsilon: 'positive number',
  initializer_factor: 'positive number',
  feed_forward_proj: ['', 'gated-'].flatMap((gate) => activationNames.map((name) => gate + name)),
  tie_word_embeddings: 'boolean',
  scale_decoder_outputs: 'boolean',
  decoder_start_token_id: 'token id or null',
  pad_token_id: 'token id or null',
  eos_token_id: 'token id, a list of them or null',
};

/** Keys of config.json that change the computation and are served with these values only. */
const fixed = { is_encoder_decoder: true };

/** Arguments of {@link T5.forward} and {@link T5.hidden} beside the decoder's ids. */
export interface T5DecoderOptions {
  /** (B, S, C), what {@link T5.encode} gave. Not needed with a cache that has begun. */
  readonly encoderOutput?: Tensor;
  /** (B, S) bool, the mask that the encoder had. */
  readonly encoderMask?: Tensor;
  /** What came before: the ids are then the positions that follow it, and are added to it. */
  readonly cache?: Seq2SeqCache;
  /** Compute the logits of the last position only. */
  readonly lastOnly?: boolean;
  /** Lists that the attention weights of each layer are added to, (B, H, T, T) and (B, H, T, S). They are kept. */
  readonly attentions?: Tensor[];
  readonly crossAttentions?: Tensor[];
}

const optionNames = ['encoderOutput', 'encoderMask', 'cache', 'lastOnly', 'attentions', 'crossAttentions'];

/** A T5 that turns one text into another. */
export class T5 extends Module {
  readonly config: Readonly<T5Config>;
  readonly shared: Embedding;
  readonly encoder: T5Stack;
  readonly decoder: T5Stack;
  /** The output head; null when it is tied to the token embedding. */
  readonly lm_head: Linear | null;
  /** What `generate` does where it is not told: the contents of generation_config.json. */
  generationConfig: GenerationConfig;

  /**
   * A model with random weights, initialized as the paper's code does.
   *
   * @param config What differs from t5-small; see {@link T5Config}.
   * @param options.generator The stream of the weights and of dropout.
   * @throws ConfigError naming the key, the value and the rule.
   */
  constructor(config: Partial<T5Config> = {}, options: { generator?: Generator } = {}) {
    super();
    const c = checkConfig('T5', complete(config), rules);
    checkBuckets(c);
    checkFits('T5', T5.countParameters(c));
    const { generator = defaultGenerator } = options;
    const std = c.initializer_factor;
    this.config = c;
    this.generationConfig = tokenIds({ ...c });
    this.shared = new Embedding(c.vocab_size, c.d_model, { std, generator });
    this.encoder = new T5Stack(c, generator, false);
    this.decoder = new T5Stack(c, generator, true);
    this.lm_head = c.tie_word_embeddings
      ? null
      : new Linear(c.d_model, c.vocab_size, { std, generator, bias: false });
  }

  /** Number of weights of a configuration, without building it; like the constructor's, it says what differs. */
  static countParameters(config: Partial<T5Config> = {}): number {
    const c = complete(config);
    const { d_model: C, num_heads: H, relative_attention_num_buckets: buckets } = c;
    const attention = 4 * C * H * c.d_kv + C;
    const mlp = (c.feed_forward_proj.startsWith('gated-') ? 3 : 2) * C * c.d_ff + C;
    const layers =
      c.num_layers * (attention + mlp) + (c.num_decoder_layers ?? c.num_layers) * (2 * attention + mlp);
    return c.vocab_size * C * (c.tie_word_embeddings ? 1 : 2) + layers + 2 * (buckets * H + C);
  }

  /** A published size with random weights; `overrides` change single keys. */
  static fromPreset(
    name: T5Preset,
    overrides: Partial<T5Config> = {},
    options: { generator?: Generator } = {},
  ): T5 {
    if (!Object.hasOwn(presets, name)) {
      throw new ArgumentError(
        `T5.fromPreset: no preset '${name}'; there are ${Object.keys(presets).join(', ')}`,
      );
    }
    return new T5({ ...presets[name], ...overrides }, options);
  }

  /** The model in a folder of Hugging Face's layout, in evaluation mode. Its files stay mapped. */
  static fromPretrained(source: string | Checkpoint, options: LoadModelOptions = {}): T5 {
    const build = (config: ConfigFile, entries: readonly string[]): T5 => new T5(configOf(config, entries));
    return loadCheckpoint(source, ['t5'], build, weights, options);
  }

  /** Writes a model folder, which Hugging Face's T5ForConditionalGeneration loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    const about = {
      architectures: ['T5ForConditionalGeneration'],
      model_type: 't5',
      is_encoder_decoder: true,
    };
    saveCheckpoint(folder, this, { ...about, ...this.config }, weights, options);
  }

  /** An empty cache for `batch` sequences of up to `capacity` positions. */
  newCache(batch = 1, capacity = Infinity): Seq2SeqCache {
    const { num_heads: heads, d_kv: headSize } = this.config;
    return new Seq2SeqCache({ layers: this.decoder.block.length, batch, heads, capacity, headSize });
  }

  /** The output head's weight, (V, C). */
  get headWeight(): Tensor {
    return this.lm_head?.weight ?? this.shared.weight;
  }

  /**
   * A vector for each token of the text that is read. Computed once for a text, however much is written about it.
   *
   * @param ids (B, S) int32, `</s>` last
   * @returns (B, S, C)
   * @throws ShapeError when a shape does not fit; IndexError when an id is outside the vocabulary.
   */
  encode(ids: Tensor, options: EncoderOptions = {}): Tensor {
    const given = encoderPadding('T5.encode', ids, options, Infinity, encoderOptions);
    const { attentionMask, attentions } = options;
    return scope(() => {
      const padding = inPlace(given, attentionMask);
      const { packing } = padding;
      const length = packing === null ? ids.shape[1] : Math.max(...packing.lengths);
      const self = selfScores(this.encoder.bias(length, length), length, length, padding, attentions);
      const x = this.shared.forward(packing === null ? ids : pack(ids, packing));
      const y = this.encoder.forward(x, { self, attentions });
      return packing === null ? y : unpack(y, packing);
    });
  }

  /**
   * Logits of the next token at every position of the text that is written.
   *
   * @param decoderIds (B, T) int32, beginning with `decoder_start_token_id`; see {@link shiftRight}
   * @returns (B, T, V), or (B, 1, V) with `lastOnly`
   * @throws ArgumentError without the encoder's output; ShapeError when a shape does not fit; IndexError when an id is
   *   outside the vocabulary.
   */
  forward(decoderIds: Tensor, options: T5DecoderOptions = {}): Tensor {
    return scope(() => linear(this.hidden(decoderIds, options), this.headWeight));
  }

  /** What the output head is applied to: (B, T, C), or (B, 1, C) with `lastOnly`. */
  hidden(decoderIds: Tensor, options: T5DecoderOptions = {}): Tensor {
    checkOptions('T5', options, optionNames);
    const { cache, lastOnly: last, attentions, crossAttentions } = options;
    this.#checkDecoderIds(decoderIds, options);
    return scope(() => {
      const T = decoderIds.shape[1];
      const S = (cache?.length ?? 0) + T;
      const self = selfScores(this.decoder.bias(T, S), T, S, noPadding, attentions);
      const context = { self, ...this.#source(decoderIds.shape[0], options), attentions, crossAttentions };
      const y = this.decoder.forward(this.shared.forward(decoderIds), context, { cache, last });
      return this.config.scale_decoder_outputs ? mul(y, 1 / Math.sqrt(this.config.d_model)) : y;
    });
  }

  #checkDecoderIds(ids: Tensor, { cache, encoderOutput }: T5DecoderOptions): void {
    checkTensor('T5', ids);
    if (ids.rank !== 2 || ids.size === 0) {
      throw new ShapeError(`T5: decoderIds must be (B, T) with T at least 1, got ${formatShape(ids.shape)}`);
    }
    if (cache !== undefined && cache.source !== null) return;
    if (encoderOutput === undefined) {
      throw new ArgumentError('T5: the decoder needs encoderOutput, what encode(ids) gives');
    }
    const [B, , C] = encoderOutput.shape;
    if (encoderOutput.rank !== 3 || B !== ids.shape[0] || C !== this.config.d_model) {
      throw new ShapeError(
        `T5: encoderOutput must be (B, S, C) with the ${ids.shape[0]} rows of decoderIds and C ${this.config.d_model}, got ${formatShape(encoderOutput.shape)}`,
      );
    }
  }

  /** The encoder's output, or its keys and values from the cache. */
  #source(batch: number, options: T5DecoderOptions): Required<Pick<T5Context, 'source' | 'cross'>> {
    const { cache, encoderOutput, encoderMask, crossAttentions } = options;
    if (cache !== undefined && cache.source !== null) {
      const { layers: source, mask, lengths } = cache.source;
      if (lengths !== null && crossAttentions !== undefined) {
        throw new ArgumentError('T5: crossAttentions must be asked for from the first call with a cache on');
      }
      return { source, cross: { relativeBias: null, mask, lengths } };
    }
    const wanted = crossAttentions !== undefined;
    const { packing, mask } =
      encoderMask === undefined
        ? noPadding
        : paddingOf('T5', encoderMask, [batch, encoderOutput!.shape[1]], wanted);
    const read = packing === null ? encoderOutput! : pack(encoderOutput!, packing);
    const lengths = packing?.lengths ?? null;
    const cross = { relativeBias: null, mask, lengths };
    if (cache === undefined) return { source: read, cross };
    const layers = this.decoder.block.map(({ layer: [, attention] }) =>
      (attention as CrossAttentionLayer).EncDecAttention.keysAndValues(read),
    );
    return { source: cache.fill({ layers, mask, lengths }).layers, cross };
  }
}

/** Distances are those of the padded batch: texts with gaps stay in their places. */
function inPlace(padding: Padding, mask: Tensor | undefined): Padding {
  const { packing } = padding;
  return packing === null || packing.contiguous ? padding : { packing: null, mask: hidingMask(mask!) };
}

/** What self-attention of T queries over S keys adds to its scores. To be looked at, the bias must be a mask. */
function selfScores(
  bias: Tensor,
  T: number,
  S: number,
  { packing, mask }: Padding,
  attentions: Tensor[] | undefined,
): T5Scores {
  if (mask === null && attentions === undefined) {
    return { relativeBias: bias, mask: null, lengths: packing?.lengths ?? null };
  }
  const whole = expandRelativeBias(bias, T, S);
  return { relativeBias: null, mask: mask === null ? whole : add(whole, mask), lengths: null };
}

/** With the defaults; the decoder's output is scaled where the head is tied, unless it is said. */
function complete(config: Partial<T5Config>): T5Config {
  const tied = config.tie_word_embeddings ?? defaults.tie_word_embeddings;
  return { ...defaults, scale_decoder_outputs: tied, ...config };
}

/** Transformers 5 always says that weights are tied, says scaling apart, and goes by the head that is in the file. */
function configOf(file: ConfigFile, entries: readonly string[]): Partial<T5Config> {
  const config = knownKeys('T5', file, rules, fixed);
  const tied = config.tie_word_embeddings ?? true;
  const untie = tied && file.scale_decoder_outputs === false && entries.includes('lm_head.weight');
  return untie ? { ...config, tie_word_embeddings: false } : config;
}

function checkBuckets(c: T5Config): void {
  const { relative_attention_num_buckets: buckets, relative_attention_max_distance: distance } = c;
  // Of the encoder's two sides one half is for single distances; the rest is spread up to the greatest.
  if (buckets < 4 || buckets % 2 !== 0 || distance <= Math.floor(buckets / 2)) {
    throw new ConfigError(
      `T5: relative_attention_num_buckets must be even, at least 4, and half of it below relative_attention_max_distance, got ${buckets} and ${distance}`,
    );
  }
}

/** How the model's names differ from the file's: the embedding has up to four; old files hold a bias that has no use. */
const weights = {
  prefix: '',
  unprefixed: /^/,
  ignored: /^decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight$/,
  tied: ['encoder.embed_tokens.weight', 'decoder.embed_tokens.weight', 'lm_head.weight'].map((name) => ({
    name,
    to: 'shared.weight',
  })),
};
