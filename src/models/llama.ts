/**
 * Llama and its kin: decoder-only transformers with RMSNorm, rotary positions, grouped-query attention and SwiGLU.
 *
 * Papers: "LLaMA", Touvron et al., 2023; "Mistral 7B", Jiang et al., 2023 (a sliding window); "Qwen2", Yang et al., 2024
 * (biases of queries, keys and values). Names, layouts, configuration keys and defaults are those of Hugging Face's
 * checkpoints of `model_type` llama (also TinyLlama, SmolLM), mistral and qwen2, so loading one is a strict copy.
 *
 * Shapes: B batch, T time, S source length, C channels (hidden_size), H query heads, Hkv key heads, D head size, V vocabulary.
 */

import {
  add,
  ArgumentError,
  ConfigError,
  defaultGenerator,
  type Generator,
  linear,
  reshape,
  rotaryEmbedding,
  scaledDotProductAttention,
  scope,
  slice,
  swiglu,
  type Tensor,
  transpose,
} from '../../lib/index.js';
import { Embedding, Linear, Module, RMSNorm } from '../nn/index.js';
import { KVCache, type LayerCache } from './cache.js';
import { checkConfig, checkFits, knownKeys, type ConfigRules } from './config.js';
import { type DecoderOptions, type Placement, placeTokens } from './placement.js';
import { type ConfigFile, loadCheckpoint, saveCheckpoint } from './pretrained.js';
import { checkHeadSize, checkRopeScaling, type RopeScaling, RotaryTables } from './rope.js';

/** The families: what differs between them is marked below. */
export type LlamaModelType = 'llama' | 'mistral' | 'qwen2';

/** The keys of Hugging Face's config.json. Those that only some families have are absent in the others. */
export interface LlamaConfig {
  model_type: LlamaModelType;
  /** Vocabulary size, V. */
  vocab_size: number;
  /** Channels, C. */
  hidden_size: number;
  /** Width of the feed-forward layer. */
  intermediate_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  /** Heads of keys and values, a divisor of num_attention_heads; null means as many. */
  num_key_value_heads: number | null;
  /** Head size, D; null means hidden_size / num_attention_heads. */
  head_dim: number | null;
  hidden_act: 'silu';
  /** Longest sequence. */
  max_position_embeddings: number;
  /** Standard deviation of the initial weights. */
  initializer_range: number;
  rms_norm_eps: number;
  /** Base of the rotary frequencies. */
  rope_theta: number;
  rope_scaling: RopeScaling | null;
  attention_dropout: number;
  /** Whether the output head is the token embedding. */
  tie_word_embeddings: boolean;
  bos_token_id: number | null;
  eos_token_id: number | number[] | null;
  pad_token_id: number | null;
  /** llama: biases of queries, keys, values and the output. (qwen2 always has the first three, mistral none.) */
  attention_bias?: boolean;
  /** llama: biases of the feed-forward layer. */
  mlp_bias?: boolean;
  /** mistral, qwen2: how many keys a query sees; null for all. */
  sliding_window?: number | null;
  /** qwen2: whether there is a window at all, from layer max_window_layers on. */
  use_sliding_window?: boolean;
  max_window_layers?: number;
}

/** Keys and defaults of all families (transformers' configuration classes), before their own. */
const common: LlamaConfig = {
  model_type: 'llama',
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: null,
  head_dim: null,
  hidden_act: 'silu',
  max_position_embeddings: 2048,
  initializer_range: 0.02,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  rope_scaling: null,
  attention_dropout: 0,
  tie_word_embeddings: false,
  bos_token_id: null,
  eos_token_id: null,
  pad_token_id: null,
};

const defaults: Record<LlamaModelType, LlamaConfig> = {
  llama: { ...common, bos_token_id: 1, eos_token_id: 2, attention_bias: false, mlp_bias: false },
  mistral: {
    ...common,
    model_type: 'mistral',
    intermediate_size: 14336,
    num_key_value_heads: 8,
    max_position_embeddings: 131072,
    bos_token_id: 1,
    eos_token_id: 2,
    sliding_window: 4096,
  },
  qwen2: {
    ...common,
    model_type: 'qwen2',
    vocab_size: 151936,
    intermediate_size: 22016,
    num_key_value_heads: 32,
    max_position_embeddings: 32768,
    sliding_window: 4096,
    use_sliding_window: false,
    max_window_layers: 28,
  },
};

