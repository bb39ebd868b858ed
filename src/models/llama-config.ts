/**
 * Configurations of the Llama family: the keys of Hugging Face's config.json, their defaults in transformers'
 * configuration classes, some published sizes, and what follows from them.
 */

import { ArgumentError, ConfigError } from '../../lib/index.js';
import { checkConfig, knownKeys, type ConfigRules } from './config.js';
import type { ConfigFile } from './checkpoint.js';
import { checkHeadSize, checkRopeScaling, type RopeScaling } from './rope.js';

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

/** The families' names. */
export const modelTypes = Object.keys(defaults);

/** What differs from the defaults in a published size. */
export function presetConfig(name: LlamaPreset): Partial<LlamaConfig> {
  if (!Object.hasOwn(presets, name)) {
    throw new ArgumentError(
      `Llama.fromPreset: no preset '${name}'; there are ${Object.keys(presets).join(', ')}`,
    );
  }
  return presets[name];
}

/** The rules of the keys that a family has. */
const rulesOf = (type: LlamaModelType): ConfigRules<LlamaConfig> =>
  Object.fromEntries(
    Object.entries(rules).filter(([key]) => Object.hasOwn(defaults[type], key)),
  ) as unknown as ConfigRules<LlamaConfig>;

/** The configuration with defaults, checked; the numbers of heads and their size, which may be null, as numbers. */
export function complete(config: Partial<LlamaConfig>): LlamaConfig {
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
  return { ...c, num_key_value_heads: kvHeads, head_dim: size };
}

/** Numbers of heads and their size. */
export function headsOf(c: LlamaConfig): { heads: number; kvHeads: number; size: number } {
  const heads = c.num_attention_heads;
  return { heads, kvHeads: c.num_key_value_heads ?? heads, size: c.head_dim ?? c.hidden_size / heads };
}

/** Whether queries, keys and values have biases, and whether the output has one. */
export function attentionBiases(c: LlamaConfig): { qkv: boolean; output: boolean } {
  const bias = c.attention_bias ?? false;
  return { qkv: bias || c.model_type === 'qwen2', output: bias };
}

/** How many keys a query of a layer sees; null for all. */
export function windowOf(c: LlamaConfig, layer: number): number | null {
  if (c.model_type === 'qwen2' && !(c.use_sliding_window && layer >= c.max_window_layers!)) return null;
  return c.sliding_window ?? null;
}

/** Number of weights, tied ones counted once. */
export function countWeights(c: LlamaConfig): number {
  const { hidden_size: C, intermediate_size: inner, vocab_size: V } = c;
  const { heads, kvHeads, size: D } = headsOf(c);
  const { qkv, output } = attentionBiases(c);
  const attention = 2 * C * (heads + kvHeads) * D + (qkv ? (heads + 2 * kvHeads) * D : 0) + (output ? C : 0);
  const mlp = 3 * C * inner + (c.mlp_bias ? 2 * inner + C : 0);
  return V * C * (c.tie_word_embeddings ? 1 : 2) + c.num_hidden_layers * (attention + mlp + 2 * C) + C;
}

/** The configuration in a config.json. Newer ones keep all that concerns rotary positions in `rope_parameters`. */
export function configOf(file: ConfigFile): Partial<LlamaConfig> {
  const { rope_parameters: rope, ...rest } = file;
  if (rope !== undefined && rope !== null) {
    if (typeof rope !== 'object' || Array.isArray(rope)) {
      throw new ConfigError(`Llama: rope_parameters must be an object or null, got ${JSON.stringify(rope)}`);
    }
    const { rope_theta: theta, ...scaling } = rope as ConfigFile;
    if (theta !== undefined) rest.rope_theta = theta;
    rest.rope_scaling = scaling;
  }
  const { original_max_position_embeddings: length, rope_scaling: scaling } = rest;
  if (typeof scaling === 'object' && scaling !== null && length !== undefined && length !== null) {
    rest.rope_scaling = withOriginalLength(scaling as ConfigFile, length);
  }
  const type = rest.model_type as LlamaModelType;
  const config = knownKeys('Llama', rest, rulesOf(type), { quantization_config: null });
  if (type === 'qwen2') checkLayerTypes(file.layer_types, complete(config));
  return config;
}

/** Some configurations say beside `rope_scaling` what belongs into it; transformers takes that first. */
function withOriginalLength(scaling: ConfigFile, length: unknown): ConfigFile {
  const { rope_type: type = scaling.type } = scaling;
  const has = type === 'yarn' || type === 'llama3';
  return has ? { ...scaling, original_max_position_embeddings: length } : scaling;
}

/** The contents of config.json. */
export const llamaFile = (config: LlamaConfig): ConfigFile => ({
  architectures: [architectures[config.model_type]],
  ...config,
});

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
