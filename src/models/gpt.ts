/**
 * GPT-2: a decoder-only transformer with learned positions and pre-normalization; and, one switch each, what later models
 * have changed about it.
 *
 * Paper: "Language Models are Unsupervised Multitask Learners", Radford et al., 2019. Names, layouts and configuration
 * keys are those of Hugging Face's `gpt2` checkpoints, so loading one is a strict copy. Training, evaluation and cached
 * generation all run the one definition below: `forward` is the output head on `hidden`.
 *
 * Shapes: B batch, T time, S source length, C channels (n_embd), H heads, Hkv key heads, D head size (C / H), V vocabulary.
 */

import {
  type ActivationName,
  add,
  defaultGenerator,
  type Generator,
  linear,
  reshape,
  rotaryEmbedding,
  scaledDotProductAttention,
  scope,
  slice,
  split,
  swiglu,
  type Tensor,
  transpose,
} from '../../lib/index.js';
import { Conv1D, Dropout, Embedding, LayerNorm, Linear, Module, RMSNorm, runLayers } from '../nn/index.js';
import { activations } from './activations.js';
import { KVCache, type LayerCache } from './cache.js';
import {
  type Checkpoint,
  type ConfigFile,
  type GenerationConfig,
  openCheckpoint,
  tokenIds,
} from './checkpoint.js';
import { checkFits } from './config.js';
import {
  complete,
  configOf,
  countWeights,
  defaults,
  type GPTConfig,
  type GPTPreset,
  headsOf,
  innerSize,
  ownType,
  presetConfig,
  savedConfig,
} from './gpt-config.js';
import { fromLlama, gptConfigInLlama, llamaConfigOf, saveAsLlama } from './gpt-llama.js';
import { Llama } from './llama.js';
import {
  asScores,
  causalMask,
  type DecoderOptions,
  type Placement,
  inOneRow,
  inRows,
  placeTokens,
  visibility,
} from './placement.js';
import {
  loadCheckpoint,
  type LoadModelOptions,
  saveCheckpoint,
  type SaveModelOptions,
} from './pretrained.js';
import { RotaryTables, stretchedLength } from './rope.js';

/** What the blocks of one forward pass share. */
interface Context extends Placement {
  /** Cosines and sines of the positions; null where they are learned. */
  readonly rotary: [Tensor, Tensor] | null;
}

class Attention extends Module {
  readonly c_attn: Conv1D;
  readonly c_proj: Conv1D;
  readonly resid_dropout: Dropout;

  constructor(
    private readonly config: GPTConfig,
    private readonly generator: Generator,
  ) {
    super();
    const { n_embd: C, n_layer, initializer_range: std, bias } = config;
    const { kvHeads, size: D } = headsOf(config);
    this.c_attn = new Conv1D(C, C + 2 * kvHeads * D, { std, generator, bias });
    this.c_proj = new Conv1D(C, C, { std: std / Math.sqrt(2 * n_layer), generator, bias });
    this.resid_dropout = new Dropout(config.resid_pdrop, generator);
  }

  /** residual + attention(x) */
  forward(x: Tensor, residual: Tensor, context: Context, cache?: LayerCache): Tensor {
    const [B, T, C] = x.shape;
    const { rotary } = context;
    const { kvHeads, size: D } = headsOf(this.config);
    const heads = (t: Tensor): Tensor => transpose(reshape(t, [B, T, t.shape[2] / D, D]), 1, 2);
    const turned = (t: Tensor): Tensor => (rotary === null ? t : rotaryEmbedding(t, ...rotary));
    const [q, k, v] = split(this.c_attn.forward(x), [C, kvHeads * D, kvHeads * D], -1).map(heads);
    const [keys, values] = cache?.append(turned(k), v) ?? [turned(k), v]; // (B, Hkv, S, D), the positions that are seen
    const y = scaledDotProductAttention(turned(q), keys, values, {
      ...visibility(context, keys, this.config.sliding_window),
      dropout: this.training ? this.config.attn_pdrop : 0,
      generator: this.generator,
    }); // (B, H, T, D)
    const joined = reshape(transpose(y, 1, 2), [B, T, C]);
    return this.resid_dropout.addTo(residual, (finish) => this.c_proj.forward(joined, finish));
  }
}

