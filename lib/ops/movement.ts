/**
 * Operations that move elements without changing them. Where strides can say it, the result is a view of the same
 * memory and costs nothing; the others copy once.
 */

import { accumulate } from '../autograd.js';
import { ArgumentError, IndexError, ShapeError } from '../errors.js';
import * as kernels from '../kernels.js';
import { cast, defineOp, defineView, sumToShape } from '../op.js';
import { promote, type DType } from '../dtype.js';
import {
  broadcastShapes,
  broadcastStrides,
  checkShape,
  contiguousStrides,
  formatShape,
  maxRank,
  normalizeDim,
  sameShape,
  sizeOf,
  type Shape,
} from '../shape.js';
import { checkTensor, Tensor } from '../tensor.js';
import { clone, maskedFill } from './elementwise.js';

const swap = (s: Shape, i: number, j: number): number[] =>
  s.map((v, d) => (d === i ? s[j] : d === j ? s[i] : v));
const replace = (s: Shape, dim: number, value: number): number[] => s.map((v, d) => (d === dim ? value : v));

// ---------------------------------------------------------------- shape

interface Layout {
  readonly shape: Shape;
  readonly strides: Shape;
}

/** The same elements in the same order under another shape, by strides. */
const reshapeView = defineView<Layout>({
  name: 'reshape',
  view: (x, { shape, strides }) => ({ shape, strides, offset: x.offset }),
  // The gradient takes the way back.
  backward: (grad, node) => [reshape(grad, node.inputShape(0))],
});

/**
 * Strides that give the elements of x in the same order under the shape `target`, or null when there are none.
 * Runs of dimensions that lie packed behind each other are cut anew.
 */
function viewStrides(x: Tensor, target: Shape): number[] | null {
  if (x.size === 0) return contiguousStrides(target);
  const shape = x.shape.filter((n) => n !== 1);
  const strides = x.strides.filter((_, d) => x.shape[d] !== 1);
  const out = new Array<number>(target.length).fill(1);
  let t = target.length - 1;
  let d = shape.length - 1;
  while (d >= 0) {
    const base = strides[d];
    let run = shape[d];
    while (d > 0 && strides[d - 1] === run * base) run *= shape[--d];
    let filled = 1;
    while (t >= 0 && (filled < run || target[t] === 1)) {
      out[t] = base * filled;
      filled *= target[t--];
    }
    if (filled !== run) return null;
    d--;
  }
  return out;
}

/** `shape` with its -1 replaced by what is left of `size` elements. */
function inferShape(name: string, x: Tensor, shape: Shape): Shape {
  const open = Array.isArray(shape) ? shape.indexOf(-1) : -1;
  if (open < 0) checkShape(name, shape);
  else checkShape(name, replace(shape, open, 1));
  const rest = sizeOf(open < 0 ? shape : replace(shape, open, 1));
  const full = open < 0 ? [...shape] : replace(shape, open, rest === 0 ? NaN : x.size / rest);
  if (sizeOf(full) !== x.size || !full.every(Number.isInteger)) {
    throw new ShapeError(
      `${name}: the number of elements must stay, got ${formatShape(x.shape)} (${x.size}) to ${formatShape(shape)}`,
    );
  }
  return full;
}

/**
 * The elements in the same order under another shape: a view where strides can say it, else a copy.
 *
 * @param shape One size may be -1: what is left.
 * @throws ShapeError when the number of elements would change.
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const target = inferShape('reshape', x, shape);
  const strides = viewStrides(x, target);
  if (strides !== null) return reshapeView(x, { shape: target, strides });
  return reshapeView(clone(x), { shape: target, strides: contiguousStrides(target) });
}

/** Dimensions `start` to `end` (inclusive) as one. */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  if (x.rank === 0) return reshape(x, [1]);
  const first = normalizeDim('flatten', start, x.rank);
  const last = normalizeDim('flatten', end, x.rank);
  if (first > last) {
    throw new ArgumentError(
      `flatten: start must not lie behind end, got ${start} and ${end} of ${formatShape(x.shape)}`,
    );
  }
  const middle = sizeOf(x.shape.slice(first, last + 1));
  return reshape(x, [...x.shape.slice(0, first), middle, ...x.shape.slice(last + 1)]);
}

/** Without the dimension `dim` if its size is 1; without any of size 1 when `dim` is absent. */
export function squeeze(x: Tensor, dim?: number): Tensor {
  if (dim === undefined)
    return reshape(
      x,
      x.shape.filter((n) => n !== 1),
    );
  const d = normalizeDim('squeeze', dim, x.rank);
  return reshape(
    x,
    x.shape.filter((n, i) => i !== d || n !== 1),
  );
}

