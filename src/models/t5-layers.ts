/**
 * The layers of T5 (t5.ts): attention with relative positions, attention to the encoder's output, the feed-forward layer
 * plain or gated, each normalized before and added to its input, and the stack of them that is the encoder or the decoder.
 */

import {
  type ActivationName,
  type AttentionOptions,
  attentionWeights,
  type Generator,
  mul,
  reshape,
  scaledDotProductAttention,
  scope,
  slice,
  type Tensor,
  transpose,
} from '../../lib/index.js';
import { Dropout, Embedding, type Finish, Linear, Module, RMSNorm, runLayers } from '../nn/index.js';
import { type Activation, activations } from './activations.js';
import { type LayerCache } from './cache.js';
import { once } from './encoder.js';
import { relativeBias } from './relative-bias.js';
import { type Seq2SeqCache } from './seq2seq-cache.js';
import { type T5Config } from './t5.js';

/** Which keys attention sees, and what it adds to the scores. */
export interface T5Scores {
  /** The bias by distance, (H, T + S - 1), or null where it is part of the mask. */
  readonly relativeBias: Tensor | null;
  /** Added to the scores, broadcast to (B, H, T, S), or null. */
  readonly mask: Tensor | null;
  /** The lengths of texts that are packed (packing.ts): in self-attention of queries and keys, else of keys. */
  readonly lengths: Int32Array | null;
}

/** What the layers of a stack share in a forward pass. */
export interface T5Context {
  readonly self: T5Scores;
  /** The decoder's: the encoder's output, or each layer's keys and values of it. */
  readonly source?: Tensor | readonly (readonly [Tensor, Tensor])[];
  /** The attention to these. */
  readonly cross?: T5Scores;
  /** Where attention weights are wanted: of self-attention, and of the attention to the encoder's output. */
  readonly attentions?: Tensor[];
  readonly crossAttentions?: Tensor[];
}

class Attention extends Module {
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly o: Linear;
  /** (buckets, H), in the first layer of a stack only, for all of them. */
  readonly relative_attention_bias: Embedding | null;

  constructor(
    private readonly c: T5Config,
    private readonly generator: Generator,
    hasBias = false,
  ) {
    super();
    const { d_model: C, num_heads: H, d_kv: D, initializer_factor: factor } = c;
    const init = (variance: number): { std: number; generator: Generator; bias: false } => ({
      std: factor / Math.sqrt(variance),
      generator,
      bias: false,
    });
    this.q = new Linear(C, H * D, init(C * D)); // takes the place of scaling the scores
    this.k = new Linear(C, H * D, init(C));
    this.v = new Linear(C, H * D, init(C));
    this.o = new Linear(H * D, C, init(H * D));
    this.relative_attention_bias = hasBias
      ? new Embedding(c.relative_attention_num_buckets, H, init(C))
      : null;
  }

  /** (B, T, H D) to (B, H, T, D) */
  #heads(x: Tensor): Tensor {
    const { num_heads: H, d_kv: D } = this.c;
    return transpose(reshape(x, [x.shape[0], x.shape[1], H, D]), 1, 2);
  }

  /** Keys and values of x, each (B, H, S, D). */
  keysAndValues(x: Tensor): [Tensor, Tensor] {
    return [this.#heads(this.k.forward(x)), this.#heads(this.v.forward(x))];
  }

  /** @param x (B, T, C) */
  forward(x: Tensor, [k, v]: readonly [Tensor, Tensor], options: AttentionContext, finish: Finish): Tensor {
    const { mask, relativeBias, queryLengths, keyLengths, causal, attentions } = options;
    const q = this.#heads(this.q.forward(x));
    attentions?.push(attentionWeights(q, k, { mask, causal, scale: 1 }).keep());
    const y = scaledDotProductAttention(q, k, v, {
      mask,
      relativeBias,
      queryLengths,
      keyLengths,
      causal,
      scale: 1,
      dropout: this.training ? this.c.dropout_rate : 0,
      generator: this.generator,
    });
    return this.o.forward(reshape(transpose(y, 1, 2), [x.shape[0], x.shape[1], -1]), finish);
  }
}

type AttentionContext = Pick<
  AttentionOptions,
  'mask' | 'relativeBias' | 'queryLengths' | 'keyLengths' | 'causal'
> & { readonly attentions: Tensor[] | undefined };

/** A residual branch: x + dropout(sublayer(norm(x))). */
abstract class Branch extends Module {
  readonly layer_norm: RMSNorm;
  readonly dropout: Dropout;

  constructor(c: T5Config, generator: Generator) {
    super();
    this.layer_norm = new RMSNorm(c.d_model, c.layer_norm_epsilon);
    this.dropout = new Dropout(c.dropout_rate, generator);
  }

  protected around(x: Tensor, sublayer: (normed: Tensor, finish: Finish) => Tensor): Tensor {
    const normed = this.layer_norm.forward(x);
    return this.dropout.addTo(x, (finish) => sublayer(normed, finish));
  }
}

class SelfAttentionLayer extends Branch {
  readonly SelfAttention: Attention;

  constructor(
    c: T5Config,
    generator: Generator,
    private readonly causal: boolean,
    hasBias: boolean,
  ) {
    super(c, generator);
    this.SelfAttention = new Attention(c, generator, hasBias);
  }

  forward(x: Tensor, { self: { lengths, ...scores }, attentions }: T5Context, cache?: LayerCache): Tensor {
    return this.around(x, (normed, finish) => {
      const fresh = this.SelfAttention.keysAndValues(normed);
      const packed = { queryLengths: lengths, keyLengths: lengths };
      const options = { ...scores, ...packed, causal: this.causal, attentions };
      return this.SelfAttention.forward(normed, cache?.append(...fresh) ?? fresh, options, finish);
    });
  }
}

