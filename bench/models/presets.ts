/** The models that training is measured on, from a toy of nanoGPT's size to GPT-2; the same on every contender's side. */

import type { BertConfig, GPTConfig, T5Config } from '../../src/models/index.js';

/** A model with the batch of its training step. */
export interface Preset {
  readonly config: Partial<GPTConfig>;
  readonly batch: number;
  readonly time: number;
  readonly lr: number;
}

const undropped = { resid_pdrop: 0, embd_pdrop: 0, attn_pdrop: 0 };

/** Exact GELU: PyTorch's is five times faster than its tanh form. */
const characters: Partial<GPTConfig> = { vocab_size: 65, activation_function: 'gelu', ...undropped };

const gpt2: Partial<GPTConfig> = {
  vocab_size: 50257,
  n_positions: 1024,
  n_layer: 12,
  n_head: 12,
  n_embd: 768,
  activation_function: 'gelu_new',
  ...undropped,
};

export const presets = {
  /** 0.8 M weights: nanoGPT's CPU settings for characters. */
  A: {
    config: { ...characters, n_positions: 64, n_layer: 4, n_head: 4, n_embd: 128 },
    batch: 12,
    time: 64,
    lr: 1e-3,
  },
  /** 10.7 M weights. */
  B: {
    config: { ...characters, n_positions: 256, n_layer: 6, n_head: 6, n_embd: 384 },
    batch: 8,
    time: 256,
    lr: 1e-3,
  },
  /** GPT-2 124M on short sequences. */
  C: { config: gpt2, batch: 4, time: 64, lr: 1e-4 },
  /** GPT-2 124M on its whole context. */
  D: { config: gpt2, batch: 1, time: 1024, lr: 1e-4 },
} satisfies Record<string, Preset>;

/** BERT-base without dropout. */
export const bertBase = {
  model_type: 'bert',
  vocab_size: 30522,
  max_position_embeddings: 512,
  hidden_dropout_prob: 0,
  attention_probs_dropout_prob: 0,
} satisfies Partial<BertConfig> & { model_type: 'bert' };

/** The shape of all-MiniLM-L6-v2. */
export const miniLM = {
  ...bertBase,
  hidden_size: 384,
  num_hidden_layers: 6,
  num_attention_heads: 12,
  intermediate_size: 1536,
};

/** T5-small without dropout. */
export const t5Small = { model_type: 't5', dropout_rate: 0 } satisfies Partial<T5Config> & {
  model_type: 't5';
};

export type PresetName = keyof typeof presets;

/** Arithmetic of a training step: six operations per weight and token, and causal attention's two products, 3.5 times. */
export function stepFlops({ config, batch, time }: Preset): number {
  const { n_layer: layers = 0, n_embd: width = 0, vocab_size: vocabulary = 0 } = config;
  const weights = 12 * layers * width * width + vocabulary * width; // in matrix products; the embedding is looked up
  return batch * time * (6 * weights + 3.5 * layers * 2 * time * width);
}
