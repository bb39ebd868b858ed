/**
 * Scaled dot-product attention (Vaswani et al., 2017), softmax(scale · Q Kᵀ + mask) V, computed in tiles with a running
 * softmax (FlashAttention, Dao et al., 2022; native/cpu/attention.cpp): memory grows with T, not with T². The
 * definition below is the plain form, and the reference.
 */

import { isFloating } from '../dtype.js';
import { ArgumentError, checkOptions, DTypeError, IndexError, ShapeError } from '../errors.js';
import * as kernels from '../kernels.js';
import { cast, checkFloating, defineOp, detach, sumToShape } from '../op.js';
import { defaultGenerator, type Generator } from '../random.js';
import { broadcastShapes, broadcastStrides, formatShape, sameShape, sizeOf } from '../shape.js';
import { checkTensor, scope, Tensor } from '../tensor.js';
import { arange, full, tensor } from './create.js';
import { add, contiguous, div, dropoutAt, eq, exp, lt, mul, sub, where } from './elementwise.js';
import { matmul } from './matmul.js';
import { repeatInterleave, reshape, transpose, tril, triu } from './movement.js';
import { amax, sum } from './reduce.js';

/** Options of {@link scaledDotProductAttention}. */
export interface AttentionOptions {
  /** Query i sees key j only when j <= i + (S - T): the last query sees all keys, as decoding with a cache needs. */
  readonly causal?: boolean;
  /** Broadcastable to (B, H, T, S). bool: true where a key may be seen. Floating: added to the scores. */
  readonly mask?: Tensor | null;
  /**
   * (B, T) int32: the first key that each query sees, which never falls from one query to the next. Hides what came before a
   * document's beginning, in time and memory that grow with the documents only.
   */
  readonly firstKeys?: Tensor | null;
  /** Factor of the scores; 1 / sqrt(D) by default. */
  readonly scale?: number;
  /** Probability of dropping an attention weight, 0 by default. */
  readonly dropout?: number;
  /** Sliding window: with `causal`, query i sees only the last `window` keys up to its own. 0 means all. */
  readonly window?: number;
  /** The stream that dropout draws from. */
  readonly generator?: Generator;
}

const optionNames = ['causal', 'mask', 'firstKeys', 'scale', 'dropout', 'window', 'generator'];

type Settings = kernels.AttentionOptions;
/** q, k, v, mask, firstKeys, out, lse */
type SavedTensors = [Tensor, Tensor, Tensor, Tensor | null, Tensor | null, Tensor, Tensor];

/** A view of `bias` in the shape of the scores. */
function expandBias(bias: Tensor, q: Tensor, k: Tensor): Tensor {
  const shape = [q.shape[0], q.shape[1], q.shape[2], k.shape[2]];
  return bias.view(shape, broadcastStrides(bias.shape, bias.strides, shape), bias.offset, 'attention mask');
}

/** x with unit stride along the head size, which is all that the kernels ask of a layout. */
function unitRows(x: Tensor): Tensor {
  if (x.strides[3] === 1 || x.shape[3] === 1) return x;
  const copy = Tensor.empty(x.shape, x.dtype, 'attention');
  kernels.copy(x, copy);
  return copy;
}

/** No query, or no key to see. */
const isEmpty = (q: Tensor, k: Tensor): boolean => q.size === 0 || k.size === 0;

/**
 * Strides of a (B, H, T, D) tensor that lies in memory as (B, T, H, D): joining the heads afterwards is then a view.
 */
const joinable = ([, h, t, d]: readonly number[]): number[] => [t * h * d, d, h * d, 1];

