/**
 * Sums, extremes and order along dimensions (native/cpu/reduce.cpp; sums of float32 are kept in double precision, in
 * blocks of fixed size, so that results depend on neither the order of threads nor their number).
 */

import { isHalf } from '../dtype.js';
import { ArgumentError, checkOptions, ShapeError } from '../errors.js';
import * as kernels from '../kernels.js';
import { cast, checkFloating, compact, defineOp, detach } from '../op.js';
import { broadcastStrides, formatShape, normalizeDim, sizeOf, type Shape } from '../shape.js';
import { checkTensor, scope, Tensor } from '../tensor.js';
import {
  add,
  div,
  eq,
  exp,
  log,
  maskedFill,
  mul,
  reciprocal,
  sqrt,
  square,
  sub,
  to,
  where,
} from './elementwise.js';
import { gather } from './indexing.js';
import { permute, reshape } from './movement.js';

/** Dimensions to reduce; absent means all. */
export type Dims = number | readonly number[];

/** Options of the reductions. */
export interface ReduceOptions {
  /** Keep the reduced dimensions with size 1. */
  readonly keepdim?: boolean;
}

interface Reduction {
  /** In ascending order. */
  readonly dims: readonly number[];
  readonly keepdim: boolean;
}

/** The call's arguments, checked. */
function reduction(name: string, x: Tensor, dim: Dims | undefined, options: ReduceOptions): Reduction {
  checkTensor(name, x);
  checkOptions(name, options, ['keepdim']);
  const { keepdim = false } = options;
  if (dim === undefined) return { dims: x.shape.map((_, d) => d), keepdim };
  const named = typeof dim === 'number' ? [dim] : dim;
  const dims = [...new Set(named.map((d) => normalizeDim(name, d, x.rank)))].sort((a, b) => a - b);
  if (dims.length !== named.length) {
    throw new ArgumentError(
      `${name}: a dimension may be named once, got ${formatShape(named)} for ${formatShape(x.shape)}`,
    );
  }
  return { dims, keepdim };
}

function reducedShape(shape: Shape, { dims, keepdim }: Reduction): Shape {
  return keepdim
    ? shape.map((n, d) => (dims.includes(d) ? 1 : n))
    : shape.filter((_, d) => !dims.includes(d));
}

/** A reduced tensor seen in the shape it was reduced from. */
function spread(reduced: Tensor, shape: Shape, { dims }: Reduction): Tensor {
  const kept = reshape(
    reduced,
    shape.map((n, d) => (dims.includes(d) ? 1 : n)),
  );
  return kept.view(shape, broadcastStrides(kept.shape, kept.strides, shape), kept.offset, 'expand');
}

/** Runs a reduction kernel: at once where the dimensions lie side by side, else with them moved to the end. */
function reduceInto(out: Tensor, op: kernels.ReduceOp, x: Tensor, { dims }: Reduction): boolean {
  if (dims.length === 0) return kernels.copy(x, out);
  const first = dims[0];
  const last = dims[dims.length - 1];
  const run = x.shape.every((n, d) => d < first || d > last || n === 1 || dims.includes(d));
  const count = sizeOf(dims.map((d) => x.shape[d]));
  if (run) {
    const outer = sizeOf(x.shape.slice(0, first));
    return kernels.reduce(op, compact(x), out, outer, count, sizeOf(x.shape.slice(last + 1)));
  }
  const others = x.shape.map((_, d) => d).filter((d) => !dims.includes(d));
  return kernels.reduce(op, compact(permute(detach(x), [...others, ...dims])), out, out.size, count, 1);
}

/** uint8 and bool are counted in int32. */
const counted = (x: Tensor): Tensor => (x.dtype === 'bool' || x.dtype === 'uint8' ? cast(x, 'int32') : x);

function checkNotEmpty(name: string, x: Tensor, { dims }: Reduction): void {
  if (dims.some((d) => x.shape[d] === 0)) {
    throw new ShapeError(`${name}: nothing to reduce along an empty dimension of ${formatShape(x.shape)}`);
  }
}

// ---------------------------------------------------------------- sums

