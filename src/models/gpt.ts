/**
 * GPT-2: a decoder-only transformer with learned positions and pre-normalization.
 *
 * Paper: "Language Models are Unsupervised Multitask Learners", Radford et al., 2019. Names, layouts and configuration
 * keys are those of Hugging Face's `gpt2` checkpoints, so loading one is a strict copy. Training, evaluation and cached
 * generation all run the one definition below: `forward` is the output head on `hidden`.
 *
 * Shapes: B batch, T time, C channels (n_embd), H heads, D head size (C / H), V vocabulary.
 */

import {
  add,
  ArgumentError,
  ConfigError,
  defaultGenerator,
  gelu,
  type Generator,
  linear,
  relu,
  reshape,
  scaledDotProductAttention,
  scope,
  silu,
  slice,
  split,
  type Tensor,
  transpose,
} from '../../lib/index.js';
import { Conv1D, Dropout, Embedding, LayerNorm, Linear, Module } from '../nn/index.js';
import { KVCache, type LayerCache } from './cache.js';
import { checkConfig, checkFits, knownKeys, type ConfigRules } from './config.js';
import { type DecoderOptions, placeTokens } from './placement.js';
import { loadCheckpoint, saveCheckpoint, type ConfigFile } from './pretrained.js';

/** The keys of Hugging Face's config.json for `model_type` gpt2. */
export interface GPTConfig {
  /** Vocabulary size, V. */
  vocab_size: number;
  /** Longest sequence: the number of learned positions. */
  n_positions: number;
  /** Channels, C. */
  n_embd: number;
  n_layer: number;
  n_head: number;
  /** Width of the feed-forward layer; null means 4 C. */
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

const defaults: GPTConfig = {
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
  n_layer: 'positive integer',
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
};

/** Keys of config.json that change the computation and are served with these values only. */
const fixed = {
  scale_attn_weights: true,
  scale_attn_by_inverse_layer_idx: false,
  add_cross_attention: false,
};

const activations: Record<GPTConfig['activation_function'], (x: Tensor) => Tensor> = {
  gelu_new: (x) => gelu(x, { approximate: 'tanh' }),
  gelu: (x) => gelu(x),
  relu,
  silu,
};

class Attention extends Module {
  readonly c_attn: Conv1D;
  readonly c_proj: Conv1D;
  readonly resid_dropout: Dropout;

  constructor(
    private readonly config: GPTConfig,
    private readonly generator: Generator,
  ) {
    super();
    const { n_embd: C, n_layer, initializer_range: std } = config;
    this.c_attn = new Conv1D(C, 3 * C, { std, generator });
    this.c_proj = new Conv1D(C, C, { std: std / Math.sqrt(2 * n_layer), generator });
    this.resid_dropout = new Dropout(config.resid_pdrop, generator);
  }

  forward(x: Tensor, padding: Tensor | null, cache?: LayerCache): Tensor {
    const [B, T, C] = x.shape;
    const H = this.config.n_head;
    const heads = (t: Tensor): Tensor => transpose(reshape(t, [B, T, H, C / H]), 1, 2);
    const [q, k, v] = split(this.c_attn.forward(x), C, -1).map(heads); // each (B, H, T, D)
    const [keys, values] = cache?.append(k, v) ?? [k, v]; // (B, H, S, D), all positions so far
    const y = scaledDotProductAttention(q, keys, values, {
      causal: true,
      mask: padding,
      dropout: this.training ? this.config.attn_pdrop : 0,
      generator: this.generator,
    });
    const joined = reshape(transpose(y, 1, 2), [B, T, C]);
    return this.resid_dropout.forward(this.c_proj.forward(joined));
  }
}

class MLP extends Module {
  readonly c_fc: Conv1D;
  readonly c_proj: Conv1D;
  readonly dropout: Dropout;
  readonly #activation: (x: Tensor) => Tensor;

  constructor(config: GPTConfig, generator: Generator) {
    super();
    const { n_embd: C, n_layer, initializer_range: std } = config;
    const inner = config.n_inner ?? 4 * C;
    this.c_fc = new Conv1D(C, inner, { std, generator });
    this.c_proj = new Conv1D(inner, C, { std: std / Math.sqrt(2 * n_layer), generator });
    this.dropout = new Dropout(config.resid_pdrop, generator);
    this.#activation = activations[config.activation_function];
  }

