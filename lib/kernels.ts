/**
 * The native kernels as typed functions: each writes its numbers into the shared parameter block in the order in which
 * native/binding/kernels.cpp reads them (scalars, then one offset per array) and passes the arrays. A kernel answers
 * false when it does not serve a case. Nothing is checked here but bounds, natively: ops check before they call.
 */

import { dtypes, type DType, type TypedArray } from './dtype.js';
import type { NativeAddon } from './native-addon.js';
import { native } from './native.js';
import type { Shape } from './shape.js';

/** What a kernel needs to know of a tensor. */
export interface Operand {
  readonly dtype: DType;
  /** The typed array the elements lie in. */
  readonly memory: TypedArray;
  /** Index of the first element in `memory`. */
  readonly offset: number;
  /** Number of elements. */
  readonly size: number;
  readonly shape: Shape;
  readonly strides: Shape;
}

/** Order of the native UnaryOp. */
export const unaryOps = [
  'affine', 'abs', 'square', 'sqrt', 'rsqrt', 'reciprocal', 'exp', 'expm1', 'log', 'log1p', 'sin', 'cos', 'tanh',
  'sigmoid', 'relu', 'leakyRelu', 'erf', 'gelu', 'geluTanh', 'silu', 'softplus', 'clamp', 'pow', 'floor', 'ceil',
  'round', 'sign', 'logicalNot', 'isNaN',
] as const; // prettier-ignore
export type UnaryOp = (typeof unaryOps)[number];

/** Order of the native BinaryOp. */
export const binaryOps = [
  'add', 'sub', 'mul', 'div', 'maximum', 'minimum', 'pow', 'eq', 'ne', 'lt', 'le', 'gt', 'ge', 'logicalAnd',
  'logicalOr', 'tanhGrad', 'sigmoidGrad', 'reluGrad', 'geluGrad', 'geluTanhGrad', 'siluGrad',
] as const; // prettier-ignore
export type BinaryOp = (typeof binaryOps)[number];

/** Order of the native ReduceOp. */
export const reduceOps = ['sum', 'mean', 'max', 'min', 'prod', 'argmax', 'argmin'] as const;
export type ReduceOp = (typeof reduceOps)[number];

/** Order of the native Quantization. */
export const quantizations = [
  'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K', 'IQ4_NL', 'IQ4_XS',
] as const; // prettier-ignore
export type Quantization = (typeof quantizations)[number];

/** How many numbers a block of each holds, and in how many bytes (`block_layout` in native/kernels.h). */
export const blockLayouts: Readonly<Record<Quantization, { numbers: number; bytes: number }>> = {
  Q4_0: { numbers: 32, bytes: 18 },
  Q4_1: { numbers: 32, bytes: 20 },
  Q5_0: { numbers: 32, bytes: 22 },
  Q5_1: { numbers: 32, bytes: 24 },
  Q8_0: { numbers: 32, bytes: 34 },
  Q2_K: { numbers: 256, bytes: 84 },
  Q3_K: { numbers: 256, bytes: 110 },
  Q4_K: { numbers: 256, bytes: 144 },
  Q5_K: { numbers: 256, bytes: 176 },
  Q6_K: { numbers: 256, bytes: 210 },
  IQ4_NL: { numbers: 32, bytes: 18 },
  IQ4_XS: { numbers: 256, bytes: 136 },
};

const numbered = <K extends string>(names: readonly K[]): Record<K, number> =>
  Object.fromEntries(names.map((name, i) => [name, i])) as Record<K, number>;
const unaryIds = numbered(unaryOps);
const binaryIds = numbered(binaryOps);
const reduceIds = numbered(reduceOps);
const quantizationIds = numbered(quantizations);

const p = native.params;
let n = 0;

function put(value: number): void {
  p[n++] = value;
}