const sumOp = defineOp<[Tensor], Reduction>({
  name: 'sum',
  shape: ([x], settings) => ({ shape: reducedShape(x.shape, settings), dtype: x.dtype }),
  forward: (out, [x], settings) =>
    x.size === 0 ? kernels.fill(out, 0) : reduceInto(out, 'sum', x, settings),
  // dx = dy at every place that was summed
  backward: (grad, node, settings) => [spread(grad, node.inputShape(0), settings)],
});

/** Sum over `dim` (a dimension, several, or all). Of uint8 and bool it is int32. */
export function sum(x: Tensor, dim?: Dims, options: ReduceOptions = {}): Tensor {
  return sumOp([counted(x)], reduction('sum', x, dim, options));
}

const meanOp = defineOp<[Tensor], Reduction>({
  name: 'mean',
  shape([x], settings) {
    checkFloating('mean', x);
    return { shape: reducedShape(x.shape, settings), dtype: x.dtype };
  },
  forward: (out, [x], settings) =>
    x.size === 0 ? kernels.fill(out, NaN) : reduceInto(out, 'mean', x, settings),
  // dx = dy / n
  backward(grad, node, settings) {
    const shape = node.inputShape(0);
    const count = sizeOf(settings.dims.map((d) => shape[d]));
    return [spread(mul(grad, 1 / count), shape, settings)];
  },
});

/** Arithmetic mean over `dim`; NaN of nothing. */
export function mean(x: Tensor, dim?: Dims, options: ReduceOptions = {}): Tensor {
  return meanOp([x], reduction('mean', x, dim, options));
}

const prodOp = defineOp<[Tensor], Reduction>({
  name: 'prod',
  shape: ([x], settings) => ({ shape: reducedShape(x.shape, settings), dtype: x.dtype }),
  forward(out, [x], settings, tape) {
    tape?.save(x);
    return x.size === 0 ? kernels.fill(out, 1) : reduceInto(out, 'prod', x, settings);
  },
  // dx = dy · (product of the others): with p the product of the non-zero ones, p / x without a zero, p at the only
  // zero, and 0 elsewhere.
  backward(grad, node, settings) {
    const x = node.saved[0]!;
    const zero = eq(x, 0);
    const zeros = spread(sum(zero, settings.dims), x.shape, settings);
    const others = spread(mul(grad, prod(where(zero, 1, x), settings.dims)), x.shape, settings);
    const share = where(
      zero,
      to(eq(zeros, 1), x.dtype),
      where(eq(zeros, 0), reciprocal(where(zero, 1, x)), 0),
    );
    return [mul(others, share)];
  },
});

/** Product over `dim`; 1 of nothing. */
export function prod(x: Tensor, dim?: Dims, options: ReduceOptions = {}): Tensor {
  return prodOp([counted(x)], reduction('prod', x, dim, options));
}

/** Options of {@link variance} and {@link std}. */
export interface VarianceOptions extends ReduceOptions {
  /** Taken from the number of elements in the divisor: 1 (the default) for a sample, 0 for the whole population. */
  readonly correction?: number;
}

/** The variance, in float32 where x is of a half type: its squares would lose digits there, or overflow. */
function wideVariance(name: string, x: Tensor, dim: Dims | undefined, options: VarianceOptions): Tensor {
  checkOptions(name, options, ['correction', 'keepdim']);
  const { correction = 1, keepdim = false } = options;
  checkFloating(name, x);
  const { dims } = reduction(name, x, dim, {});
  const count = sizeOf(dims.map((d) => x.shape[d]));
  const wide = isHalf(x.dtype) ? cast(x, 'float32') : x;
  const distance = sub(wide, mean(wide, dims, { keepdim: true }));
  return mul(sum(square(distance), dims, { keepdim }), 1 / Math.max(0, count - correction));
}

/** Mean squared distance from the mean over `dim`. */
export function variance(x: Tensor, dim?: Dims, options: VarianceOptions = {}): Tensor {
  return scope(() => cast(wideVariance('variance', x, dim, options), x.dtype));
}