const architectures: Record<LlamaModelType, string> = {
  llama: 'LlamaForCausalLM',
  mistral: 'MistralForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
};

const presets = {
  'tinyllama-1.1b': {
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: 22,
    num_key_value_heads: 4,
    rms_norm_eps: 1e-5,
  },
  'llama-3.2-1b': {
    vocab_size: 128256,
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 16,
    num_key_value_heads: 8,
    max_position_embeddings: 131072,
    rms_norm_eps: 1e-5,
    rope_theta: 500000,
    rope_scaling: {
      rope_type: 'llama3',
      factor: 32,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    },
    tie_word_embeddings: true,
    bos_token_id: 128000,
    eos_token_id: 128001,
  },
  'qwen2-0.5b': {
    model_type: 'qwen2',
    hidden_size: 896,
    intermediate_size: 4864,
    num_hidden_layers: 24,
    num_attention_heads: 14,
    num_key_value_heads: 2,
    rope_theta: 1e6,
    tie_word_embeddings: true,
    bos_token_id: 151643,
    eos_token_id: 151643,
  },
  'smollm2-135m': {
    vocab_size: 49152,
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-5,
    rope_theta: 100000,
    tie_word_embeddings: true,
    bos_token_id: 0,
    eos_token_id: 0,
  },
} satisfies Record<string, Partial<LlamaConfig>>;

/** Names of some published models' sizes. */
export type LlamaPreset = keyof typeof presets;

const rules: ConfigRules<LlamaConfig> = {
  model_type: ['llama', 'mistral', 'qwen2'],
  vocab_size: 'positive integer',
  hidden_size: 'positive integer',
  intermediate_size: 'positive integer',
  num_hidden_layers: 'layer count',
  num_attention_heads: 'positive integer',
  num_key_value_heads: 'positive integer or null',
  head_dim: 'positive integer or null',
  hidden_act: ['silu'],
  max_position_embeddings: 'positive integer',
  initializer_range: 'positive number',
  rms_norm_eps: 'positive number',
  rope_theta: 'positive number',
  rope_scaling: 'object or null',
  attention_dropout: 'probability',
  tie_word_embeddings: 'boolean',
  bos_token_id: 'token id or null',
  eos_token_id: 'token id, a list of them or null',
  pad_token_id: 'token id or null',
  attention_bias: 'boolean',
  mlp_bias: 'boolean',
  sliding_window: 'positive integer or null',
  use_sliding_window: 'boolean',
  max_window_layers: 'positive integer',
};

/** The rules of the keys that a family has. */
const rulesOf = (type: LlamaModelType): ConfigRules<LlamaConfig> =>
  Object.fromEntries(
    Object.entries(rules).filter(([key]) => Object.hasOwn(defaults[type], key)),
  ) as unknown as ConfigRules<LlamaConfig>;

/** The configuration with defaults, checked. */
function complete(config: Partial<LlamaConfig>): LlamaConfig {
  const type = config.model_type ?? 'llama';
  if (!Object.hasOwn(defaults, type)) checkConfig('Llama', { ...common, ...config }, rules);
  const c = checkConfig(`Llama (${type})`, { ...defaults[type], ...config }, rulesOf(type));
  c.rope_scaling = checkRopeScaling('Llama', c.rope_scaling);
  const { hidden_size: C, num_attention_heads: H } = c;
  if (c.head_dim === null && C % H !== 0) {
    throw new ConfigError(
      `Llama: hidden_size must be a multiple of num_attention_heads where head_dim is not given, got ${C} and ${H}`,
    );
  }
  const { heads, kvHeads, size } = headsOf(c);
  if (heads % kvHeads !== 0) {
    throw new ConfigError(
      `Llama: num_attention_heads must be a multiple of num_key_value_heads, got ${heads} and ${kvHeads}`,
    );
  }
  checkHeadSize('Llama', size, c.rope_scaling);
  return c;
}

/** Numbers of heads and their size. */
function headsOf(c: LlamaConfig): { heads: number; kvHeads: number; size: number } {
  const heads = c.num_attention_heads;
  return { heads, kvHeads: c.num_key_value_heads ?? heads, size: c.head_dim ?? c.hidden_size / heads };
}

