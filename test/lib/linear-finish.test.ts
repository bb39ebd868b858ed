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
  fill_,
  Generator,
  linear,
  type LinearOptions,
  matmul,
  noGrad,
  setFloat32MatmulPrecision,
  type Tensor,
  zeros,
} from '../../lib/index.js';
import { watchResults } from '../../lib/op.js';
import { multiplyInto } from '../../lib/ops/gemm.js';
import { Linear } from '../../src/nn/index.js';
import { bits, fromNumbers, uniform } from '../support/compare.js';

afterEach(() => setFloat32MatmulPrecision('highest'));

const random = (shape: readonly number[], seed: number, dtype: DType = 'float32'): Tensor => {
  const size = shape.reduce((a, b) => a * b, 1);
  return fromNumbers(uniform(size, -1.5, 1.5, seed), shape, dtype);
};

const expectSame = (got: Tensor, expected: Tensor, name: string): void => {
  expect(got.dtype, name).toBe(expected.dtype);
  expect(bits(got).equals(bits(expected)), name).toBe(true);
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
    const residual = random([m, n], 4, type);
    for (const bias of [random([n], 3), random([n], 3, type)])
      for (const precision of ['highest', 'medium'] as const) {
        setFloat32MatmulPrecision(precision);
        for (const transposed of [false, true]) {
          const weight = random(transposed ? [k, n] : [n, k], 2, weightType);
          const plain = linear(x, weight, bias, { transposed });
          for (const activation of ['gelu', 'geluTanh', 'relu', 'silu', null] as const) {
            const active = activation === null ? plain : activate(plain, activation);
            const got = linear(x, weight, bias, { transposed, activation });
            expectSame(got, active, `${activation}`);
            const both = linear(x, weight, bias, { transposed, activation, residual });
            expectSame(both, add(residual, active), `${activation}, residual`);
          }
        }
      }
  });
});

it('takes a batch, and a residual that lies otherwise in memory', () => {
  const [x, weight] = [random([2, 3, 8], 1), random([5, 8], 2)];
  const residual = random([5, 3, 2], 3).transpose(0, 2); // (2, 3, 5)
  const got = linear(x, weight, null, { residual });
  expect(got.shape).toEqual([2, 3, 5]);
  expect(bits(got)).toEqual(bits(add(residual, linear(x, weight))));
});

it('takes batches that the kernel cannot take at once', () => {
  const [a, b] = [random([2, 3, 40, 30], 1), random([3, 30, 50], 2)];
  const residual = random([2, 3, 40, 50], 3);
  const out = zeros([2, 3, 40, 50]);
  multiplyInto(out, a, b, { activation: 'silu', residual });
  expect(bits(out)).toEqual(bits(add(residual, activate(matmul(a, b), 'silu'))));
});

it('finishes a layer after its adapter', () => {
  const layer = new Linear(12, 9, { generator: new Generator(1) });
  const adapter = random([9, 12], 2);
  layer.adapter = { forward: (x) => linear(x, adapter) };
  const [x, residual] = [random([5, 12], 3), random([5, 9], 4)];
  const both = add(linear(x, layer.weight, layer.bias), linear(x, adapter));
  expect(bits(layer.forward(x))).toEqual(bits(both));
  expect(bits(layer.forward(x, { activation: 'relu', residual }))).toEqual(
    bits(add(residual, activate(both, 'relu'))),
  );
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

it('passes a gradient to the residual alone', () => {
  const [x, weight, residual] = [random([6, 4], 1), random([5, 4], 2), random([6, 5], 3)];
  residual.requiresGrad = true;
  const y = linear(x, weight, null, { activation: 'gelu', residual });
  const dy = random([6, 5], 4);
  fill_(x, 0); // which backward does not need, or it would complain
  backward(y, dy);
  expect(bits(residual.grad!)).toEqual(bits(dy));
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
