/**
 * The native matrix product on tensors, for the ops that are made of it: a packed GEMM that takes transposed and batched
 * operands by their strides, adds a bias row, can add into its output, and finishes it while it is in a near cache.
 * Records nothing.
 */

import * as kernels from '../kernels.js';
import { packedFor } from '../packed-weights.js';
import { broadcastStrides, sizeOf, type Shape } from '../shape.js';
import type { Tensor } from '../tensor.js';

interface MatrixOptions {
  /** 1 adds to what `out` holds, 0 (the default) overwrites it. */
  readonly beta?: number;
  readonly bias?: Tensor | null;
  /** Of a b + beta out + bias. */
  readonly activation?: kernels.ActivationName | null;
  /** Added after the activation; contiguous, of out's shape and type. */
  readonly residual?: Tensor | null;
  /** b, a matrix, is expected again, unchanged; see packed-weights.ts. */
  readonly isWeight?: boolean;
}

/**
 * out = activation(a b + beta out + bias) + residual for a (..., m, k), b (..., k, n) of any strides and a contiguous out
 * (..., m, n), whose batch dimensions a and b broadcast to.
 */
export function multiplyInto(out: Tensor, a: Tensor, b: Tensor, options: MatrixOptions = {}): boolean {
  if (out.rank > 2) return multiplyBatches(out, a, b, options);
  const { bias = null, residual = null } = options;
  const product = { a, b, c: out, bias, residual, sizes: sizesOf(out, a, b, 1, 0, 0, options) };
  return kernels.gemm(product, options.isWeight ? packedFor(b, product) : null);
}

function multiplyBatches(out: Tensor, a: Tensor, b: Tensor, options: MatrixOptions): boolean {
  const outBatch = out.shape.slice(0, -2);
  const used = outBatch.map((_, d) => d).filter((d) => outBatch[d] !== 1);
  const batchStrides = (x: Tensor): number[] => {
    const strides = broadcastStrides(x.shape.slice(0, -2), x.strides.slice(0, -2), outBatch);
    return used.map((d) => strides[d]);
  };
  const batch = used.map((d) => outBatch[d]);
  const aBatch = batchStrides(a);
  const bBatch = batchStrides(b);
  const last = batch.length - 1;
  // Dimensions from `merged` on are one batch dimension to the kernel; those before it are looped over here.
  let merged = Math.max(last, 0);
  while (merged > 0 && mergeable(batch, aBatch, merged - 1) && mergeable(batch, bBatch, merged - 1)) merged--;
  const inner = sizeOf(batch.slice(merged));
  const sizes = sizesOf(out, a, b, inner, aBatch[last] ?? 0, bBatch[last] ?? 0, options);
  const { bias = null, residual = null } = options;
  const loops = sizeOf(batch.slice(0, merged));
  for (let i = 0; i < loops; i++) {
    const at = (operand: Tensor, strides: Shape): kernels.Operand =>
      loops === 1
        ? operand
        : { ...operandOf(operand), offset: operand.offset + offsetOf(i, batch, strides, merged) };
    const part = (t: Tensor): kernels.Operand =>
      loops === 1 ? t : { ...operandOf(t), offset: t.offset + i * inner * sizes.cBatch };
    const product: kernels.Product = {
      a: at(a, aBatch),
      b: at(b, bBatch),
      c: part(out),
      bias,
      residual: residual && part(residual),
      sizes,
    };
    if (!kernels.gemm(product, null)) return false;
  }
  return true;
}

/** Of products that lie `aBatch` and `bBatch` apart in memory. */
function sizesOf(
  out: Tensor,
  a: Tensor,
  b: Tensor,
  batch: number,
  aBatch: number,
  bBatch: number,
  { beta = 0, activation }: MatrixOptions,
): kernels.GemmSizes {
  const m = out.shape[out.rank - 2];
  const n = out.shape[out.rank - 1];
  return {
    batch,
    m,
    n,
    k: a.shape[a.rank - 1],
    aRow: a.strides[a.rank - 2],
    aCol: a.strides[a.rank - 1],
    aBatch,
    bRow: b.strides[b.rank - 2],
    bCol: b.strides[b.rank - 1],
    bBatch,
    cRow: n,
    cBatch: m * n,
    beta,
    activation,
  };
}

/** Whether dimension d and the one after it lie in memory like one dimension. */
const mergeable = (shape: Shape, strides: Shape, d: number): boolean =>
  strides[d] === strides[d + 1] * shape[d + 1];

const operandOf = ({ dtype, memory, offset, size, shape, strides }: Tensor): kernels.Operand => ({
  dtype,
  memory,
  offset,
  size,
  shape,
  strides,
});

/** Memory offset of the i-th combination of the first `count` dimensions. */
function offsetOf(i: number, shape: Shape, strides: Shape, count: number): number {
  let offset = 0;
  for (let d = count - 1; d >= 0; d--) {
    offset += (i % shape[d]) * strides[d];
    i = Math.floor(i / shape[d]);
  }
  return offset;
}

/** The last two dimensions swapped. */
export function transposed(x: Tensor): Tensor {
  const swap = (s: Shape): Shape => [...s.slice(0, -2), s[s.length - 1], s[s.length - 2]];
  return x.view(swap(x.shape), swap(x.strides), x.offset, 'transpose');
}