/** The iteration space: its shape, then each operand's strides. */
function putSpace(shape: Shape, ...strides: Shape[]): void {
  p[n++] = shape.length;
  for (let i = 0; i < shape.length; i++) p[n++] = shape[i];
  for (const s of strides) for (let i = 0; i < s.length; i++) p[n++] = s[i];
}

/** Writes each array's offset; the arrays follow in the call. */
function putOffsets(...operands: (Operand | null)[]): void {
  for (const operand of operands) p[n++] = operand === null ? 0 : operand.offset;
}

const memory = (operand: Operand | null): TypedArray | null => (operand === null ? null : operand.memory);

let listBlock = new Float64Array(1024);

/** The numbers of a call on any number of tensors: a block of its own, which grows. */
function listNumbers(count: number): Float64Array {
  if (listBlock.length < count) listBlock = new Float64Array(2 * count);
  return listBlock;
}

/** y = f(x), both contiguous. `a` and `b` are the op's constants (native/kernels.h). */
export function unary(op: UnaryOp, x: Operand, y: Operand, a = 0, b = 0): boolean {
  n = 0;
  put(unaryIds[op]);
  put(dtypes[x.dtype].id);
  put(dtypes[y.dtype].id);
  put(x.size);
  put(a);
  put(b);
  put(x.offset);
  put(y.offset);
  return native.unary(x.memory, y.memory);
}

/** out = f(a, b); the strides read a and b in the shape of the contiguous out. */
export function binary(
  op: BinaryOp,
  a: Operand,
  aStrides: Shape,
  b: Operand,
  bStrides: Shape,
  out: Operand,
): boolean {
  n = 0;
  put(binaryIds[op]);
  put(dtypes[a.dtype].id);
  put(dtypes[out.dtype].id);
  putSpace(out.shape, aStrides, bStrides);
  put(a.offset);
  put(b.offset);
  put(out.offset);
  return native.binary(a.memory, b.memory, out.memory);
}

/** out = condition ? a : b, each read in the shape of the contiguous out. */
export function where(
  condition: Operand,
  conditionStrides: Shape,
  a: Operand,
  aStrides: Shape,
  b: Operand,
  bStrides: Shape,
  out: Operand,
): boolean {
  n = 0;
  put(dtypes[a.dtype].id);
  putSpace(out.shape, conditionStrides, aStrides, bStrides);
  putOffsets(condition, a, b, out);
  return native.where(condition.memory, a.memory, b.memory, out.memory);
}

/** Copies `source` into `destination` (same shape, any layouts and dtypes), or adds it there. */
export function copy(source: Operand, destination: Operand, accumulate = false): boolean {
  n = 0;
  put(dtypes[source.dtype].id);
  put(dtypes[destination.dtype].id);
  put(accumulate ? 1 : 0);
  putSpace(source.shape, source.strides, destination.strides);
  put(source.offset);
  put(destination.offset);
  return native.copy(source.memory, destination.memory);
}

/** Sets every element of the contiguous `y`. */
export function fill(y: Operand, value: number): boolean {
  n = 0;
  put(dtypes[y.dtype].id);
  put(y.size);
  put(value);
  put(y.offset);
  return native.fill(y.memory);
}

/** The numbers of `y.size` quantized weights, whose blocks begin at byte `start` of `bytes`. */
export function dequantize(type: Quantization, bytes: Uint8Array, start: number, y: Operand): boolean {
  n = 0;
  put(quantizationIds[type]);
  put(dtypes[y.dtype].id);
  put(y.size / blockLayouts[type].numbers);
  put(start);
  put(y.offset);
  return native.dequantize(bytes, y.memory);
}

/** Reduces the middle dimension of the contiguous x (outer, count, inner). */
export function reduce(
  op: ReduceOp,
  x: Operand,
  out: Operand,
  outer: number,
  count: number,
  inner: number,
): boolean {
  n = 0;
  put(reduceIds[op]);
  put(dtypes[x.dtype].id);
  put(dtypes[out.dtype].id);
  put(outer);
  put(count);
  put(inner);
  put(x.offset);
  put(out.offset);
  return native.reduce(x.memory, out.memory);
}