/** Square root of the {@link variance}. Where it is 0, so is its gradient. */
export function std(x: Tensor, dim?: Dims, options: VarianceOptions = {}): Tensor {
  return scope(() => {
    const squared = wideVariance('std', x, dim, options);
    const flat = eq(squared, 0);
    return cast(maskedFill(sqrt(maskedFill(squared, flat, 1)), flat, 0), x.dtype);
  });
}

/** Running sum along `dim`: out[i] = x[0] + ... + x[i]. */
export function cumsum(x: Tensor, dim: number): Tensor {
  return cumsumOp([counted(x)], { dim: normalizeDim('cumsum', dim, x.rank), reverse: false });
}

const cumsumOp: (inputs: [Tensor], settings: { dim: number; reverse: boolean }) => Tensor = defineOp({
  name: 'cumsum',
  shape: ([x]) => ({ shape: x.shape, dtype: x.dtype }),
  forward(out, [x], { dim, reverse }) {
    if (x.size === 0) return true;
    const inner = sizeOf(x.shape.slice(dim + 1));
    return kernels.cumsum(compact(x), out, sizeOf(x.shape.slice(0, dim)), x.shape[dim], inner, reverse);
  },
  // dx = the running sum of dy from the other end
  backward: (grad, _, { dim, reverse }) => [cumsumOp([grad], { dim, reverse: !reverse })],
});

/** log Σ eˣ over `dim`, without overflow. */
export function logsumexp(x: Tensor, dim: Dims, options: ReduceOptions = {}): Tensor {
  checkFloating('logsumexp', x);
  const settings = reduction('logsumexp', x, dim, options);
  checkNotEmpty('logsumexp', x, settings);
  return scope(() => {
    const greatest = amax(detach(x), settings.dims, { keepdim: true });
    // Where all is -Infinity, or something is Infinity, the difference would be NaN.
    const shift = where(eq(sub(greatest, greatest), 0), greatest, 0);
    const total = add(log(sum(exp(sub(x, shift)), settings.dims, { keepdim: true })), shift);
    return reshape(total, reducedShape(x.shape, settings));
  });
}

// ---------------------------------------------------------------- extremes

function defineExtreme(name: string, op: 'max' | 'min'): (x: Tensor, settings: Reduction) => Tensor {
  const run = defineOp<[Tensor], Reduction>({
    name,
    shape([x], settings) {
      checkNotEmpty(name, x, settings);
      return { shape: reducedShape(x.shape, settings), dtype: x.dtype };
    },
    forward(out, [x], settings, tape) {
      tape?.save(x, out);
      return reduceInto(out, op, x, settings);
    },
    // dx = dy at the extreme element, in equal parts where several share it
    backward(grad, node, settings) {
      const [x, y] = node.saved as [Tensor, Tensor];
      const chosen = to(eq(x, spread(y, x.shape, settings)), x.dtype);
      return [
        mul(
          spread(div(grad, sum(chosen, settings.dims, { keepdim: settings.keepdim })), x.shape, settings),
          chosen,
        ),
      ];
    },
  });
  return (x, settings) => run([x], settings);
}

const maxOp = defineExtreme('amax', 'max');
const minOp = defineExtreme('amin', 'min');

/** Greatest element over `dim`; NaN if there is one. Elements that share it share its gradient. */
export function amax(x: Tensor, dim?: Dims, options: ReduceOptions = {}): Tensor {
  return cast(maxOp(counted(x), reduction('amax', x, dim, options)), x.dtype);
}

/** Least element over `dim`; NaN if there is one. Elements that share it share its gradient. */
export function amin(x: Tensor, dim?: Dims, options: ReduceOptions = {}): Tensor {
  return cast(minOp(counted(x), reduction('amin', x, dim, options)), x.dtype);
}

function definePosition(
  op: 'argmax' | 'argmin',
): (x: Tensor, dim?: number, options?: ReduceOptions) => Tensor {
  const run = defineOp<[Tensor], Reduction>({
    name: op,
    nonDifferentiable: true,
    shape([x], settings) {
      checkNotEmpty(op, x, settings);
      return { shape: reducedShape(x.shape, settings), dtype: 'int32' };
    },
    forward: (out, [x], settings) => (x.rank === 0 ? kernels.fill(out, 0) : reduceInto(out, op, x, settings)),
  });
  return (x, dim, options = {}) => run([counted(x)], reduction(op, x, dim, options));
}

