/**
 * Configurations of GPT: the keys of Hugging Face's `gpt2`, the switches that go beyond it, the published sizes, and what
 * follows from them.
 */

import { ArgumentError, ConfigError } from '../../lib/index.js';
import { checkConfig, knownKeys, type ConfigRules } from './config.js';
import type { ConfigFile } from './checkpoint.js';
import { checkHeadSize, checkRopeScaling, type RopeScaling } from './rope.js';

/** The keys of Hugging Face's config.json for `model_type` gpt2, and those of the switches. */
export interface GPTConfig extends GPTSwitches {
  /** Vocabulary size, V. */
  vocab_size: number;
  /** Longest sequence: the number of learned positions. */
  n_positions: number;
  /** Channels, C. */
  n_embd: number;
  n_layer: number;
  n_head: number;
  /** Width of the feed-forward layer; null means 4 C, with use_swiglu 8 C / 3 rounded up to a multiple of 8. */
  n_inner: number | null;
  activation_function: 'gelu_new' | 'gelu' | 'relu' | 'silu';
  /** Dropout of the residual branches, the embeddings and the attention weights. */
  resid_pdrop: number;
  embd_pdrop: number;
  attn_pdrop: number;
  layer_norm_epsilon: number;
  /** Standard deviation of the initial weights. */
  initializer_range: number;
  /** Whether the output head is the token embedding. */
  tie_word_embeddings: boolean;
  bos_token_id: number | null;
  eos_token_id: number | null;
}

/** What later models do otherwise than GPT-2. Any combination works. */
export interface GPTSwitches {
  /** Rotary positions (RoFormer, Llama) in place of learned ones. */
  use_rope: boolean;
  /** Base of the rotary frequencies. */
  rope_theta: number;
  rope_scaling: RopeScaling | null;
  /** A gated feed-forward layer, SwiGLU (PaLM, Llama), in place of the activation function. */
  use_swiglu: boolean;
  /** RMSNorm (T5, Llama) in place of layer normalization, in the final norm too. */
  use_rmsnorm: boolean;
  /** Heads of keys and values (grouped-query attention), a divisor of n_head; null means as many. */
  n_kv_head: number | null;
  /** Biases of all layers and of layer normalization. */
  bias: boolean;
  /** How many keys a query sees, its own included (Mistral); null means all. */
  sliding_window: number | null;
  /** Pass the causal mask as a tensor of numbers, in place of the kernel's own: the same results, slower. */
  use_explicit_mask: boolean;
}

/** GPT-2's way. */
const off: GPTSwitches = {
  use_rope: false,
  rope_theta: 10000,
  rope_scaling: null,
  use_swiglu: false,
  use_rmsnorm: false,
  n_kv_head: null,
  bias: true,
  sliding_window: null,
  use_explicit_mask: false,
};

export const defaults: GPTConfig = {
  vocab_size: 50257,
  n_positions: 1024,
  n_embd: 768,
  n_layer: 12,
  n_head: 12,
  n_inner: null,
  activation_function: 'gelu_new',
  resid_pdrop: 0.1,
  embd_pdrop: 0.1,
  attn_pdrop: 0.1,
  layer_norm_epsilon: 1e-5,
  initializer_range: 0.02,
  tie_word_embeddings: true,
  bos_token_id: 50256,
  eos_token_id: 50256,
  ...off,
};

const presets = {
  gpt2: { n_embd: 768, n_layer: 12, n_head: 12 }, // 124 M parameters
  'gpt2-medium': { n_embd: 1024, n_layer: 24, n_head: 16 }, // 355 M
  'gpt2-large': { n_embd: 1280, n_layer: 36, n_head: 20 }, // 774 M
  'gpt2-xl': { n_embd: 1600, n_layer: 48, n_head: 25 }, // 1.6 B
} satisfies Record<string, Partial<GPTConfig>>;

/** Names of the published GPT-2 sizes. */
export type GPTPreset = keyof typeof presets;

const rules: ConfigRules<GPTConfig> = {
  vocab_size: 'positive integer',
  n_positions: 'positive integer',
  n_embd: 'positive integer',
  n_layer: 'layer count',
  n_head: 'positive integer',
  n_inner: 'positive integer or null',
  activation_function: ['gelu_new', 'gelu', 'relu', 'silu'],
  resid_pdrop: 'probability',
  embd_pdrop: 'probability',
  attn_pdrop: 'probability',
  layer_norm_epsilon: 'positive number',
  initializer_range: 'positive number',
  tie_word_embeddings: 'boolean',
  bos_token_id: 'token id or null',
  eos_token_id: 'token id or null',
  use_rope: 'boolean',
  rope_theta: 'positive number',
  rope_scaling: 'object or null',
  use_swiglu: 'boolean',
  use_rmsnorm: 'boolean',
  n_kv_head: 'positive integer or null',
  bias: 'boolean',
  sliding_window: 'positive integer or null',
  use_explicit_mask: 'boolean',
};

