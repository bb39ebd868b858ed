/**
 * Elements picked by int32 ids (native/cpu/index.cpp). Ids are checked before a kernel sees them; a gradient is added
 * into the rows that were read, straight into the buffer where the input's gradient is gathered.
 */

import { DTypeError, IndexError, ShapeError } from '../errors.js';
import type { TapeNode } from '../autograd.js';
import * as kernels from '../kernels.js';
import { cast, compact, defineOp } from '../op.js';
import { promote } from '../dtype.js';
import { checkShape, formatShape, normalizeDim, sameShape, sizeOf, type Shape } from '../shape.js';
import { Tensor } from '../tensor.js';
import { slice } from './movement.js';

/** x as (outer, size, inner) around `dim`, from which `count` rows are picked. */
function indexSizes(shape: Shape, dim: number, count: number): kernels.IndexSizes {
  return { outer: sizeOf(shape.slice(0, dim)), size: shape[dim], inner: sizeOf(shape.slice(dim + 1)), count };
}

function checkIdType(name: string, ids: Tensor): void {
  if (ids.dtype !== 'int32') {
    throw new DTypeError(`${name}: ids must be int32, got ${ids.dtype}; convert with to('int32')`);
  }
}

/** Packed ids, all inside [0, size). */
function checkedIds(ids: Tensor, size: number, describe: (id: number, position: number) => string): Tensor {
  const packed = compact(ids);
  const bad = kernels.findBadId(packed, size);
  if (bad >= 0) throw new IndexError(describe(packed.memory[packed.offset + bad], bad));
  return packed;
}

const outside =
  (name: string, dim: number, shape: Shape) =>
  (id: number, position: number): string =>
    `${name}: id ${id} at position ${position} is outside dimension ${dim} of ${formatShape(shape)}`;

/**
 * Adds into the gradient of input `i` by a kernel that serves float32 and float64; half types go through float32.
 */
function addRows(
  node: TapeNode,
  i: number,
  grad: Tensor,
  add: (into: Tensor, source: Tensor) => boolean,
): Tensor | null {
  const dtype = node.inputDType(i);
  if (dtype === 'float32' || dtype === 'float64') {
    const { tensor, accumulate } = node.gradInto(i);
    if (!accumulate) kernels.fill(tensor, 0);
    add(tensor, compact(grad));
    return null;
  }
  const wide = Tensor.empty(node.inputShape(i), 'float32', `${node.name} gradient`);
  kernels.fill(wide, 0);
  add(wide, compact(cast(grad, 'float32')));
  return cast(wide, dtype);
}

// ---------------------------------------------------------------- rows

const indexSelectOp = defineOp<[Tensor, Tensor], { dim: number }>({
  name: 'indexSelect',
  shape([x, ids], { dim }) {
    checkIdType('indexSelect', ids);
    if (ids.rank !== 1)
      throw new ShapeError(`indexSelect: ids must have one dimension, got ${formatShape(ids.shape)}`);
    return { shape: x.shape.map((n, d) => (d === dim ? ids.size : n)), dtype: x.dtype };
  },
  forward(out, [x, ids], { dim }, tape) {
    const packed = checkedIds(ids, x.shape[dim], outside('indexSelect', dim, x.shape));
    tape?.save(packed);
    return kernels.indexSelect(compact(x), packed, out, indexSizes(x.shape, dim, ids.size));
  },
  // dx[ids[i]] += dy[i]
  backward(grad, node, { dim }) {
    const ids = node.saved[0]!;
    const sizes = indexSizes(node.inputShape(0), dim, ids.size);
    return [addRows(node, 0, grad, (into, source) => kernels.indexAdd(into, ids, source, sizes))];
  },
});

/**
 * The rows `ids` of x along `dim`.
 *
 * @param ids int32, one dimension
 * @throws IndexError when an id is not in [0, size of dim).
 */
export function indexSelect(x: Tensor, dim: number, ids: Tensor): Tensor {
  return indexSelectOp([x, ids], { dim: normalizeDim('indexSelect', dim, x.rank) });
}

const embeddingOp = defineOp<[Tensor, Tensor]>({
  name: 'embedding',
  shape([ids, weight]) {
    checkIdType('embedding', ids);
    if (weight.rank !== 2) {
      throw new ShapeError(`embedding: weight must be [rows, features], got ${formatShape(weight.shape)}`);
    }
    const shape = [...ids.shape, weight.shape[1]];
    checkShape('embedding', shape);
    return { shape, dtype: weight.dtype };
  },
  forward(out, [ids, weight], _, tape) {
    const rows = weight.shape[0];
    const packed = checkedIds(
      ids,
      rows,
      (id, position) =>
        `embedding: id ${id} at position ${position} is outside the table of ${rows} rows; is this the model's tokenizer?`,
    );
    tape?.save(packed);
    return kernels.indexSelect(compact(weight), packed, out, indexSizes(weight.shape, 0, ids.size));
  },
  // dweight[ids[i]] += dy[i]
  backward(grad, node) {
    const ids = node.saved[0]!;
    const sizes = indexSizes(node.inputShape(1), 0, ids.size);
    return [null, addRows(node, 1, grad, (into, source) => kernels.indexAdd(into, ids, source, sizes))];
  },
});