const attentionOp = defineOp<[Tensor, Tensor, Tensor, Tensor | null, Tensor | null], Settings>({
  name: 'scaledDotProductAttention',
  shape([q, k, v, mask]) {
    checkAttention(q, k, v);
    if (mask !== null) {
      const scores = [q.shape[0], q.shape[1], q.shape[2], k.shape[2]];
      if (!sameShape(broadcastShapes('scaledDotProductAttention', mask.shape, scores), scores)) {
        throw new ShapeError(
          `scaledDotProductAttention: the mask must broadcast to (B, H, T, S) ${formatShape(scores)}, got ${formatShape(mask.shape)}`,
        );
      }
    }
    return { shape: q.shape, dtype: q.dtype, strides: joinable(q.shape) };
  },
  forward(out, [q, k, v, mask, firstKeys], settings, tape) {
    if (q.dtype !== 'float32' || k.dtype !== 'float32' || v.dtype !== 'float32') return false;
    const lse = tape === null ? null : Tensor.empty([...q.shape.slice(0, 3), 2], 'float32', 'attention');
    const [uq, uk, uv] = [unitRows(q), unitRows(k), unitRows(v)];
    tape?.save(uq, uk, uv, mask, firstKeys, out, lse);
    if (isEmpty(q, k)) return kernels.fill(out, 0);
    return kernels.attention(uq, uk, uv, mask && expandBias(mask, q, k), firstKeys, out, lse, settings);
  },
  // With P the attention weights:  dV = Pᵀ dO,  dP = dO Vᵀ,  dS = P (dP - Σ dP P),  dQ = scale dS K,  dK = scale dSᵀ Q.
  // P is recomputed tile by tile from the saved log-sum-exp (its two parts, see native/kernels.h).
  backward(grad, node, settings) {
    if (node.saved.length === 0) return []; // there was nothing to attend to
    const [q, k, v, mask, firstKeys, out, lse] = node.saved as SavedTensors;
    const like = (x: Tensor): Tensor =>
      Tensor.empty(x.shape, 'float32', 'attention gradient', joinable(x.shape));
    const [dq, dk, dv] = [like(q), like(k), like(v)];
    if (isEmpty(q, k)) {
      const dmask = node.needs(3) ? Tensor.empty(node.inputShape(3), 'float32', 'attention gradient') : null;
      for (const gradient of [dq, dk, dv, dmask]) if (gradient !== null) kernels.fill(gradient, 0);
      return [dq, dk, dv, dmask];
    }
    const bias = mask && expandBias(mask, q, k);
    const dbias =
      bias !== null && node.needs(3) ? Tensor.empty(bias.shape, 'float32', 'attention gradient') : null;
    kernels.attentionGrad(q, k, v, bias, firstKeys, out, lse, unitRows(grad), dq, dk, dv, dbias, settings);
    return [dq, dk, dv, dbias && sumToShape(dbias, node.inputShape(3))];
  },
  definition([q, k, v, mask, firstKeys], settings) {
    const values = shareHeads(v, q); // (B, H, S, D)
    if (k.shape[2] === 0) return matmul(scoresOf(q, k, mask, firstKeys, settings), values); // zeros
    const { weights, blind } = weigh(scoresOf(q, k, mask, firstKeys, settings));
    const kept =
      settings.dropout === 0
        ? weights
        : dropoutAt(weights, settings.dropout, settings.seed, settings.randomOffset);
    return where(blind, 0, matmul(kept, values)); // (B, H, T, D)
  },
});

/** Keys or values with a head for each head of q. */
function shareHeads(x: Tensor, q: Tensor): Tensor {
  const groups = q.shape[1] / x.shape[1];
  return groups === 1 ? x : repeatInterleave(x, groups, 1);
}

/** (B, H, T, S) */
function scoresOf(
  q: Tensor,
  k: Tensor,
  mask: Tensor | null,
  firstKeys: Tensor | null,
  { scale, causal, window }: Pick<Settings, 'scale' | 'causal' | 'window'>,
): Tensor {
  let scores = mul(matmul(q, transpose(shareHeads(k, q), 2, 3)), scale);
  if (mask !== null) scores = add(scores, mask);
  if (firstKeys !== null) {
    const first = reshape(firstKeys, [q.shape[0], 1, q.shape[2], 1]);
    scores = add(scores, where(lt(arange(0, k.shape[2]), first), tensor(-Infinity), tensor(0)));
  }
  return causal ? add(scores, causalMask(q.shape[2], k.shape[2], window)) : scores;
}

/** Softmax of scores. A query that sees no key gives zeros, as in the kernel, instead of 0 / 0 (or of 0 · NaN in the product). */
function weigh(scores: Tensor): { weights: Tensor; blind: Tensor } {
  const top = detach(amax(scores, -1, { keepdim: true }));
  const blind = eq(top, -Infinity);
  const exponentials = exp(sub(scores, where(blind, 0, top)));
  return { weights: div(exponentials, where(blind, 1, sum(exponentials, -1, { keepdim: true }))), blind };
}

/** (T, S) of 0 where query i sees key j and -Infinity elsewhere. */
function causalMask(queries: number, keys: number, window: number): Tensor {
  let visible = tril(full([queries, keys], 1), keys - queries);
  if (window > 0) visible = triu(visible, keys - queries - window + 1);
  return where(cast(visible, 'bool'), tensor(0), tensor(-Infinity));
}

function checkAttention(q: Tensor, k: Tensor, v: Tensor): void {
  const name = 'scaledDotProductAttention';
  for (const x of [q, k, v]) checkFloating(name, x);
  const shapes = `got q ${formatShape(q.shape)}, k ${formatShape(k.shape)}, v ${formatShape(v.shape)}`;
  if (q.rank !== 4 || k.rank !== 4 || v.rank !== 4) {
    throw new ShapeError(`${name}: q, k and v must be (B, H, T, D), ${shapes}`);
  }
  if (!sameShape(k.shape, v.shape))
    throw new ShapeError(`${name}: k and v must have the same shape, ${shapes}`);
  if (q.shape[0] !== k.shape[0] || q.shape[3] !== k.shape[3]) {
    throw new ShapeError(`${name}: q and k must agree in batch and head size, ${shapes}`);
  }
  if (k.shape[1] === 0 || q.shape[1] % k.shape[1] !== 0) {
    throw new ShapeError(`${name}: the query heads must be a multiple of the key heads, ${shapes}`);
  }
}