class MLP extends Module {
  readonly c_fc: Conv1D;
  /** The gate of use_swiglu. */
  readonly c_gate: Conv1D | null;
  readonly c_proj: Conv1D;
  readonly dropout: Dropout;
  readonly #activation: ActivationName;

  constructor(config: GPTConfig, generator: Generator) {
    super();
    const { n_embd: C, n_layer, initializer_range: std, bias } = config;
    const inner = innerSize(config);
    this.c_fc = new Conv1D(C, inner, { std, generator, bias });
    this.c_gate = config.use_swiglu ? new Conv1D(C, inner, { std, generator, bias }) : null;
    this.c_proj = new Conv1D(inner, C, { std: std / Math.sqrt(2 * n_layer), generator, bias });
    this.dropout = new Dropout(config.resid_pdrop, generator);
    this.#activation = activations[config.activation_function];
  }

  /** residual + mlp(x) */
  forward(x: Tensor, residual: Tensor): Tensor {
    const activation = this.c_gate === null ? this.#activation : null;
    const wide = this.c_fc.forward(x, { activation }); // (B, T, inner)
    const inner = this.c_gate === null ? wide : swiglu(this.c_gate.forward(x), wide);
    return this.dropout.addTo(residual, (finish) => this.c_proj.forward(inner, finish));
  }
}

const newNorm = ({ n_embd, layer_norm_epsilon: eps, use_rmsnorm, bias }: GPTConfig): LayerNorm | RMSNorm =>
  use_rmsnorm ? new RMSNorm(n_embd, eps) : new LayerNorm(n_embd, eps, { bias });

class Block extends Module {
  readonly ln_1: LayerNorm | RMSNorm;
  readonly attn: Attention;
  readonly ln_2: LayerNorm | RMSNorm;
  readonly mlp: MLP;

  constructor(config: GPTConfig, generator: Generator) {
    super();
    this.ln_1 = newNorm(config);
    this.attn = new Attention(config, generator);
    this.ln_2 = newNorm(config);
    this.mlp = new MLP(config, generator);
  }

  /** The scope gives back at once what neither the next block nor backward needs. */
  forward(x: Tensor, context: Context, cache?: LayerCache): Tensor {
    return scope(() => {
      const attended = this.attn.forward(this.ln_1.forward(x), x, context, cache);
      return this.mlp.forward(this.ln_2.forward(attended), attended);
    });
  }
}

/** A GPT-2 language model. */
export class GPT extends Module {
  readonly config: Readonly<GPTConfig>;
  readonly wte: Embedding;
  /** Learned positions; null with use_rope. */
  readonly wpe: Embedding | null;
  readonly drop: Dropout;
  readonly h: Block[];
  readonly ln_f: LayerNorm | RMSNorm;
  /** The output head; null when it is tied to the token embedding. */
  readonly lm_head: Linear | null;
  /** What `generate` does where it is not told: the contents of generation_config.json. */
  generationConfig: GenerationConfig;
  readonly #rotary: RotaryTables | null;

  /**
   * A model with random weights, initialized as GPT-2: N(0, 0.02), the residual projections scaled by 1 / sqrt(2 layers).
   *
   * @param config What differs from GPT-2 124M; see {@link GPTConfig}.
   * @param options.generator The stream of the weights and of dropout.
   * @throws ConfigError naming the key, the value and the rule.
   */
  constructor(config: Partial<GPTConfig> = {}, options: { generator?: Generator } = {}) {
    super();
    const c = complete(config);
    checkFits('GPT', countWeights(c));
    const { generator = defaultGenerator } = options;
    const init = { std: c.initializer_range, generator };
    this.config = c;
    this.generationConfig = tokenIds({ ...c });
    this.wte = new Embedding(c.vocab_size, c.n_embd, init);
    this.wpe = c.use_rope ? null : new Embedding(c.n_positions, c.n_embd, init);
    this.drop = new Dropout(c.embd_pdrop, generator);
    this.h = Array.from({ length: c.n_layer }, () => new Block(c, generator));
    this.ln_f = newNorm(c);
    this.lm_head = c.tie_word_embeddings
      ? null
      : new Linear(c.n_embd, c.vocab_size, { ...init, bias: false });
    this.#rotary = c.use_rope
      ? new RotaryTables({
          headSize: headsOf(c).size,
          theta: c.rope_theta,
          maxPositions: c.n_positions,
          scaling: c.rope_scaling,
        })
      : null;
  }