/** Running sum along the middle dimension of (outer, count, inner), from the end when `reverse`. */
export function cumsum(
  x: Operand,
  out: Operand,
  outer: number,
  count: number,
  inner: number,
  reverse: boolean,
): boolean {
  n = 0;
  put(dtypes[x.dtype].id);
  put(outer);
  put(count);
  put(inner);
  put(reverse ? 1 : 0);
  put(x.offset);
  put(out.offset);
  return native.cumsum(x.memory, out.memory);
}

/** The sum of squares of contiguous tensors together, in double precision; -1 when a dtype is not served. */
export function sumSquares(tensors: readonly Operand[]): number {
  const numbers = listNumbers(1 + 3 * tensors.length);
  const arrays: TypedArray[] = [];
  let i = 0;
  numbers[i++] = tensors.length;
  for (const tensor of tensors) {
    numbers[i++] = dtypes[tensor.dtype].id;
    numbers[i++] = tensor.size;
    numbers[i++] = tensor.offset;
    arrays.push(tensor.memory);
  }
  return native.sumSquares(numbers, ...arrays);
}

/** Sizes of an indexing kernel: x is (outer, size, inner), `count` rows are picked. */
export interface IndexSizes {
  readonly outer: number;
  readonly size: number;
  readonly inner: number;
  readonly count: number;
}

function putIndexSizes(x: Operand, sizes: IndexSizes): void {
  n = 0;
  put(dtypes[x.dtype].id);
  put(sizes.outer);
  put(sizes.size);
  put(sizes.inner);
  put(sizes.count);
}

/** out[o, i, :] = x[o, ids[i], :] */
export function indexSelect(x: Operand, ids: Operand, out: Operand, sizes: IndexSizes): boolean {
  putIndexSizes(x, sizes);
  putOffsets(x, ids, out);
  return native.indexSelect(x.memory, ids.memory, out.memory);
}

/** x[o, ids[i], :] += source[o, i, :] */
export function indexAdd(x: Operand, ids: Operand, source: Operand, sizes: IndexSizes): boolean {
  putIndexSizes(x, sizes);
  putOffsets(x, ids, source);
  return native.indexAdd(x.memory, ids.memory, source.memory);
}

/** out[o, i, j] = x[o, ids[o, i, j], j] */
export function gather(x: Operand, ids: Operand, out: Operand, sizes: IndexSizes): boolean {
  putIndexSizes(x, sizes);
  putOffsets(x, ids, out);
  return native.gather(x.memory, ids.memory, out.memory);
}

/** x[o, ids[o, i, j], j] += source[o, i, j] */
export function scatterAdd(x: Operand, ids: Operand, source: Operand, sizes: IndexSizes): boolean {
  putIndexSizes(x, sizes);
  putOffsets(x, ids, source);
  return native.scatterAdd(x.memory, ids.memory, source.memory);
}

/** Position of the first of `ids` outside [0, size), or -1. */
export function findBadId(ids: Operand, size: number): number {
  n = 0;
  put(ids.size);
  put(size);
  put(ids.offset);
  return native.findBadId(ids.memory);
}

/** Softmax (or its logarithm) of each of the contiguous rows. */
export function softmax(x: Operand, y: Operand, rows: number, cols: number, log: boolean): boolean {
  n = 0;
  put(rows);
  put(cols);
  put(log ? 1 : 0);
  put(x.offset);
  put(y.offset);
  return native.softmax(x.memory, y.memory);
}

export function softmaxGrad(
  y: Operand,
  dy: Operand,
  dx: Operand,
  rows: number,
  cols: number,
  log: boolean,
): boolean {
  n = 0;
  put(rows);
  put(cols);
  put(log ? 1 : 0);
  putOffsets(y, dy, dx);
  return native.softmaxGrad(y.memory, dy.memory, dx.memory);
}

