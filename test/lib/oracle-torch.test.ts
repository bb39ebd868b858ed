/** Values and gradients of every operation against PyTorch's, recorded in float64 (test/golden/torch-ops.json). */

import { describe, expect, it } from 'vitest';

import * as ts from '../../lib/index.js';
import type { DType, Tensor } from '../../lib/index.js';
import { fromNumbers, roundings } from '../support/compare.js';
import { expectClose, readGolden } from '../support/golden.js';

interface Recorded {
  readonly shape: number[];
  readonly data: (number | string | boolean)[];
  readonly dtype?: string;
  readonly requires_grad?: boolean;
}

interface OracleCase {
  readonly op: string;
  readonly attrs: any;
  readonly inputs: Recorded[];
  readonly outputs: Recorded[];
  readonly upstream: Recorded[];
  readonly grads: (Recorded | null)[];
}

const { cases } = readGolden<{ cases: OracleCase[] }>('torch-ops.json');

type Run = (x: Tensor[], attrs: any) => Tensor | Tensor[];

const crossEntropy =
  (options: ts.CrossEntropyOptions = {}): Run =>
  ([logits, targets, weight]) =>
    ts.crossEntropy(logits, targets, { ...options, ...(weight && { weight }) });

const attention: Run = ([q, k, v, mask], { scale, causal }) =>
  ts.scaledDotProductAttention(q, k, v, { scale, causal, mask });

const runs: Record<string, Run> = {
  add: ([a, b]) => ts.add(a, b),
  sub: ([a, b]) => ts.sub(a, b),
  mul: ([a, b]) => ts.mul(a, b),
  div: ([a, b]) => ts.div(a, b),
  maximum: ([a, b]) => ts.maximum(a, b),
  minimum: ([a, b]) => ts.minimum(a, b),
  pow_tensor: ([a, b]) => ts.pow(a, b),
  pow_scalar: ([x], { exponent }) => ts.pow(x, exponent),
  pow_scalar_half: ([x], { exponent }) => ts.pow(x, exponent),
  neg: ([x]) => ts.neg(x),
  tanh: ([x]) => ts.tanh(x),
  sigmoid: ([x]) => ts.sigmoid(x),
  relu: ([x]) => ts.relu(x),
  sin: ([x]) => ts.sin(x),
  abs: ([x]) => ts.abs(x),
  square: ([x]) => ts.square(x),
  erf: ([x]) => ts.erf(x),
  expm1: ([x]) => ts.expm1(x),
  sqrt: ([x]) => ts.sqrt(x),
  rsqrt: ([x]) => ts.rsqrt(x),
  reciprocal: ([x]) => ts.reciprocal(x),
  log1p: ([x]) => ts.log1p(x),
  gelu_tanh: ([x]) => ts.gelu(x, { approximate: 'tanh' }),
  silu: ([x]) => ts.silu(x),
  softplus: ([x]) => ts.softplus(x),
  'leaky_relu_0.1': ([x]) => ts.leakyRelu(x, 0.1),
  clamp: ([x], { min, max }) => ts.clamp(x, min, max),
  matmul: ([a, b]) => ts.matmul(a, b),
  bmm: ([a, b]) => ts.matmul(a, b),
  linear: ([x, weight, bias]) => ts.linear(x, weight, bias),
  sum: ([x], { dim, keepdim }) => ts.sum(x, dim ?? undefined, { keepdim }),
  mean: ([x], { dim, keepdim }) => ts.mean(x, dim ?? undefined, { keepdim }),
  var_unbiased: ([x], { dim }) => ts.variance(x, dim),
  var_biased: ([x], { dim }) => ts.variance(x, dim, { correction: 0 }),
  amax_with_ties: ([x], { dim }) => ts.amax(x, dim),
  argmax_ties: ([x], { dim }) => ts.argmax(x, dim),
  cumsum: ([x], { dim }) => ts.cumsum(x, dim),
  logsumexp: ([x], { dim }) => ts.logsumexp(x, dim),
  softmax_dim0: ([x], { dim }) => ts.softmax(x, dim),
  log_softmax: ([x], { dim }) => ts.logSoftmax(x, dim),
  softmax_large: ([x], { dim }) => ts.softmax(x, dim),
  layer_norm: ([x, weight, bias], { eps }) => ts.layerNorm(x, weight, bias, eps),
  rms_norm: ([x, weight], { eps }) => ts.rmsNorm(x, weight, eps),
  cross_entropy_mean: crossEntropy(),
  cross_entropy_sum: crossEntropy({ reduction: 'sum' }),
  cross_entropy_none: crossEntropy({ reduction: 'none' }),
  cross_entropy_label_smoothing: crossEntropy({ labelSmoothing: 0.1 }),
  cross_entropy_ls_ignore: crossEntropy({ labelSmoothing: 0.1 }),
  cross_entropy_weight: crossEntropy(),
  cross_entropy_all_ignored_is_nan: crossEntropy(),
  l1_loss: ([a, b]) => ts.l1Loss(a, b),
  bce_with_logits: ([a, b]) => ts.binaryCrossEntropyWithLogits(a, b),
  // recorded of log_softmax and softmax of the inputs
  kl_div_batchmean: ([a, b]) => ts.klDiv(ts.logSoftmax(a), ts.softmax(b), { reduction: 'batchmean' }),
  embedding: ([ids, weight]) => ts.embedding(ids, weight),
  gather: ([x, ids], { dim }) => ts.gather(x, dim, ids),
  index_select: ([x, ids], { dim }) => ts.indexSelect(x, dim, ids),
  scatter_add: ([x, ids, source], { dim }) => ts.scatterAdd(x, dim, ids, source),
  where: ([condition, a, b]) => ts.where(condition, a, b),
  transpose: ([x], { dims }) => ts.transpose(x, dims[0], dims[1]),
  permute: ([x], { dims }) => ts.permute(x, dims),
  reshape_of_transpose: ([x]) => ts.reshape(ts.transpose(x, 0, 1), [-1]),
  expand_then_sum: ([x]) => ts.sum(ts.expand(x, [4, 3]), 0),
  slice_neg: ([x]) => ts.slice(ts.slice(x, 0, -2), 1, 0, -1),
  cat: (x, { dim }) => ts.cat(x, dim),
  stack: (x, { dim }) => ts.stack(x, dim),
  split: ([x], { sizes, dim }) => ts.split(x, sizes, dim),
  pad: ([x], { pad, value }) => ts.pad(x, pad, value),
  tril: ([x]) => ts.tril(x),
  triu_1: ([x], { diagonal }) => ts.triu(x, diagonal),
  roll: ([x], { shifts, dims }) => ts.roll(x, shifts, dims),
  repeat_interleave: ([x], { repeats, dim }) => ts.repeatInterleave(x, repeats, dim),
  topk: ([x], { k }) => Object.values(ts.topk(x, k)) as Tensor[],
  sort_desc: ([x], { descending }) => Object.values(ts.sort(x, -1, { descending })) as Tensor[],
  same_input_twice: ([x]) => ts.add(ts.mul(x, x), x),
  attention_full: attention,
  attention_causal: attention,
  attention_causal_with_cache_offset: attention,
  attention_t5_bias_noscale: attention,
};