export class CrossAttentionLayer extends Branch {
  readonly EncDecAttention: Attention;

  constructor(c: T5Config, generator: Generator) {
    super(c, generator);
    this.EncDecAttention = new Attention(c, generator);
  }

  forward(x: Tensor, context: T5Context, index: number): Tensor {
    const { source } = context;
    const pair = Array.isArray(source)
      ? (source as readonly (readonly [Tensor, Tensor])[])[index]
      : this.EncDecAttention.keysAndValues(source as Tensor);
    const { lengths, ...scores } = context.cross!;
    const options = { ...scores, keyLengths: lengths, causal: false, attentions: context.crossAttentions };
    return this.around(x, (normed, finish) => this.EncDecAttention.forward(normed, pair, options, finish));
  }
}

/** wo(act(wi x)), or gated wo(act(wi_0 x) · wi_1 x). */
class DenseReluDense extends Module {
  readonly wi: Linear | null;
  readonly wi_0: Linear | null;
  readonly wi_1: Linear | null;
  readonly wo: Linear;
  readonly dropout: Dropout;
  readonly #activation: ActivationName;

  constructor(c: T5Config, generator: Generator) {
    super();
    const isGated = c.feed_forward_proj.startsWith('gated-');
    const inner = (): Linear =>
      new Linear(c.d_model, c.d_ff, {
        std: c.initializer_factor / Math.sqrt(c.d_model),
        generator,
        bias: false,
      });
    this.wi = isGated ? null : inner();
    this.wi_0 = isGated ? inner() : null;
    this.wi_1 = isGated ? inner() : null;
    this.wo = new Linear(c.d_ff, c.d_model, {
      std: c.initializer_factor / Math.sqrt(c.d_ff),
      generator,
      bias: false,
    });
    this.dropout = new Dropout(c.dropout_rate, generator);
    // The published `gated-gelu` means the approximation; `gelu` alone is exact.
    const name =
      c.feed_forward_proj === 'gated-gelu' ? 'gelu_new' : c.feed_forward_proj.replace('gated-', '');
    this.#activation = activations[name as Activation];
  }

  forward(x: Tensor, finish: Finish): Tensor {
    const activation = this.#activation;
    const inner =
      this.wi !== null
        ? this.wi.forward(x, { activation })
        : mul(this.wi_0!.forward(x, { activation }), this.wi_1!.forward(x));
    return this.wo.forward(this.dropout.forward(inner), finish);
  }
}

class FeedForwardLayer extends Branch {
  readonly DenseReluDense: DenseReluDense;

  constructor(c: T5Config, generator: Generator) {
    super(c, generator);
    this.DenseReluDense = new DenseReluDense(c, generator);
  }

  forward(x: Tensor): Tensor {
    return this.around(x, (normed, finish) => this.DenseReluDense.forward(normed, finish));
  }
}

class Block extends Module {
  readonly layer: readonly [SelfAttentionLayer, FeedForwardLayer] | readonly [SelfAttentionLayer, CrossAttentionLayer, FeedForwardLayer]; // prettier-ignore

  constructor(c: T5Config, generator: Generator, isDecoder: boolean, hasBias: boolean) {
    super();
    const self = new SelfAttentionLayer(c, generator, isDecoder, hasBias);
    this.layer = isDecoder
      ? [self, new CrossAttentionLayer(c, generator), new FeedForwardLayer(c, generator)]
      : [self, new FeedForwardLayer(c, generator)];
  }

  /** The scope gives back at once what neither the next block nor backward needs. */
  forward(x: Tensor, context: T5Context, index: number, cache?: LayerCache): Tensor {
    return scope(() => {
      const attended = this.layer[0].forward(x, context, cache);
      if (this.layer.length === 2) return this.layer[1].forward(attended);
      return this.layer[2].forward(this.layer[1].forward(attended, context, index));
    });
  }
}

/** The encoder, or the decoder. */
export class T5Stack extends Module {
  readonly block: Block[];
  readonly final_layer_norm: RMSNorm;
  readonly dropout: Dropout;

  constructor(
    private readonly c: T5Config,
    generator: Generator,
    private readonly isDecoder: boolean,
  ) {
    super();
    const layers = isDecoder ? (c.num_decoder_layers ?? c.num_layers) : c.num_layers;
    this.block = Array.from({ length: layers }, (_, i) => new Block(c, generator, isDecoder, i === 0));
    this.final_layer_norm = new RMSNorm(c.d_model, c.layer_norm_epsilon);
    this.dropout = new Dropout(c.dropout_rate, generator);
  }

  /** The bias of `queries` positions, the last of `keys`: (H, queries + keys - 1). */
  bias(queries: number, keys: number): Tensor {
    const table = this.block[0].layer[0].SelfAttention.relative_attention_bias!.weight;
    return relativeBias(table, queries, keys, {
      bidirectional: !this.isDecoder,
      buckets: this.c.relative_attention_num_buckets,
      maxDistance: this.c.relative_attention_max_distance,
    });
  }

  /** @param x (B, T, C), or (1, N, C) packed, embedded ids @param last Whether only the last position is wanted. */
  forward(
    x: Tensor,
    context: T5Context,
    { cache, last = false }: { cache?: Seq2SeqCache; last?: boolean } = {},
  ): Tensor {
    const y = runLayers(
      once(this, context),
      this.block,
      this.dropout.forward(x),
      context,
      (block, z, shared, i) => block.forward(z, shared, i, cache?.layers[i]),
    );
    return this.dropout.forward(this.final_layer_norm.forward(last ? slice(y, 1, -1) : y));
  }
}
