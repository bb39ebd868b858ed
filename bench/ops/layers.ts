/**
 * The operations between the matrix products of a transformer, at GPT-2's sizes: forward, and forward with backward.
 * Each is checked against float64 on its first and last rows. GB/s counts the least traffic: every input read once,
 * every output written once.
 */

import {
  add,
  backward,
  crossEntropy,
  embedding,
  gelu,
  Generator,
  layerNorm,
  noGrad,
  ones,
  randn,
  rmsNorm,
  scope,
  silu,
  softmax,
  swiglu,
  tensor,
  type Tensor,
  zeros,
} from '../../lib/index.js';
import { AdamW } from '../../src/training/index.js';
import { readTask, relativeError, report, secondsPerCall, tokenIds, type Measurement } from '../measure.js';

const task = readTask() as { rows: number; samples: number };
const R = task.rows;
const C = 768;
const V = 50257;
const generator = new Generator(1);
const random = (...shape: number[]): Tensor => randn(shape, { generator });
const results: Record<string, Measurement> = {};

function measure(name: string, bytes: number, run: () => unknown, error?: number): void {
  results[name] = { seconds: secondsPerCall([run], task.samples), bytes, error };
}

/** Measures `op` alone and with the gradients of `leaves`, whose traffic is `moved` numbers beside one of the result. */
function differentiable(
  name: string,
  op: () => Tensor,
  leaves: Tensor[],
  moved: [number, number],
  error: number,
): void {
  const forward = (): void => noGrad(() => scope(() => void op()));
  const both = (): void => {
    scope(() => {
      const y = op();
      backward(y, y.rank === 0 ? undefined : gradient);
    });
    for (const leaf of leaves) {
      leaf.grad?.dispose();
      leaf.grad = null;
    }
  };
  const gradient = scope(() => noGrad(() => randn(op().shape, { generator })));
  measure(name, 4 * moved[0], forward, error);
  measure(`${name} + backward`, 4 * moved[1], both);
}

/** Compares the first and last row of `y` with the reference of the same rows of `x`. */
function rowError(x: Tensor, y: Tensor, reference: (row: Float64Array) => Float64Array): number {
  const width = x.shape[x.rank - 1];
  const row = (t: Tensor, from: number): Float64Array =>
    Float64Array.from(t.data.subarray(from, from + width));
  return Math.max(...[0, x.size - width].map((from) => relativeError(row(y, from), reference(row(x, from)))));
}

const total = (row: Float64Array): number => row.reduce((a, b) => a + b, 0);

function normalized(row: Float64Array): Float64Array {
  const mean = total(row) / row.length;
  const variance = total(row.map((x) => (x - mean) ** 2)) / row.length;
  return row.map((x) => (x - mean) / Math.sqrt(variance + 1e-5));
}

const overRms = (row: Float64Array): Float64Array => {
  const meanSquare = total(row.map((x) => x * x)) / row.length;
  return row.map((x) => x / Math.sqrt(meanSquare + 1e-6));
};

const siluOf = (x: number): number => x / (1 + Math.exp(-x));

function logSumExp(row: Float64Array): number {
  const top = row.reduce((a, b) => Math.max(a, b));
  return top + Math.log(total(row.map((x) => Math.exp(x - top))));
}

const geluTanh = (x: number): number =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

/** 0.5 x (1 + erf(x / √2)), erf by its series: exact to 1e-13 for the few units of a normal distribution. */
function geluErf(x: number): number {
  const z = x / Math.SQRT2;
  let term = z;
  let series = z;
  for (let n = 1; n < 120; n++) {
    term *= (-z * z) / n;
    series += term / (2 * n + 1);
  }
  return 0.5 * x * (1 + (2 / Math.sqrt(Math.PI)) * series);
}

