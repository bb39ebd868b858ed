/**
 * Matrix products large enough for the ways that small ones never take: packed blocks of every kernel, and AMX, where float32
 * and float16 are multiplied as bfloat16 pieces. Against the product of the same numbers in float64.
 */

import { afterEach, describe, expect, it } from 'vitest';

import { linear, matmul, nativeInfo, noGrad, setThreads, type DType, type Tensor } from '../../lib/index.js';
import { bits, fromNumbers, matrixProduct, uniform } from '../support/compare.js';
import { inLayout } from '../support/layouts.js';

afterEach(() => setThreads(nativeInfo().threads));

/** The numbers that a tensor of this type holds. */
const held = (values: Float64Array, dtype: DType): Float64Array =>
  fromNumbers(values, [values.length], dtype).toFloat64Array();

/** The greatest error, in units of 2^-24 of the sum of the products' sizes. */
function worstError(c: Tensor, { product, size }: ReturnType<typeof matrixProduct>): number {
  const got = c.toFloat64Array();
  return got.reduce((worst, v, i) => {
    const error = (Math.abs(v - product[i]) / size[i]) * 2 ** 24;
    return error <= worst ? worst : error; // NaN counts
  }, 0);
}

/**
 * Rows, k and columns: tails in every dimension, one and several parts of k, more rows than a task takes at once; rows whole
 * pages apart, of which the kernel reads fewer at once; more rows than panels are packed together, and twice the columns.
 */
const shapes = [
  [65, 1601, 97],
  [161, 129, 419],
  [97, 2500, 40],
  [300, 257, 131],
  [33, 1024, 70],
  [40, 2048, 35],
  [450, 530, 70],
] as const;
const layouts = ['contiguous', 'transposed', 'sliced'] as const;
const pairs = layouts.flatMap((a) => layouts.map((b) => [a, b] as const));

describe.each(shapes)('%i x %i x %i', (m, k, n) => {
  // Both signs, and sizes over 2^12: no piece of a number is always the same.
  const scaled = (count: number, seed: number): Float64Array => {
    const [value, exponent] = [uniform(count, -1, 1, seed), uniform(count, -8, 4, seed + 1)];
    return value.map((x, i) => x * 2 ** exponent[i]);
  };
  const numbers = { a: scaled(m * k, 1), b: scaled(k * n, 3) };

  const operands = (typeA: DType, typeB: DType) => {
    const [a, b] = [held(numbers.a, typeA), held(numbers.b, typeB)];
    return { a, b, ...matrixProduct(a, b, m, k, n) };
  };

  describe('float32', () => {
    const { a, b, ...expected } = operands('float32', 'float32');

    it.each(pairs)('%s times %s', (layoutA, layoutB) => {
      const c = matmul(inLayout(layoutA, a, [m, k], 'float32'), inLayout(layoutB, b, [k, n], 'float32'));
      expect(worstError(c, expected)).toBeLessThan(16);
    });

    it.each(layouts)('%s, gives the same bits with any number of threads', (layout) => {
      const run = (threads: number): Buffer => {
        setThreads(threads);
        return bits(matmul(inLayout(layout, a, [m, k], 'float32'), fromNumbers(b, [k, n], 'float32')));
      };
      const one = run(1);
      for (const threads of [2, 3, 5]) expect(run(threads)).toEqual(one);
    });

    it('adds a bias, and adds to a gradient that is there', () => {
      const [x, w] = [fromNumbers(a, [m, k], 'float32'), fromNumbers(b, [k, n], 'float32')];
      const bias = fromNumbers(uniform(n, -1, 1, 5), [n], 'float32');
      const added = bias.toFloat64Array();
      const product = expected.product.map((v, i) => v + added[i % n]);
      expect(worstError(linear(x, w, bias, { transposed: true }), { ...expected, product })).toBeLessThan(16);

      w.requiresGrad = true;
      const dy = fromNumbers(uniform(m * n, -1, 1, 6), [m, n], 'float32');
      const turned = Float64Array.from(a, (_, i) => a[(i % m) * k + Math.floor(i / m)]);
      const once = matrixProduct(turned, dy.toFloat64Array(), k, m, n);
      for (const times of [1, 2]) {
        linear(x, w, null, { transposed: true }).mul(dy).sum().backward();
        const grads = { product: once.product.map((v) => v * times), size: once.size.map((v) => v * times) };
        expect(worstError(w.grad!, grads)).toBeLessThan(16);
      }
    });
  });

  it('float64, twice the error, since what it is held against is summed in float64, too', () => {
    const expected = matrixProduct(numbers.a, numbers.b, m, k, n);
    for (const [layoutA, layoutB] of pairs) {
      const [x, w] = [
        inLayout(layoutA, numbers.a, [m, k], 'float64'),
        inLayout(layoutB, numbers.b, [k, n], 'float64'),
      ];
      expect(worstError(matmul(x, w), expected), `${layoutA} times ${layoutB}`).toBeLessThan(32 * 2 ** -29);
    }
  });

  // The result is rounded to 8 or 11 bits, half a unit of the last, or stays float32 beside a float32 operand.
  it.each([
    ['bfloat16', 'bfloat16', 2 ** 16],
    ['float16', 'float16', 2 ** 13],
    ['float32', 'bfloat16', 16],
    ['float32', 'float16', 16],
  ] as const)('%s times %s', (typeA, typeB, most) => {
    const { a, b, ...expected } = operands(typeA, typeB);
    for (const [layoutA, layoutB] of pairs) {
      const [x, w] = [inLayout(layoutA, a, [m, k], typeA), inLayout(layoutB, b, [k, n], typeB)];
      const c = noGrad(() => linear(x, w, null, { transposed: true }));
      expect(worstError(c, expected), `${layoutA} times ${layoutB}`).toBeLessThanOrEqual(most + 16);
    }
  });

  it('of a batch', () => {
    const a = fromNumbers(numbers.a, [1, m, k], 'float32');
    const both = fromNumbers([...numbers.b, ...numbers.b.map((x) => -x)], [2, k, n], 'float32');
    const c = matmul(a, both).toFloat64Array();
    const one = matmul(fromNumbers(numbers.a, [m, k], 'float32'), fromNumbers(numbers.b, [k, n], 'float32'));
    const expected = one.toFloat64Array();
    expect(c.every((v, i) => v === (i < m * n ? expected[i] : -expected[i - m * n]))).toBe(true);
  });
});

