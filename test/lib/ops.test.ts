/**
 * Runs the table of operations (op-cases.ts): values and gradients, dtypes, layouts, threads, all in memory that is
 * full of NaN around every operand.
 */

import { describe, expect, it } from 'vitest';

import {
  backward,
  full,
  Generator,
  getThreads,
  memory,
  mul,
  nativeInfo,
  rand,
  randn,
  scope,
  setThreads,
  sum,
  to,
  type DType,
  type Tensor,
} from '../../lib/index.js';
import * as kernels from '../../lib/kernels.js';
import { bits, fromNumbers, roundings, uniform } from '../support/compare.js';
import { expectClose } from '../support/golden.js';
import { guardMemory } from '../support/guarded.js';
import { inLayout, layouts, type Layout } from '../support/layouts.js';
import { opCases, type Input, type OpCase } from './op-cases.js';

const floating = ['float64', 'float32', 'float16', 'bfloat16'] as const;

function numbers({ shape, kind, low, high }: Input, seed: number): Float64Array {
  const values = uniform(
    shape.reduce((a, b) => a * b, 1),
    low,
    high,
    seed,
  );
  return kind === 'float' || kind === 'fixed' ? values : values.map(Math.floor);
}

function inputs(row: OpCase, dtype: DType, layout: Layout, grad: boolean): Tensor[] {
  return row.inputs.map((input, i) => {
    const type = input.kind === 'ids' ? 'int32' : input.kind === 'bool' ? 'bool' : dtype;
    const t = inLayout(layout, numbers(input, 100 + i), input.shape, type);
    if (grad && input.kind === 'float') t.requiresGrad = true;
    return t;
  });
}

/** The same numbers in float64, packed. */
const exact = (given: readonly Tensor[]): Tensor[] =>
  given.map((t) => {
    const dtype = t.dtype === 'int32' || t.dtype === 'bool' ? t.dtype : 'float64';
    const copy = fromNumbers(t.toFloat64Array(), t.shape, dtype);
    copy.requiresGrad = t.requiresGrad;
    return copy;
  });

/** Σ y w for fixed weights w: a number that depends on every element of y differently. */
function weigh(y: Tensor): Tensor {
  return sum(mul(y, fromNumbers(uniform(y.size, -1, 1, 7), y.shape, y.dtype)));
}

/** Runs the row and differentiates it; the gradient of every floating input. */
function gradients(row: OpCase, given: readonly Tensor[]): Float64Array[] {
  backward(weigh(row.run(...given)));
  return given.filter((t) => t.requiresGrad).map((t) => t.grad!.toFloat64Array());
}

/** Applies the row's scalar function to every element, broadcasting the inputs by hand. */
function elementwise(
  scalar: (...x: number[]) => number,
  given: readonly Tensor[],
  shape: readonly number[],
): number[] {
  const flat = given.map((t) => t.toFloat64Array());
  return Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, at) =>
    scalar(
      ...given.map((t, k) => {
        let position = 0;
        let step = 1;
        let rest = at;
        for (let d = shape.length - 1; d >= 0; d--) {
          const own = d - (shape.length - t.rank);
          if (own >= 0 && t.shape[own] !== 1) position += (rest % shape[d]) * step;
          if (own >= 0) step *= t.shape[own];
          rest = Math.floor(rest / shape[d]);
        }
        return flat[k][position];
      }),
    ),
  );
}

describe.each(opCases.map((row) => [row.name, row] as const))(`%s (${nativeInfo().isa})`, (_, row) => {
  guardMemory();

  const valueOf = (dtype: (typeof floating)[number]) => roundings(dtype, row.value ?? 4, row.scale);
  const gradientOf = (dtype: (typeof floating)[number]) => roundings(dtype, row.gradient ?? 16, row.scale);

  it('has the right value in every dtype and layout', () => {
    scope(() => {
      for (const dtype of floating) {
        for (const layout of layouts) {
          const given = inputs(row, dtype, layout, false);
          const y = row.run(...given);
          const reference = row.run(...exact(given));
          expect(y.shape).toEqual(reference.shape);
          expectClose(y.toFloat64Array(), reference.toFloat64Array(), valueOf(dtype), `${dtype}, ${layout}`);
          if (row.scalar !== undefined && dtype === 'float64') {
            const expected = elementwise(row.scalar, given, y.shape);
            expectClose(y.toFloat64Array(), expected, { rtol: 1e-14, atol: 1e-14 }, layout);
          }
        }
      }
    });
  });

  if (row.scalar !== undefined && row.inputs.every((i) => i.shape.length > 0)) {
    it('takes empty inputs', () => {
      const empty = row.inputs.map((i) =>
        fromNumbers([], [...i.shape.slice(0, -1), 0], i.kind === 'bool' ? 'bool' : 'float32'),
      );
      expect(row.run(...empty).size).toBe(0);
    });
  }

  if (row.constant) {
    it('has no gradient', () => {
      expect(row.run(...inputs(row, 'float32', 'contiguous', true)).requiresGrad).toBe(false);
    });
  } else {
    it('has the gradient that finite differences give', () => {
      scope(() => {
        const given = inputs(row, 'float64', 'contiguous', true);
        const analytic = gradients(row, given);
        given
          .filter((t) => t.requiresGrad)
          .forEach((t, i) => {
            const places = Array.from({ length: Math.min(t.size, 12) }, (_, k) =>
              Math.floor((k * t.size) / Math.min(t.size, 12)),
            );
            const numeric = places.map((at) => {
              const h = 1e-5;
              const value = t.memory[at];
              const loss = (x: number): number => {
                t.memory[at] = x;
                return scope(() => weigh(row.run(...given)).item());
              };
              const slope = (loss(value + h) - loss(value - h)) / (2 * h);
              t.memory[at] = value;
              return slope;
            });
            expectClose(
              places.map((at) => analytic[i][at]),
              numeric,
              { rtol: 1e-6, atol: 1e-7 * (row.scale ?? 1) },
              `input ${i}`,
            );
          });
      });
    });

    it('has the same gradient in every dtype and layout', () => {
      scope(() => {
        for (const dtype of floating) {
          for (const layout of layouts) {
            const given = inputs(row, dtype, layout, true);
            const expected = gradients(row, exact(given));
            gradients(row, given).forEach((g, i) =>
              expectClose(g, expected[i], gradientOf(dtype), `gradient ${i}, ${dtype}, ${layout}`),
            );
          }
        }
      });
    });
  }

  if (row.inputs.some((input) => input.big !== undefined)) {
    it('gives the same bits on one thread and on two', () => {
      const big = { ...row, inputs: row.inputs.map((i) => ({ ...i, shape: i.big ?? i.shape })) };
      const run = (threads: number): Buffer[] =>
        scope(() => {
          setThreads(threads);
          const given = inputs(big, 'float32', 'contiguous', row.constant === undefined);
          const y = row.run(...given);
          if (row.constant === undefined) backward(weigh(y));
          return [y, ...given.flatMap((t) => t.grad ?? [])].map(bits);
        });
      const threads = getThreads();
      try {
        const [one, two] = [run(1), run(2)];
        expect(one.length).toBe(two.length);
        one.forEach((b, i) => expect(b.equals(two[i])).toBe(true));
      } finally {
        setThreads(threads);
      }
    });
  }
});

