/**
 * Attention of bfloat16 at sizes that take several tiles of queries and keys, with tails in every dimension. The reference is
 * the plain form in float64, of the same bfloat16 numbers.
 */

import { afterEach, describe, expect, it } from 'vitest';

import {
  Generator,
  nativeInfo,
  scaledDotProductAttention,
  setFloat32MatmulPrecision,
  setThreads,
  to,
  type AttentionOptions,
  type Tensor,
} from '../../lib/index.js';
import { bits, fromNumbers, uniform } from '../support/compare.js';
import { expectClose } from '../support/golden.js';

const { isa, threads } = nativeInfo();
afterEach(() => {
  setThreads(threads);
  setFloat32MatmulPrecision('highest');
});

interface Case {
  readonly q: readonly [B: number, H: number, T: number, D: number];
  readonly kv: readonly [B: number, H: number, S: number, D: number];
  readonly options?: () => AttentionOptions;
}

const bias = (shape: readonly number[], hidden = false): Tensor => {
  const values = uniform(
    shape.reduce((a, b) => a * b),
    -2,
    2,
    9,
  );
  return fromNumbers(hidden ? values.map((v, i) => (i % 5 === 0 ? -Infinity : v)) : values, shape, 'float32');
};

const cases: Record<string, Case> = {
  'several tiles': { q: [1, 2, 129, 64], kv: [1, 2, 129, 64] },
  causal: { q: [2, 2, 150, 64], kv: [2, 2, 150, 64], options: () => ({ causal: true }) },
  'heads of 80, grouped, more keys than queries, causal': {
    q: [1, 4, 65, 80],
    kv: [1, 2, 201, 80],
    options: () => ({ causal: true }),
  },
  'heads of 256, window': {
    q: [1, 1, 97, 256],
    kv: [1, 1, 97, 256],
    options: () => ({ causal: true, window: 40, scale: 0.05 }),
  },
  'heads of 7': { q: [1, 3, 70, 7], kv: [1, 3, 66, 7] },
  'a mask that hides keys': {
    q: [2, 1, 66, 32],
    kv: [2, 1, 130, 32],
    options: () => ({ mask: bias([2, 1, 1, 130], true) }),
  },
  'a bias of distances': {
    q: [1, 2, 100, 48],
    kv: [1, 2, 140, 48],
    options: () => ({ relativeBias: bias([2, 239]) }),
  },
  dropout: {
    q: [1, 2, 90, 64],
    kv: [1, 2, 90, 64],
    options: () => ({ dropout: 0.3, generator: new Generator(3) }),
  },
  'few queries, many keys': { q: [1, 1, 3, 64], kv: [1, 1, 2100, 64] },
  'one query': { q: [2, 2, 1, 64], kv: [2, 2, 300, 64] },
  'one query, grouped': { q: [1, 6, 1, 64], kv: [1, 2, 300, 64] },
};

describe.each(Object.entries(cases))('attention of bfloat16, %s', (_, { q, kv, options = () => ({}) }) => {
  const run = (dtype: 'bfloat16' | 'float32' | 'float64'): Tensor[] => {
    const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b);
    const input = (shape: readonly number[], seed: number): Tensor => {
      const x = to(to(fromNumbers(uniform(size(shape), -2, 2, seed), shape, 'float32'), 'bfloat16'), dtype);
      x.requiresGrad = true;
      return x;
    };
    const [x, k, v] = [input(q, 1), input(kv, 2), input(kv, 3)];
    const y = scaledDotProductAttention(x, k, v, options());
    const dy = to(to(fromNumbers(uniform(y.size, -1, 1, 4), y.shape, 'float32'), 'bfloat16'), dtype);
    y.backward(dy);
    return [y, x.grad!, k.grad!, v.grad!];
  };

  it('has the values and gradients of the plain form in float64', () => {
    const [got, expected] = [run('bfloat16'), run('float64')];
    for (const i of got.keys()) {
      const reference = expected[i].toFloat64Array();
      const most = reference.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      // Results are rounded to 8 bits; so are weights and their gradients, of which they are sums.
      expectClose(got[i], reference, { rtol: 2 ** -8, atol: most * 2 ** -8 }, `result ${i}`);
    }
  });

  it('multiplies float32 numbers likewise where they may be rounded', () => {
    const [half] = run('bfloat16');
    const exact = run('float64');
    setFloat32MatmulPrecision('medium');
    const got = run('float32');
    const rounds = q[2] > 8;
    if (rounds) expect(bits(to(got[0], 'bfloat16'))).toEqual(bits(half));
    for (const i of got.keys()) {
      const reference = exact[i].toFloat64Array();
      const most = reference.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      expectClose(got[i], reference, { rtol: 0, atol: most * 2 ** -8 }, `result ${i}`);
      const error = reference.reduce((a, b, at) => Math.max(a, Math.abs(b - got[i].data[at])), 0);
      expect(error > most * 2 ** -18, `result ${i} is rounded`).toBe(isa === 'amx' && rounds);
    }
  });

  it('gives the same bits with any number of threads', () => {
    const at = (count: number): Buffer[] => {
      setThreads(count);
      return run('bfloat16').map(bits);
    };
    const one = at(1);
    expect(at(2)).toEqual(one);
    expect(at(3)).toEqual(one);
  });
});
