/**
 * Products of bfloat16 matrices, and of float32 ones under setFloat32MatmulPrecision('medium'), by every way that a
 * processor may have: AMX tiles, its dot product instruction and conversion to float32.
 */

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { afterEach, describe, expect, it } from 'vitest';

import {
  getFloat32MatmulPrecision,
  linear,
  matmul,
  nativeInfo,
  noGrad,
  setFloat32MatmulPrecision,
  setThreads,
  to,
  transpose,
  type Tensor,
} from '../../lib/index.js';
import { bits, fromNumbers, matrixProduct, roundings, uniform } from '../support/compare.js';
import { expectClose } from '../support/golden.js';
import { inLayout } from '../support/layouts.js';

afterEach(() => setFloat32MatmulPrecision('highest'));

const rounded = (values: Float64Array): Float64Array =>
  to(fromNumbers(values, [values.length], 'float32'), 'bfloat16').toFloat64Array();

/** Odd sizes, tails in every dimension, k beyond a block, rows beyond the streamed ones. */
const shapes: readonly (readonly [m: number, k: number, n: number])[] = [
  [17, 1, 3],
  [17, 2, 33],
  [29, 31, 65],
  [43, 64, 40],
  [18, 801, 50],
  [65, 1601, 34],
];

describe.each(shapes)('a product of %i x %i x %i', (m, k, n) => {
  const a = rounded(uniform(m * k, -1, 1, 1));
  const b = rounded(uniform(k * n, -1, 1, 2));
  const { product, size } = matrixProduct(a, b, m, k, n);

  // All inputs are bfloat16 numbers, so nothing is lost but float32's rounding of the sums.
  const check = (c: Tensor): void => {
    const got = c.toFloat64Array();
    const worst = got.reduce((most, v, i) => Math.max(most, Math.abs(v - product[i]) / size[i]), 0);
    expect(worst).toBeLessThan((2 + Math.log2(k)) * 2 ** -23);
  };

  it.each(['contiguous', 'transposed', 'sliced'] as const)('of float32 at medium precision, %s', (layout) => {
    setFloat32MatmulPrecision('medium');
    check(matmul(inLayout(layout, a, [m, k], 'float32'), inLayout(layout, b, [k, n], 'float32')));
  });

  it.each(['contiguous', 'transposed', 'sliced'] as const)('of bfloat16, %s', (layout) => {
    const [x, y] = [inLayout(layout, a, [m, k], 'bfloat16'), inLayout(layout, b, [k, n], 'bfloat16')];
    const got = matmul(x, y).toFloat64Array();
    const worst = got.reduce((most, v, i) => Math.max(most, Math.abs(v - product[i]) / size[i]), 0);
    expect(worst).toBeLessThan(2 ** -8);
  });

  it('gives the same bits with any number of threads', () => {
    setFloat32MatmulPrecision('medium');
    const run = (threads: number): Buffer => {
      setThreads(threads);
      return bits(matmul(fromNumbers(a, [m, k], 'float32'), fromNumbers(b, [k, n], 'float32')));
    };
    expect(run(1)).toEqual(run(3));
    setThreads(2);
  });
});

describe.each(['float16', 'bfloat16'] as const)('a float32 input and a %s weight', (dtype) => {
  const widened = (t: Tensor): Tensor => to(t, 'float32');

  // One row and a few are streamed, more are packed; both layouts of the weight.
  it.each([1, 5, 40].flatMap((rows) => [true, false].map((transposed) => [rows, transposed] as const)))(
    '%i rows, transposed %s: value and gradients as with the weight widened',
    (rows, transposed) => {
      const shape = transposed ? [37, 50] : [50, 37];
      const run = (widen: boolean): Tensor[] => {
        const x = fromNumbers(uniform(rows * 37, -1, 1, 5), [rows, 37], 'float32');
        const bias = fromNumbers(uniform(50, -1, 1, 6), [50], dtype);
        const weight = fromNumbers(uniform(37 * 50, -1, 1, 7), shape, dtype);
        const [w, b] = noGrad(() => (widen ? [widened(weight), widened(bias)] : [weight, bias]));
        for (const t of [x, w, b]) t.requiresGrad = true;
        const y = linear(x, w, b, { transposed });
        y.mul(fromNumbers(uniform(rows * 50, -1, 1, 8), [rows, 50], 'float32'))
          .sum()
          .backward();
        expect(w.grad!.dtype).toBe(w.dtype);
        return [y, x.grad!, w.grad!, b.grad!];
      };
      const [got, expected] = [run(false), run(true)];
      expect(got[0].dtype).toBe('float32');
      for (const i of [0, 1]) expectClose(got[i], expected[i].toFloat64Array(), { rtol: 1e-5, atol: 1e-5 });
      for (const i of [2, 3]) {
        expectClose(got[i], to(expected[i], dtype).toFloat64Array(), roundings(dtype, 1, 1e-3));
      }
    },
  );
});

describe('setFloat32MatmulPrecision', () => {
  it('says what it is set to and refuses other words', () => {
    expect(getFloat32MatmulPrecision()).toBe('highest');
    setFloat32MatmulPrecision('medium');
    expect(getFloat32MatmulPrecision()).toBe('medium');
    expect(() => setFloat32MatmulPrecision('high' as 'medium')).toThrow(
      "setFloat32MatmulPrecision: must be 'highest' or 'medium', got 'high'",
    );
  });

  it('rounds only where the processor is faster for it, forward and backward', () => {
    const values = uniform(80 * 64, 0.5, 1, 3);
    const gradient = (): [Tensor, Tensor] => {
      const x = fromNumbers(values, [80, 64], 'float32');
      const w = fromNumbers(uniform(96 * 64, 0.5, 1, 4), [96, 64], 'float32');
      w.requiresGrad = true;
      const y = linear(x, w);
      y.sum().backward();
      return [noGrad(() => transpose(y, 0, 1)), w.grad!];
    };
    const exact = gradient();
    setFloat32MatmulPrecision('medium');
    const medium = gradient();
    exact.forEach((t, i) => {
      const [e, got] = [t.toFloat64Array(), medium[i].toFloat64Array()];
      const worst = e.reduce((most, v, at) => Math.max(most, Math.abs(got[at] / v - 1)), 0);
      expect(worst).toBeLessThan(2 ** -8);
      expect(worst > 2 ** -20).toBe(nativeInfo().bf16Dot || nativeInfo().isa === 'amx');
    });
  });
});

const { isa, bf16Dot } = nativeInfo();
it.skipIf(process.env.TSGPT_BF16 !== undefined || !(bf16Dot || isa === 'amx')).each(['dot', 'convert'])(
  'passes with TSGPT_BF16=%s',
  async (way) => {
    const vitest = fileURLToPath(new URL('vitest.mjs', import.meta.resolve('vitest/package.json')));
    const args = [vitest, 'run', fileURLToPath(import.meta.url), '--reporter=dot'];
    const env = { ...process.env, TSGPT_ISA: 'avx512', TSGPT_BF16: way, NO_COLOR: '1' };
    const { stdout } = await promisify(execFile)(process.execPath, args, { env });
    expect(stdout).toMatch(/Tests\s+\d+ passed/);
  },
);
