/**
 * Scaled dot-product attention (Vaswani et al., 2017), softmax(scale · Q Kᵀ + mask) V, computed in tiles with a running
 * softmax (FlashAttention, Dao et al., 2022; native/cpu/attention.cpp): memory grows with T, not with T². The
 * definition below is the plain form, and the reference.
 */

import { type DType, isFloating, isHalf } from '../dtype.js';
import { ArgumentError, checkOptions, DTypeError, ShapeError } from '../errors.js';
import * as kernels from '../kernels.js';
import { cast, checkFloating, compact, defineOp, detach, sumToShape } from '../op.js';
import { defaultGenerator, type Generator } from '../random.js';
import { broadcastShapes, broadcastStrides, formatShape, sameShape, sizeOf } from '../shape.js';
import { checkTensor, scope, Tensor } from '../tensor.js';
import { full, tensor } from './create.js';
import { add, div, dropoutAt, eq, exp, mul, sub, where } from './elementwise.js';
import { indexSelect } from './indexing.js';
import { matmul } from './matmul.js';
import { cat, repeatInterleave, reshape, slice, transpose, tril, triu } from './movement.js';
import { amax, sum } from './reduce.js';

/** Options of {@link scaledDotProductAttention}. */
export interface AttentionOptions {
  /** Query i sees key j only when j <= i + (S - T): the last query sees all keys, as decoding with a cache needs. */
  readonly causal?: boolean;
  /** Broadcastable to (B, H, T, S). bool: true where a key may be seen. Floating: added to the scores. */
  readonly mask?: Tensor | null;
  /** Factor of the scores; 1 / sqrt(D) by default. */
  readonly scale?: number;
  /** Probability of dropping an attention weight, 0 by default. */
  readonly dropout?: number;
  /** Sliding window: with `causal`, query i sees only the last `window` keys up to its own. 0 means all. */
  readonly window?: number;
  /** The stream that dropout draws from. */
  readonly generator?: Generator;
  /**
   * Added to the scores by how far the query stands behind the key, instead of a mask: (H, T + S - 1), of which query i and
   * key j have entry i - j + S - 1. Neither it nor its gradient ever becomes (H, T, S).
   */
  readonly relativeBias?: Tensor | null;
  /**
   * The lengths of B sequences of which q is packed, without padding: q is then (1, H, sum, D), and so is the result. Each
   * attends to its own keys. T is the greatest length, where a mask or relativeBias has it.
   */
  readonly queryLengths?: ArrayLike<number> | null;
  /** Likewise of k and v, (1, Hkv, sum, D); S is the greatest length. */
  readonly keyLengths?: ArrayLike<number> | null;
}

const optionNames = [
  'causal',
  'mask',
  'scale',
  'dropout',
  'window',
  'generator',
  'relativeBias',
  'queryLengths',
  'keyLengths',
];

type Settings = kernels.AttentionOptions;

/** (B, H, T, S) */
function scoresShape(q: Tensor, k: Tensor, { queries, keys }: Pick<Settings, 'queries' | 'keys'>): number[] {
  const batch = (queries ?? keys)?.starts.length;
  return [
    batch === undefined ? q.shape[0] : batch - 1,
    q.shape[1],
    queries?.longest ?? q.shape[2],
    keys?.longest ?? k.shape[2],
  ];
}

/** A bias as the kernels want it: a view of it in the shape of the scores, or that of distances. */
function expandBias(bias: Tensor, q: Tensor, k: Tensor, settings: Settings): Tensor {
  if (settings.relative) return compact(bias);
  const shape = scoresShape(q, k, settings);
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

/** A tensor laid out by {@link joinable} as (B, T, H, D). */
const rowMajor = (x: Tensor): Tensor => {
  const [b, h, t, d] = x.shape;
  const [sb, sh, st, sd] = x.strides;
  return x.view([b, t, h, d], [sb, st, sh, sd], x.offset, 'attention');
};

/** Half types in float32, which the kernels take, joinable. */
function widenRows(x: Tensor): Tensor {
  return isHalf(x.dtype) ? castRows(x, 'float32') : x;
}

function castRows(x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype) return x;
  const out = Tensor.empty(x.shape, dtype, 'attention', joinable(x.shape));
  kernels.copy(rowMajor(x), rowMajor(out));
  return out;
}