/** Whether queries, keys and values have biases, and whether the output has one. */
function attentionBiases(c: LlamaConfig): { qkv: boolean; output: boolean } {
  const bias = c.attention_bias ?? false;
  return { qkv: bias || c.model_type === 'qwen2', output: bias };
}

/** How many keys a query of a layer sees; null for all. */
function windowOf(c: LlamaConfig, layer: number): number | null {
  if (c.model_type === 'qwen2' && !(c.use_sliding_window && layer >= c.max_window_layers!)) return null;
  return c.sliding_window ?? null;
}

/** What the blocks of one forward pass share. */
interface Context {
  /** Cosines and sines of the positions. */
  readonly rotary: [Tensor, Tensor];
  /** Added to the scores, or null. */
  readonly padding: Tensor | null;
}

class Attention extends Module {
  readonly q_proj: Linear;
  readonly k_proj: Linear;
  readonly v_proj: Linear;
  readonly o_proj: Linear;

  constructor(
    private readonly config: LlamaConfig,
    private readonly layer: number,
    private readonly generator: Generator,
  ) {
    super();
    const { hidden_size: C, initializer_range: std } = config;
    const { heads, kvHeads, size: D } = headsOf(config);
    const { qkv, output } = attentionBiases(config);
    this.q_proj = new Linear(C, heads * D, { std, generator, bias: qkv });
    this.k_proj = new Linear(C, kvHeads * D, { std, generator, bias: qkv });
    this.v_proj = new Linear(C, kvHeads * D, { std, generator, bias: qkv });
    this.o_proj = new Linear(heads * D, C, { std, generator, bias: output });
  }

  forward(x: Tensor, { rotary, padding }: Context, cache?: LayerCache): Tensor {
    const [B, T] = x.shape;
    const { heads, kvHeads, size: D } = headsOf(this.config);
    const split = (t: Tensor, n: number): Tensor => transpose(reshape(t, [B, T, n, D]), 1, 2);
    const q = rotaryEmbedding(split(this.q_proj.forward(x), heads), ...rotary); // (B, H, T, D)
    const k = rotaryEmbedding(split(this.k_proj.forward(x), kvHeads), ...rotary); // (B, Hkv, T, D)
    const v = split(this.v_proj.forward(x), kvHeads);
    const [keys, values] = cache?.append(k, v) ?? [k, v]; // (B, Hkv, S, D), the positions that are seen
    const y = scaledDotProductAttention(q, keys, values, {
      causal: true,
      window: windowOf(this.config, this.layer) ?? 0,
      mask: padding && slice(padding, 3, -keys.shape[2]), // a window's cache has dropped the earliest
      dropout: this.training ? this.config.attention_dropout : 0,
      generator: this.generator,
    });
    return this.o_proj.forward(reshape(transpose(y, 1, 2), [B, T, heads * D]));
  }
}

class MLP extends Module {
  readonly gate_proj: Linear;
  readonly up_proj: Linear;
  readonly down_proj: Linear;

  constructor(config: LlamaConfig, generator: Generator) {
    super();
    const {
      hidden_size: C,
      intermediate_size: inner,
      initializer_range: std,
      mlp_bias: bias = false,
    } = config;
    this.gate_proj = new Linear(C, inner, { std, generator, bias });
    this.up_proj = new Linear(C, inner, { std, generator, bias });
    this.down_proj = new Linear(inner, C, { std, generator, bias });
  }

  forward(x: Tensor): Tensor {
    return this.down_proj.forward(swiglu(this.gate_proj.forward(x), this.up_proj.forward(x)));
  }
}

class DecoderLayer extends Module {
  readonly self_attn: Attention;
  readonly mlp: MLP;
  readonly input_layernorm: RMSNorm;
  readonly post_attention_layernorm: RMSNorm;

  constructor(config: LlamaConfig, layer: number, generator: Generator) {
    super();
    this.self_attn = new Attention(config, layer, generator);
    this.mlp = new MLP(config, generator);
    this.input_layernorm = new RMSNorm(config.hidden_size, config.rms_norm_eps);
    this.post_attention_layernorm = new RMSNorm(config.hidden_size, config.rms_norm_eps);
  }

