/**
 * Causal attention at GPT-2's head count and size, forward and backward. Nobody sees the last rows but themselves, so
 * they alone give a float64 reference for the output, dq, and the last rows of dk and dv.
 */

import {
  backward,
  Generator,
  noGrad,
  randn,
  scaledDotProductAttention,
  scope,
  type Tensor,
} from '../../lib/index.js';
import { readTask, relativeError, report, secondsPerCall, type Measurement } from '../measure.js';

const B = 1;
const H = 12;
const D = 64;
const task = readTask() as { lengths: number[]; samples: number };
const generator = new Generator(1);
const results: Record<string, Measurement> = {};
for (const T of task.lengths) {
  scope(() => {
    const [q, k, v, gradient] = Array.from({ length: 4 }, () => randn([B, H, T, D], { generator }));
    for (const x of [q, k, v]) x.requiresGrad = true;
    const attend = (): Tensor => scaledDotProductAttention(q, k, v, { causal: true });
    const forward = (): void => noGrad(() => scope(() => void attend()));
    const both = (): void => {
      for (const x of [q, k, v]) {
        x.grad?.dispose();
        x.grad = null;
      }
      scope(() => backward(attend(), gradient));
    };
    both();
    const error = scope(() => errorOf(T, q, k, v, gradient, noGrad(attend)));
    const flops = 2 * B * H * T * T * D; // of the causal half: two products
    const measure = (call: () => void): number => secondsPerCall([call], task.samples);
    results[`T ${T}, forward`] = { seconds: measure(forward), flops, error };
    results[`T ${T}, forward + backward`] = { seconds: measure(both), flops: 3.5 * flops, error };
  });
}
report(results);

/** The last eight rows of the last head, in float64. */
function errorOf(T: number, q: Tensor, k: Tensor, v: Tensor, dout: Tensor, out: Tensor): number {
  const rows = 8;
  const first = T - rows;
  const head = (x: Tensor): ArrayLike<number> => x.data.subarray((H - 1) * T * D, H * T * D);
  const tail = (x: Tensor): ArrayLike<number> => x.data.subarray((H * T - rows) * D, H * T * D);
  const [Q, K, V, G] = [q, k, v, dout].map(head);
  const dot = (a: ArrayLike<number>, i: number, b: ArrayLike<number>, j: number): number =>
    sum(D, (d) => a[i * D + d] * b[j * D + d]);
  const [outRows, dq, dk, dv] = Array.from({ length: 4 }, () => new Float64Array(rows * D));
  for (let r = 0; r < rows; r++) {
    const i = first + r;
    const scores = Float64Array.from({ length: i + 1 }, (_, j) => dot(Q, i, K, j) / Math.sqrt(D));
    const top = scores.reduce((a, b) => Math.max(a, b));
    const exps = scores.map((s) => Math.exp(s - top));
    const total = sum(i + 1, (j) => exps[j]);
    const p = exps.map((e) => e / total);
    const dp = p.map((_, j) => dot(G, i, V, j));
    const mean = sum(i + 1, (j) => p[j] * dp[j]);
    const ds = p.map((weight, j) => (weight * (dp[j] - mean)) / Math.sqrt(D));
    for (let d = 0; d < D; d++) {
      outRows[r * D + d] = sum(i + 1, (j) => p[j] * V[j * D + d]);
      dq[r * D + d] = sum(i + 1, (j) => ds[j] * K[j * D + d]);
      for (let s = 0; s <= r; s++) {
        dk[s * D + d] += ds[first + s] * Q[i * D + d];
        dv[s * D + d] += p[first + s] * G[i * D + d];
      }
    }
  }
  return Math.max(
    relativeError(tail(out), outRows),
    relativeError(tail(q.grad!), dq),
    relativeError(tail(k.grad!), dk),
    relativeError(tail(v.grad!), dv),
  );
}

function sum(count: number, term: (i: number) => number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += term(i);
  return total;
}