/** Loss and log-sum-exp (rows, 2; see native/kernels.h) of each row of logits against its class id. */
export function crossEntropy(
  logits: Operand,
  targets: Operand,
  loss: Operand,
  lse: Operand,
  ignoreIndex: number,
  smoothing: number,
): boolean {
  n = 0;
  put(logits.shape[0]);
  put(logits.shape[1]);
  put(ignoreIndex);
  put(smoothing);
  putOffsets(logits, targets, loss, lse);
  return native.crossEntropy(logits.memory, targets.memory, loss.memory, lse.memory);
}

/** dlogits, which may be the logits themselves. */
export function crossEntropyGrad(
  logits: Operand,
  targets: Operand,
  lse: Operand,
  dloss: Operand,
  dlogits: Operand,
  ignoreIndex: number,
  smoothing: number,
): boolean {
  n = 0;
  put(logits.shape[0]);
  put(logits.shape[1]);
  put(ignoreIndex);
  put(smoothing);
  putOffsets(logits, targets, lse, dloss, dlogits);
  return native.crossEntropyGrad(logits.memory, targets.memory, lse.memory, dloss.memory, dlogits.memory);
}

export function layerNorm(
  x: Operand,
  weight: Operand | null,
  bias: Operand | null,
  y: Operand,
  mean: Operand,
  rstd: Operand,
  rows: number,
  cols: number,
  eps: number,
): boolean {
  n = 0;
  put(rows);
  put(cols);
  put(eps);
  putOffsets(x, weight, bias, y, mean, rstd);
  return native.layerNorm(x.memory, memory(weight), memory(bias), y.memory, mean.memory, rstd.memory);
}

/** dx, and dweight and dbias where wanted (overwritten, or added to when `accumulate`). */
export function layerNormGrad(
  x: Operand,
  weight: Operand | null,
  mean: Operand,
  rstd: Operand,
  dy: Operand,
  dx: Operand,
  dweight: Operand | null,
  dbias: Operand | null,
  rows: number,
  cols: number,
  accumulate: boolean,
): boolean {
  n = 0;
  put(rows);
  put(cols);
  put(accumulate ? 1 : 0);
  putOffsets(x, weight, mean, rstd, dy, dx, dweight, dbias);
  return native.layerNormGrad(
    x.memory,
    memory(weight),
    mean.memory,
    rstd.memory,
    dy.memory,
    dx.memory,
    memory(dweight),
    memory(dbias),
  );
}

export function rmsNorm(
  x: Operand,
  weight: Operand | null,
  y: Operand,
  rstd: Operand,
  rows: number,
  cols: number,
  eps: number,
): boolean {
  n = 0;
  put(rows);
  put(cols);
  put(eps);
  putOffsets(x, weight, y, rstd);
  return native.rmsNorm(x.memory, memory(weight), y.memory, rstd.memory);
}

export function rmsNormGrad(
  x: Operand,
  weight: Operand | null,
  rstd: Operand,
  dy: Operand,
  dx: Operand,
  dweight: Operand | null,
  rows: number,
  cols: number,
  accumulate: boolean,
): boolean {
  n = 0;
  put(rows);
  put(cols);
  put(accumulate ? 1 : 0);
  putOffsets(x, weight, rstd, dy, dx, dweight);
  return native.rmsNormGrad(x.memory, memory(weight), rstd.memory, dy.memory, dx.memory, memory(dweight));
}

/** y = silu(gate) * up, all contiguous. */
export function swiglu(gate: Operand, up: Operand, y: Operand): boolean {
  n = 0;
  put(y.size);
  putOffsets(gate, up, y);
  return native.swiglu(gate.memory, up.memory, y.memory);
}

export function swigluGrad(gate: Operand, up: Operand, dy: Operand, dgate: Operand, dup: Operand): boolean {
  n = 0;
  put(dy.size);
  putOffsets(gate, up, dy, dgate, dup);
  return native.swigluGrad(gate.memory, up.memory, dy.memory, dgate.memory, dup.memory);
}