  /** The scope gives back at once what neither the next layer nor backward needs. */
  forward(x: Tensor, context: Context, cache?: LayerCache): Tensor {
    return scope(() => {
      const attended = add(x, this.self_attn.forward(this.input_layernorm.forward(x), context, cache));
      return add(attended, this.mlp.forward(this.post_attention_layernorm.forward(attended)));
    });
  }
}

/**
 * A language model of the Llama, Mistral or Qwen2 family.
 *
 * @example
 * const model = Llama.fromPretrained('TinyLlama-1.1B-Chat-v1.0');
 */
export class Llama extends Module {
  readonly config: Readonly<LlamaConfig>;
  readonly embed_tokens: Embedding;
  readonly layers: DecoderLayer[];
  readonly norm: RMSNorm;
  /** The output head; null when it is tied to the token embedding. */
  readonly lm_head: Linear | null;
  readonly #rotary: RotaryTables;

  /**
   * A model with random weights, N(0, initializer_range).
   *
   * @param config What differs from the defaults of Hugging Face's class for its model_type ('llama' by default).
   * @param options.generator The stream of the weights and of dropout.
   * @throws ConfigError naming the key, the value and the rule.
   */
  constructor(config: Partial<LlamaConfig> = {}, options: { generator?: Generator } = {}) {
    super();
    const c = complete(config);
    checkFits('Llama', countWeights(c));
    const { generator = defaultGenerator } = options;
    const init = { std: c.initializer_range, generator };
    this.config = c;
    this.embed_tokens = new Embedding(c.vocab_size, c.hidden_size, init);
    this.layers = Array.from({ length: c.num_hidden_layers }, (_, i) => new DecoderLayer(c, i, generator));
    this.norm = new RMSNorm(c.hidden_size, c.rms_norm_eps);
    this.lm_head = c.tie_word_embeddings
      ? null
      : new Linear(c.hidden_size, c.vocab_size, { ...init, bias: false });
    this.#rotary = new RotaryTables({
      headSize: headsOf(c).size,
      theta: c.rope_theta,
      maxPositions: c.max_position_embeddings,
      scaling: c.rope_scaling,
    });
  }

  /** Number of weights of a configuration, without building it; like the constructor's, it says what differs. */
  static countParameters(config: Partial<LlamaConfig> = {}): number {
    return countWeights(complete(config));
  }

  /** A published size with random weights; `overrides` change single keys. */
  static fromPreset(
    name: LlamaPreset,
    overrides: Partial<LlamaConfig> = {},
    options: { generator?: Generator } = {},
  ): Llama {
    return new Llama({ ...Llama.presetConfig(name), ...overrides }, options);
  }

  /** The configuration of a published size: what differs from the defaults. */
  static presetConfig(name: LlamaPreset): Partial<LlamaConfig> {
    if (!Object.hasOwn(presets, name)) {
      throw new ArgumentError(
        `Llama.fromPreset: no preset '${name}'; there are ${Object.keys(presets).join(', ')}`,
      );
    }
    return { ...presets[name] };
  }

  /**
   * The model in a folder of Hugging Face's layout: config.json and model.safetensors.
   *
   * @param options.dtype What matrices and tables are kept in, float32 by default; see {@link Module.convertWeights}.
   */
  static fromPretrained(folder: string, options: { dtype?: 'float32' | 'float16' | 'bfloat16' } = {}): Llama {
    const build = (config: ConfigFile): Llama => new Llama(configOf(config));
    return loadCheckpoint(folder, Object.keys(defaults), build, llamaWeights).convertWeights(
      options.dtype ?? 'float32',
    );
  }

  /** Writes config.json and model.safetensors, which Hugging Face's class for the model_type loads. */
  savePretrained(folder: string): void {
    const config = { architectures: [architectures[this.config.model_type]], ...this.config };
    saveCheckpoint(folder, this, config, llamaWeights);
  }

  /** Longest sequence the model can see. */
  get contextLength(): number {
    const { max_position_embeddings: length, rope_scaling: scaling } = this.config;
    return scaling?.rope_type === 'dynamic' ? Math.floor(length * scaling.factor) : length;
  }

  /** An empty cache for `batch` sequences of up to `capacity` positions. */
  newCache(batch = 1, capacity = this.contextLength): KVCache {
    const { kvHeads, size } = headsOf(this.config);
    return new KVCache({
      layers: this.config.num_hidden_layers,
      batch,
      heads: kvHeads,
      capacity,
      headSize: size,
      windows: Array.from({ length: this.config.num_hidden_layers }, (_, layer) =>
        windowOf(this.config, layer),
      ),
    });
  }

  /** The output head's weight, (V, C). */
  get headWeight(): Tensor {
    return this.lm_head?.weight ?? this.embed_tokens.weight;
  }

  /**
   * Logits of the next token at every position.
   *
   * @param ids (B, T) int32
   * @returns (B, T, V), or (B, 1, V) with `lastOnly`
   * @throws ShapeError when the sequence is longer than the context; IndexError when an id is outside the vocabulary.
   */
  forward(ids: Tensor, options: DecoderOptions = {}): Tensor {
    return scope(() => linear(this.hidden(ids, options), this.headWeight));
  }

  /**
   * What the output head is applied to: the normalized output of the last layer, (B, T, C), or (B, 1, C) with `lastOnly`.
   * For a loss over the vocabulary that need not hold all logits.
   */
  hidden(ids: Tensor, options: DecoderOptions = {}): Tensor {
    return scope(() => {
      const placement: Placement = placeTokens('Llama', ids, options, this.contextLength);
      const context = { rotary: this.#rotary.at(placement), padding: placement.padding };
      let x = this.embed_tokens.forward(ids); // (B, T, C)
      for (const [i, layer] of this.layers.entries()) x = layer.forward(x, context, options.cache?.layers[i]);
      return this.norm.forward(options.lastOnly ? slice(x, 1, -1) : x);
    });
  }
}

