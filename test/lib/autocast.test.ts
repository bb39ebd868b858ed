/** Mixed precision: what is in which type, how near to float32 it is, and what is kept. */

import { beforeEach, describe, expect, it } from 'vitest';

import {
  add,
  ArgumentError,
  autocast,
  backward,
  checkpoint,
  crossEntropy,
  gelu,
  type HalfType,
  layerNorm,
  linear,
  linearCrossEntropy,
  manualSeed,
  memory,
  mseLoss,
  randn,
  relu,
  reshape,
  scaledDotProductAttention,
  scope,
  softmax,
  split,
  sum,
  swiglu,
  tensor,
  type Tensor,
  transpose,
} from '../../lib/index.js';

const leaf = (shape: number[], std = 1): Tensor => {
  const t = randn(shape, { std });
  t.requiresGrad = true;
  return t;
};

const types: [HalfType, number][] = [
  ['bfloat16', 2 ** -6],
  ['float16', 2 ** -9],
];

let [x, norm, wide, narrow, head] = Array.from({ length: 5 }, () => leaf([1]));
const targets = tensor(Int32Array.from({ length: 24 }, (_, i) => i % 11));

beforeEach(() => {
  manualSeed(3);
  [x, norm] = [leaf([2, 12, 16]), leaf([16])];
  [wide, narrow, head] = [leaf([48, 16], 0.3), leaf([16, 16], 0.3), leaf([11, 16], 0.5)];
});

/** A block with attention and a gated layer. */
function block(y: Tensor): Tensor {
  const heads = (t: Tensor): Tensor => transpose(reshape(t, [2, 12, 2, 8]), 1, 2);
  const [q, k, v] = split(linear(layerNorm(y, norm), wide), [16, 16, 16], -1);
  const mixed = scaledDotProductAttention(heads(q), heads(k), heads(v), { causal: true });
  const attended = add(y, linear(reshape(transpose(mixed, 1, 2), [2, 12, 16]), narrow));
  const [gate, up, more] = split(linear(layerNorm(attended), wide), [16, 16, 16], -1);
  return add(attended, linear(add(swiglu(gate, up), gelu(relu(more))), narrow));
}
const loss = (): Tensor => linearCrossEntropy(reshape(block(block(x)), [24, 16]), head, targets);

function run(body: () => Tensor): { value: number; grads: Float64Array[] } {
  const leaves = [x, norm, wide, narrow, head];
  for (const t of leaves) t.grad = null;
  const value = scope(() => {
    const l = body();
    expect(l.dtype).toBe('float32');
    backward(l);
    return l.item();
  });
  for (const { grad } of leaves) expect(grad!.dtype).toBe('float32');
  return { value, grads: leaves.map(({ grad }) => grad!.toFloat64Array()) };
}

describe('autocast', () => {
  it.each(types)('%s: layers give it; norms, sums, softmax and losses float32', (type) => {
    autocast(type, () => {
      const y = linear(x, narrow);
      expect(y.dtype).toBe(type);
      expect(gelu(y).dtype).toBe(type);
      expect(layerNorm(x).dtype).toBe('float32');
      expect(add(x, y).dtype).toBe('float32');
      expect(softmax(y).dtype).toBe('float32');
      expect(mseLoss(y, y).dtype).toBe('float32');
      expect(crossEntropy(reshape(linear(x, head), [24, 11]), targets).dtype).toBe('float32');
      expect(autocast(null, () => linear(x, narrow)).dtype).toBe('float32');
    });
    expect(linear(x, narrow).dtype).toBe('float32');
  });

  it.each(types)('%s: loss and gradients near those of float32', (type, unit) => {
    const exact = run(loss);
    const half = run(() => autocast(type, loss));
    expect(Math.abs(half.value - exact.value)).toBeLessThan(unit * exact.value);
    expect(half.value).not.toBe(exact.value);
    for (const [i, expected] of exact.grads.entries()) {
      const size = Math.max(...expected.map(Math.abs));
      const error = Math.max(...half.grads[i].map((g, j) => Math.abs(g - expected[j])));
      expect(error / size).toBeLessThan(4 * unit);
      expect(error).toBeGreaterThan(0);
    }
  });

  it.each(types)('%s: what a checkpoint computes again is in it too', (type) => {
    const plain = run(() => autocast(type, loss));
    const saved = run(() =>
      autocast(type, () =>
        linearCrossEntropy(reshape(checkpoint(block, checkpoint(block, x)), [24, 16]), head, targets),
      ),
    );
    expect(saved).toEqual(plain);
  });

  it('keeps half as much between layers', () => {
    const kept = (body: () => Tensor): number => {
      const before = memory().liveBytes;
      return scope(() => {
        const y = scope(body);
        const bytes = memory().liveBytes - before;
        backward(sum(y));
        return bytes;
      });
    };
    x = leaf([64, 16, 16]);
    const layers = (): Tensor =>
      linear(gelu(linear(gelu(linear(gelu(linear(x, narrow)), narrow)), narrow)), narrow);
    expect(kept(() => autocast('bfloat16', layers))).toBeLessThan(0.55 * kept(layers) + 64 * 256 * 2);
  });

  it('refuses other types and promises', () => {
    expect(() => autocast('int8' as HalfType, loss)).toThrow(
      new ArgumentError("autocast: must be 'bfloat16', 'float16' or null, got 'int8'"),
    );
    expect(() => autocast('bfloat16', async () => Promise.resolve(1))).toThrow(
      'the body must be synchronous',
    );
  });
});
