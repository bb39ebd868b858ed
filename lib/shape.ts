/** Shapes and strides: sizes, broadcasting, normalized dimensions. Strides count elements, not bytes. */

import { ShapeError } from './errors.js';

export type Shape = readonly number[];

/** Greatest number of dimensions: the kernels' `max_rank`. */
export const maxRank = 8;

/** `[2, 3]` as text. */
export const formatShape = (shape: Shape): string => `[${shape.join(', ')}]`;

/** Number of elements. */
export function sizeOf(shape: Shape): number {
  let n = 1;
  for (const d of shape) n *= d;
  return n;
}

/** Strides of a contiguous row-major layout. */
export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

export function isContiguous(shape: Shape, strides: Shape): boolean {
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== step) return sizeOf(shape) === 0;
    step *= shape[i];
  }
  return true;
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Throws ShapeError unless every size is a non-negative integer and the tensor can exist. */
export function checkShape(where: string, shape: Shape): void {
  if (!Array.isArray(shape)) {
    throw new ShapeError(`${where}: the shape must be an array of sizes, got ${String(shape)}`);
  }
  if (shape.length > maxRank) {
    throw new ShapeError(`${where}: at most ${maxRank} dimensions, got ${formatShape(shape)}`);
  }
  let extent = 1; // the sizes' product, also where a 0 leaves no elements: the strides are such products
  for (const d of shape as Shape) {
    if (!Number.isInteger(d) || d < 0) {
      throw new ShapeError(`${where}: sizes must be non-negative integers, got ${formatShape(shape)}`);
    }
    extent *= Math.max(d, 1);
  }
  if (extent > Number.MAX_SAFE_INTEGER) {
    throw new ShapeError(`${where}: ${formatShape(shape)} is larger than can be addressed`);
  }
}

/** `dim` counted from the front; -1 is the last of `rank`. */
export function normalizeDim(where: string, dim: number, rank: number): number {
  const d = dim < 0 ? dim + rank : dim;
  if (!Number.isInteger(dim) || d < 0 || d >= rank) {
    const range = rank === 0 ? 'a 0-dimensional tensor has none' : `use ${-rank} to ${rank - 1}`;
    throw new ShapeError(`${where}: dimension ${dim} does not exist; ${range}`);
  }
  return d;
}

/** The shape two operands broadcast to (right-aligned; size 1 stretches). */
export function broadcastShapes(where: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let i = 0; i < rank; i++) {
    const da = i < rank - a.length ? 1 : a[i - rank + a.length];
    const db = i < rank - b.length ? 1 : b[i - rank + b.length];
    if (da !== db && da !== 1 && db !== 1) {
      throw new ShapeError(
        `${where}: shapes do not broadcast, got a ${formatShape(a)} and b ${formatShape(b)} (dimension ${i - rank}: ${da} and ${db})`,
      );
    }
    out[i] = da === 1 ? db : da;
  }
  return out;
}

/** Strides with which a tensor of `shape` and `strides` is read as `target`: 0 where it stretches. */
export function broadcastStrides(shape: Shape, strides: Shape, target: Shape): number[] {
  const lead = target.length - shape.length;
  return target.map((_, i) =>
    i < lead || (shape[i - lead] === 1 && target[i] !== 1) ? 0 : strides[i - lead],
  );
}