/**
 * Attention of each query over the keys: softmax(scale · q kᵀ + mask) v. Grouped-query attention when k and v have fewer
 * heads: query head h reads key head floor(h / (H / Hkv)). A query that sees no key gives zeros.
 *
 * @param q (B, H, T, D)
 * @param k (B, Hkv, S, D)
 * @param v (B, Hkv, S, D)
 * @returns (B, H, T, D), laid out so that transpose(1, 2) and joining the heads copy nothing.
 * @throws ShapeError when the shapes do not fit; ArgumentError when an option is out of range.
 */
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions = {},
): Tensor {
  checkOptions('scaledDotProductAttention', options, optionNames);
  const { dropout = 0, generator = defaultGenerator } = options;
  checkAttention(q, k, v);
  if (!(dropout >= 0 && dropout < 1)) {
    throw new ArgumentError(
      `scaledDotProductAttention: dropout must be at least 0 and below 1, got ${dropout}`,
    );
  }
  const { bias, firstKeys, ...settings } = settle(q, k, options);
  return attentionOp([q, k, v, bias, firstKeys], {
    ...settings,
    dropout,
    seed: generator.seed,
    randomOffset:
      dropout === 0 ? 0 : generator.reserve(sizeOf([q.shape[0], q.shape[1], q.shape[2], k.shape[2]])),
  });
}

/** The checked options of a call, with the mask as what is added to the scores. */
function settle(
  q: Tensor,
  k: Tensor,
  options: AttentionOptions,
): Pick<Settings, 'scale' | 'causal' | 'window'> & { bias: Tensor | null; firstKeys: Tensor | null } {
  const { causal = false, mask = null, window = 0, scale = 1 / Math.sqrt(q.shape[3]) } = options;
  if (!Number.isInteger(window) || window < 0 || (window > 0 && !causal)) {
    throw new ArgumentError(
      `scaledDotProductAttention: window must be a non-negative integer and needs causal, got ${window}`,
    );
  }
  if (mask !== null) {
    checkTensor('scaledDotProductAttention', mask);
    if (mask.dtype !== 'bool' && !isFloating(mask.dtype)) {
      throw new DTypeError(
        `scaledDotProductAttention: the mask must be bool or floating, got ${mask.dtype} ${formatShape(mask.shape)}; ` +
          'compare it: mask.ne(0)',
      );
    }
  }
  const bias =
    mask?.dtype === 'bool'
      ? where(mask, tensor(0), tensor(-Infinity))
      : mask && cast(mask, q.dtype === 'float64' ? 'float64' : 'float32');
  const { firstKeys = null } = options;
  if (firstKeys !== null) checkFirstKeys(firstKeys, q, k);
  return { scale, causal, window, bias, firstKeys: firstKeys && contiguous(firstKeys) };
}

function checkFirstKeys(firstKeys: Tensor, q: Tensor, k: Tensor): void {
  const name = 'scaledDotProductAttention';
  checkTensor(name, firstKeys);
  const shape = [q.shape[0], q.shape[2]];
  if (firstKeys.dtype !== 'int32' || !sameShape(firstKeys.shape, shape)) {
    throw new ShapeError(
      `${name}: firstKeys must be (B, T) ${formatShape(shape)} of int32, got ${firstKeys.dtype} ${formatShape(firstKeys.shape)}`,
    );
  }
  const keys = firstKeys.data;
  for (let i = 0; i < keys.length; i++) {
    const least = i % shape[1] === 0 ? 0 : keys[i - 1];
    if (keys[i] >= least && keys[i] <= k.shape[2]) continue;
    throw new IndexError(
      `${name}: firstKeys must not fall along a row and be at most the ${k.shape[2]} keys, got ${keys[i]} for query ` +
        `${i % shape[1]} of row ${Math.floor(i / shape[1])}`,
    );
  }
}

/**
 * The weights that {@link scaledDotProductAttention} gives the keys, softmax(scale · q kᵀ + mask), for looking inside a
 * model: they take T · S memory for each head, which attention itself never does.
 *
 * @param q (B, H, T, D)
 * @param k (B, Hkv, S, D)
 * @returns (B, H, T, S)
 */
export function attentionWeights(
  q: Tensor,
  k: Tensor,
  options: Omit<AttentionOptions, 'dropout' | 'generator'> = {},
): Tensor {
  checkOptions('attentionWeights', options, ['causal', 'mask', 'firstKeys', 'scale', 'window']);
  checkAttention(q, k, k);
  if (k.shape[2] === 0)
    throw new ShapeError(`attentionWeights: there is no key, got k ${formatShape(k.shape)}`);
  return scope(() => {
    const { bias, firstKeys, ...settings } = settle(q, k, options);
    return weigh(scoresOf(q, k, bias, firstKeys, settings)).weights;
  });
}