function countWeights(c: LlamaConfig): number {
  const { hidden_size: C, intermediate_size: inner, vocab_size: V } = c;
  const { heads, kvHeads, size: D } = headsOf(c);
  const { qkv, output } = attentionBiases(c);
  const attention = 2 * C * (heads + kvHeads) * D + (qkv ? (heads + 2 * kvHeads) * D : 0) + (output ? C : 0);
  const mlp = 3 * C * inner + (c.mlp_bias ? 2 * inner + C : 0);
  return V * C * (c.tie_word_embeddings ? 1 : 2) + c.num_hidden_layers * (attention + mlp + 2 * C) + C;
}

/** The configuration in a config.json. Newer ones keep all that concerns rotary positions in `rope_parameters`. */
function configOf(file: ConfigFile): Partial<LlamaConfig> {
  const { rope_parameters: rope, ...rest } = file;
  if (rope !== undefined && rope !== null) {
    if (typeof rope !== 'object' || Array.isArray(rope)) {
      throw new ConfigError(`Llama: rope_parameters must be an object or null, got ${JSON.stringify(rope)}`);
    }
    const { rope_theta: theta, ...scaling } = rope as ConfigFile;
    if (theta !== undefined) rest.rope_theta = theta;
    rest.rope_scaling = scaling;
  }
  const type = rest.model_type as LlamaModelType;
  const config = knownKeys('Llama', rest, rulesOf(type), { quantization_config: null });
  if (type === 'qwen2') checkLayerTypes(file.layer_types, complete(config));
  return config;
}

/** `layer_types` of newer Qwen2 configurations repeats what the older keys say; where it says something else, refuse. */
function checkLayerTypes(given: unknown, c: LlamaConfig): void {
  if (given === undefined || given === null) return;
  const own = Array.from({ length: c.num_hidden_layers }, (_, i) =>
    windowOf(c, i) === null ? 'full_attention' : 'sliding_attention',
  );
  if (JSON.stringify(given) !== JSON.stringify(own)) {
    throw new ConfigError(
      'Llama: layer_types must follow from use_sliding_window and max_window_layers; other patterns are not supported',
    );
  }
}

/** How the file's names differ from the model's: all but the head lie below `model.`; old files hold rotary frequencies. */
export const llamaWeights = {
  prefix: 'model.',
  unprefixed: /^lm_head\./,
  ignored: /\.rotary_emb\.inv_freq$/,
  tied: [{ name: 'lm_head.weight', to: 'embed_tokens.weight' }],
};