  forward(x: Tensor): Tensor {
    return this.dropout.forward(this.c_proj.forward(this.#activation(this.c_fc.forward(x))));
  }
}

class Block extends Module {
  readonly ln_1: LayerNorm;
  readonly attn: Attention;
  readonly ln_2: LayerNorm;
  readonly mlp: MLP;

  constructor(config: GPTConfig, generator: Generator) {
    super();
    this.ln_1 = new LayerNorm(config.n_embd, config.layer_norm_epsilon);
    this.attn = new Attention(config, generator);
    this.ln_2 = new LayerNorm(config.n_embd, config.layer_norm_epsilon);
    this.mlp = new MLP(config, generator);
  }

  /** The scope gives back at once what neither the next block nor backward needs. */
  forward(x: Tensor, padding: Tensor | null, cache?: LayerCache): Tensor {
    return scope(() => {
      const attended = add(x, this.attn.forward(this.ln_1.forward(x), padding, cache));
      return add(attended, this.mlp.forward(this.ln_2.forward(attended)));
    });
  }
}

/** A GPT-2 language model. */
export class GPT extends Module {
  readonly config: Readonly<GPTConfig>;
  readonly wte: Embedding;
  readonly wpe: Embedding;
  readonly drop: Dropout;
  readonly h: Block[];
  readonly ln_f: LayerNorm;
  /** The output head; null when it is tied to the token embedding. */
  readonly lm_head: Linear | null;

  /**
   * A model with random weights, initialized as GPT-2: N(0, 0.02), the residual projections scaled by 1 / sqrt(2 layers).
   *
   * @param config What differs from GPT-2 124M; see {@link GPTConfig}.
   * @param options.generator The stream of the weights and of dropout.
   * @throws ConfigError naming the key, the value and the rule.
   */
  constructor(config: Partial<GPTConfig> = {}, options: { generator?: Generator } = {}) {
    super();
    const c = checkConfig('GPT', { ...defaults, ...config }, rules);
    if (c.n_embd % c.n_head !== 0) {
      throw new ConfigError(`GPT: n_embd must be a multiple of n_head, got ${c.n_embd} and ${c.n_head}`);
    }
    checkFits('GPT', GPT.countParameters(c));
    const { generator = defaultGenerator } = options;
    const init = { std: c.initializer_range, generator };
    this.config = c;
    this.wte = new Embedding(c.vocab_size, c.n_embd, init);
    this.wpe = new Embedding(c.n_positions, c.n_embd, init);
    this.drop = new Dropout(c.embd_pdrop, generator);
    this.h = Array.from({ length: c.n_layer }, () => new Block(c, generator));
    this.ln_f = new LayerNorm(c.n_embd, c.layer_norm_epsilon);
    this.lm_head = c.tie_word_embeddings
      ? null
      : new Linear(c.n_embd, c.vocab_size, { ...init, bias: false });
  }

  /** Number of weights of a configuration, without building it; like the constructor's, it says what differs. */
  static countParameters(config: Partial<GPTConfig> = {}): number {
    const c = { ...defaults, ...config };
    const C = c.n_embd;
    const inner = c.n_inner ?? 4 * C;
    const block = 4 * C * C + 4 * C + 2 * C * inner + inner + C + 4 * C; // attention, feed-forward, two norms
    const head = c.tie_word_embeddings ? 0 : c.vocab_size * C;
    return (c.vocab_size + c.n_positions) * C + c.n_layer * block + 2 * C + head;
  }

  /** A published size with random weights; `overrides` change single keys. */
  static fromPreset(
    name: GPTPreset,
    overrides: Partial<GPTConfig> = {},
    options: { generator?: Generator } = {},
  ): GPT {
    if (!Object.hasOwn(presets, name)) {
      throw new ArgumentError(
        `GPT.fromPreset: no preset '${name}'; there are ${Object.keys(presets).join(', ')}`,
      );
    }
    return new GPT({ ...presets[name], ...overrides }, options);
  }

  /**
   * The model in a folder of Hugging Face's layout: config.json and model.safetensors.
   *
   * @param options.dtype What matrices and tables are kept in, float32 by default; see {@link Module.convertWeights}.
   */
  static fromPretrained(folder: string, options: { dtype?: 'float32' | 'float16' | 'bfloat16' } = {}): GPT {
    const build = (config: ConfigFile): GPT => new GPT(knownKeys('GPT', config, rules, fixed));
    return loadCheckpoint(folder, ['gpt2'], build, weights).convertWeights(options.dtype ?? 'float32');
  }

  /** Writes config.json and model.safetensors, which Hugging Face's GPT2LMHeadModel loads. */
  savePretrained(folder: string): void {
    saveCheckpoint(
      folder,
      this,
      { architectures: ['GPT2LMHeadModel'], model_type: 'gpt2', ...this.config },
      weights,
    );
  }

  /** Longest sequence the model can see. */
  get contextLength(): number {
    return this.config.n_positions;
  }

  /** An empty cache for `batch` sequences of up to `capacity` positions. */
  newCache(batch = 1, capacity = this.contextLength): KVCache {
    const { n_layer, n_head, n_embd } = this.config;
    return new KVCache({ layers: n_layer, batch, heads: n_head, capacity, headSize: n_embd / n_head });
  }

  /** The output head's weight, (V, C). */
  get headWeight(): Tensor {
    return this.lm_head?.weight ?? this.wte.weight;
  }

  /**
   * Logits of the next token at every position.
   *
   * @param ids (B, T) int32
   * @returns (B, T, V), or (B, 1, V) with `lastOnly`
   * @throws ShapeError when the sequence is longer than n_positions; IndexError when an id is outside the vocabulary.
   */
  forward(ids: Tensor, options: DecoderOptions = {}): Tensor {
    return scope(() => linear(this.hidden(ids, options), this.headWeight));
  }

  /**
   * What the output head is applied to: the normalized output of the last block, (B, T, C), or (B, 1, C) with `lastOnly`.
   * For a loss over the vocabulary that need not hold all logits.
   */
  hidden(ids: Tensor, options: DecoderOptions = {}): Tensor {
    return scope(() => {
      const { positions, padding } = placeTokens('GPT', ids, options, this.config.n_positions);
      let x = this.drop.forward(add(this.wte.forward(ids), this.wpe.forward(positions))); // (B, T, C)
      for (const [i, block] of this.h.entries()) x = block.forward(x, padding, options.cache?.layers[i]);
      return this.ln_f.forward(options.lastOnly ? slice(x, 1, -1) : x);
    });
  }
}

/** How the model's names differ from the file's: all but the head lie below `transformer.`, and masks are not weights. */
const weights = {
  prefix: 'transformer.',
  unprefixed: /^lm_head\./,
  ignored: /\.attn\.(masked_)?bias$/,
  tied: [{ name: 'lm_head.weight', to: 'wte.weight' }],
};
