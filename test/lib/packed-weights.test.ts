/** Weights that stay packed: products give the same bits with them, and notice every change. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  add_,
  ArgumentError,
  autocast,
  backward,
  type DType,
  fill_,
  getPackedWeights,
  linear,
  matmul,
  memory,
  MemoryError,
  nativeInfo,
  noGrad,
  openSafetensors,
  reshape,
  saveSafetensors,
  scope,
  setFloat32MatmulPrecision,
  setPackedWeightsLimit,
  sum,
  type Tensor,
  transpose,
  zeros,
} from '../../lib/index.js';
import { Linear } from '../../src/nn/index.js';
import { WeightAverage } from '../../src/training/ema.js';
import { Adam, clipGradNorm } from '../../src/training/index.js';
import { bits, fromNumbers, uniform } from '../support/compare.js';
import { guardMemory } from '../support/guarded.js';

const megabyte = 2 ** 20;

/** The library's own limit, to be put back. */
const { limit } = getPackedWeights();

beforeEach(() => {
  memory(); // earlier tests' garbage goes
  setPackedWeightsLimit(0);
  setPackedWeightsLimit(64 * megabyte);
});

afterEach(() => {
  setFloat32MatmulPrecision('highest');
  setPackedWeightsLimit(limit);
});

const random = (shape: readonly number[], seed: number, dtype: DType = 'float32'): Tensor => {
  const size = shape.reduce((a, b) => a * b, 1);
  return fromNumbers(uniform(size, -1.5, 1.5, seed), shape, dtype);
};

const kept = (): number => getPackedWeights().bytes;

/** x Wᵀ by a weight that was never seen before: its copy. */
const fresh = (x: Tensor, weight: Tensor, transposed = false): Tensor =>
  linear(x, fromNumbers(weight.toFloat64Array(), weight.shape, weight.dtype), null, { transposed });

const expectSame = (got: Tensor, expected: Tensor, name = ''): void =>
  expect(bits(got).equals(bits(expected)), name).toBe(true);

const openblas = nativeInfo().gemm === 'openblas';

