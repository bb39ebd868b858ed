/** linearCrossEntropy beside the loss of whole logits: values, gradients, memory. */

import { beforeEach, describe, expect, it } from 'vitest';

import {
  backward,
  crossEntropy,
  Generator,
  linear,
  linearCrossEntropy,
  linearCrossEntropyRows,
  memory,
  mul,
  noGrad,
  randint,
  randn,
  resetPeakMemory,
  scope,
  tensor,
  type LinearCrossEntropyOptions,
  type Tensor,
} from '../../lib/index.js';
import { bits } from '../support/compare.js';
import { expectClose } from '../support/golden.js';

const [N, V, C] = [600, 50257, 16];
const weightBytes = V * C * 4;

let hidden: Tensor;
let weight: Tensor;
let targets: Tensor;
beforeEach(() => {
  const generator = new Generator(1);
  hidden = randn([N, C], { generator, requiresGrad: true });
  weight = randn([V, C], { generator, requiresGrad: true });
  targets = randint(0, V, [N], { generator });
});

const whole = (options?: LinearCrossEntropyOptions): Tensor =>
  scope(() => crossEntropy(linear(hidden, weight), targets, options));
const chunked = (options?: LinearCrossEntropyOptions): Tensor =>
  linearCrossEntropy(hidden, weight, targets, options);

/** The gradients that `body` leaves, taken off the leaves. */
function gradientsOf(body: () => void): (Tensor | null)[] {
  body();
  const gradients = [hidden.grad, weight.grad];
  hidden.grad = weight.grad = null;
  return gradients;
}

function expectSame(actual: (Tensor | null)[], expected: (Tensor | null)[], factor = 1): void {
  actual.forEach((g, i) => {
    const reference = scope(() => mul(expected[i]!, factor).data.slice() as Float32Array);
    const greatest = reference.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    expectClose(g!.data, reference, { rtol: 1e-5, atol: 1e-6 * greatest }, `gradient ${i}`);
  });
}

describe('linearCrossEntropy', () => {
  it('takes rows in equal chunks that depend on sizes alone', () => {
    expect(linearCrossEntropyRows(1024, 50257)).toBe(512);
    expect(linearCrossEntropyRows(N, V)).toBe(300);
    expect(linearCrossEntropyRows(768, 65)).toBe(768);
    expect(linearCrossEntropyRows(1024, 2 ** 20)).toBe(64);
    expect(linearCrossEntropyRows(0, 65)).toBe(0);
  });

  it.each<LinearCrossEntropyOptions>([{}, { reduction: 'sum' }, { labelSmoothing: 0.1 }, { ignoreIndex: 7 }])(
    'is the loss of whole logits: %j',
    (options) => {
      if (options.ignoreIndex !== undefined) targets.memory.fill(options.ignoreIndex, 190, 600); // a chunk and more
      const [loss, reference] = [chunked(options), whole(options)];
      expectClose([loss.item()], [reference.item()], { rtol: 1e-6 });
      expectSame(
        gradientsOf(() => backward(loss)),
        gradientsOf(() => backward(reference)),
      );
    },
  );

  it('follows the gradient that arrives, and adds to what is there', () => {
    const once = gradientsOf(() => backward(whole()));
    expectSame(
      gradientsOf(() => backward(mul(chunked(), -2.5))),
      once,
      -2.5,
    );
    expectSame(
      gradientsOf(() => [1, 2].forEach(() => backward(chunked()))),
      once,
      2,
    );
  });

  it('can be walked twice when the graph is retained', () => {
    const loss = chunked();
    const twice = gradientsOf(() => {
      backward(loss, undefined, { retainGraph: true });
      backward(loss, tensor(3));
    });
    expectSame(
      twice,
      gradientsOf(() => backward(whole())),
      4,
    );
  });

  it('gives the gradient of one input where the other wants none', () => {
    const both = gradientsOf(() => backward(chunked()));
    for (const [i, frozen] of [weight, hidden].entries()) {
      frozen.requiresGrad = false;
      const one = gradientsOf(() => backward(chunked()));
      frozen.requiresGrad = true;
      expect(one[1 - i]).toBe(null);
      expect(bits(one[i]!).equals(bits(both[i]!))).toBe(true);
    }
  });

  it('is NaN without gradients over no row', () => {
    targets.memory.fill(-100);
    const loss = chunked();
    expect(loss.item()).toBeNaN();
    const gradients = gradientsOf(() => backward(loss));
    for (const g of gradients) expect(g!.data.every((x) => x === 0)).toBe(true);
    const [x, t] = [hidden.slice(0, 0, 0), targets.slice(0, 0, 0)];
    expect(linearCrossEntropy(x, weight, t).item()).toBeNaN();
    expect(linearCrossEntropy(x, weight, t, { reduction: 'sum' }).item()).toBe(0);
  });

  it('never holds all logits, and one buffer of the size of the weight, which becomes its gradient', () => {
    const chunkBytes = linearCrossEntropyRows(N, V) * V * 4;
    const peakOf = (body: () => void): number => {
      const before = memory().liveBytes;
      resetPeakMemory();
      body();
      return memory().peakBytes - before;
    };
    const slack = 2 ** 18;
    expect(peakOf(() => scope(() => noGrad(chunked)))).toBeLessThan(chunkBytes + slack);
    const step = (): void => scope(() => backward(chunked()));
    expect(peakOf(step)).toBeLessThan(chunkBytes + weightBytes + slack);
    expect(peakOf(step)).toBeLessThan(chunkBytes + weightBytes + slack); // one more beside the gradient that is there
    const before = memory();
    step();
    expect(memory().liveBytes).toBeLessThanOrEqual(before.liveBytes);
    expect(memory().systemAllocations).toBe(before.systemAllocations);
  });
});
