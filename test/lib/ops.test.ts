/**
 * Runs the table of operations (op-cases.ts): values and gradients, dtypes, layouts, threads, all in memory that is
 * full of NaN around every operand.
 */

import { describe, expect, it } from 'vitest';

import {
  backward,
  crossEntropy,
  full,
  Generator,
  getThreads,
  memory,
  mul,
  nativeInfo,
  scaledDotProductAttention,
  rand,
  randn,
  scope,
  setThreads,
  sum,
  tensor,
  to,
  type CrossEntropyOptions,
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
    const given = fromNumbers(x, [n], 'float32');
    expectClose([kernels.sumSquares([given, given])], [2 * exactly], { rtol: 1e-6 });
  });

  it('update by AdamW', () => {
    const [p, g, m] = [1, 2, 3].map((seed) => fromNumbers(uniform(n, -1, 1, seed), [n], 'float32'));
    const v = fromNumbers(uniform(n, 0, 1, 4), [n], 'float32');
    const [p0, g0, m0, v0] = [p, g, m, v].map((t) => t.toFloat64Array());
    const [lr, beta1, beta2, eps, weightDecay] = [0.1, 0.9, 0.99, 1e-8, 0.01];
    const [biasCorrection1, biasCorrection2] = [1 - beta1 ** 3, 1 - beta2 ** 3];
    const own = { lr, weightDecay, correction1: biasCorrection1, correction2: biasCorrection2 };
    kernels.optimizerStep([{ parameter: p, grad: g, states: [m, v], ...own }], {
      ...{ rule: 'adam', beta1, beta2, eps, gradScale: 0.5, decoupled: true },
    });
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

describe('crossEntropy at its limits, as PyTorch has it', () => {
  const target = (...ids: number[]): Tensor => tensor(ids, { dtype: 'int32' });
  const paths = (['float32', 'float64'] as const).flatMap((dtype) =>
    [null, tensor([1, 2, 3], { dtype: 'float64' })].map((weight) => ({ dtype, weight })),
  );
  const run = (rows: number[][], targets: Tensor, options: CrossEntropyOptions, dtype: DType = 'float32') => {
    const logits = tensor(rows, { dtype, requiresGrad: true });
    const loss = crossEntropy(logits, targets, options);
    expect(loss.dtype).toBe(dtype);
    loss.backward();
    return { loss: loss.item(), gradient: Array.from(logits.grad!.toFloat64Array()) };
  };
  const near = (values: number[]): number[] => values.map((v) => expect.closeTo(v, 6) as number);

  it.each(paths)(
    'with logits of -Infinity, and ignored rows: $dtype, weight $weight',
    ({ dtype, weight }) => {
      const one = run([[1, 2, -Infinity]], target(0), { weight }, dtype);
      expect(one.loss).toBeCloseTo(1.31326169, 6);
      expect(one.gradient).toEqual(near([-0.7310586, 0.7310586, 0]));
      const two = run([[-Infinity, 2, 1], [0, 1, 2]], target(-100, 1), { weight }, dtype); // prettier-ignore
      expect(two.loss).toBeCloseTo(1.40760596, 6);
      expect(two.gradient).toEqual(near([0, 0, 0, 0.09003057, -0.75527153, 0.66524096]));
      const none = run([[0, 2, 1]], target(-100), { weight }, dtype);
      expect(none.loss).toBeNaN();
      expect(none.gradient.map(Math.abs)).toEqual([0, 0, 0]);
    },
  );

  it('with large logits', () => {
    const rows = [[1e6, 1e6 + 1, 1e6 - 1]];
    expect(run(rows, target(0), {}).gradient).toEqual(near([-0.7552715, 0.665241, 0.0900306]));
    expect(run(rows, target(0), { labelSmoothing: 0.1 }).gradient).toEqual(
      near([-0.6886048, 0.6319076, 0.0566972]),
    );
  });
});

describe('attention at its limits', () => {
  const least = { float32: -3.4028234663852886e38, float64: -Number.MAX_VALUE };
  const shaped = (values: ArrayLike<number>, rows: number, dtype: DType): Tensor => {
    const x = fromNumbers(values, [1, 1, rows, values.length / rows], dtype);
    x.requiresGrad = true;
    return x;
  };
  const grad = (x: Tensor): number[] => Array.from(x.grad!.toFloat64Array());

  it.each(['float32', 'float64'] as const)('tells a finite mask from none: %s', (dtype) => {
    const v = shaped([1, 2, 3, 4, 5, 6, 7, 9], 2, dtype);
    const q = shaped([0, 1, 2, 3, 4, 5, 6, 7].map((i) => i / 8), 2, dtype); // prettier-ignore
    const k = shaped([0, 1, 2, 3, 4, 5, 6, 7].map((i) => i / 4 - 1), 2, dtype); // prettier-ignore
    const away = least[dtype];
    const all = fromNumbers([away, away, away, away], [2, 2], dtype);
    const y = scaledDotProductAttention(q, k, v, { mask: all });
    expect(Array.from(y.toFloat64Array())).toEqual([3, 4, 5, 6.5, 3, 4, 5, 6.5]);
    backward(sum(mul(y, fromNumbers([0, 1, 2, 3, 4, 5, 6, 7], y.shape, dtype))));
    // of PyTorch's plain form; its fused one computes weights of 1 in the backward pass
    const near = { rtol: 1e-6, atol: 1e-6 };
    expectClose(grad(v), [2, 3, 4, 5, 2, 3, 4, 5], near, 'dv');
    expectClose(grad(q), [3.375, 3.375, 3.375, 3.375, 11.875, 11.875, 11.875, 11.875], near, 'dq');
    const dk = [5.9375, 7.84375, 9.75, 11.65625];
    expectClose(grad(k), [...dk.map((x) => -x), ...dk], near, 'dk');
    const one = scaledDotProductAttention(q.slice(2, 0, 1), k, v, { mask: all.slice(0, 0, 1) });
    expect(Array.from(one.toFloat64Array())).toEqual([3, 4, 5, 6.5]);
    for (const rest of [away, away / 2, -Infinity]) {
      const other = fromNumbers([0, rest, rest, -5], [2, 2], dtype);
      const picked = scaledDotProductAttention(q, k, v, { mask: other });
      expect(Array.from(picked.toFloat64Array())).toEqual([1, 2, 3, 4, 5, 6, 7, 9]);
    }
  });

  it('has weights that add up to one for large scores, backward too', () => {
    const q = shaped([1000, 1000, 1000, 1000], 2, 'float32');
    const [k, v] = [shaped([1000, 1000, 1000, 1000.001], 2, 'float32'), shaped([1, 2, 3, 4], 2, 'float32')];
    backward(sum(scaledDotProductAttention(q, k, v, { scale: 1 })));
    const [a, b, c, d] = grad(v);
    expect([a + c, b + d]).toEqual([expect.closeTo(2, 5), expect.closeTo(2, 5)]); // of two queries
  });

  it.each(['float32', 'float64'] as const)(
    'gives zeros where no key is seen, whatever V holds: %s',
    (dtype) => {
      const [queries, keys] = [16, 2];
      const ones = (rows: number): Tensor => shaped(new Float64Array(rows * 4).fill(1), rows, dtype);
      const v = shaped(new Float64Array(keys * 4).fill(NaN), keys, dtype);
      const y = scaledDotProductAttention(ones(queries), ones(keys), v, { causal: true });
      const blind = queries - keys;
      expect(Array.from(y.slice(2, 0, blind).toFloat64Array())).toEqual(Array(4 * blind).fill(0));
      expect(y.slice(2, blind).isNaN().sum().item()).toBe(4 * keys);
    },
  );
});