/** With a new dimension of size 1 at `dim`. */
export function unsqueeze(x: Tensor, dim: number): Tensor {
  const d = normalizeDim('unsqueeze', dim, x.rank + 1);
  if (x.rank === maxRank)
    throw new ShapeError(`unsqueeze: at most ${maxRank} dimensions, got ${formatShape(x.shape)}`);
  return reshape(x, [...x.shape.slice(0, d), 1, ...x.shape.slice(d)]);
}

const permuteView = defineView<{ order: readonly number[] }>({
  name: 'permute',
  view: (x, { order }) => ({
    shape: order.map((d) => x.shape[d]),
    strides: order.map((d) => x.strides[d]),
    offset: x.offset,
  }),
  // The gradient's dimensions go back where they came from.
  backward: (grad, _, { order }) => [
    permute(
      grad,
      order.map((_, d) => order.indexOf(d)),
    ),
  ],
});

/** The dimensions in another order: dimension i of the result is dimension dims[i] of x. A view. */
export function permute(x: Tensor, dims: readonly number[]): Tensor {
  const order = dims.map((d) => normalizeDim('permute', d, x.rank));
  if (order.length !== x.rank || new Set(order).size !== x.rank) {
    throw new ArgumentError(
      `permute: each of the ${x.rank} dimensions must be named once, got ${formatShape(dims)} for ${formatShape(x.shape)}`,
    );
  }
  return permuteView(x, { order });
}

const transposeView = defineView<{ first: number; second: number }>({
  name: 'transpose',
  view: (x, { first, second }) => ({
    shape: swap(x.shape, first, second),
    strides: swap(x.strides, first, second),
    offset: x.offset,
  }),
  // dx = dy with the same two dimensions swapped
  backward: (grad, _, { first, second }) => [transpose(grad, first, second)],
});

/** Dimensions `dim0` and `dim1` swapped. A view. */
export function transpose(x: Tensor, dim0: number, dim1: number): Tensor {
  const first = normalizeDim('transpose', dim0, x.rank);
  const second = normalizeDim('transpose', dim1, x.rank);
  return transposeView(x, { first, second });
}

const expandView = defineView<{ shape: Shape }>({
  name: 'expand',
  view: (x, { shape }) => ({ shape, strides: broadcastStrides(x.shape, x.strides, shape), offset: x.offset }),
  // dx = Σ dy over the repeated dimensions
  backward: (grad, node) => [sumToShape(grad, node.inputShape(0))],
});

/**
 * Dimensions of size 1 repeated, and new ones in front, up to `shape` (-1 keeps a size). A view: nothing is copied.
 * @throws ShapeError when x does not broadcast to `shape`.
 */
export function expand(x: Tensor, shape: Shape): Tensor {
  if (!Array.isArray(shape)) checkShape('expand', shape);
  const lead = shape.length - x.rank;
  const target = shape.map((n, i) => (n === -1 && i >= lead ? x.shape[i - lead] : n));
  checkShape('expand', target);
  if (lead < 0 || !sameShape(broadcastShapes('expand', x.shape, target), target)) {
    throw new ShapeError(`expand: ${formatShape(x.shape)} does not broadcast to ${formatShape(shape)}`);
  }
  return expandView(x, { shape: target });
}

// ---------------------------------------------------------------- parts

interface Range {
  readonly dim: number;
  readonly start: number;
  readonly length: number;
}

/** Where the `length` places along `dim` from `start` on lie. Offsets of nothing stay inside the memory. */
function layoutOf(x: Tensor, { dim, start, length }: Range): Layout & { offset: number } {
  const offset = x.size === 0 || length === 0 ? x.offset : x.offset + start * x.strides[dim];
  return { shape: replace(x.shape, dim, length), strides: x.strides, offset };
}

/** A part of x, unrecorded. */
function part(x: Tensor, range: Range): Tensor {
  const { shape, strides, offset } = layoutOf(x, range);
  return x.view(shape, strides, offset, 'slice');
}

const sliceView = defineView<Range>({
  name: 'slice',
  view: layoutOf,
  // dx = dy inside the slice, 0 elsewhere. All slices of one tensor write into one buffer.
  backward(grad, node, range) {
    const { tensor, accumulate: more } = node.gradInto(0);
    if (more) {
      accumulate(grad, part(tensor, range));
    } else {
      if (range.length < tensor.shape[range.dim]) kernels.fill(tensor, 0);
      kernels.copy(grad, part(tensor, range));
    }
    return [];
  },
});