/**
 * The row of `weight` for each id.
 *
 * @param ids (...) int32
 * @param weight [rows, C]
 * @returns (..., C)
 * @throws IndexError when an id is no row of the table.
 */
export function embedding(ids: Tensor, weight: Tensor): Tensor {
  return embeddingOp([ids, weight], undefined);
}

// ---------------------------------------------------------------- single elements

const gatherOp = defineOp<[Tensor, Tensor], { dim: number }>({
  name: 'gather',
  shape: ([x, ids]) => ({ shape: ids.shape, dtype: x.dtype }),
  forward(out, [x, ids], { dim }, tape) {
    const packed = checkedIds(ids, x.shape[dim], outside('gather', dim, x.shape));
    tape?.save(packed);
    return kernels.gather(compact(x), packed, out, indexSizes(x.shape, dim, ids.shape[dim]));
  },
  // dx[..., ids[i], ...] += dy[i]
  backward(grad, node, { dim }) {
    const ids = node.saved[0]!;
    const sizes = indexSizes(node.inputShape(0), dim, ids.shape[dim]);
    return [addRows(node, 0, grad, (into, source) => kernels.scatterAdd(into, ids, source, sizes))];
  },
});

/** x cut to the sizes of `ids` in all dimensions but `dim`. */
function cutTo(name: string, x: Tensor, ids: Tensor, dim: number): Tensor {
  checkIdType(name, ids);
  if (ids.rank !== x.rank || ids.shape.some((n, d) => d !== dim && n > x.shape[d])) {
    throw new ShapeError(
      `${name}: ids may be no larger than x outside dimension ${dim}, got x ${formatShape(x.shape)} and ids ${formatShape(ids.shape)}`,
    );
  }
  return ids.shape.reduce((cut, n, d) => (d === dim || n === cut.shape[d] ? cut : slice(cut, d, 0, n)), x);
}

/**
 * Along `dim`, the element of x that each id names: out[i, j] = x[i, ids[i, j]] for dim 1.
 *
 * @param ids int32, of the rank of x, in the other dimensions no larger
 * @returns The shape of ids.
 * @throws IndexError when an id is not in [0, size of dim).
 */
export function gather(x: Tensor, dim: number, ids: Tensor): Tensor {
  const d = normalizeDim('gather', dim, x.rank);
  return gatherOp([cutTo('gather', x, ids, d), ids], { dim: d });
}

const scatterAddOp = defineOp<[Tensor, Tensor, Tensor], { dim: number }>({
  name: 'scatterAdd',
  shape([x, ids, source], { dim }) {
    checkIdType('scatterAdd', ids);
    if (
      !sameShape(ids.shape, source.shape) ||
      ids.rank !== x.rank ||
      x.shape.some((n, d) => d !== dim && n !== ids.shape[d])
    ) {
      throw new ShapeError(
        `scatterAdd: ids and source must be alike and agree with x outside dimension ${dim}, got x ${formatShape(x.shape)}, ` +
          `ids ${formatShape(ids.shape)} and source ${formatShape(source.shape)}`,
      );
    }
    return { shape: x.shape, dtype: x.dtype };
  },
  forward(out, [x, ids, source], { dim }, tape) {
    const packed = checkedIds(ids, x.shape[dim], outside('scatterAdd', dim, x.shape));
    if (x.dtype !== 'float32' && x.dtype !== 'float64') return false;
    tape?.save(packed);
    kernels.copy(x, out);
    return kernels.scatterAdd(out, packed, compact(source), indexSizes(x.shape, dim, ids.shape[dim]));
  },
  // dx = dy, dsource[i] = dy[..., ids[i], ...]
  backward: (grad, node, { dim }) => [grad, null, node.needs(2) ? gather(grad, dim, node.saved[0]!) : null],
});

/**
 * x with each element of `source` added where its id says along `dim`: out[i, ids[i, j]] += source[i, j] for dim 1.
 *
 * @param ids int32, of the shape of source
 * @throws IndexError when an id is not in [0, size of dim).
 */
export function scatterAdd(x: Tensor, dim: number, ids: Tensor, source: Tensor): Tensor {
  const d = normalizeDim('scatterAdd', dim, x.rank);
  const dtype = promote(x.dtype, source.dtype);
  return scatterAddOp([cast(x, dtype), ids, cast(source, dtype)], { dim: d });
}
