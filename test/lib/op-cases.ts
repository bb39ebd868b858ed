/**
 * The table of operations: one row each. The runner (ops.test.ts) checks a row's value and gradient for every floating
 * dtype and memory layout, on one and on two threads; isa.test.ts repeats that for every instruction set.
 */

import * as ts from '../../lib/index.js';
import type { Tensor } from '../../lib/index.js';

/** One input of a row. */
export interface Input {
  readonly shape: readonly number[];
  /** float: what is differentiated; fixed: a floating tensor that is not; ids: int32 below `high`; bool. */
  readonly kind: 'float' | 'fixed' | 'ids' | 'bool';
  readonly low: number;
  readonly high: number;
  /** A shape that is worth several threads. */
  readonly big?: readonly number[];
}

/** A row; see the head of this file. */
export interface OpCase {
  readonly name: string;
  readonly inputs: readonly Input[];
  readonly run: (...inputs: Tensor[]) => Tensor;
  /** The same on plain numbers, for operations on each element. */
  readonly scalar?: (...x: number[]) => number;
  /** The result has no gradient. */
  readonly constant?: true;
  /** Roundings allowed in the value (default 4) and in the gradient (default 16), in units of the dtype. */
  readonly value?: number;
  readonly gradient?: number;
  /** The sizes of results, for the absolute part of the tolerance; 1 by default. */
  readonly scale?: number;
}

/** Large enough to be cut into several tasks. */
const bigShape = [131, 1003];

const float = (shape: readonly number[], low = -2, high = 2, big?: readonly number[]): Input => ({
  shape,
  kind: 'float',
  low,
  high,
  big,
});
const ids = (shape: readonly number[], high: number, big?: readonly number[]): Input => ({
  shape,
  kind: 'ids',
  low: 0,
  high,
  big,
});
/** Four sequences of so many rows in all, one of them empty; the longest has 7 tenths. */
const packedLengths = (rows: number): number[] => {
  const longest = rows === 7 ? 4 : Math.floor(rows * 0.7);
  return [2, 0, longest, rows - longest - 2];
};
const bool = (shape: readonly number[], big?: readonly number[]): Input => ({
  shape,
  kind: 'bool',
  low: 0,
  high: 2,
  big,
});

const fixed = (shape: readonly number[], big?: readonly number[]): Input => ({
  shape,
  kind: 'fixed',
  low: -1,
  high: 1,
  big,
});

const unary = (
  name: string,
  run: (x: Tensor) => Tensor,
  scalar: (x: number) => number,
  more: Partial<OpCase> & { low?: number; high?: number } = {},
): OpCase => {
  const { low = -3, high = 3, ...rest } = more;
  return { name, inputs: [float([3, 37], low, high, bigShape)], run, scalar, ...rest };
};

const binary = (
  name: string,
  run: (a: Tensor, b: Tensor) => Tensor,
  scalar: (a: number, b: number) => number,
  more: Partial<OpCase> & { low?: number; high?: number } = {},
): OpCase[] => {
  const { low = -2, high = 2, ...rest } = more;
  const pair = (a: readonly number[], b: readonly number[], big?: readonly number[]): OpCase => ({
    name: `${name} ${JSON.stringify(a)} ${JSON.stringify(b)}`,
    inputs: [float(a, low, high, big), float(b, low, high, big)],
    run,
    scalar,
    ...rest,
  });
  return [
    pair([3, 37], [3, 37], bigShape),
    pair([2, 1, 5], [3, 1]),
    pair([3, 19], [19]),
    pair([3, 19], [3, 1]),
    pair([], [4]),
  ];
};

