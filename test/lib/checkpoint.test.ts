import { beforeEach, describe, expect, it } from 'vitest';

import {
  add,
  backward,
  checkpoint,
  dropout,
  gelu,
  layerNorm,
  linear,
  manualSeed,
  matmul,
  memory,
  mul,
  noGrad,
  randn,
  resetPeakMemory,
  rmsNorm,
  scope,
  selectiveCheckpoint,
  sum,
  swiglu,
  tensor,
  type Tensor,
} from '../../lib/index.js';

const leaf = (...shape: number[]): Tensor => {
  const t = randn(shape);
  t.requiresGrad = true;
  return t;
};

/** The bits of the loss, of every gradient and of the next random number. */
function bits(loss: () => Tensor, leaves: readonly Tensor[]): unknown {
  for (const t of leaves) t.grad = null;
  manualSeed(7);
  const value = scope(() => {
    const result = loss();
    backward(result);
    return result.item();
  });
  return [value, ...leaves.map((t) => t.grad && Array.from(t.grad.data)), randn([2]).toArray()];
}

let [x, w, v] = [leaf(1), leaf(1), leaf(1)];
beforeEach(() => {
  manualSeed(1);
  [x, w, v] = [leaf(6, 8), leaf(8, 8), leaf(8)];
});

/** A layer with dropout, a residual, and weights that are no arguments. */
const layer = (y: Tensor): Tensor => add(y, dropout(linear(gelu(layerNorm(y, v)), w), 0.5));

describe('checkpoint', () => {
  it('gives the gradients of the function, bit for bit, with dropout and weights used twice', () => {
    const plain = bits(() => sum(mul(layer(layer(x)), x)), [x, w, v]);
    const saved = bits(() => sum(mul(checkpoint(layer, checkpoint(layer, x)), x)), [x, w, v]);
    expect(saved).toEqual(plain);
    const nested = bits(
      () =>
        sum(
          mul(
            checkpoint((y) => checkpoint(layer, layer(y)), x),
            x,
          ),
        ),
      [x, w, v],
    );
    expect(nested).toEqual(plain);
  });

  it('adds to what has arrived at a shared argument in the same order', () => {
    const twice = (y: Tensor, s: { scale: Tensor }): Tensor => mul(mul(y, s.scale), add(s.scale, y));
    const loss = (run: (y: Tensor, s: { scale: Tensor }) => Tensor) => (): Tensor => {
      const scale = mul(w, 1.1); // computed, and used by both
      return sum(run(run(matmul(x, w), { scale: sum(scale, 0) }), { scale: sum(scale, 1) }));
    };
    expect(
      bits(
        loss((y, s) => checkpoint(twice, y, s)),
        [x, w],
      ),
    ).toEqual(bits(loss(twice), [x, w]));
    const shared = (run: typeof twice) => (): Tensor => {
      const scale = mul(v, 1.1);
      return sum(run(run(x, { scale }), { scale }));
    };
    expect(
      bits(
        shared((y, s) => checkpoint(twice, y, s)),
        [x, v],
      ),
    ).toEqual(bits(shared(twice), [x, v]));
  });

  it('keeps only the arguments', () => {
    const step = (run: (y: Tensor) => Tensor): number => {
      const before = memory().liveBytes;
      resetPeakMemory();
      scope(() => {
        let y = x;
        for (let i = 0; i < 20; i++) y = run(y);
        backward(sum(y));
      });
      return memory().peakBytes - before;
    };
    x = leaf(256, 64);
    [w, v] = [leaf(64, 64), leaf(64)];
    step(layer); // gradients are there from here on
    const block = (y: Tensor): Tensor => scope(() => layer(y));
    expect(step((y) => checkpoint(layer, y))).toBeLessThan(step(block) / 2);
  });

  it('walks a retained graph twice', () => {
    const twice = (run: () => Tensor): { y: Tensor; grads: number[] } => {
      x.grad = null;
      manualSeed(3);
      const y = run();
      backward(y, undefined, { retainGraph: true });
      backward(y);
      return { y, grads: Array.from(x.grad!.data) };
    };
    const { y, grads } = twice(() => sum(checkpoint(layer, x)));
    expect(grads).toEqual(twice(() => sum(layer(x))).grads);
    expect(() => backward(y)).toThrow('the graph was already freed');
  });

  it('is the function itself where nothing is recorded, and records nothing that needs no gradient', () => {
    expect(noGrad(() => checkpoint((y) => mul(y, 2), x)).requiresGrad).toBe(false);
    expect(checkpoint((y) => mul(y, 2), randn([2])).requiresGrad).toBe(false);
    expect(checkpoint((y) => mul(y, w), randn([8])).requiresGrad).toBe(true); // by the weight alone
    expect(checkpoint((y) => y, x)).toBe(x);
  });

  it('refuses a computed tensor that is no argument, backward inside, and arguments changed since', () => {
    const y = mul(x, 2);
    expect(() => checkpoint(() => mul(y, 3))).toThrow(
      'checkpoint: the function uses a tensor that mul made and that requires a gradient; make it an argument',
    );
    expect(() =>
      checkpoint((z) => {
        backward(sum(z));
        return z;
      }, y),
    ).toThrow('backward: a function under checkpoint cannot call it; call it on the result');
    const z = tensor([1, 2]);
    const root = sum(checkpoint((a, b) => mul(a, b), leaf(2), z));
    noGrad(() => z.add_(tensor(1)));
    expect(() => backward(root)).toThrow('that checkpoint needs was changed in place after it ran');
  });
});

describe('selectiveCheckpoint', () => {
  const block = (y: Tensor): Tensor => {
    const normed = rmsNorm(layerNorm(y, v));
    return add(
      y,
      dropout(linear(swiglu(linear(normed, w), gelu(linear(normed, w), { approximate: 'tanh' })), w), 0.5),
    );
  };

  it('gives the same gradients bit for bit', () => {
    const loss = (): Tensor => sum(mul(block(block(x)), x));
    expect(bits(() => selectiveCheckpoint(loss), [x, w, v])).toEqual(bits(loss, [x, w, v]));
  });

  it('does not keep what norms and activations give', () => {
    [x, w] = [leaf(256, 64), leaf(64, 64)];
    const kept = (run: (body: () => Tensor) => Tensor): number =>
      scope(() => {
        const before = memory().liveBytes;
        const y = run(() => scope(() => linear(gelu(layerNorm(linear(x, w))), w)));
        const bytes = memory().liveBytes - before;
        backward(sum(y));
        return bytes;
      });
    const [whole, half, matrix] = [kept((body) => body()), kept(selectiveCheckpoint), 256 * 64 * 4];
    // All: both norm and gelu give one, and the result. Selective: the norm's input is kept, as before.
    expect(whole - half).toBeGreaterThanOrEqual(matrix);
    expect(memory().liveBytes).toBeLessThan(10 * matrix);
  });
});