/** Recorded operations that this library does not have as operations. */
const absent = ['rope_half_rotation', 'rope_half_rotation_offset7', 'rope_interleaved'];

const numbers = (recorded: Recorded): number[] =>
  recorded.data.map((x) => (typeof x === 'string' ? Number(x.replace('inf', 'Infinity')) : Number(x)));

function input(recorded: Recorded, dtype: DType): Tensor {
  const type = recorded.dtype === 'int64' ? 'int32' : recorded.dtype === 'bool' ? 'bool' : dtype;
  const t = fromNumbers(numbers(recorded), recorded.shape, type);
  t.requiresGrad = recorded.requires_grad ?? false;
  return t;
}

describe.each(['float64', 'float32'] as const)('PyTorch, %s', (dtype) => {
  // Twelve digits were recorded; float32 is a few roundings away.
  const tolerance = dtype === 'float64' ? { rtol: 2e-11, atol: 2e-11 } : roundings('float32', 16);

  it.each(
    cases
      .filter((c) => !absent.includes(c.op))
      .map((c, i) => [`${i}: ${c.op} ${JSON.stringify(c.attrs)}`, c] as const),
  )('%s', (_, recorded) => {
    const run = runs[recorded.op];
    expect(run, `no function for ${recorded.op}`).toBeDefined();
    ts.scope(() => {
      const inputs = recorded.inputs.map((x) => input(x, dtype));
      const outputs = [run(inputs, recorded.attrs)].flat();
      outputs.forEach((y, i) => {
        expect(y.shape).toEqual(recorded.outputs[i].shape);
        expectClose(y.toFloat64Array(), numbers(recorded.outputs[i]), tolerance, `output ${i}`);
      });
      if (recorded.upstream.length === 0) return;
      const losses = recorded.upstream.map((w, i) => ts.sum(ts.mul(outputs[i], input(w, dtype))));
      losses.reduce((a, b) => ts.add(a, b)).backward();
      const leaves = inputs.filter((t) => t.requiresGrad);
      expect(leaves.length).toBe(recorded.grads.length);
      recorded.grads.forEach((g, i) => {
        const grad = leaves[i].grad;
        if (g === null) expect(grad).toBeNull();
        else expectClose(grad!.toFloat64Array(), numbers(g), tolerance, `gradient ${i}`);
      });
    });
  });
});