/** Places `start` (inclusive) to `end` (exclusive) along `dim`, clipped; negative ones count from the end. A view. */
export function slice(x: Tensor, dim: number, start = 0, end = Infinity): Tensor {
  const d = normalizeDim('slice', dim, x.rank);
  const n = x.shape[d];
  if (!Number.isInteger(start) || !(Number.isInteger(end) || end === Infinity)) {
    throw new ArgumentError(`slice: start and end must be integers, got ${start} and ${end}`);
  }
  const place = (i: number): number => Math.min(Math.max(i < 0 ? i + n : i, 0), n);
  const first = place(start);
  return sliceView(x, { dim: d, start: first, length: Math.max(0, place(end) - first) });
}

/** Place `index` along `dim`, without that dimension; negative counts from the end. A view. */
export function select(x: Tensor, dim: number, index: number): Tensor {
  const d = normalizeDim('select', dim, x.rank);
  const n = x.shape[d];
  if (!Number.isInteger(index) || index < -n || index >= n) {
    throw new IndexError(`select: index ${index} is outside dimension ${dim} of ${formatShape(x.shape)}`);
  }
  const one = sliceView(x, { dim: d, start: index < 0 ? index + n : index, length: 1 });
  return reshape(
    one,
    one.shape.filter((_, i) => i !== d),
  );
}

/** x in pieces along `dim`: of `size` each (the last may be shorter), or of the given sizes. Views. */
export function split(x: Tensor, size: number | readonly number[], dim = 0): Tensor[] {
  const d = normalizeDim('split', dim, x.rank);
  const n = x.shape[d];
  let sizes: readonly number[];
  if (typeof size === 'number') {
    if (!Number.isInteger(size) || size < 1)
      throw new ArgumentError(`split: size must be a positive integer, got ${size}`);
    sizes = Array.from({ length: Math.max(1, Math.ceil(n / size)) }, (_, i) => Math.min(size, n - i * size));
  } else {
    sizes = size;
    if (!sizes.every((s) => Number.isInteger(s) && s >= 0) || sizes.reduce((a, b) => a + b, 0) !== n) {
      throw new ShapeError(
        `split: the sizes must add up to ${n}, dimension ${dim} of ${formatShape(x.shape)}, got ${formatShape(sizes)}`,
      );
    }
  }
  let start = 0;
  return sizes.map((length) => {
    const piece = sliceView(x, { dim: d, start, length });
    start += length;
    return piece;
  });
}

// ---------------------------------------------------------------- joining

const catOp = defineOp<Tensor[], { dim: number; lengths: readonly number[] }>({
  name: 'cat',
  shape(tensors, { dim }) {
    const [first] = tensors;
    let length = 0;
    for (const t of tensors) {
      if (t.rank !== first.rank || !sameShape(replace(t.shape, dim, 0), replace(first.shape, dim, 0))) {
        throw new ShapeError(
          `cat: all sizes but that of dimension ${dim} must agree, got ${formatShape(first.shape)} and ${formatShape(t.shape)}`,
        );
      }
      length += t.shape[dim];
    }
    return { shape: replace(first.shape, dim, length), dtype: first.dtype };
  },
  forward(out, tensors, { dim }) {
    let start = 0;
    for (const t of tensors) {
      kernels.copy(t, part(out, { dim, start, length: t.shape[dim] }));
      start += t.shape[dim];
    }
    return true;
  },
  // Each input's gradient is its part of dy.
  backward(grad, _, { dim, lengths }) {
    let start = 0;
    return lengths.map((length) => {
      start += length;
      return part(grad, { dim, start: start - length, length });
    });
  },
});

/** Throws ArgumentError unless `tensors` is an array of at least one tensor. */
function checkTensors(name: string, tensors: readonly Tensor[]): void {
  if (!Array.isArray(tensors)) {
    const given: unknown = tensors;
    const kind = given instanceof Tensor ? 'a tensor' : given === undefined ? 'nothing' : typeof given;
    throw new ArgumentError(`${name}: needs an array of tensors, got ${kind}`);
  }
  if (tensors.length === 0) throw new ArgumentError(`${name}: needs at least one tensor`);
  for (const t of tensors as readonly Tensor[]) checkTensor(name, t);
}

/** The tensors one behind another along `dim`; their other sizes must agree. */
export function cat(tensors: readonly Tensor[], dim = 0): Tensor {
  checkTensors('cat', tensors);
  const d = normalizeDim('cat', dim, tensors[0].rank);
  const dtype = tensors.reduce<DType>((type, t) => promote(type, t.dtype), tensors[0].dtype);
  return catOp(
    tensors.map((t) => cast(t, dtype)),
    { dim: d, lengths: tensors.map((t) => t.shape[d]) },
  );
}

