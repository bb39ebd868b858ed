/**
 * linear with an activation and a residual: every kernel that multiplies must give, bit by bit, what the operations give one
 * after the other.
 */

import { afterEach, describe, expect, it } from 'vitest';

import {
  activate,
  type ActivationName,
  add,
  autocast,
  backward,
  type DType,
  linear,
  type LinearOptions,
  noGrad,
  setFloat32MatmulPrecision,
  type Tensor,
  zeros,
} from '../../lib/index.js';
import { watchResults } from '../../lib/op.js';
import { bits, fromNumbers, uniform } from '../support/compare.js';

afterEach(() => setFloat32MatmulPrecision('highest'));

const random = (shape: readonly number[], seed: number, dtype: DType = 'float32'): Tensor => {
  const size = shape.reduce((a, b) => a * b, 1);
  return fromNumbers(uniform(size, -1.5, 1.5, seed), shape, dtype);
};

/** Rows, inputs and outputs: tiny, few rows, packed, several panels of the tiles, several parts of k, none at all. */
const shapes = [
  [3, 5, 7],
  [1, 300, 530],
  [4, 129, 65],
  [16, 64, 97],
  [70, 96, 130],
  [131, 1100, 77],
  [2, 0, 9],
] as const;
const types = [
  ['float32', 'float32'],
  ['float32', 'bfloat16'],
  ['float32', 'float16'],
  ['bfloat16', 'bfloat16'],
  ['float16', 'float16'],
  ['float64', 'float64'],
] as const;

describe.each(types)('%s times %s', (type, weightType) => {
  it.each(shapes)('%i x %i x %i', (m, k, n) => {
    const x = random([m, k], 1, type);
    const bias = random([n], 3);
    const residual = random([m, n], 4, type);
    for (const precision of ['highest', 'medium'] as const) {
      setFloat32MatmulPrecision(precision);
      for (const transposed of [false, true]) {
        const weight = random(transposed ? [k, n] : [n, k], 2, weightType);
        const plain = linear(x, weight, bias, { transposed });
        for (const activation of ['gelu', 'geluTanh', 'relu', 'silu', null] as const) {
          const active = activation === null ? plain : activate(plain, activation);
          const got = linear(x, weight, bias, { transposed, activation });
          expect(bits(got), `${activation}`).toEqual(bits(active));
          const both = linear(x, weight, bias, { transposed, activation, residual });
          expect(bits(both), `${activation}, residual`).toEqual(bits(add(residual, active)));
        }
      }
    }
  });
});

it('takes a batch, and a residual that lies otherwise in memory', () => {
  const [x, weight] = [random([2, 3, 8], 1), random([5, 8], 2)];
  const residual = random([5, 3, 2], 3).transpose(0, 2).transpose(1, 2).transpose(1, 2); // (2, 3, 5)
  const got = linear(x, weight, null, { residual });
  expect(got.shape).toEqual([2, 3, 5]);
  expect(bits(got)).toEqual(bits(add(residual, linear(x, weight))));
});

describe('gradients', () => {
  const run = (make: (x: Tensor, w: Tensor, b: Tensor, r: Tensor) => Tensor): Buffer[] => {
    const inputs = [random([40, 24], 1), random([33, 24], 2), random([33], 3), random([40, 33], 4)];
    for (const t of inputs) t.requiresGrad = true;
    const [x, w, b, r] = inputs;
    const y = make(x, w, b, r);
    backward(y, random([40, 33], 5));
    return [y, ...inputs.map((t) => t.grad!)].map(bits);
  };
  const activations: (ActivationName | null)[] = ['gelu', 'geluTanh', 'relu', 'silu', null];

  it.each(activations)('are those of the operations one after the other: %s', (activation) => {
    const active = (y: Tensor): Tensor => (activation === null ? y : activate(y, activation));
    const fused = run((x, w, b, residual) => linear(x, w, b, { activation, residual }));
    expect(fused).toEqual(run((x, w, b, r) => add(r, active(linear(x, w, b)))));
  });
});

it('keeps a float32 residual where an autocast makes the product half', () => {
  const [x, weight, residual] = [random([20, 16], 1), random([8, 16], 2), random([20, 8], 3)];
  const fused = (options: LinearOptions): Tensor =>
    noGrad(() => autocast('bfloat16', () => linear(x, weight, null, options)));
  const got = fused({ activation: 'gelu', residual });
  expect(got.dtype).toBe('float32');
  expect(bits(got)).toEqual(bits(add(residual, activate(fused({}), 'gelu'))));
});

it('is one operation where no gradient is wanted, and keeps what backward needs where one is', () => {
  const [x, weight, residual] = [random([6, 4], 1), random([5, 4], 2), random([6, 5], 3)];
  const operations = (options: LinearOptions): string[] => {
    const names: string[] = [];
    watchResults(
      (name) => names.push(name),
      () => linear(x, weight, null, options),
    );
    return names;
  };
  expect(operations({ activation: 'gelu', residual })).toEqual(['linear']);
  weight.requiresGrad = true;
  expect(operations({ residual })).toEqual(['linear']);
  expect(operations({ activation: 'gelu', residual })).toEqual(['linear', 'gelu', 'add']);
});

it('refuses what does not fit', () => {
  const [x, weight] = [zeros([2, 3]), zeros([4, 3])];
  expect(() => linear(x, weight, null, { residual: zeros([2, 3]) })).toThrow(
    "linear: residual must have the result's shape [2, 4], got [2, 3]",
  );
  expect(() => linear(x, weight, null, { activation: 'tanh' as 'gelu' })).toThrow(
    "linear: activation must be one of gelu, geluTanh, relu, silu, got 'tanh'",
  );
  expect(() => activate(x, 'toString' as 'gelu')).toThrow('activate: activation must be one of');
});