const attentionOp = defineOp<[Tensor, Tensor, Tensor, Tensor | null], Settings>({
  name: 'scaledDotProductAttention',
  shape([q, k, v, mask], settings) {
    checkAttention(q, k, v, settings);
    const scores = scoresShape(q, k, settings);
    if (mask !== null && settings.relative) {
      const [, H, T, S] = scores;
      if (!sameShape(mask.shape, [H, T + S - 1])) {
        throw new ShapeError(
          `scaledDotProductAttention: relativeBias must be (H, T + S - 1) ${formatShape([H, T + S - 1])}, got ${formatShape(mask.shape)}`,
        );
      }
    } else if (mask !== null) {
      if (!sameShape(broadcastShapes('scaledDotProductAttention', mask.shape, scores), scores)) {
        throw new ShapeError(
          `scaledDotProductAttention: the mask must broadcast to (B, H, T, S) ${formatShape(scores)}, got ${formatShape(mask.shape)}`,
        );
      }
    }
    return { shape: q.shape, dtype: q.dtype, strides: joinable(q.shape) };
  },
  forward(out, [q, k, v, mask], settings, tape) {
    if (q.dtype === 'float64' || k.dtype !== q.dtype || v.dtype !== q.dtype) return false;
    const rows = scoresShape(q, k, settings).slice(0, 3);
    const lse = tape === null ? null : Tensor.empty([...rows, 2], 'float32', 'attention');
    const [uq, uk, uv] = [unitRows(q), unitRows(k), unitRows(v)];
    tape?.save(uq, uk, uv, mask, out, lse);
    if (isEmpty(q, k)) return kernels.fill(out, 0);
    const bias = mask && expandBias(mask, q, k, settings);
    const call = { ...settings, bf16: roundsToBf16(q) };
    if (!isHalf(q.dtype)) return kernels.attention(uq, uk, uv, bias, out, lse, call);
    const wide = Tensor.empty(q.shape, 'float32', 'attention', out.strides);
    const [wq, wk, wv] = [uq, uk, uv].map(widenRows);
    return (
      kernels.attention(wq, wk, wv, bias, wide, lse, call) && kernels.copy(rowMajor(wide), rowMajor(out))
    );
  },
  // With P the attention weights:  dV = Pᵀ dO,  dP = dO Vᵀ,  dS = P (dP - Σ dP P),  dQ = scale dS K,  dK = scale dSᵀ Q.
  // P is recomputed tile by tile from the saved log-sum-exp (its two parts, see native/kernels.h).
  backward(grad, node, settings) {
    if (node.saved.length === 0) return []; // there was nothing to attend to
    const [sq, sk, sv, mask, so, lse] = node.saved as [Tensor, Tensor, Tensor, Tensor | null, Tensor, Tensor];
    const [q, k, v, out] = [sq, sk, sv, so].map(widenRows);
    const like = (x: Tensor): Tensor =>
      Tensor.empty(x.shape, 'float32', 'attention gradient', joinable(x.shape));
    const [dq, dk, dv] = [like(q), like(k), like(v)];
    if (isEmpty(q, k)) {
      const dmask = node.needs(3) ? Tensor.empty(node.inputShape(3), 'float32', 'attention gradient') : null;
      for (const gradient of [dq, dk, dv, dmask]) if (gradient !== null) kernels.fill(gradient, 0);
      return [...[dq, dk, dv].map((g) => castRows(g, sq.dtype)), dmask];
    }
    const bias = mask && expandBias(mask, q, k, settings);
    const [B, H, T, S] = scoresShape(q, k, settings);
    const shape = settings.relative ? [B, H, Math.ceil(T / 64), T + S - 1] : [B, H, T, S];
    const dbias =
      bias !== null && node.needs(3) ? Tensor.empty(shape, 'float32', 'attention gradient') : null;
    const dout = unitRows(widenRows(grad));
    const call = { ...settings, bf16: roundsToBf16(sq) };
    kernels.attentionGrad(q, k, v, bias, out, lse, dout, dq, dk, dv, dbias, call);
    const gradients = [dq, dk, dv].map((g) => castRows(g, sq.dtype));
    if (dbias === null) return gradients;
    if (!settings.relative) return [...gradients, sumToShape(dbias, node.inputShape(3))];
    const sums = sumToShape(dbias, [1, H, 1, T + S - 1]);
    return [...gradients, sums.view(node.inputShape(3), [T + S - 1, 1], sums.offset, 'attention gradient')];
  },
  definition([q, k, v, mask], settings) {
    const [B, H, T, S] = scoresShape(q, k, settings);
    const bias = mask !== null && settings.relative ? expandRelativeBias(mask, T, S) : mask;
    const { dropout, seed, randomOffset, queries, keys } = settings;
    const factors = dropout === 0 ? null : dropoutAt(full([B, H, T, S], 1), dropout, seed, randomOffset);
    if (queries === null && keys === null) return attend(q, k, v, bias, factors, settings);
    const each = Array.from({ length: B }, (_, b) => {
      const own = (x: Tensor, packed: kernels.PackedRows | null): Tensor =>
        packed === null ? slice(x, 0, b, b + 1) : slice(x, 2, packed.starts[b], packed.starts[b + 1]);
      const [qb, kb, vb] = [own(q, queries), own(k, keys), own(v, keys)];
      const part = (x: Tensor | null): Tensor | null => x && cutScores(x, b, qb.shape[2], kb.shape[2]);
      return attend(qb, kb, vb, part(bias), part(factors), settings);
    });
    return cat(each, queries === null ? 0 : 2);
  },
});

