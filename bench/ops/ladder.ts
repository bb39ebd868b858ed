/**
 * A float32 matrix product, 512 cubed, step by step: a triple loop in JavaScript, the rungs of bench/ladder.cpp, tsgpt's
 * kernel on one thread and on all, and a bias added to the product by an operation of its own or by the kernel.
 * docs/optimization.md explains the steps.
 */

import { spawnSync } from 'node:child_process';

import { add, Generator, linear, matmul, noGrad, randn, scope, setThreads } from '../../lib/index.js';
import { readTask, relativeError, report, secondsPerCall, type Measurement } from '../measure.js';

/** The program made of bench/ladder.cpp; null without a compiler. */
const task = readTask() as { samples: number; threads: number; ladder: string | null };
const N = 512;
const flops = 2 * N ** 3;
const results: Record<string, Measurement> = {};

const generator = new Generator(1);
const [a, b] = [randn([N, N], { generator }), randn([N, N], { generator })];
const bias = randn([N], { generator });
const [x, y, z] = [a, b, bias].map((t) => t.data as Float32Array);
const product = new Float64Array(N * N);
for (let i = 0; i < N; i++) {
  for (let k = 0; k < N; k++) {
    const factor = x[i * N + k];
    for (let j = 0; j < N; j++) product[i * N + j] += factor * y[k * N + j];
  }
}
const withBias = product.map((p, i) => p + z[i % N]);

/** `call` must answer the product, with the bias where `expected` has it. */
function rung(name: string, expected: Float64Array, call: () => ArrayLike<number>): void {
  const error = relativeError(scope(call), expected);
  results[name] = { seconds: secondsPerCall([() => scope(() => void call())], task.samples), flops, error };
}

const c = new Float32Array(N * N);
rung('JavaScript, triple loop', product, () => {
  for (let i = 0; i < N; i++) {
    for (let j = 0; j < N; j++) {
      let sum = 0;
      for (let k = 0; k < N; k++) sum += x[i * N + k] * y[k * N + j];
      c[i * N + j] = sum;
    }
  }
  return c;
});

if (task.ladder !== null) {
  const { status, stdout, stderr } = spawnSync(task.ladder, [`${task.samples}`], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`bench/ladder.cpp failed with ${status}: ${stderr}`);
  const rungs = JSON.parse(stdout) as Record<string, Measurement>;
  for (const [name, measured] of Object.entries(rungs)) results[name] = { ...measured, flops };
}

noGrad(() => {
  setThreads(1);
  rung('tsgpt, 1 thread', product, () => matmul(a, b).data);
  setThreads(task.threads);
  const all = `tsgpt, ${task.threads} threads`;
  if (task.threads > 1) rung(all, product, () => matmul(a, b).data);
  rung(`${all}, then a bias`, withBias, () => add(matmul(a, b), bias).data);
  rung(`${all}, bias fused`, withBias, () => linear(a, b, bias, { transposed: true }).data);
});
report(results);
