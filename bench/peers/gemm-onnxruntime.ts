/** Matrix products in ONNX Runtime through the npm package onnxruntime-node; the counterpart of bench/ops/gemm.ts. */

import { pathToFileURL } from 'node:url';

import { Generator, randn, scope } from '../../lib/index.js';
import { printReport, readTask, relativeError, secondsPerAsyncCall, type Measurement } from '../measure.js';
import type { GemmCase, GemmTask } from '../ops/gemm.js';
import { productModel, type Product } from './onnx.js';

/** The package's interface, as far as it is used here. */
interface OnnxRuntime {
  readonly env: { readonly versions: { readonly node?: string; readonly common: string } };
  readonly InferenceSession: {
    create(model: Uint8Array, options: object): Promise<Session>;
  };
  readonly Tensor: new (type: 'float32', data: Float32Array, shape: readonly number[]) => OnnxTensor;
}
interface OnnxTensor {
  readonly data: Float32Array;
}
interface Session {
  run(feeds: Record<string, OnnxTensor>, fetches: Record<string, OnnxTensor>): Promise<unknown>;
  release(): Promise<void>;
}

const task = readTask() as GemmTask & { module: string; threads: number };
const imported = (await import(pathToFileURL(task.module).href)) as { default: OnnxRuntime };
const { env, InferenceSession, Tensor } = imported.default;
const generator = new Generator(1);
const random = (size: number): Float32Array =>
  scope(() => Float32Array.from(randn([size], { generator }).data as Float32Array));

const results: Record<string, Measurement> = {};
for (const c of task.cases) results[c.name] = await measure(c);
printReport({ results, version: `onnxruntime-node ${env.versions.node ?? env.versions.common}` });

async function measure({ kind, m, n, k, copies = 1 }: GemmCase): Promise<Measurement> {
  const product: Product = {
    a: kind === 'dw' ? [k, m] : [m, k],
    b: kind === 'linear' ? [n, k] : [k, n],
    y: [m, n],
    transposeA: kind === 'dw',
    transposeB: kind === 'linear',
  };
  // The weight is an input: as the other contenders, it cannot pack it once and for all.
  const session = await InferenceSession.create(productModel(product), {
    intraOpNumThreads: task.threads,
    interOpNumThreads: 1,
  });
  const [a, y] = [random(m * k), new Float32Array(m * n)];
  const weights = Array.from({ length: copies }, () => random(n * k));
  const [A, Y] = [new Tensor('float32', a, product.a), new Tensor('float32', y, product.y)];
  const calls = weights.map((weight) => {
    const B = new Tensor('float32', weight, product.b);
    return () => session.run({ A, B }, { Y });
  });
  await calls[0]();
  const error = errorOf(product, k, a, weights[0], y);
  const seconds = await secondsPerAsyncCall(calls, task.samples);
  await session.release();
  return { seconds, error };
}

/** The first and last rows against float64, at up to 256 columns each. */
function errorOf(
  { y: [m, n], transposeA, transposeB }: Product,
  k: number,
  a: Float32Array,
  b: Float32Array,
  y: Float32Array,
): number {
  const got: number[] = [];
  const expected: number[] = [];
  for (const i of [0, m - 1]) {
    for (let j = 0; j < n; j += Math.ceil(n / 256)) {
      let sum = 0;
      for (let p = 0; p < k; p++) {
        sum += a[transposeA ? p * m + i : i * k + p] * b[transposeB ? j * k + p : p * n + j];
      }
      got.push(y[i * n + j]);
      expected.push(sum);
    }
  }
  return relativeError(got, expected);
}