/**
 * Turns the pairs (i, i + D / 2) of x (B, H, T, D) into y of the same shape, each with unit stride along D, by contiguous
 * tables (T, D / 2) or (B, T, D / 2); back when `inverse`.
 */
export function rotary(x: Operand, cosine: Operand, sine: Operand, y: Operand, inverse: boolean): boolean {
  n = 0;
  for (const size of x.shape) put(size);
  putHeadStrides(x);
  putHeadStrides(y);
  put(cosine.shape.length === 2 ? 1 : 0);
  put(inverse ? 1 : 0);
  putOffsets(x, cosine, sine, y);
  return native.rotary(x.memory, cosine.memory, sine.memory, y.memory);
}

/** Sizes and strides (elements) of C = activation(alpha A B + beta C + bias) + residual, for `batch` products. */
export interface GemmSizes {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly aRow: number;
  readonly aCol: number;
  readonly aBatch: number;
  readonly bRow: number;
  readonly bCol: number;
  readonly bBatch: number;
  readonly cRow: number;
  readonly cBatch: number;
  readonly alpha?: number;
  readonly beta?: number;
  readonly activation?: ActivationName | null;
}

/** The activations that a product applies, by name: `gelu(x)`, `gelu(x, { approximate: 'tanh' })`, `relu(x)`, `silu(x)`. */
export type ActivationName = 'gelu' | 'geluTanh' | 'relu' | 'silu';

/** Whether float32 operands may be rounded to bfloat16 before they are multiplied. */
export const gemmSettings = { roundsToBf16: false };

/** A matrix product. */
export interface Product {
  readonly a: Operand;
  readonly b: Operand;
  readonly c: Operand;
  readonly bias: Operand | null;
  /** Where and of the type that c is. */
  readonly residual: Operand | null;
  readonly sizes: GemmSizes;
}

/** @param packed the right side as {@link pack} gives it (to be written by `gemmPack`), or null */
function callProduct<Name extends 'gemm' | 'gemmPacking' | 'gemmPack'>(
  name: Name,
  { a, b, c, bias, residual, sizes: s }: Product,
  packed: Float32Array | null,
): ReturnType<NativeAddon[Name]> {
  n = 0;
  put(s.batch);
  put(s.m);
  put(s.n);
  put(s.k);
  put(dtypes[a.dtype].id);
  put(dtypes[b.dtype].id);
  put(dtypes[c.dtype].id);
  put(s.aRow);
  put(s.aCol);
  put(s.aBatch);
  put(s.bRow);
  put(s.bCol);
  put(s.bBatch);
  put(s.cRow);
  put(s.cBatch);
  put(s.alpha ?? 1);
  put(s.beta ?? 0);
  put(gemmSettings.roundsToBf16 ? 1 : 0);
  put(s.activation ? unaryIds[s.activation] : -1);
  putOffsets(a, b, c, bias, residual);
  put(0);
  const arrays = [a.memory, b.memory, c.memory, memory(bias), memory(residual), packed] as const;
  return native[name](...arrays) as ReturnType<NativeAddon[Name]>;
}

/** @param packed b as {@link pack} gave it for a product of this one's {@link packing}, or null */
export const gemm = (product: Product, packed: Float32Array | null): boolean =>
  callProduct('gemm', product, packed);

/** How the kernel packs b: one of native/kernels.h's Packing, 0 where it takes no packed b. */
export const packing = (product: Product): number => callProduct('gemmPacking', product, null);

/** Numbers that packed b has. */
export const packedSize = (product: Product): number => callProduct('gemmPack', product, null);

/** Packs b into an array of at least {@link packedSize} numbers. */
export const pack = (product: Product, out: Float32Array): number => callProduct('gemmPack', product, out);