/** What differs from the defaults in a published size. */
export function presetConfig(name: GPTPreset): Partial<GPTConfig> {
  if (!Object.hasOwn(presets, name)) {
    throw new ArgumentError(
      `GPT.fromPreset: no preset '${name}'; there are ${Object.keys(presets).join(', ')}`,
    );
  }
  return presets[name];
}

/** Keys of config.json that change the computation and are served with these values only. */
const fixed = {
  scale_attn_weights: true,
  scale_attn_by_inverse_layer_idx: false,
  add_cross_attention: false,
};

/** The configuration with defaults, checked. */
export function complete(config: Partial<GPTConfig>): GPTConfig {
  const c = checkConfig('GPT', { ...defaults, ...config }, rules);
  c.rope_scaling = checkRopeScaling('GPT', c.rope_scaling);
  if (c.n_embd % c.n_head !== 0) {
    throw new ConfigError(`GPT: n_embd must be a multiple of n_head, got ${c.n_embd} and ${c.n_head}`);
  }
  const { heads, kvHeads, size } = headsOf(c);
  if (heads % kvHeads !== 0) {
    throw new ConfigError(`GPT: n_head must be a multiple of n_kv_head, got ${heads} and ${kvHeads}`);
  }
  if (c.use_rope) checkHeadSize('GPT', size, c.rope_scaling);
  return c;
}

/** Numbers of heads and their size. */
export function headsOf({ n_embd, n_head, n_kv_head }: GPTConfig): {
  heads: number;
  kvHeads: number;
  size: number;
} {
  return { heads: n_head, kvHeads: n_kv_head ?? n_head, size: n_embd / n_head };
}

/** Width of the feed-forward layer: by default as many weights with the gate as without, rounded up. */
export const innerSize = ({ n_inner, n_embd, use_swiglu }: GPTConfig): number =>
  n_inner ?? (use_swiglu ? 8 * Math.ceil(n_embd / 3) : 4 * n_embd);

/** Number of weights, tied ones counted once. */
export function countWeights(c: GPTConfig): number {
  const C = c.n_embd;
  const inner = innerSize(c);
  const { kvHeads, size: D } = headsOf(c);
  const bias = c.bias ? 1 : 0;
  const norm = C * (1 + (c.use_rmsnorm ? 0 : bias));
  const attention = (C + bias) * (C + 2 * kvHeads * D) + (C + bias) * C;
  const mlp = (C + bias) * inner * (c.use_swiglu ? 2 : 1) + (inner + bias) * C;
  const positions = c.use_rope ? 0 : c.n_positions;
  const head = c.tie_word_embeddings ? 0 : c.vocab_size * C;
  return (c.vocab_size + positions) * C + c.n_layer * (attention + mlp + 2 * norm) + norm + head;
}

/** Names by which transformers takes the same keys (`attribute_map`). */
const aliases: Record<string, keyof GPTConfig> = {
  hidden_size: 'n_embd',
  max_position_embeddings: 'n_positions',
  num_attention_heads: 'n_head',
  num_hidden_layers: 'n_layer',
};

/** The configuration in a config.json. */
export function configOf(file: ConfigFile): Partial<GPTConfig> {
  const renamed = Object.entries(file).map(([key, value]) => [
    Object.hasOwn(aliases, key) ? aliases[key] : key,
    value,
  ]);
  return knownKeys('GPT', Object.fromEntries(renamed) as ConfigFile, rules, fixed);
}

/** `model_type` of combinations that no published architecture has. */
export const ownType = 'tsgpt-gpt';

/** The contents of config.json: the switches only where they differ from GPT-2. */
export function savedConfig(config: GPTConfig): ConfigFile {
  const switched = (Object.keys(off) as (keyof GPTSwitches)[]).filter((key) => config[key] !== off[key]);
  // The mask as data computes the same, and rotary keys nothing without rotary positions.
  const harmless = ['use_explicit_mask', 'rope_theta', 'rope_scaling'];
  const isGpt2 = switched.every((key) => harmless.includes(key));
  const plain = Object.entries(config).filter(([key]) => !Object.hasOwn(off, key));
  return {
    architectures: [isGpt2 ? 'GPT2LMHeadModel' : 'GPT'],
    model_type: isGpt2 ? 'gpt2' : ownType,
    ...Object.fromEntries(plain),
    ...Object.fromEntries(switched.map((key) => [key, config[key]])),
  };
}