/** The tensors, all of one shape, along a new dimension `dim`. */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  checkTensors('stack', tensors);
  const { shape } = tensors[0];
  const other = tensors.find((t) => !sameShape(t.shape, shape));
  if (other !== undefined) {
    throw new ShapeError(
      `stack: all shapes must agree, got ${formatShape(shape)} and ${formatShape(other.shape)}`,
    );
  }
  const d = normalizeDim('stack', dim, shape.length + 1);
  return cat(
    tensors.map((t) => unsqueeze(t, d)),
    d,
  );
}

const padOp = defineOp<[Tensor], { before: readonly number[]; after: readonly number[]; value: number }>({
  name: 'pad',
  shape: ([x], { before, after }) => ({
    shape: x.shape.map((n, d) => before[d] + n + after[d]),
    dtype: x.dtype,
  }),
  forward(out, [x], { before, value }) {
    kernels.fill(out, value);
    return kernels.copy(x, inside(out, before, x.shape));
  },
  // dx = the part of dy that x was copied to
  backward: (grad, node, { before }) => [inside(grad, before, node.inputShape(0))],
});

function inside(x: Tensor, before: readonly number[], shape: Shape): Tensor {
  const offset =
    sizeOf(shape) === 0 ? x.offset : before.reduce((at, n, d) => at + n * x.strides[d], x.offset);
  return x.view(shape, x.strides, offset, 'pad');
}

/**
 * x with `value` around it.
 *
 * @param pads How much before and after the last dimension, then before and after the one before it, and so on.
 * @example
 * pad(tensor([[1, 2]]), [1, 0]); // tensor([[0., 1., 2.]])
 */
export function pad(x: Tensor, pads: readonly number[], value = 0): Tensor {
  if (
    pads.length % 2 !== 0 ||
    pads.length > 2 * x.rank ||
    !pads.every((n) => Number.isInteger(n) && n >= 0)
  ) {
    throw new ArgumentError(
      `pad: needs pairs of non-negative integers for at most ${x.rank} dimensions, got ${formatShape(pads)}`,
    );
  }
  const at = (d: number, side: number): number => pads[2 * (x.rank - 1 - d) + side] ?? 0;
  const before = x.shape.map((_, d) => at(d, 0));
  const after = x.shape.map((_, d) => at(d, 1));
  checkShape(
    'pad',
    x.shape.map((n, d) => before[d] + n + after[d]),
  );
  return padOp([x], { before, after, value });
}

/** x with zeros where column - row lies outside [least, greatest]. */
function band(name: string, x: Tensor, least: number, greatest: number): Tensor {
  if (x.rank < 2) throw new ShapeError(`${name}: needs at least two dimensions, got ${formatShape(x.shape)}`);
  const [rows, cols] = x.shape.slice(-2);
  const mask = Tensor.empty([rows, cols], 'bool', name);
  const data = mask.memory;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) data[i * cols + j] = j - i < least || j - i > greatest ? 1 : 0;
  }
  return maskedFill(x, mask, 0);
}

/** The lower triangle of the last two dimensions, zeros above its `diagonal` (0 is the main one, 1 the next above). */
export function tril(x: Tensor, diagonal = 0): Tensor {
  return band('tril', x, -Infinity, diagonal);
}

/** The upper triangle of the last two dimensions, zeros below its `diagonal`. */
export function triu(x: Tensor, diagonal = 0): Tensor {
  return band('triu', x, diagonal, Infinity);
}

/** x moved `shift` places along `dim`; what falls off the end comes back at the front. */
export function roll(x: Tensor, shift: number, dim: number): Tensor {
  const d = normalizeDim('roll', dim, x.rank);
  if (!Number.isInteger(shift)) throw new ArgumentError(`roll: shift must be an integer, got ${shift}`);
  const n = x.shape[d];
  const by = n === 0 ? 0 : ((shift % n) + n) % n;
  if (by === 0) return clone(x);
  return cat([slice(x, d, n - by), slice(x, d, 0, n - by)], d);
}

/** Each place along `dim` repeated `n` times in a row. */
export function repeatInterleave(x: Tensor, n: number, dim: number): Tensor {
  const d = normalizeDim('repeatInterleave', dim, x.rank);
  if (!Number.isInteger(n) || n < 0) {
    throw new ArgumentError(`repeatInterleave: n must be a non-negative integer, got ${n}`);
  }
  // As (front, 1, back): x may have the greatest number of dimensions already.
  const front = sizeOf(x.shape.slice(0, d + 1));
  const back = sizeOf(x.shape.slice(d + 1));
  const repeated = expand(reshape(x, [front, 1, back]), [front, n, back]);
  return reshape(repeated, replace(x.shape, d, x.shape[d] * n));
}