/** Options of an attention call; see `struct Attention` in native/kernels.h. */
export interface AttentionOptions {
  readonly scale: number;
  readonly causal: boolean;
  /** Sliding window, 0 for none. */
  readonly window: number;
  readonly dropout: number;
  readonly seed: number;
  readonly randomOffset: number;
  /** Whether the bias is one of distances. */
  readonly relative: boolean;
  /** Where the sequences begin that the queries, or the keys and values, are packed of; null where they are not. */
  readonly queries: PackedRows | null;
  readonly keys: PackedRows | null;
  /** Whether q, k, v and the weights may be rounded to bfloat16 before they are multiplied. */
  readonly bf16?: boolean;
}

/** Sequences one after the other in a batch of one. */
export interface PackedRows {
  /** The first row of each sequence, and the number of rows. */
  readonly starts: Int32Array;
  /** The greatest length. */
  readonly longest: number;
}

/** Strides of (B, H, T, D): batch, head, row; the head size has stride 1. */
function putHeadStrides(x: Operand, packed: PackedRows | null = null): void {
  put(packed === null ? x.strides[0] : 0);
  put(x.strides[1]);
  put(x.strides[2]);
}

function putAttention(
  q: Operand,
  k: Operand,
  v: Operand,
  bias: Operand | null,
  out: Operand,
  o: AttentionOptions,
) {
  const { queries, keys } = o;
  const packed = queries ?? keys;
  n = 0;
  put(packed === null ? q.shape[0] : packed.starts.length - 1);
  put(q.shape[1]);
  put(k.shape[1]);
  put(queries?.longest ?? q.shape[2]);
  put(keys?.longest ?? k.shape[2]);
  put(q.shape[3]);
  put(q.shape[2]);
  put(k.shape[2]);
  putHeadStrides(q, queries);
  putHeadStrides(k, keys);
  putHeadStrides(v, keys);
  putHeadStrides(out, queries);
  put(o.scale);
  put(o.causal ? 1 : 0);
  put(o.window);
  if (o.relative) putDistances(bias!);
  else for (let i = 0; i < 4; i++) put(bias === null ? 0 : bias.strides[i]);
  put(o.relative ? 1 : 0);
  put(o.dropout);
  put(o.seed);
  put(o.randomOffset);
  put(o.bf16 ? 1 : 0);
}

/** The strides of a bias of distances, (H, T + S - 1); only that of the heads counts. */
function putDistances(bias: Operand): void {
  put(0);
  put(bias.strides[0]);
  put(0);
  put(0);
}

/**
 * q (B, H, T, D), k and v (B, Hkv, S, D), bias broadcast to (B, H, T, S), of distances (H, T + S - 1), or null, out like
 * q, lse (B, H, T, 2) or null. Packed queries or keys have B 1 and the rows of all sequences; T and S of bias and lse are
 * then the greatest lengths, B the number of sequences.
 */
export function attention(
  q: Operand,
  k: Operand,
  v: Operand,
  bias: Operand | null,
  out: Operand,
  lse: Operand | null,
  options: AttentionOptions,
): boolean {
  const { queries, keys } = options;
  putAttention(q, k, v, bias, out, options);
  putOffsets(q, k, v, bias, out, lse, null, null);
  return native.attention(
    q.memory,
    k.memory,
    v.memory,
    memory(bias),
    out.memory,
    memory(lse),
    queries?.starts ?? null,
    keys?.starts ?? null,
  );
}