/** Position (int32) of the greatest element along `dim`, the first of equals; of the flattened x without `dim`. */
export const argmax = definePosition('argmax');
/** Position (int32) of the least element along `dim`, the first of equals; of the flattened x without `dim`. */
export const argmin = definePosition('argmin');

// ---------------------------------------------------------------- order

/** Elements in order, and where they were (int32). */
export interface Ordered {
  readonly values: Tensor;
  readonly indices: Tensor;
}

/** Options of {@link sort}. */
export interface SortOptions {
  readonly descending?: boolean;
}

/** Applies `pick`, which lists the wanted positions of a row, to every row of x along `dim`. */
function orderRows(
  x: Tensor,
  dim: number,
  count: number,
  pick: (row: Float64Array) => ArrayLike<number>,
): Ordered {
  const last = x.rank - 1;
  const moved = x.shape.map((_, d) => d).filter((d) => d !== dim);
  const n = x.shape[dim];
  return scope(() => {
    const rows = permute(detach(x), [...moved, dim]).toFloat64Array();
    const back = x.shape.map((_, d) => (d < dim ? d : d === dim ? last : d - 1));
    const found = Tensor.empty([...moved.map((d) => x.shape[d]), count], 'int32', 'order');
    for (let i = 0; i * count < found.size; i++) {
      found.memory.set(pick(rows.subarray(i * n, (i + 1) * n)), i * count);
    }
    const indices = compact(permute(found, back));
    return { values: gather(x, dim, indices), indices };
  });
}

/** Ascending order in which NaN comes last, as if it were the greatest number. */
const byValue = (a: number, b: number): number =>
  Number.isNaN(a) ? (Number.isNaN(b) ? 0 : 1) : Number.isNaN(b) ? -1 : a - b || 0;

/** x in order along `dim` (ascending unless `descending`; equals keep their order, NaN counts as the greatest). */
export function sort(x: Tensor, dim = -1, options: SortOptions = {}): Ordered {
  checkOptions('sort', options, ['descending']);
  const d = normalizeDim('sort', dim, x.rank);
  const direction = options.descending ? -1 : 1;
  return orderRows(x, d, x.shape[d], (row) =>
    Int32Array.from(row, (_, i) => i).sort((i, j) => direction * byValue(row[i], row[j])),
  );
}

/** The `k` greatest elements along `dim`, greatest first; of equal ones the first. NaN counts as the greatest. */
export function topk(x: Tensor, k: number, dim = -1): Ordered {
  const d = normalizeDim('topk', dim, x.rank);
  if (!Number.isInteger(k) || k < 0 || k > x.shape[d]) {
    throw new ArgumentError(
      `topk: k must be an integer from 0 to ${x.shape[d]}, got ${k} for ${formatShape(x.shape)}`,
    );
  }
  return orderRows(x, d, k, (row) => greatest(row, k));
}

/** Positions of the k greatest numbers: a heap of the best so far, its worst on top. */
function greatest(row: Float64Array, k: number): Int32Array {
  const heap = new Int32Array(k);
  const worse = (i: number, j: number): boolean => {
    const order = byValue(row[i], row[j]);
    return order < 0 || (order === 0 && i > j);
  };
  const sink = (at: number, size: number): void => {
    for (;;) {
      let least = at;
      for (let child = 2 * at + 1; child <= 2 * at + 2 && child < size; child++) {
        if (worse(heap[child], heap[least])) least = child;
      }
      if (least === at) return;
      [heap[at], heap[least]] = [heap[least], heap[at]];
      at = least;
    }
  };
  for (let i = 0; i < k; i++) heap[i] = i;
  for (let at = k >> 1; at >= 0; at--) sink(at, k);
  for (let i = k; k > 0 && i < row.length; i++) {
    if (!worse(heap[0], i)) continue;
    heap[0] = i;
    sink(0, k);
  }
  return heap.sort((i, j) => byValue(row[j], row[i]) || i - j);
}
