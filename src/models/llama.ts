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
import { Embedding, Linear, Module, RMSNorm, runLayers } from '../nn/index.js';
import { KVCache, type LayerCache } from './cache.js';
import { type Checkpoint, type ConfigFile, type GenerationConfig, tokenIds } from './checkpoint.js';
import { checkFits } from './config.js';
import {
  attentionBiases,
  complete,
  configOf,
  countWeights,
  headsOf,
  type LlamaConfig,
  llamaFile,
  type LlamaPreset,
  modelTypes,
  presetConfig,
  windowOf,
} from './llama-config.js';
import {
  type DecoderOptions,
  inOneRow,
  inRows,
  type Placement,
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
  /** Cosines and sines of the positions. */
  readonly rotary: [Tensor, Tensor];
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

  /** residual + attention(x) */
  forward(x: Tensor, residual: Tensor, context: Context, cache?: LayerCache): Tensor {
    const [B, T] = x.shape;
    const { rotary } = context;
    const { heads, kvHeads, size: D } = headsOf(this.config);
    const split = (t: Tensor, n: number): Tensor => transpose(reshape(t, [B, T, n, D]), 1, 2);
    const q = rotaryEmbedding(split(this.q_proj.forward(x), heads), ...rotary); // (B, H, T, D)
    const k = rotaryEmbedding(split(this.k_proj.forward(x), kvHeads), ...rotary); // (B, Hkv, T, D)
    const v = split(this.v_proj.forward(x), kvHeads);
    const [keys, values] = cache?.append(k, v) ?? [k, v]; // (B, Hkv, S, D), the positions that are seen
    const y = scaledDotProductAttention(q, keys, values, {
      ...visibility(context, keys, windowOf(this.config, this.layer)),
      dropout: this.training ? this.config.attention_dropout : 0,
      generator: this.generator,
    });
    return this.o_proj.forward(reshape(transpose(y, 1, 2), [B, T, heads * D]), { residual });
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

  /** residual + mlp(x) */
  forward(x: Tensor, residual: Tensor): Tensor {
    return this.down_proj.forward(swiglu(this.gate_proj.forward(x), this.up_proj.forward(x)), { residual });
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
      const attended = this.self_attn.forward(this.input_layernorm.forward(x), x, context, cache);
      return this.mlp.forward(this.post_attention_layernorm.forward(attended), attended);
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
  /** What `generate` does where it is not told: the contents of generation_config.json. */
  generationConfig: GenerationConfig;
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
    this.generationConfig = tokenIds({ ...c });
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
    return new Llama({ ...presetConfig(name), ...overrides }, options);
  }

  /**
   * The model in a folder of Hugging Face's layout, or in a GGUF file, in evaluation mode. Its files stay mapped: see
   * {@link LoadModelOptions.dtype}.
   */
  static fromPretrained(source: string | Checkpoint, options: LoadModelOptions = {}): Llama {
    const build = (config: ConfigFile): Llama => new Llama(configOf(config));
    return loadCheckpoint(source, modelTypes, build, llamaWeights, options);
  }

  /** Writes a model folder, which Hugging Face's class for the model_type loads. */
  savePretrained(folder: string, options: SaveModelOptions = {}): void {
    saveCheckpoint(folder, this, llamaFile(this.config), llamaWeights, options);
  }

  /** Longest sequence the model can see. */
  get contextLength(): number {
    return stretchedLength(this.config.max_position_embeddings, this.config.rope_scaling);
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
      const placement = placeTokens('Llama', ids, options, this.contextLength);
      const context = { ...placement, rotary: this.#rotary.at(placement) };
      const embedded = this.embed_tokens.forward(inOneRow(ids, placement)); // (B, T, C)
      const x = runLayers(this, this.layers, embedded, context, (layer, y, shared, i) =>
        layer.forward(y, shared, options.cache?.layers[i]),
      );
      const y = inRows(x, ids, placement);
      return this.norm.forward(options.lastOnly ? slice(y, 1, -1) : y);
    });
  }
}

/** How the file's names differ from the model's: all but the head lie below `model.`; old files hold rotary frequencies. */
export const llamaWeights = {
  prefix: 'model.',
  unprefixed: /^lm_head\./,
  ignored: /\.rotary_emb\.inv_freq$/,
  tied: [{ name: 'lm_head.weight', to: 'embed_tokens.weight' }],
};
