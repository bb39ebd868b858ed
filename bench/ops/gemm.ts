/**
 * Matrix products, against a float64 reference at scattered elements. Half types are multiplied as they are: both
 * operands and the result are of the type, sums are float32.
 *
 * `square`: A B. `linear`: X Wᵀ, a layer's forward; with m = 1 and copies of W, decoding from memory. `dx`: G W and
 * `dw`: Gᵀ X, the two products of its backward.
 */

import {
  Generator,
  linear,
  matmul,
  noGrad,
  randn,
  scope,
  setPackedWeightsLimit,
  transpose,
  type Tensor,
} from '../../lib/index.js';
import { decodeHalf } from '../../lib/half.js';
import { readTask, relativeError, report, secondsPerCall, type Measurement } from '../measure.js';

/** The types that are measured. */
export type GemmType = 'float32' | 'bfloat16' | 'float16';

/** C (m, n) = A (m, k) B (k, n). */
export interface GemmCase {
  readonly name: string;
  readonly kind: 'square' | 'linear' | 'dx' | 'dw';
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Copies of B that take turns, so that each comes from memory. */
  readonly copies?: number;
  /** B may stay packed between products. */
  readonly kept?: boolean;
}

/** The task of part gemm, as every contender gets it. */
export interface GemmTask {
  readonly dtype: GemmType;
  readonly cases: readonly GemmCase[];
  readonly samples: number;
}

const multiply: Record<GemmCase['kind'], (a: Tensor, b: Tensor) => Tensor> = {
  square: matmul,
  linear: (x, w) => linear(x, w),
  dx: matmul,
  dw: (g, x) => matmul(transpose(g, 0, 1), x),
};

const task = readTask() as GemmTask;
const generator = new Generator(1);
const random = (...shape: number[]): Tensor => scope(() => randn(shape, { generator }).to(task.dtype));
const results: Record<string, Measurement> = {};
for (const c of task.cases) {
  scope(() => {
    const { kind, m, n, k } = c;
    setPackedWeightsLimit(c.kept === true ? Infinity : 0);
    const a = kind === 'dw' ? random(k, m) : random(m, k);
    const copies = Array.from({ length: c.copies ?? 1 }, () =>
      kind === 'linear' ? random(n, k) : random(k, n),
    );
    const product = (b: Tensor): Tensor => noGrad(() => multiply[kind](a, b));
    results[c.name] = {
      seconds: secondsPerCall(
        copies.map((b) => () => scope(() => void product(b))),
        task.samples,
      ),
      flops: 2 * m * n * k,
      memoryBytes: m === 1 ? copies[0].data.BYTES_PER_ELEMENT * n * k : undefined,
      error: errorOf(c, a, copies[0], product(copies[0])), // reads B's memory, which ends what is kept of it: last
    };
  });
}
report(results);

function errorOf({ kind, m, n, k }: GemmCase, a: Tensor, b: Tensor, c: Tensor): number {
  const number = task.dtype === 'float32' ? (x: number): number => x : decodeHalf(task.dtype);
  const [x, y, z] = [a.data, b.data, c.data];
  const got: number[] = [];
  const expected: number[] = [];
  const check = (i: number, j: number): void => {
    let sum = 0;
    for (let p = 0; p < k; p++) {
      const left = x[kind === 'dw' ? p * m + i : i * k + p];
      sum += number(left) * number(y[kind === 'linear' ? j * k + p : p * n + j]);
    }
    got.push(number(z[i * n + j]));
    expected.push(sum);
  };
  check(0, 0);
  check(m - 1, n - 1);
  for (let s = 0; s < 254; s++) check(generator.nextInt(m), generator.nextInt(n));
  return relativeError(got, expected);
}