const x = random(R, C);
const h = random(R, 4 * C);
const weight = ones([C], { requiresGrad: true });
const bias = zeros([C], { requiresGrad: true });
for (const leaf of [x, h]) leaf.requiresGrad = true;
const n = R * C;
const checked = (input: Tensor, op: () => Tensor, reference: (row: Float64Array) => Float64Array): number =>
  scope(() => noGrad(() => rowError(input, op(), reference)));

const norm = (): Tensor => layerNorm(x, weight, bias);
differentiable(
  `layer norm ${R} x ${C}`,
  norm,
  [x, weight, bias],
  [2 * n, 5 * n],
  checked(x, norm, normalized),
);

const rms = (): Tensor => rmsNorm(x, weight);
differentiable(`rms norm ${R} x ${C}`, rms, [x, weight], [2 * n, 5 * n], checked(x, rms, overRms));

const exact = (): Tensor => gelu(h);
differentiable(
  `gelu ${R} x ${4 * C}`,
  exact,
  [h],
  [8 * n, 20 * n],
  checked(h, exact, (row) => row.map(geluErf)),
);

const fast = (): Tensor => gelu(h, { approximate: 'tanh' });
differentiable(
  `gelu tanh ${R} x ${4 * C}`,
  fast,
  [h],
  [8 * n, 20 * n],
  checked(h, fast, (row) => row.map(geluTanh)),
);

const smooth = (): Tensor => silu(h);
differentiable(
  `silu ${R} x ${4 * C}`,
  smooth,
  [h],
  [8 * n, 20 * n],
  checked(h, smooth, (row) => row.map(siluOf)),
);

const up = random(R, 4 * C);
up.requiresGrad = true;
const gated = (): Tensor => swiglu(h, up);
const gatedError = scope(() =>
  noGrad(() => {
    const width = 4 * C;
    const expected = Array.from({ length: width }, (_, i) => siluOf(h.data[i]) * up.data[i]);
    return relativeError(Float64Array.from(gated().data.subarray(0, width)), expected);
  }),
);
differentiable(`swiglu ${R} x ${4 * C}`, gated, [h, up], [12 * n, 32 * n], gatedError);

const residual = random(R, C);
measure(`residual add ${R} x ${C}`, 4 * 3 * n, () => noGrad(() => scope(() => void add(x, residual))));

scope(() => {
  const scores = random(12, R, R);
  const weights = (): Tensor => softmax(scores);
  const error = checked(scores, weights, (row) => row.map((s) => Math.exp(s - logSumExp(row))));
  measure(`softmax 12 x ${R} x ${R}`, 8 * scores.size, () => scope(() => void weights()), error);
});

scope(() => {
  const logits = random(R, V);
  logits.requiresGrad = true;
  const ids = tokenIds(R, V);
  const targets = tensor(ids, { dtype: 'int32', shape: [R] });
  const loss = (): Tensor => crossEntropy(logits, targets);
  const rows = Array.from({ length: R }, (_, r) =>
    Float64Array.from(logits.data.subarray(r * V, (r + 1) * V)),
  );
  const expected = rows.reduce((sum, row, r) => sum + logSumExp(row) - row[ids[r]], 0) / R;
  const error = scope(() => relativeError([noGrad(loss).item()], [expected]));
  differentiable(`cross-entropy ${R} x ${V}`, loss, [logits], [R * V, 2 * R * V], error);
});

scope(() => {
  const table = random(V, C);
  table.requiresGrad = true;
  const ids = tensor(tokenIds(R, V), { dtype: 'int32', shape: [R] });
  differentiable(`embedding ${R} of ${V} x ${C}`, () => embedding(ids, table), [table], [2 * n, V * C], 0);
});

scope(() => {
  const parameters = [random(12e6), random(12e6)];
  for (const p of parameters) {
    p.requiresGrad = true;
    p.grad = random(12e6);
  }
  const optimizer = new AdamW(parameters, { lr: 1e-4 });
  measure('AdamW 24 M', 24e6 * 28, () => optimizer.step());
});
report(results);