/** dbias is (B, H, T, S), of distances (B, H, ceil(T / 64), T + S - 1), or null. */
export function attentionGrad(
  q: Operand,
  k: Operand,
  v: Operand,
  bias: Operand | null,
  out: Operand,
  lse: Operand,
  dout: Operand,
  dq: Operand,
  dk: Operand,
  dv: Operand,
  dbias: Operand | null,
  options: AttentionOptions,
): boolean {
  const { queries, keys } = options;
  putAttention(q, k, v, bias, out, options);
  putHeadStrides(dout, queries);
  putHeadStrides(dq, queries);
  putHeadStrides(dk, keys);
  putHeadStrides(dv, keys);
  putOffsets(q, k, v, bias, out, lse, null, null, dout, dq, dk, dv, dbias);
  return native.attentionGrad(
    q.memory,
    k.memory,
    v.memory,
    memory(bias),
    out.memory,
    lse.memory,
    queries?.starts ?? null,
    keys?.starts ?? null,
    dout.memory,
    dq.memory,
    dk.memory,
    dv.memory,
    memory(dbias),
  );
}

/** Uniform numbers in [low, high) from positions `offset`, `offset + 1`, ... of the stream of `seed`. */
export function randomUniform(y: Operand, seed: number, offset: number, low: number, high: number): boolean {
  n = 0;
  put(y.size);
  put(seed);
  put(offset);
  put(low);
  put(high);
  put(y.offset);
  return native.randomUniform(y.memory);
}

export function randomNormal(y: Operand, seed: number, offset: number, mean: number, std: number): boolean {
  n = 0;
  put(y.size);
  put(seed);
  put(offset);
  put(mean);
  put(std);
  put(y.offset);
  return native.randomNormal(y.memory);
}

export function dropout(x: Operand, y: Operand, probability: number, seed: number, offset: number): boolean {
  n = 0;
  put(x.size);
  put(probability);
  put(seed);
  put(offset);
  put(x.offset);
  put(y.offset);
  return native.dropout(x.memory, y.memory);
}

/** Order of the native OptimizerRule. */
export const optimizerRules = ['adam', 'sgd', 'adagrad', 'rmsprop', 'lion'] as const;
export type OptimizerRule = (typeof optimizerRules)[number];

/** What an optimizer's update needs of one parameter; see `struct OptimizerTensor` in native/kernels.h. */
export interface OptimizerTensor {
  readonly parameter: Operand;
  readonly grad: Operand;
  /** The rule's states in its order; those that are not wanted are null or left out. */
  readonly states: readonly (Operand | null)[];
  readonly lr: number;
  readonly weightDecay: number;
  readonly correction1?: number;
  readonly correction2?: number;
}

/** Settings of an update of all parameters; see `struct OptimizerStep` in native/kernels.h. */
export interface OptimizerStep {
  readonly rule: OptimizerRule;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly eps?: number;
  readonly gradScale: number;
  /** Weight decay shrinks the parameter; else it is added to the gradient. */
  readonly decoupled?: boolean;
  readonly nesterov?: boolean;
}

const mostStates = 3;

export function optimizerStep(tensors: readonly OptimizerTensor[], step: OptimizerStep): boolean {
  const numbers = listNumbers(8 + 10 * tensors.length);
  const arrays: (TypedArray | null)[] = [];
  let i = 0;
  const array = (operand: Operand | null): void => {
    numbers[i++] = operand?.offset ?? 0;
    arrays.push(memory(operand));
  };
  numbers[i++] = optimizerRules.indexOf(step.rule);
  numbers[i++] = step.beta1 ?? 0;
  numbers[i++] = step.beta2 ?? 0;
  numbers[i++] = step.eps ?? 0;
  numbers[i++] = step.gradScale;
  numbers[i++] = step.decoupled ? 1 : 0;
  numbers[i++] = step.nesterov ? 1 : 0;
  numbers[i++] = tensors.length;
  for (const { parameter, grad, states, lr, weightDecay, correction1 = 1, correction2 = 1 } of tensors) {
    numbers[i++] = parameter.size;
    numbers[i++] = lr;
    numbers[i++] = weightDecay;
    numbers[i++] = correction1;
    numbers[i++] = correction2;
    array(parameter);
    array(grad);
    for (let s = 0; s < mostStates; s++) array(states[s] ?? null);
  }
  return native.optimizerStep(numbers, ...arrays);
}