it('a tall matrix that is packed, times more columns than a task takes', () => {
  const [m, k, n] = [2300, 3, 1100];
  const [a, b] = [uniform(m * k, -1, 1, 1), uniform(k * n, -1, 1, 2)].map((x) => held(x, 'float32'));
  const c = matmul(inLayout('transposed', a, [m, k], 'float32'), fromNumbers(b, [k, n], 'float32'));
  expect(worstError(c, matrixProduct(a, b, m, k, n))).toBeLessThan(16);
});

describe('numbers at the ends of float32', () => {
  const [m, k, n] = [130, 520, 140];
  const product = (a: Float64Array, b: Float64Array): Float64Array =>
    matmul(fromNumbers(a, [m, k], 'float32'), fromNumbers(b, [k, n], 'float32')).toFloat64Array();
  const ones = (count: number): Float64Array => new Float64Array(count).fill(1);

  it.each([
    ['float32', 'float32'],
    ['float16', 'float16'],
    ['bfloat16', 'bfloat16'],
    ['float32', 'float16'],
  ] as const)('infinities and NaN go where they belong and nowhere else, %s times %s', (typeA, typeB) => {
    const [a, b] = [ones(m * k), ones(k * n)];
    a[3 * k + 7] = Infinity; // row 3: infinite
    a[40 * k + 500] = NaN; // row 40: NaN
    b[9 * n + 50] = -Infinity; // column 50: -infinite, NaN where it meets row 3
    b[11 * n + 60] = 0;
    a[77 * k + 11] = Infinity; // row 77: infinite, NaN in column 60
    const [x, w] = [fromNumbers(a, [m, k], typeA), fromNumbers(b, [k, n], typeB)];
    const c = noGrad(() => linear(x, w, null, { transposed: true })).toFloat64Array();
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        const infinite = i === 3 || i === 77;
        const nan = i === 40 || (infinite && j === 50) || (i === 77 && j === 60);
        const finite = j === 60 && typeB !== 'bfloat16' ? k - 1 : k; // bfloat16 has no 519
        const expected = nan ? NaN : infinite ? Infinity : j === 50 ? -Infinity : finite;
        expect(c[i * n + j], `row ${i}, column ${j}`).toBe(expected);
      }
    }
  });

  it('the greatest numbers stay finite where their products do', () => {
    const greatest = 2 ** 128 - 2 ** 104;
    const a = ones(m * k).map((_, i) => (i % k === 5 ? greatest : 0));
    const b = ones(k * n).map((_, i) => (i < 5 * n + n && i >= 5 * n ? 1 - 2 ** -24 : 0));
    const least = greatest * (1 - 2 ** -22);
    expect(product(a, b).every((v) => v >= least && v <= greatest)).toBe(true);
  });

  it('small numbers keep their precision down to 2^-102', () => {
    const [a, b] = [uniform(m * k, 1, 2, 1).map((x) => x * 2 ** -102), uniform(k * n, 1, 2, 2)];
    const [x, y] = [held(a, 'float32'), held(b, 'float32')];
    const c = matmul(fromNumbers(a, [m, k], 'float32'), fromNumbers(b, [k, n], 'float32'));
    expect(worstError(c, matrixProduct(x, y, m, k, n))).toBeLessThan(32);
  });
});
