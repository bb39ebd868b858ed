import { describe, expect, it } from 'vitest';

import {
  ArgumentError,
  AutogradError,
  clone,
  DTypeError,
  enableGrad,
  isGradEnabled,
  linear,
  matmul,
  memory,
  noGrad,
  ones,
  randn,
  scope,
  ShapeError,
  split,
  type Tensor,
  tensor,
  zeros,
} from '../../lib/index.js';
import { defineOp } from '../../lib/op.js';

const leaf = (data: Parameters<typeof tensor>[0]): Tensor => tensor(data, { requiresGrad: true });

describe('backward', () => {
  it('differentiates a chain', () => {
    const x = leaf([1, 2, 3]);
    x.square().mul(2).sum().backward();
    expect(x.grad!.toArray()).toEqual([4, 8, 12]);
  });

  it('adds to the gradient that is there', () => {
    const x = leaf([1, 2]);
    x.sum().backward();
    const first = x.grad;
    x.mul(3).sum().backward();
    expect(x.grad!.toArray()).toEqual([4, 4]);
    expect(x.grad!.storage).toBe(first!.storage);
  });

  it('adds in place to a gradient of which there are views', () => {
    const x = leaf([1, 2]);
    x.sum().backward();
    const first = x.grad!;
    const view = first.reshape([2, 1]);
    x.sum().backward();
    expect(x.grad).toBe(first);
    expect(view.toArray()).toEqual([[2], [2]]);
  });

  it('passes nothing through integers', () => {
    const x = leaf([1.5, 2]);
    expect(x.to('int32').requiresGrad).toBe(false);
    x.mul(x.to('int32').to('float32')).sum().backward();
    expect(x.grad!.toArray()).toEqual([1, 2]);
  });

  it('takes one input used twice, in one operation and in several', () => {
    const x = leaf(3);
    x.mul(x).add(x).backward();
    expect(x.grad!.item()).toBe(7);
  });

  it('waits for every branch of a diamond', () => {
    const x = leaf([1, 2]);
    const a = x.mul(2);
    const b = a.exp();
    const c = a.add(b);
    c.mul(a).sum().backward();
    // d/dx (2x + e^2x) 2x = 8x + (2 + 4x) e^2x
    [1, 2].forEach((v, i) =>
      expect(x.grad!.toFloat64Array()[i]).toBeCloseTo(8 * v + (2 + 4 * v) * Math.exp(2 * v), 3),
    );
  });

  it('gathers pieces of one tensor', () => {
    const x = leaf([1, 2, 3, 4]);
    const [a, , c] = split(x, [1, 2, 1]);
    a.mul(5).add(c.mul(7)).sum().backward();
    expect(x.grad!.toArray()).toEqual([5, 0, 0, 7]);
  });

  it('gathers other pieces in another walk, beside another use of the tensor', () => {
    const x = tensor([1, 2, 3, 4], { requiresGrad: true });
    const doubled = x.mul(2);
    const [a, b] = split(doubled, 2);
    const first = a.sum().add(b.square().sum());
    first.backward(undefined, { retainGraph: true });
    expect(x.grad!.toArray()).toEqual([2, 2, 24, 32]);
    x.grad = null;
    b.mul(3).sum().add(doubled.sum()).backward();
    expect(x.grad!.toArray()).toEqual([2, 2, 8, 8]);
  });

  it('does not mix gradients that share memory', () => {
    const x = leaf([1, 2]);
    const y = leaf([3, 4]);
    const z = x.add(y);
    z.add(x).sum().backward();
    expect(x.grad!.toArray()).toEqual([2, 2]);
    expect(y.grad!.toArray()).toEqual([1, 1]);
    x.grad!.fill_(9);
    expect(y.grad!.toArray()).toEqual([1, 1]);
  });

  it('starts from a given gradient', () => {
    const x = leaf([1, 2]);
    x.mul(2).backward(tensor([10, 100]));
    expect(x.grad!.toArray()).toEqual([20, 200]);
  });

  it('works on a leaf itself', () => {
    const x = leaf(2);
    x.backward();
    expect(x.grad!.item()).toBe(1);
  });

  it('keeps the dtype of the leaf', () => {
    for (const dtype of ['float16', 'bfloat16', 'float64'] as const) {
      const x = tensor([1, 2], { dtype, requiresGrad: true });
      x.mul(tensor([3, 4]))
        .add(x)
        .sum()
        .backward();
      expect(x.grad!.dtype).toBe(dtype);
      expect(Array.from(x.grad!.toFloat64Array())).toEqual([4, 5]);
    }
  });

  it('keeps the dtype of a bias beside other types', () => {
    for (const dtype of ['float16', 'bfloat16', 'float64'] as const) {
      const b = ones([2], { requiresGrad: true });
      const y = linear(ones([3, 2], { dtype }), ones([2, 2], { dtype }), b);
      expect(y).toMatchObject({ dtype });
      expect(y.toArray()).toEqual([[3, 3], [3, 3], [3, 3]]); // prettier-ignore
      y.sum().backward();
      expect(b.grad).toMatchObject({ dtype: 'float32' });
      expect(b.grad!.toArray()).toEqual([3, 3]);
    }
    const wide = ones([2], { dtype: 'float64', requiresGrad: true });
    const y = linear(ones([1, 2]), ones([2, 2]), wide);
    expect(y.dtype).toBe('float32');
    y.sum().backward();
    expect(wide.grad!.toArray()).toEqual([1, 1]);
  });

  it('leaves tensors without a gradient alone', () => {
    const x = leaf([1, 2]);
    const w = tensor([3, 4]);
    x.mul(w).sum().backward();
    expect(w.grad).toBeNull();
  });

  it('walks a graph again when it is retained', () => {
    const x = leaf([1, 2]);
    const y = x.square().sum();
    y.backward(undefined, { retainGraph: true });
    y.backward();
    expect(x.grad!.toArray()).toEqual([4, 8]);
  });

  it('walks a deep graph', () => {
    const x = leaf(1);
    let y: Tensor = x;
    for (let i = 0; i < 20_000; i++) y = y.add(1);
    y.backward();
    expect(x.grad!.item()).toBe(1);
  });

  it('gives the memory of the graph back', () => {
    const x = randn([64, 64], { requiresGrad: true });
    scope(() => x.sum().backward());
    const before = memory().liveBytes;
    for (let i = 0; i < 3; i++) {
      scope(() => {
        const y = matmul(x, x.transpose(0, 1)).tanh().softmax().square().mean();
        y.backward();
      });
      expect(memory().liveBytes).toBeLessThanOrEqual(before); // less when earlier tests' garbage went meanwhile
    }
  });

  it('lets go of the graph of a loss that is kept, also outside scopes', () => {
    const x = randn([256, 256], { requiresGrad: true });
    x.sum().backward();
    const before = memory().liveBytes;
    const losses = Array.from({ length: 20 }, () => {
      const loss = x.mul(2).add(1).tanh().mean(); // three results of 256 KiB each
      loss.backward();
      return loss;
    });
    expect(memory().liveBytes - before).toBeLessThan(3 * 2 ** 18);
    expect(losses.every((loss) => Number.isFinite(loss.item()))).toBe(true);
  });

  it('frees what it saved even when nobody else does', () => {
    const y = scope(() => randn([256, 256], { requiresGrad: true }).exp().add(1).log().sum());
    const before = memory().liveBytes;
    y.backward();
    // the two saved values go, the leaf's gradient comes
    expect(before - memory().liveBytes).toBeGreaterThanOrEqual(256 * 256 * 4);
  });
});