/** Whether the products of attention with these queries may be of bfloat16 numbers; see setFloat32MatmulPrecision. */
const roundsToBf16 = ({ dtype, shape }: Tensor): boolean =>
  dtype === 'bfloat16' || (dtype === 'float32' && kernels.gemmSettings.roundsToBf16 && shape[2] > fewQueries);

/** As few rows as the matrix products never round either. */
const fewQueries = 8;

/** The definition for sequences that are all alike: (B, H, T, D). */
function attend(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  bias: Tensor | null,
  factors: Tensor | null,
  settings: Settings,
): Tensor {
  const values = shareHeads(v, q); // (B, H, S, D)
  if (k.shape[2] === 0 || q.shape[2] === 0) return matmul(scoresOf(q, k, bias, settings), values); // zeros
  const { weights, blind } = weigh(scoresOf(q, k, bias, settings));
  return where(blind, 0, matmul(factors === null ? weights : mul(weights, factors), values));
}

/**
 * A `relativeBias` of {@link scaledDotProductAttention} as the mask that does the same.
 *
 * @param bias (H, T + S - 1)
 * @returns (1, H, T, S)
 */
export function expandRelativeBias(bias: Tensor, T: number, S: number): Tensor {
  const ids = Int32Array.from({ length: T * S }, (_, n) => Math.floor(n / S) - (n % S) + S - 1);
  return reshape(indexSelect(bias, 1, tensor(ids)), [1, bias.shape[0], T, S]);
}

/** What a sequence of `queries` and `keys` needs of something that broadcasts to (B, H, T, S). */
function cutScores(x: Tensor, b: number, queries: number, keys: number): Tensor {
  const lead = reshape(x, [...Array<number>(4 - x.rank).fill(1), ...x.shape]);
  const cut = (y: Tensor, dim: number, from: number, to: number): Tensor =>
    y.shape[dim] === 1 ? y : slice(y, dim, from, to);
  return cut(cut(cut(lead, 0, b, b + 1), 2, 0, queries), 3, 0, keys);
}

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
  { scale, causal, window }: Pick<Settings, 'scale' | 'causal' | 'window'>,
): Tensor {
  let scores = mul(matmul(q, transpose(shareHeads(k, q), 2, 3)), scale);
  if (mask !== null) scores = add(scores, mask);
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

function checkAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { queries, keys }: Pick<Settings, 'queries' | 'keys'> = unpacked,
): void {
  const name = 'scaledDotProductAttention';
  for (const x of [q, k, v]) checkFloating(name, x);
  const shapes = `got q ${formatShape(q.shape)}, k ${formatShape(k.shape)}, v ${formatShape(v.shape)}`;
  if (q.rank !== 4 || k.rank !== 4 || v.rank !== 4) {
    throw new ShapeError(`${name}: q, k and v must be (B, H, T, D), ${shapes}`);
  }
  if (!sameShape(k.shape, v.shape))
    throw new ShapeError(`${name}: k and v must have the same shape, ${shapes}`);
  if (queries !== null || keys !== null) checkPacked(name, q, k, queries, keys);
  else if (q.shape[0] !== k.shape[0]) {
    throw new ShapeError(`${name}: q and k must agree in batch and head size, ${shapes}`);
  }
  if (q.shape[3] !== k.shape[3]) {
    throw new ShapeError(`${name}: q and k must agree in batch and head size, ${shapes}`);
  }
  if (k.shape[1] === 0 || q.shape[1] % k.shape[1] !== 0) {
    throw new ShapeError(`${name}: the query heads must be a multiple of the key heads, ${shapes}`);
  }
}