/** The error function to double precision: its series, and the continued fraction of its complement. */
function erf(x: number): number {
  if (Math.abs(x) < 2.5) {
    let term = x;
    let total = x;
    for (let n = 1; n < 80; n++) {
      term *= (-x * x) / n;
      total += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * total;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (Math.abs(x) + fraction);
  return Math.sign(x) * (1 - Math.exp(-x * x) / (Math.sqrt(Math.PI) * (Math.abs(x) + fraction)));
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const roundEven = (x: number): number => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

const elementwise: OpCase[] = [
  unary('neg', ts.neg, (x) => -x),
  unary('abs', ts.abs, Math.abs),
  unary('square', ts.square, (x) => x * x),
  unary('sqrt', ts.sqrt, Math.sqrt, { low: 0.1 }),
  unary('rsqrt', ts.rsqrt, (x) => 1 / Math.sqrt(x), { low: 0.1 }),
  unary('reciprocal', ts.reciprocal, (x) => 1 / x, { low: 0.2 }),
  unary('exp', ts.exp, Math.exp),
  unary('expm1', ts.expm1, Math.expm1),
  unary('log', ts.log, Math.log, { low: 0.1 }),
  unary('log1p', ts.log1p, Math.log1p, { low: -0.8 }),
  unary('sin', ts.sin, Math.sin),
  unary('cos', ts.cos, Math.cos),
  unary('tanh', ts.tanh, Math.tanh),
  unary('sigmoid', ts.sigmoid, sigmoid),
  unary('relu', ts.relu, (x) => Math.max(0, x)),
  unary(
    'leakyRelu',
    (x) => ts.leakyRelu(x, 0.1),
    (x) => (x > 0 ? x : 0.1 * x),
  ),
  unary('erf', ts.erf, erf),
  unary('gelu', ts.gelu, (x) => 0.5 * x * (1 + erf(x / Math.SQRT2))),
  unary(
    'gelu tanh',
    (x) => ts.gelu(x, { approximate: 'tanh' }),
    (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  ),
  unary('silu', ts.silu, (x) => x * sigmoid(x)),
  unary('softplus', ts.softplus, (x) => Math.log1p(Math.exp(-Math.abs(x))) + Math.max(x, 0)),
  unary(
    'clamp',
    (x) => ts.clamp(x, -0.5, 0.7),
    (x) => Math.min(Math.max(x, -0.5), 0.7),
  ),
  unary('floor', ts.floor, Math.floor, { constant: true, low: -9, high: 9 }),
  unary('ceil', ts.ceil, Math.ceil, { constant: true, low: -9, high: 9 }),
  unary('round', ts.round, roundEven, { constant: true, low: -9, high: 9 }),
  unary('sign', ts.sign, Math.sign, { constant: true }),
  unary('logicalNot', ts.logicalNot, (x) => (x === 0 ? 1 : 0), { constant: true }),
  unary('isNaN', ts.isNaN, (x) => (Number.isNaN(x) ? 1 : 0), { constant: true }),
  unary(
    'add number',
    (x) => ts.add(x, 2.5),
    (x) => x + 2.5,
  ),
  unary(
    'sub number',
    (x) => ts.sub(x, 2.5),
    (x) => x - 2.5,
  ),
  unary(
    'number sub',
    (x) => ts.sub(2.5, x),
    (x) => 2.5 - x,
  ),
  unary(
    'mul number',
    (x) => ts.mul(x, -1.75),
    (x) => x * -1.75,
  ),
  unary(
    'div number',
    (x) => ts.div(x, 3),
    (x) => x / 3,
  ),
  unary(
    'number div',
    (x) => ts.div(3, x),
    (x) => 3 / x,
    { low: 0.2 },
  ),
  unary(
    'pow 3',
    (x) => ts.pow(x, 3),
    (x) => x ** 3,
  ),
  unary(
    'pow 2',
    (x) => ts.pow(x, 2),
    (x) => x * x,
  ),
  unary(
    'pow -1.5',
    (x) => ts.pow(x, -1.5),
    (x) => x ** -1.5,
    { low: 0.3 },
  ),
  unary(
    'number pow',
    (x) => ts.pow(1.5, x),
    (x) => 1.5 ** x,
  ),
  unary(
    'maximum number',
    (x) => ts.maximum(x, 0.25),
    (x) => Math.max(x, 0.25),
  ),
  ...binary('add', ts.add, (a, b) => a + b),
  ...binary('sub', ts.sub, (a, b) => a - b),
  ...binary('mul', ts.mul, (a, b) => a * b),
  ...binary('div', ts.div, (a, b) => a / b, { low: 0.3 }),
  ...binary('maximum', ts.maximum, Math.max),
  ...binary('minimum', ts.minimum, Math.min),
  ...binary('pow', ts.pow, (a, b) => a ** b, { low: 0.3, value: 8, gradient: 32 }),
  ...binary('eq', ts.eq, (a, b) => Number(a === b), { constant: true }),
  ...binary('ne', ts.ne, (a, b) => Number(a !== b), { constant: true }),
  ...binary('lt', ts.lt, (a, b) => Number(a < b), { constant: true }),
  ...binary('le', ts.le, (a, b) => Number(a <= b), { constant: true }),
  ...binary('gt', ts.gt, (a, b) => Number(a > b), { constant: true }),
  ...binary('ge', ts.ge, (a, b) => Number(a >= b), { constant: true }),
  {
    name: 'swiglu',
    inputs: [float([3, 37], -3, 3, bigShape), float([3, 37], -3, 3, bigShape)],
    run: ts.swiglu,
    scalar: (gate, up) => gate * sigmoid(gate) * up,
    scale: 4,
  },
  {
    name: 'logicalAnd',
    inputs: [bool([3, 37], bigShape), bool([37], [1003])],
    run: ts.logicalAnd,
    scalar: (a, b) => (a && b ? 1 : 0),
    constant: true,
  },
  {
    name: 'logicalOr',
    inputs: [bool([3, 37], bigShape), bool([3, 1], [131, 1])],
    run: ts.logicalOr,
    scalar: (a, b) => (a || b ? 1 : 0),
    constant: true,
  },
  {
    name: 'where',
    inputs: [bool([1, 19]), float([3, 19]), float([19])],
    run: ts.where,
    scalar: (c, a, b) => (c ? a : b),
  },
  {
    name: 'where with a number',
    inputs: [bool([3, 19]), float([3, 1])],
    run: (c, a) => ts.where(c, a, -1.5),
    scalar: (c, a) => (c ? a : -1.5),
  },
  {
    name: 'maskedFill',
    inputs: [float([3, 19], -2, 2, bigShape), bool([19], [1003])],
    run: (x, mask) => ts.maskedFill(x, mask, 7),
    scalar: (x, mask) => (mask ? 7 : x),
  },
  { name: 'clone', inputs: [float([3, 19], -2, 2, bigShape)], run: ts.clone, scalar: (x) => x },
  { name: 'contiguous', inputs: [float([3, 19])], run: ts.contiguous, scalar: (x) => x },
  {
    name: 'dropout',
    inputs: [float([3, 37], 0.5, 2, bigShape)],
    run: (x) => ts.dropout(x, 0.3, { generator: new ts.Generator(5) }),
  },
];

const cube = [3, 5, 7];
const bigCube = [31, 67, 113];

const reductions: OpCase[] = [
  ...([['sum', ts.sum], ['mean', ts.mean], ['amax', ts.amax], ['amin', ts.amin]] as const).flatMap(([name, op]) =>
    [undefined, 0, 1, -1, [0, 1], [0, 2], [1, 2]].flatMap((dim) =>
      [false, true].map((keepdim) => ({
        name: `${name} over ${JSON.stringify(dim) ?? 'all'}${keepdim ? ', kept' : ''}`,
        inputs: [float(cube, -2, 2, keepdim ? undefined : bigCube)],
        run: (x: Tensor) => op(x, dim, { keepdim }),
        scale: 4,
      })),
    ),
  ), // prettier-ignore
  { name: 'sum without dimensions', inputs: [float([])], run: (x) => ts.sum(x) },
  { name: 'prod over all', inputs: [float([2, 3], 0.5)], run: (x) => ts.prod(x), scale: 4 },
  { name: 'prod over 1', inputs: [float(cube, 0.5)], run: (x) => ts.prod(x, 1), scale: 8, gradient: 32 },
  { name: 'variance over all', inputs: [float(cube)], run: (x) => ts.variance(x), value: 16 },
  { name: 'variance over -1', inputs: [float(cube)], run: (x) => ts.variance(x, -1), value: 16 },
  {
    name: 'variance, biased, kept',
    inputs: [float(cube)],
    run: (x) => ts.variance(x, [0, 2], { correction: 0, keepdim: true }),
    value: 16,
  },
  { name: 'std over 1', inputs: [float(cube)], run: (x) => ts.std(x, 1), value: 16, gradient: 32 },
  { name: 'logsumexp over -1', inputs: [float(cube, -8, 8)], run: (x) => ts.logsumexp(x, -1), value: 8 },
  {
    name: 'logsumexp over 0, kept',
    inputs: [float(cube)],
    run: (x) => ts.logsumexp(x, 0, { keepdim: true }),
    value: 8,
  },
  { name: 'cumsum over 1', inputs: [float(cube, -2, 2, bigCube)], run: (x) => ts.cumsum(x, 1), scale: 8 },
  { name: 'cumsum over -1', inputs: [float(cube, -2, 2, bigCube)], run: (x) => ts.cumsum(x, -1), scale: 8 },
  {
    name: 'argmax over all',
    inputs: [float(cube, -2, 2, bigCube)],
    run: (x) => ts.argmax(x),
    constant: true,
  },
  {
    name: 'argmax over 1',
    inputs: [float(cube, -2, 2, bigCube)],
    run: (x) => ts.argmax(x, 1),
    constant: true,
  },
  {
    name: 'argmax over -1',
    inputs: [float(cube, -2, 2, bigCube)],
    run: (x) => ts.argmax(x, -1),
    constant: true,
  },
  {
    name: 'argmin over 0',
    inputs: [float(cube)],
    run: (x) => ts.argmin(x, 0, { keepdim: true }),
    constant: true,
  },
  { name: 'topk values', inputs: [float(cube)], run: (x) => ts.topk(x, 3).values },
  { name: 'topk values over 0', inputs: [float(cube)], run: (x) => ts.topk(x, 2, 0).values },
  { name: 'topk indices', inputs: [float(cube)], run: (x) => ts.topk(x, 3, 1).indices, constant: true },
  { name: 'sort', inputs: [float(cube)], run: (x) => ts.sort(x).values },
  {
    name: 'sort descending over 1',
    inputs: [float(cube)],
    run: (x) => ts.sort(x, 1, { descending: true }).values,
  },
];

const movement: OpCase[] = [
  { name: 'reshape', inputs: [float(cube)], run: (x) => ts.reshape(x, [15, -1]) },
  { name: 'reshape split', inputs: [float([3, 12])], run: (x) => ts.reshape(x, [3, 2, 6]) },
  { name: 'flatten', inputs: [float(cube)], run: (x) => ts.flatten(x, 1) },
  { name: 'squeeze', inputs: [float([3, 1, 5, 1])], run: (x) => ts.squeeze(x) },
  { name: 'squeeze 1', inputs: [float([3, 1, 5, 1])], run: (x) => ts.squeeze(x, 1) },
  { name: 'unsqueeze', inputs: [float([3, 5])], run: (x) => ts.unsqueeze(x, -2) },
  { name: 'transpose', inputs: [float(cube)], run: (x) => ts.transpose(x, 0, -1) },
  { name: 'permute', inputs: [float(cube)], run: (x) => ts.permute(x, [2, 0, 1]) },
  { name: 'expand', inputs: [float([3, 1])], run: (x) => ts.expand(x, [2, -1, 5]) },
  { name: 'slice', inputs: [float(cube)], run: (x) => ts.slice(ts.slice(x, 1, 1, -1), 2, -4) },
  { name: 'empty slice', inputs: [float(cube)], run: (x) => ts.slice(x, 1, 3, 2) },
  { name: 'select', inputs: [float(cube)], run: (x) => ts.select(x, 1, -2) },
  {
    name: 'split, used twice',
    inputs: [float([3, 9])],
    run: (x) => {
      const [a, b, c] = ts.split(x, 3, 1);
      return ts.add(ts.mul(a, b), ts.mul(c, a));
    },
  },
  { name: 'split by sizes', inputs: [float([7, 3])], run: (x) => ts.mul(ts.split(x, [2, 4, 1])[1], 2) },
  { name: 'cat', inputs: [float([3, 2]), float([3, 5]), float([3, 1])], run: (...x) => ts.cat(x, 1) },
  { name: 'cat over 0', inputs: [float([2, 3]), float([0, 3]), float([5, 3])], run: (...x) => ts.cat(x) },
  { name: 'stack', inputs: [float([3, 5]), float([3, 5])], run: (...x) => ts.stack(x, 1) },
  { name: 'stack last', inputs: [float([3, 5]), float([3, 5])], run: (...x) => ts.stack(x, -1) },
  { name: 'pad', inputs: [float([2, 3, 4])], run: (x) => ts.pad(x, [1, 2, 0, 1], 0.5) },
  { name: 'tril', inputs: [float(cube)], run: (x) => ts.tril(x) },
  { name: 'triu', inputs: [float(cube)], run: (x) => ts.triu(x, -1) },
  { name: 'roll', inputs: [float(cube)], run: (x) => ts.roll(x, -2, 1) },
  { name: 'repeatInterleave', inputs: [float(cube)], run: (x) => ts.repeatInterleave(x, 3, 1) },
  {
    name: 'repeatInterleave of eight dimensions',
    inputs: [float([2, 1, 3, 1, 2, 1, 2, 2])],
    run: (x) => ts.repeatInterleave(x, 2, 2),
  },
  { name: 'indexSelect', inputs: [float([5, 3, 4]), ids([7], 3)], run: (x, i) => ts.indexSelect(x, 1, i) },
  {
    name: 'embedding',
    inputs: [ids([2, 9], 5, [64, 50]), float([5, 7], -2, 2, [5, 513])],
    run: (i, weight) => ts.embedding(i, weight),
    gradient: 64,
    scale: 4,
  },
  { name: 'gather', inputs: [float([3, 5, 4]), ids([2, 6, 3], 5)], run: (x, i) => ts.gather(x, 1, i) },
  { name: 'gather last', inputs: [float([3, 5]), ids([3, 2], 5)], run: (x, i) => ts.gather(x, -1, i) },
  {
    name: 'scatterAdd',
    inputs: [float([3, 5]), ids([3, 7], 5), float([3, 7])],
    run: (x, i, source) => ts.scatterAdd(x, 1, i, source),
    scale: 4,
  },
];

/** Inner products of k terms of size 1. */
const products: OpCase[] = [
  ['plain', [5, 7], [7, 3], [67, 131], [131, 259]],
  ['batch and matrix', [2, 3, 7], [7, 5], [5, 31, 67], [67, 129]],
  ['batch and batch', [2, 3, 7], [2, 7, 5], [5, 31, 67], [5, 67, 129]],
  ['broadcast batches', [2, 1, 3, 4], [3, 4, 5]],
  ['vector and matrix', [7], [7, 3], [257], [257, 513]],
  ['matrix and vector', [3, 7], [7], [513, 257], [257]],
  ['vectors', [7], [7]],
].map(([name, a, b, bigA, bigB]) => ({
  name: `matmul, ${name as string}`,
  inputs: [
    float(a as number[], -1, 1, bigA as number[] | undefined),
    float(b as number[], -1, 1, bigB as number[] | undefined),
  ],
  run: ts.matmul,
  value: 8,
  scale: 4,
}));

const heads = (h: number, t: number, d = 8, big?: readonly number[]): Input =>
  float([2, h, t, d], -1, 1, big);

const layers: OpCase[] = [
  {
    name: 'linear',
    inputs: [float([2, 3, 7], -1, 1, [4, 33, 67]), float([5, 7], -1, 1, [131, 67]), float([5], -1, 1, [131])],
    run: (x, w, b) => ts.linear(x, w, b),
    value: 8,
    scale: 4,
  },
  {
    name: 'linear, transposed, no bias',
    inputs: [float([3, 7], -1, 1), float([7, 5], -1, 1)],
    run: (x, w) => ts.linear(x, w, null, { transposed: true }),
    value: 8,
    scale: 4,
  },
  {
    name: 'layerNorm',
    inputs: [float([3, 5, 19], -2, 2, [300, 131]), float([19], 0.5, 1.5, [131]), float([19], -1, 1, [131])],
    run: (x, w, b) => ts.layerNorm(x, w, b),
    value: 16,
    gradient: 64,
    scale: 4,
  },
  {
    name: 'layerNorm, plain',
    inputs: [float([4, 19])],
    run: (x) => ts.layerNorm(x),
    value: 16,
    gradient: 64,
  },
  {
    name: 'rmsNorm',
    inputs: [float([3, 5, 19], -2, 2, [300, 131]), float([19], 0.5, 1.5, [131])],
    run: (x, w) => ts.rmsNorm(x, w),
    value: 16,
    gradient: 64,
    scale: 4,
  },
  {
    name: 'rotaryEmbedding',
    inputs: [float([2, 3, 5, 38], -2, 2, [3, 4, 97, 38]), fixed([5, 19], [97, 19]), fixed([5, 19], [97, 19])],
    run: (x, cosine, sine) => ts.rotaryEmbedding(x, cosine, sine),
    value: 8,
    scale: 4,
  },
  {
    name: 'rotaryEmbedding, heads of a projection, positions by batch',
    inputs: [float([2, 5, 24]), fixed([2, 5, 4]), fixed([2, 5, 4])],
    run: (x, cosine, sine) =>
      ts.rotaryEmbedding(ts.transpose(ts.reshape(x, [2, 5, 3, 8]), 1, 2), cosine, sine),
    value: 8,
    scale: 4,
  },
  { name: 'softmax', inputs: [float(cube, -4, 4, bigCube)], run: (x) => ts.softmax(x), value: 8 },
  { name: 'softmax over 1', inputs: [float(cube, -4, 4)], run: (x) => ts.softmax(x, 1), value: 8 },
  {
    name: 'logSoftmax',
    inputs: [float(cube, -4, 4, bigCube)],
    run: (x) => ts.logSoftmax(x, -1),
    value: 8,
    scale: 4,
  },
  {
    name: 'attention',
    inputs: [heads(2, 3), heads(2, 5), heads(2, 5)],
    run: (q, k, v) => ts.scaledDotProductAttention(q, k, v),
    value: 16,
    gradient: 64,
  },
  {
    name: 'attention, causal',
    inputs: [heads(2, 5, 8, [2, 3, 97, 32]), heads(2, 5, 8, [2, 3, 97, 32]), heads(2, 5, 8, [2, 3, 97, 32])],
    run: (q, k, v) => ts.scaledDotProductAttention(q, k, v, { causal: true }),
    value: 16,
    gradient: 64,
  },
  {
    name: 'attention, grouped, causal with a cache, window',
    inputs: [heads(4, 3), heads(2, 7), heads(2, 7)],
    run: (q, k, v) => ts.scaledDotProductAttention(q, k, v, { causal: true, window: 3, scale: 0.5 }),
    value: 16,
    gradient: 64,
  },
  {
    name: 'attention, bias',
    inputs: [heads(2, 3), heads(2, 5), heads(2, 5), float([2, 1, 5])],
    run: (q, k, v, mask) => ts.scaledDotProductAttention(q, k, v, { mask }),
    value: 16,
    gradient: 64,
  },
  {
    name: 'attention, bool mask',
    inputs: [heads(2, 3), heads(2, 5), heads(2, 5), bool([3, 5])],
    run: (q, k, v, mask) => ts.scaledDotProductAttention(q, k, v, { mask }),
    value: 16,
    gradient: 64,
  },
  {
    name: 'attention without keys',
    inputs: [heads(2, 3), heads(2, 0), heads(2, 0), float([3, 0])],
    run: (q, k, v, mask) => ts.scaledDotProductAttention(q, k, v, { causal: true, mask }),
  },
  {
    name: 'attention, dropout',
    inputs: [heads(2, 3), heads(2, 5), heads(2, 5)],
    run: (q, k, v) => ts.scaledDotProductAttention(q, k, v, { dropout: 0.4, generator: new ts.Generator(3) }),
    value: 16,
    gradient: 64,
  },
  {
    name: 'attention, bias of distances, more keys than queries',
    inputs: [
      heads(2, 3, 8, [2, 3, 97, 32]),
      heads(2, 5, 8, [2, 3, 131, 32]),
      heads(2, 5, 8, [2, 3, 131, 32]),
      float([2, 7], -2, 2, [3, 227]),
    ],
    run: (q, k, v, relativeBias) => ts.scaledDotProductAttention(q, k, v, { causal: true, relativeBias }),
    value: 16,
    gradient: 64,
  },
  {
    name: 'attention, packed, grouped, bias of distances, dropout',
    inputs: [
      float([1, 4, 7, 8], -2, 2, [1, 4, 211, 16]),
      float([1, 2, 7, 8], -2, 2, [1, 2, 211, 16]),
      float([1, 2, 7, 8], -2, 2, [1, 2, 211, 16]),
      float([4, 7], -2, 2, [4, 293]),
    ],
    run: (q, k, v, relativeBias) => {
      const lengths = packedLengths(q.shape[2]);
      const options = { relativeBias, queryLengths: lengths, keyLengths: lengths };
      return ts.scaledDotProductAttention(q, k, v, {
        ...options,
        dropout: 0.2,
        generator: new ts.Generator(3),
      });
    },
    value: 16,
    gradient: 64,
  },
  {
    name: 'attention, packed, causal, masked',
    inputs: [
      float([1, 2, 7, 8], -2, 2, [1, 2, 211, 16]),
      float([1, 2, 7, 8], -2, 2, [1, 2, 211, 16]),
      float([1, 2, 7, 8], -2, 2, [1, 2, 211, 16]),
      float([4, 1, 4, 1], -2, 2, [4, 1, 147, 1]),
    ],
    run: (q, k, v, mask) => {
      const lengths = packedLengths(q.shape[2]);
      const options = { causal: true, queryLengths: lengths, keyLengths: lengths };
      return ts.scaledDotProductAttention(q, k, v, { ...options, mask });
    },
    value: 16,
    gradient: 64,
  },
  {
    name: 'attention to packed keys',
    inputs: [
      float([4, 2, 3, 8], -2, 2, [4, 2, 67, 16]),
      float([1, 2, 7, 8], -2, 2, [1, 2, 211, 16]),
      float([1, 2, 7, 8], -2, 2, [1, 2, 211, 16]),
    ],
    run: (q, k, v) => ts.scaledDotProductAttention(q, k, v, { keyLengths: packedLengths(k.shape[2]) }),
    value: 16,
    gradient: 64,
  },
  {
    name: 'attention of one query each to packed keys',
    inputs: [
      float([4, 2, 1, 8], -2, 2, [4, 2, 1, 16]),
      float([1, 1, 7, 8], -2, 2, [1, 1, 2111, 16]),
      float([1, 1, 7, 8], -2, 2, [1, 1, 2111, 16]),
    ],
    run: (q, k, v) => ts.scaledDotProductAttention(q, k, v, { keyLengths: packedLengths(k.shape[2]) }),
    value: 16,
    gradient: 64,
  },
  ...[{}, { reduction: 'sum' }, { reduction: 'none' }, { labelSmoothing: 0.1 }, { ignoreIndex: 2 }].map(
    (options): OpCase => ({
      name: `crossEntropy ${JSON.stringify(options)}`,
      inputs: [float([3, 5, 7], -3, 3, [64, 17, 131]), ids([3, 5], 7, [64, 17])],
      run: (logits, targets) => ts.crossEntropy(logits, targets, options as ts.CrossEntropyOptions),
      value: 8,
      gradient: 64,
      scale: 4,
    }),
  ),
  ...[{}, { reduction: 'sum' }, { labelSmoothing: 0.1 }, { ignoreIndex: 2 }].map((options, i): OpCase => ({
    name: `linearCrossEntropy ${JSON.stringify(options)}`,
    inputs: [
      float([3, 5, 4], -2, 2, i === 0 ? [2, 150, 8] : undefined), // big: two chunks of rows
      float([7, 4], -1, 1, i === 0 ? [50257, 8] : undefined),
      ids([3, 5], 7, i === 0 ? [2, 150] : undefined),
    ],
    run: (hidden, weight, targets) =>
      ts.linearCrossEntropy(hidden, weight, targets, options as ts.LinearCrossEntropyOptions),
    value: 8,
    gradient: 64,
    scale: 4,
  })),
  {
    name: 'crossEntropy, weighted',
    inputs: [float([5, 7], -3, 3), ids([5], 7), { ...float([7], 0.5, 2), kind: 'fixed' }],
    run: (logits, targets, weight) => ts.crossEntropy(logits, targets, { weight }),
    value: 8,
    gradient: 64,
    scale: 4,
  },
  { name: 'l1Loss', inputs: [float([3, 5]), float([3, 5])], run: (a, b) => ts.l1Loss(a, b), value: 8 },
  { name: 'mseLoss', inputs: [float([3, 5]), float([3, 5])], run: (a, b) => ts.mseLoss(a, b), value: 8 },
  {
    name: 'binaryCrossEntropyWithLogits',
    inputs: [float([3, 5]), float([3, 5], 0, 1)],
    run: (a, b) => ts.binaryCrossEntropyWithLogits(a, b),
    value: 8,
  },
];

export const opCases: readonly OpCase[] = [
  ...elementwise,
  ...reductions,
  ...movement,
  ...products,
  ...layers,
];