describe.skipIf(openblas)('packed weights', () => {
  describe('in guarded memory', () => {
    guardMemory();

    it.each(['float32', 'bfloat16', 'float16'] as const)('%s stays in its place', (type) => {
      for (const [m, k, n] of [
        [17, 64, 64],
        [33, 129, 65],
        [20, 1601, 47],
      ])
        // prettier-ignore
        for (const transposed of [false, true])
          scope(() => {
            const x = random([m, k], 1, type);
            const weight = random(transposed ? [k, n] : [n, k], 2, type);
            const expected = bits(linear(x, weight, null, { transposed }));
            for (let time = 0; time < 2; time++)
              expect(bits(linear(x, weight, null, { transposed })).equals(expected)).toBe(true);
            expect(kept()).toBeGreaterThan(0);
          });
    });
  });

  // Rows, inputs, outputs: whole and broken panels and blocks, one and several parts of k, several tasks.
  describe.each([
    [17, 64, 64],
    [33, 129, 65],
    [70, 770, 330],
    [64, 1600, 96],
    [200, 333, 1031],
  ])('%i rows, %i to %i', (m, k, n) => {
    it.each([
      ['float32', 'float32'],
      ['float32', 'bfloat16'],
      ['float32', 'float16'],
      ['bfloat16', 'bfloat16'],
      ['float16', 'float16'],
    ] as const)('%s times %s gives the same bits', (type, weightType) => {
      const x = random([m, k], 1, type);
      for (const transposed of [false, true])
        for (const precision of ['highest', 'medium'] as const) {
          setFloat32MatmulPrecision(precision);
          scope(() => {
            const weight = random(transposed ? [k, n] : [n, k], 2, weightType);
            const expected = linear(x, weight, null, { transposed });
            for (const use of ['second', 'third']) {
              expectSame(
                linear(x, weight, null, { transposed }),
                expected,
                `${transposed} ${precision} ${use}`,
              );
              expect(kept()).toBeGreaterThanOrEqual(2 * n * k);
            }
          });
          expect(kept()).toBe(0);
        }
    });
  });

  it('serves any number of rows, with bias, activation and residual', () => {
    const weight = random([96, 160], 2);
    const bias = random([96], 3);
    const xs = [17, 40, 300, 1, 16, 100].map((m) => random([m, 160], m));
    const finish = (m: number) => ({ activation: 'gelu' as const, residual: random([m, 96], 4) });
    setPackedWeightsLimit(0);
    const expected = xs.map((x) => linear(x, weight, bias, finish(x.shape[0])));
    expect(kept()).toBe(0);
    setPackedWeightsLimit(megabyte);
    for (let time = 0; time < 2; time++)
      xs.forEach((x, i) => expectSame(linear(x, weight, bias, finish(x.shape[0])), expected[i]));
    expect(kept()).toBeGreaterThan(0);
  });

  it('keeps a part of a matrix, and the whole of it, apart', () => {
    const x = random([20, 64], 1);
    const both = random([256, 64], 2);
    const [first, second] = [both.slice(0, 0, 128), both.slice(0, 128, 256)];
    for (let time = 0; time < 3; time++)
      for (const part of [first, second, both]) expectSame(linear(x, part), fresh(x, part));
  });

  it.each<[string, (weight: Tensor) => void]>([
    ['fill_', (weight) => fill_(weight, 0.5)],
    ['add_ to a view', (weight) => add_(reshape(weight, [-1]), reshape(weight, [-1]))],
    ['its memory', (weight) => weight.data.fill(0.25)],
  ])('notice a change by %s', (_, change) => {
    const x = random([20, 64], 1);
    const weight = random([64, 64], 2);
    for (let time = 0; time < 2; time++) linear(x, weight);
    expect(kept()).toBeGreaterThan(0);
    change(weight);
    expect(kept()).toBe(0);
    for (let time = 0; time < 3; time++) expectSame(linear(x, weight), fresh(x, weight));
  });

  it('are none where memory was handed out: it may change at any time', () => {
    const x = random([20, 64], 1);
    const weight = random([64, 64], 2);
    const { data } = weight;
    for (let time = 0; time < 3; time++) {
      linear(x, weight);
      data.fill(time);
      expectSame(linear(x, weight), fresh(x, weight));
    }
    expect(kept()).toBe(0);
  });

  it('stay when values are only read', () => {
    const x = random([20, 64], 1);
    const weight = random([64, 64], 2);
    for (let time = 0; time < 2; time++) linear(x, weight);
    const before = kept();
    expect(weight.toArray()).toHaveLength(64);
    weight.sum().item();
    expect(weight.toString()).toContain('[');
    expect(kept()).toBe(before);
    expect(before).toBeGreaterThan(0);
  });

  it('are given up by training, and come back after it', () => {
    const layer = new Linear(96, 96);
    const optimizer = new Adam(layer.parameters(), { lr: 0.1 });
    const x = random([40, 96], 1);
    for (let step = 0; step < 3; step++) {
      scope(() => noGrad(() => [0, 1].map(() => layer.forward(x)))); // evaluation
      expect(kept()).toBeGreaterThan(0);
      scope(() => {
        const loss = sum(layer.forward(x));
        expect(kept()).toBe(0);
        backward(loss);
        optimizer.step();
        optimizer.zeroGrad();
      });
      const expected = noGrad(() => fresh(x, layer.weight).add(layer.bias!));
      expectSame(
        noGrad(() => layer.forward(x)),
        expected,
      );
    }
  });

  it('are none where a gradient is recorded, or rows are few', () => {
    const weight = random([96, 96], 2);
    weight.requiresGrad = true;
    const frozen = random([96, 96], 3);
    const x = random([40, 96], 1);
    for (let time = 0; time < 3; time++) {
      linear(linear(x, weight), frozen);
      noGrad(() => linear(random([1, 96], 4), weight));
      noGrad(() => linear(random([8, 96], 4), frozen));
    }
    expect(kept()).toBe(0);
  });

  it('end with the weight, disposed or garbage', () => {
    const x = random([40, 96], 1);
    scope(() => {
      const weight = random([96, 96], 2);
      for (let time = 0; time < 2; time++) linear(x, weight);
      expect(kept()).toBeGreaterThan(0);
    });
    expect(kept()).toBe(0);
    const before = memory().liveBytes;
    (() => {
      const lost = random([96, 128], 2);
      for (let time = 0; time < 2; time++) scope(() => linear(x, transpose(lost, 0, 1)));
    })();
    expect(kept()).toBeGreaterThanOrEqual(4 * 96 * 128);
    expect(memory().liveBytes).toBeLessThanOrEqual(before); // it collects garbage
    expect(kept()).toBe(0);
  });

  it('take no more than the limit', () => {
    const x = random([40, 256], 1);
    const weights = [1, 2, 3].map((seed) => random([256, 256], seed));
    setPackedWeightsLimit(2.5 * 4 * 256 * 256);
    for (let time = 0; time < 3; time++)
      for (const weight of weights) expectSame(linear(x, weight), fresh(x, weight));
    expect(kept()).toBeGreaterThan(4 * 256 * 256);
    expect(kept()).toBeLessThanOrEqual(getPackedWeights().limit);
    setPackedWeightsLimit(1024);
    expect(kept()).toBe(0);
    expectSame(linear(x, weights[0]), fresh(x, weights[0]));
  });

  it('are not those of a gradient before it was added to or scaled', () => {
    const x = random([20, 96], 1);
    const weight = random([96, 96], 2);
    weight.requiresGrad = true;
    const pass = (): void => backward(sum(linear(x, weight)));
    const expectFresh = (): void => {
      const grad = weight.grad!;
      for (let time = 0; time < 2; time++) linear(x, grad);
      expect(kept()).toBeGreaterThan(0);
      expectSame(linear(x, grad), fresh(x, grad));
    };
    pass();
    expectFresh();
    pass();
    expectFresh();
    clipGradNorm([weight], 0.1);
    expectFresh();
  });

  it('follow an average that takes the place of the weights', () => {
    const layer = new Linear(96, 96);
    const average = new WeightAverage(layer.parameters(), 0.5);
    const x = random([20, 96], 1);
    const y = (): Tensor => noGrad(() => layer.forward(x));
    const expectFresh = (): void => {
      for (let time = 0; time < 3; time++) expectSame(y(), noGrad(() => fresh(x, layer.weight).add(layer.bias!))); // prettier-ignore
    };
    expectFresh();
    noGrad(() => fill_(layer.weight, 0.25));
    average.update(100);
    expectFresh();
    average.during(expectFresh);
    expectFresh();
  });

  it('stay when a model is saved', () => {
    const folder = mkdtempSync(join(tmpdir(), 'tsgpt-'));
    try {
      const x = random([20, 64], 1);
      const weight = random([64, 64], 2);
      for (let time = 0; time < 2; time++) linear(x, weight);
      const before = kept();
      saveSafetensors(join(folder, 'a.safetensors'), { weight });
      expect(kept()).toBe(before);
      expect(before).toBeGreaterThan(0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('serve weights of a mapped file, and end with them', () => {
    const folder = mkdtempSync(join(tmpdir(), 'tsgpt-'));
    try {
      const file = join(folder, 'a.safetensors');
      saveSafetensors(file, { weight: random([64, 64], 2) });
      scope(() => {
        const weight = openSafetensors(file).tensor('weight');
        const x = random([20, 64], 1);
        const expected = fresh(x, weight);
        for (let time = 0; time < 3; time++) expectSame(linear(x, weight), expected);
        expect(kept()).toBeGreaterThan(0);
      });
      expect(kept()).toBe(0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('are given up where memory is short', () => {
    const x = random([20, 64], 1);
    const weight = random([64, 64], 2);
    for (let time = 0; time < 2; time++) linear(x, weight);
    expect(kept()).toBeGreaterThan(0);
    expect(() => zeros([2 ** 33, 2 ** 10])).toThrow(MemoryError);
    expect(kept()).toBe(0);
    for (let time = 0; time < 3; time++) expectSame(linear(x, weight), fresh(x, weight));
    expect(kept()).toBeGreaterThan(0);
  });

  it('come back in every form after the limit ended them', () => {
    const x = random([40, 96], 1);
    const weight = random([96, 96], 2);
    const square = ([precision, transposed]: readonly ['highest' | 'medium', boolean]): Tensor => {
      setFloat32MatmulPrecision(precision);
      return linear(x, weight, null, { transposed });
    };
    const forms = [['highest', true], ['highest', false], ['medium', true]] as const; // prettier-ignore
    const expected = forms.map((form) => square(form));
    for (let round = 0; round < 2; round++) {
      for (let time = 0; time < 3; time++)
        forms.forEach((form, i) => expectSame(square(form), expected[i], `${round} ${time} ${form.join()}`));
      expect(kept()).toBeGreaterThanOrEqual(2 * 4 * 96 * 96);
      setPackedWeightsLimit(0);
      expect(kept()).toBe(0);
      setPackedWeightsLimit(megabyte);
    }
  });

  it('serve products of three dimensions and autocast', () => {
    const x = random([3, 30, 96], 1);
    const weight = random([96, 96], 2);
    const results = (): Tensor[] => [matmul(x, weight), autocast('bfloat16', () => linear(x, weight))];
    const expected = results();
    for (let time = 0; time < 2; time++) results().forEach((y, i) => expectSame(y, expected[i], `${i}`));
    expect(kept()).toBeGreaterThan(0);
  });

  it.each([-1, 0.5, NaN, 2 ** 60])('refuses a limit of %d', (bytes) => {
    expect(() => setPackedWeightsLimit(bytes)).toThrow(ArgumentError);
    expect(() => setPackedWeightsLimit(bytes)).toThrow('setPackedWeightsLimit: must be a whole number');
  });
});