describe('misuse', () => {
  const refuse = (body: () => unknown, kind: new (...args: never[]) => Error, text: string): void => {
    let error: unknown;
    try {
      body();
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(kind);
    expect((error as Error).message).toContain(text);
  };

  it('of a graph twice', () => {
    const x = leaf([1, 2]);
    const y = x.square().sum();
    y.backward();
    refuse(
      () => y.backward(),
      AutogradError,
      'backward: the graph was already freed at sum; pass { retainGraph: true } to walk it twice',
    );
  });

  it('of a shared part of a graph twice', () => {
    const x = leaf([1, 2]);
    const shared = x.exp();
    shared.sum().backward();
    refuse(() => shared.mul(2).sum().backward(), AutogradError, 'already freed at exp');
  });

  it('without anything that requires a gradient', () => {
    refuse(
      () => tensor(1).backward(),
      AutogradError,
      'backward: the tensor does not depend on anything that requires a gradient; set requiresGrad on a leaf, and do ' +
        'not compute it inside noGrad',
    );
  });

  it('without a gradient for many elements', () => {
    refuse(
      () => leaf([1, 2]).mul(2).backward(),
      AutogradError,
      'backward: only a tensor of one element has an implicit gradient, got [2]; pass one, or sum first',
    );
  });

  it('with a gradient of another shape', () => {
    refuse(
      () =>
        leaf([1, 2])
          .mul(2)
          .backward(tensor([1, 2, 3])),
      ShapeError,
      'backward: the gradient must have the shape of the tensor, got [3] for [2]',
    );
  });

  it('by changing a value that backward needs', () => {
    const x = leaf([1, 2]);
    const w = tensor([3, 4]);
    const y = x.mul(w).sum();
    w.fill_(0);
    refuse(
      () => y.backward(),
      AutogradError,
      'backward: a tensor [2] that mul needs was changed in place after it ran; change a copy instead',
    );
  });

  it('by changing a view of a value that backward needs', () => {
    const x = leaf([[1, 2]]);
    const w = tensor([[3, 4]]);
    const y = x.mul(w).sum();
    w.select(0, 0).zero_();
    refuse(() => y.backward(), AutogradError, 'was changed in place');
  });

  it('by writing into what is recorded', () => {
    const x = leaf([1, 2]);
    refuse(
      () => x.add_(tensor([1, 1])),
      AutogradError,
      'add_: cannot be recorded, but the tensor [2] requires a gradient; wrap it in noGrad or detach()',
    );
    refuse(() => x.mul(2).zero_(), AutogradError, 'fill_: cannot be recorded, but the tensor [2]');
    refuse(() => zeros([2]).copy_(x), AutogradError, 'copy_: cannot be recorded, but the source [2]');
    noGrad(() => x.add_(tensor([1, 1])));
    expect(x.toArray()).toEqual([2, 3]);
  });

  it('by gradients that are not like their tensors', () => {
    const x = leaf([[1, 2]]);
    const wrong = [ones([2]), ones([1, 2], { dtype: 'float64' })];
    for (const grad of wrong) {
      refuse(
        () => (x.grad = grad),
        ShapeError,
        'grad: must be a contiguous float32 [1, 2] like its tensor, got',
      );
    }
    const square = leaf([[1, 2], [3, 4]]); // prettier-ignore
    refuse(
      () => (square.grad = ones([2, 2]).transpose(0, 1)),
      ShapeError,
      'got float32 [2, 2] that is not contiguous; convert it with to() and contiguous()',
    );
    refuse(
      () => x.mul(2).backward(wrong[1]),
      DTypeError,
      'backward: the gradient must have the dtype of the tensor, got float64 for float32',
    );
    refuse(
      () => x.sum().backward(undefined, { keepGraph: true } as never),
      ArgumentError,
      "unknown option 'keepGraph'",
    );
  });

  it('by asking for gradients of what has none', () => {
    refuse(
      () => (tensor([1, 2], { dtype: 'int32' }).requiresGrad = true),
      DTypeError,
      'requiresGrad: only floating tensors have gradients, this one is int32',
    );
    refuse(
      () => (leaf([1]).mul(2).requiresGrad = false),
      Error,
      'requiresGrad: only leaf tensors can change it, this one was made by mul; use detach()',
    );
  });
});

describe('a rule', () => {
  const ruled = (rule: (grad: Tensor) => Tensor): (() => void) => {
    const op = defineOp<[Tensor]>({
      name: 'ruled',
      shape: ([x]) => ({ shape: x.shape, dtype: x.dtype }),
      forward: (out) => out.fill_(1).size > 0,
      backward: (grad) => [rule(grad)],
    });
    return () =>
      op([leaf([1, 2])], undefined)
        .sum()
        .backward();
  };

  it('must give gradients like its inputs', () => {
    expect(ruled((grad) => grad)).not.toThrow();
    expect(ruled((grad) => grad.sum())).toThrow('ruled: the rule gave input 0 a gradient of [], it is [2]');
    expect(ruled((grad) => grad.to('float64'))).toThrow(
      'ruled: the rule gave input 0 a gradient of float64, it is float32',
    );
  });
});

describe('recording', () => {
  it('stops in noGrad, also after an exception', () => {
    const x = leaf([1]);
    expect(noGrad(() => x.mul(2)).requiresGrad).toBe(false);
    expect(() =>
      noGrad(() => {
        throw new RangeError('out');
      }),
    ).toThrow(RangeError);
    expect(isGradEnabled()).toBe(true);
    expect(noGrad(() => enableGrad(() => x.mul(2))).requiresGrad).toBe(true);
    expect(() => noGrad(() => Promise.resolve(x))).toThrow('noGrad: the body must be synchronous');
  });

  it('is cut by detach, and goes through clone', () => {
    const x = leaf([1, 2]);
    expect(x.detach().requiresGrad).toBe(false);
    expect(x.detach().storage).toBe(x.storage);
    clone(x).mul(2).sum().backward();
    expect(x.grad!.toArray()).toEqual([2, 2]);
  });

  it('knows leaves', () => {
    const x = leaf([1]);
    expect([x.isLeaf, x.mul(2).isLeaf, ones([1]).isLeaf]).toEqual([true, false, true]);
  });
});