describe.each([1, 7, 33, 20_011])(`kernels without a row, on %i numbers (${nativeInfo().isa})`, (n) => {
  guardMemory();

  it('fill', () => {
    expect(full([n], 2.5).toArray()).toEqual(Array(n).fill(2.5));
  });

  it('draw random numbers', () => {
    const uniforms = rand([n], { generator: new Generator(3) }).toFloat64Array();
    expect(uniforms.every((x) => x >= 0 && x < 1)).toBe(true);
    expect(
      randn([n], { generator: new Generator(3) })
        .toFloat64Array()
        .every(Number.isFinite),
    ).toBe(true);
  });

  it('sum squares', () => {
    const x = uniform(n, -1, 1, 5);
    const exactly = x.reduce((total, value) => total + value * value, 0);
    expectClose([kernels.sumSquares(fromNumbers(x, [n], 'float32'))], [exactly], { rtol: 1e-6 });
  });

  it('update by AdamW', () => {
    const [p, g, m] = [1, 2, 3].map((seed) => fromNumbers(uniform(n, -1, 1, seed), [n], 'float32'));
    const v = fromNumbers(uniform(n, 0, 1, 4), [n], 'float32');
    const [p0, g0, m0, v0] = [p, g, m, v].map((t) => t.toFloat64Array());
    const [lr, beta1, beta2, eps, weightDecay] = [0.1, 0.9, 0.99, 1e-8, 0.01];
    const [biasCorrection1, biasCorrection2] = [1 - beta1 ** 3, 1 - beta2 ** 3];
    kernels.adamw(p, g, m, v, { lr, beta1, beta2, eps, weightDecay, biasCorrection1, biasCorrection2, gradScale: 0.5 }); // prettier-ignore
    const m1 = m0.map((x, i) => beta1 * x + (1 - beta1) * 0.5 * g0[i]);
    const v1 = v0.map((x, i) => beta2 * x + (1 - beta2) * (0.5 * g0[i]) ** 2);
    const step = (i: number): number => m1[i] / biasCorrection1 / (Math.sqrt(v1[i] / biasCorrection2) + eps);
    const p1 = p0.map((x, i) => x * (1 - lr * weightDecay) - lr * step(i));
    expectClose(m, m1, roundings('float32', 4));
    expectClose(v, v1, roundings('float32', 4));
    expectClose(p, p1, roundings('float32', 16));
  });
});

describe('conversions', () => {
  const values = [0, -0, 1, -1.5, 2.5, 300.7, -300.7, 65504, 1e-8, Infinity, NaN];

  it.each(['float32', 'float64', 'float16', 'bfloat16'] as const)('from float64 to %s and back', (dtype) => {
    const there = to(fromNumbers(values, [values.length], 'float64'), dtype);
    expect(there.dtype).toBe(dtype);
    const back = to(there, 'float64').toFloat64Array();
    expectClose(back, values, { rtol: 2 ** (dtype === 'bfloat16' ? -8 : -11), atol: 1e-7 });
  });

  it('truncates to integers, and takes everything but zero for true', () => {
    const x = fromNumbers([-1.9, -0.5, 0, 0.5, 2.9], [5], 'float32');
    expect(to(x, 'int32').toArray()).toEqual([-1, 0, 0, 0, 2]);
    expect(to(x, 'bool').toArray()).toEqual([1, 1, 0, 1, 1]);
    expect(to(to(x, 'bool'), 'float32').toArray()).toEqual([1, 1, 0, 1, 1]);
  });

  it('leaves nothing behind', () => {
    const before = memory().liveBytes;
    scope(() => to(fromNumbers(values, [values.length], 'float64'), 'bfloat16').toArray());
    expect(memory().liveBytes).toBeLessThanOrEqual(before);
  });
});
