/** Tolerances by dtype, comparing bits, and making inputs. */

import { tensor, type DType, type Tensor } from '../../lib/index.js';

/** How far numbers may lie apart: |a - b| <= atol + rtol |b|. */
export interface Tolerance {
  readonly rtol: number;
  readonly atol: number;
}

/** Distance to the next number, relative. */
export const epsilon: Record<'float64' | 'float32' | 'float16' | 'bfloat16', number> = {
  float64: 2 ** -52,
  float32: 2 ** -23,
  float16: 2 ** -10,
  bfloat16: 2 ** -7,
};

/** Tolerance of a few roundings in `dtype` on numbers of about `scale`. */
export function roundings(dtype: DType, count: number, scale = 1): Tolerance {
  const rtol = count * epsilon[dtype as keyof typeof epsilon];
  return { rtol, atol: rtol * scale };
}

/** The memory of a tensor's elements in row-major order, for comparing bits. */
export function bits(t: Tensor): Buffer {
  const { data } = t;
  return Buffer.from(Uint8Array.from(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)));
}

/** `count` numbers, uniform in [low, high), always the same for a seed. */
export function uniform(count: number, low: number, high: number, seed: number): Float64Array {
  const values = new Float64Array(count);
  let state = seed;
  for (let i = 0; i < count; i++) {
    // A counter through the finalizer of MurmurHash3: quick, and not the generator under test.
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    values[i] = low + ((high - low) * ((x ^ (x >>> 14)) >>> 0)) / 2 ** 32;
  }
  return values;
}

/** a (m, k) times b (k, n) in float64, and for each element the sum of the products' sizes. */
export function matrixProduct(
  a: Float64Array,
  b: Float64Array,
  m: number,
  k: number,
  n: number,
): { product: Float64Array; size: Float64Array } {
  const product = new Float64Array(m * n);
  const size = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let s = 0; s < k; s++) {
      const x = a[i * k + s];
      for (let j = 0; j < n; j++) {
        const term = x * b[s * n + j];
        product[i * n + j] += term;
        size[i * n + j] += Math.abs(term);
      }
    }
  }
  return { product, size };
}

/** A tensor of the given numbers. */
export function fromNumbers(values: ArrayLike<number>, shape: readonly number[], dtype: DType): Tensor {
  return tensor(Float64Array.from(values), { shape, dtype });
}