const unpacked = { queries: null, keys: null };

function checkPacked(
  name: string,
  q: Tensor,
  k: Tensor,
  queries: kernels.PackedRows | null,
  keys: kernels.PackedRows | null,
): void {
  const fits = (x: Tensor, rows: kernels.PackedRows | null): boolean =>
    rows === null || (x.shape[0] === 1 && rows.starts[rows.starts.length - 1] === x.shape[2]);
  const batch = (x: Tensor, rows: kernels.PackedRows | null): number =>
    rows === null ? x.shape[0] : rows.starts.length - 1;
  if (fits(q, queries) && fits(k, keys) && batch(q, queries) === batch(k, keys)) return;
  const lengths = (rows: kernels.PackedRows | null): string =>
    rows === null
      ? ''
      : ` of ${rows.starts.length - 1} sequences of ${rows.starts[rows.starts.length - 1]} rows in all`;
  throw new ShapeError(
    `${name}: packed sequences must be (1, H, sum of the lengths, D), and as many for queries and keys, ` +
      `got q ${formatShape(q.shape)}${lengths(queries)}, k ${formatShape(k.shape)}${lengths(keys)}`,
  );
}

function packedRows(lengths: ArrayLike<number> | null | undefined): kernels.PackedRows | null {
  if (lengths === null || lengths === undefined) return null;
  const starts = new Int32Array(lengths.length + 1);
  let longest = 0;
  for (let i = 0; i < lengths.length; i++) {
    const length = lengths[i];
    if (!Number.isInteger(length) || length < 0) {
      throw new ArgumentError(
        `scaledDotProductAttention: lengths of sequences must be integers of at least 0, got ${length} for sequence ${i}`,
      );
    }
    starts[i + 1] = starts[i] + length;
    longest = Math.max(longest, length);
  }
  return { starts, longest };
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
  const packed = { queries: packedRows(options.queryLengths), keys: packedRows(options.keyLengths) };
  checkAttention(q, k, v, packed);
  if (!(dropout >= 0 && dropout < 1)) {
    throw new ArgumentError(
      `scaledDotProductAttention: dropout must be at least 0 and below 1, got ${dropout}`,
    );
  }
  const { bias, ...settings } = settle(q, options);
  return attentionOp([q, k, v, bias], {
    ...settings,
    ...packed,
    dropout,
    seed: generator.seed,
    randomOffset: dropout === 0 ? 0 : generator.reserve(sizeOf(scoresShape(q, k, packed))),
  });
}

/** The checked options of a call, with the mask as what is added to the scores. */
function settle(
  q: Tensor,
  options: AttentionOptions,
): Pick<Settings, 'scale' | 'causal' | 'window' | 'relative'> & { bias: Tensor | null } {
  const { causal = false, mask = null, window = 0, scale = 1 / Math.sqrt(q.shape[3]) } = options;
  const { relativeBias = null } = options;
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
  const wide = q.dtype === 'float64' ? 'float64' : 'float32';
  if (relativeBias !== null) {
    if (mask !== null) {
      throw new ArgumentError('scaledDotProductAttention: relativeBias takes the place of a mask, got both');
    }
    checkFloating('scaledDotProductAttention', relativeBias);
    return { scale, causal, window, bias: cast(relativeBias, wide), relative: true };
  }
  const bias = mask?.dtype === 'bool' ? where(mask, tensor(0), tensor(-Infinity)) : mask && cast(mask, wide);
  return { scale, causal, window, bias, relative: false };
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
  options: Pick<AttentionOptions, 'causal' | 'mask' | 'scale' | 'window'> = {},
): Tensor {
  checkOptions('attentionWeights', options, ['causal', 'mask', 'scale', 'window']);
  checkAttention(q, k, k);
  if (k.shape[2] === 0)
    throw new ShapeError(`attentionWeights: there is no key, got k ${formatShape(k.shape)}`);
  return scope(() => {
    const { bias, ...settings } = settle(q, options);
    return weigh(scoresOf(q, k, bias, settings)).weights;
  });
}