  /** Number of weights of a configuration, without building it; like the constructor's, it says what differs. */
  static countParameters(config: Partial<GPTConfig> = {}): number {
    return countWeights({ ...defaults, ...config });
  }

  /** A published size with random weights; `overrides` change single keys. */
  static fromPreset(
    name: GPTPreset,
    overrides: Partial<GPTConfig> = {},
    options: { generator?: Generator } = {},
  ): GPT {
    return new GPT({ ...presetConfig(name), ...overrides }, options);
  }

  /**
   * The model in a folder of Hugging Face's layout, or in a GGUF file, in evaluation mode. Its files stay mapped: see
   * {@link LoadModelOptions.dtype}.
   */
  static fromPretrained(source: string | Checkpoint, options: LoadModelOptions = {}): GPT {
    const checkpoint = typeof source === 'string' ? openCheckpoint(source) : source;
    const config = gptConfigInLlama(checkpoint);
    if (config !== null) {
      return fromLlama(checkpoint.path, config, Llama.fromPretrained(checkpoint, options), (c) => new GPT(c));
    }
    const build = (file: ConfigFile): GPT => new GPT(configOf(file));
    return loadCheckpoint(checkpoint, ['gpt2', ownType], build, weights, options);
  }

  /**
   * Writes a model folder. Without switches it holds a `gpt2`, which Hugging Face's GPT2LMHeadModel loads. Rotary positions,
   * SwiGLU and RMSNorm together are a `llama` (with a window and no biases a `mistral`), in that layout. Other combinations
   * have no name elsewhere: their `model_type` is `tsgpt-gpt`, which only tsgpt loads.
   */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    const llama = llamaConfigOf(this.config);
    if (llama !== null) saveAsLlama(folder, this, llama, options);
    else saveCheckpoint(folder, this, savedConfig(this.config), weights, options);
  }

  /** Longest sequence the model can see. */
  get contextLength(): number {
    return stretchedLength(this.config.n_positions, this.config.use_rope ? this.config.rope_scaling : null);
  }

  /** An empty cache for `batch` sequences of up to `capacity` positions. */
  newCache(batch = 1, capacity = this.contextLength): KVCache {
    const { kvHeads: heads, size: headSize } = headsOf(this.config);
    const { n_layer: layers, sliding_window } = this.config;
    const windows = Array<number | null>(layers).fill(sliding_window);
    return new KVCache({ layers, batch, heads, capacity, headSize, windows });
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
      const placement = this.#place(ids, options);
      const context = { ...placement, rotary: this.#rotary?.at(placement) ?? null };
      const tokens = this.wte.forward(inOneRow(ids, placement)); // (B, T, C)
      const embedded = this.wpe === null ? tokens : add(tokens, this.wpe.forward(placement.positions));
      const x = runLayers(this, this.h, this.drop.forward(embedded), context, (block, y, shared, i) =>
        block.forward(y, shared, options.cache?.layers[i]),
      );
      const y = inRows(x, ids, placement);
      return this.ln_f.forward(options.lastOnly ? slice(y, 1, -1) : y);
    });
  }

  #place(ids: Tensor, options: DecoderOptions): Placement {
    const placement = placeTokens('GPT', ids, options, this.contextLength);
    if (!this.config.use_explicit_mask || !placement.causal) return placement;
    const queries = placement.documents === null ? ids.shape[1] : placement.columns;
    const shown = causalMask(queries, placement.columns, { window: this.config.sliding_window });
    const causal = reshape(asScores(shown), [1, 1, ...shown.shape]);
    const mask = placement.mask === null ? causal : add(causal, placement.mask);
    return { ...placement, mask, causal: false };
  }
}

/** How the model's names differ from the file's: all but the head lie below `transformer.`, and masks are not weights. */
const weights = {
  prefix: 'transformer.',
  unprefixed: /^lm_head\./,
  ignored: /\.attn\.(masked_)?bias$/,
  tied: [{ name: 'lm_head.weight', to: 'wte.weight' }],
};
