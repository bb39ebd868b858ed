import { describe, expect, it } from 'vitest';

import {
  ArgumentError,
  DisposedError,
  emptyPool,
  full,
  memory,
  randn,
  resetPeakMemory,
  scope,
  softmax,
  tensor,
  type Tensor,
  zeros,
} from '../../lib/index.js';
import { uniform } from '../support/compare.js';

/** Bytes that tensors hold, beyond those held now, after `body`. */
function leaves(body: () => unknown): number {
  const before = memory().liveBytes;
  body();
  return memory().liveBytes - before;
}

// First: the exact counts would notice earlier tests' garbage going.
describe('memory', () => {
  it('counts what is held', () => {
    const before = memory();
    const x = zeros([1024, 256]);
    const after = memory();
    expect(after.liveBytes - before.liveBytes).toBe(2 ** 20);
    expect(after.tensors - before.tensors).toBe(1);
    const view = x.transpose(0, 1);
    expect(memory().tensors).toBe(after.tensors);
    x.dispose();
    expect(memory().liveBytes).toBe(after.liveBytes);
    view.dispose();
    expect(memory().liveBytes).toBe(before.liveBytes);
  });

  it('reuses blocks and gives them back on demand', () => {
    const use = (): void => scope(() => void zeros([1 << 18]));
    use();
    const { systemAllocations } = memory();
    for (let i = 0; i < 10; i++) use();
    expect(memory().systemAllocations).toBe(systemAllocations);
    expect(memory().pooledBytes).toBeGreaterThanOrEqual(2 ** 20);
    emptyPool();
    expect(memory().pooledBytes).toBe(0);
  });

  it('makes room for a large block of smaller ones that are free', () => {
    emptyPool();
    const small: Tensor[] = []; // as many as there is room for
    const { systemAllocations } = memory();
    while (memory().systemAllocations <= systemAllocations + 1) small.push(full([2 ** 18], small.length));
    small.pop()!.dispose();
    emptyPool(); // the segment that it began goes, so little is free but what follows
    expect(memory().pooledBytes).toBeLessThan(5 * 2 ** 20);
    for (const x of small.splice(-20, 7)) x.dispose();
    const before = memory();
    const large = full([5 * 2 ** 18], 100);
    const rest = full([2 ** 18 + 1], 101);
    const after = memory();
    expect(after.systemAllocations).toBe(before.systemAllocations);
    expect(before.pooledBytes - after.pooledBytes).toBe(6 * 2 ** 20 + 2 ** 16);
    for (const x of [...small, large, rest]) {
      const first = x.data[0];
      expect(x.data.every((v) => v === first)).toBe(true);
      x.dispose();
    }
  });

  it('never hands out a byte twice, whatever the order', () => {
    const random = uniform(4000, 0, 1, 1).values();
    const next = (): number => random.next().value!;
    const live: Tensor[] = [];
    const letGo = (at: number): void => {
      const [x] = live.splice(at, 1);
      const first = x.data[0];
      expect(x.data.subarray(0, x.size).every((v) => v === first)).toBe(true);
      x.dispose();
    };
    const before = memory();
    for (let i = 0; i < 1000; i++) {
      if (next() < 0.45 && live.length > 0) letGo(Math.floor(next() * live.length));
      else live.push(full([Math.ceil(4 ** (1 + 9 * next()))], i));
      if (i % 250 === 249) emptyPool();
    }
    while (live.length > 0) letGo(live.length - 1);
    expect(memory().liveBytes).toBeLessThanOrEqual(before.liveBytes);
    emptyPool();
    expect(memory().pooledBytes).toBe(0);
  });

  it('measures the peak', () => {
    memory(); // garbage goes now, not between the two measurements
    resetPeakMemory();
    const { peakBytes } = memory();
    scope(() => void zeros([1 << 18]));
    expect(memory().peakBytes - peakBytes).toBe(2 ** 20);
  });

  it('is flat over steps in a scope', () => {
    const w = randn([32, 32], { requiresGrad: true });
    const step = (): void =>
      scope(() => {
        const x = randn([16, 32]);
        x.matmul(w).gelu().layerNorm().square().mean().backward();
        w.grad!.zero_();
      });
    for (let i = 0; i < 10; i++) step();
    const early = memory();
    for (let i = 0; i < 2000; i++) step();
    const late = memory();
    // less when the garbage of earlier tests went meanwhile
    expect(late.liveBytes).toBeLessThanOrEqual(early.liveBytes);
    expect(late.tensors).toBeLessThanOrEqual(early.tensors);
    expect(late.systemAllocations).toBe(early.systemAllocations);
  });
});

describe('scope', () => {
  it('gives back what is not returned', () => {
    let inner!: Tensor;
    const result = scope(() => {
      inner = zeros([10]);
      return inner.add(1);
    });
    expect(inner.disposed).toBe(true);
    expect(result.toArray()).toEqual(Array(10).fill(1));
    result.dispose();
  });

  it('keeps what is returned in arrays, objects and maps', () => {
    const { list, map } = scope(() => {
      const [a, b, c] = [tensor([1]), tensor([2]), tensor([3])];
      zeros([5]);
      return { list: [a, { deep: b }] as const, map: new Map([['c', c]]) };
    });
    expect([list[0].item(), list[1].deep.item(), map.get('c')!.item()]).toEqual([1, 2, 3]);
  });

  it('leaves kept tensors alone', () => {
    let kept!: Tensor;
    scope(() => scope(() => void (kept = tensor([4]).keep())));
    expect(kept.item()).toBe(4);
    kept.dispose();
    expect(kept.disposed).toBe(true);
  });

  it('hands what is returned to the scope around it', () => {
    let middle!: Tensor;
    scope(() => {
      middle = scope(() => tensor([1]));
      expect(middle.disposed).toBe(false);
    });
    expect(middle.disposed).toBe(true);
  });

  it('gives back everything when the body throws', () => {
    let inner!: Tensor;
    expect(
      leaves(() =>
        expect(() =>
          scope(() => {
            inner = zeros([1000]);
            throw new RangeError('out');
          }),
        ).toThrow(RangeError),
      ),
    ).toBeLessThanOrEqual(0);
    expect(inner.disposed).toBe(true);
    // and the next scope is none the worse
    expect(scope(() => tensor([1])).item()).toBe(1);
  });

  it('keeps memory that a returned view uses', () => {
    const row = scope(() => tensor([[1, 2], [3, 4]]).select(0, 1)); // prettier-ignore
    expect(row.toArray()).toEqual([3, 4]);
  });

  it('keeps what is returned at any depth, once, also in objects without a prototype', () => {
    const made = scope(() => {
      const list: { item: Tensor; next?: unknown } = { item: tensor([1]) };
      list.next = list;
      const bare = Object.assign(Object.create(null), { list }) as { list: typeof list };
      return [[[[[[bare]]]]]];
    });
    expect(made[0][0][0][0][0][0].list.item.item()).toBe(1);
  });

  it('must be synchronous', () => {
    expect(() => scope(() => Promise.resolve(1))).toThrow(ArgumentError);
    expect(() => scope(() => Promise.resolve(1))).toThrow('scope: the body must be synchronous');
  });
});

describe('dispose', () => {
  it('makes further use an error that names the operation', () => {
    const x = tensor([[1, 2]]).mul(2);
    x.dispose();
    x.dispose();
    const text =
      'tensor [1, 2] made by mul was disposed; return it from its scope or keep() it to use it afterwards';
    const uses = [
      () => x.add(1),
      () => x.data,
      () => x.toArray(),
      () => x.reshape([2]),
      () => x.sum(),
      () => String(x),
    ];
    for (const use of uses) {
      expect(use).toThrow(DisposedError);
      expect(use).toThrow(text);
    }
  });

  it('is what `using` calls', () => {
    let x!: Tensor;
    {
      using y = tensor([1]);
      x = y;
      expect(x.disposed).toBe(false);
    }
    expect(x.disposed).toBe(true);
  });

  it('never shows the numbers of another tensor', () => {
    const x = tensor([1, 2, 3]);
    x.dispose();
    const y = tensor([7, 8, 9]);
    expect(() => x.toArray()).toThrow(DisposedError);
    expect(y.toArray()).toEqual([7, 8, 9]);
  });
});

describe('data', () => {
  it('outlives a tensor that nobody disposed', () => {
    const view = (() => softmax(tensor([1, 1, 1, 1])).data)();
    const rows = Array.from({ length: 2000 }, (_, i) => full([256], i).data);
    memory(); // collects what only `data` was read of
    for (let i = 0; i < 2100; i++) full([256], -1);
    full([4], 9);
    emptyPool();
    expect(Array.from(view)).toEqual([0.25, 0.25, 0.25, 0.25]);
    expect(rows.every((row, i) => row[0] === i && row[255] === i)).toBe(true);
  });

  it('is not taken away by a message', () => {
    const x = full([1000], 3);
    const { port1 } = new MessageChannel();
    try {
      port1.postMessage(x.data, [x.data.buffer as ArrayBuffer]); // refused, or copied, by the version of Node
    } catch (error) {
      expect((error as Error).name).toBe('DataCloneError');
    }
    port1.close();
    expect(x.sum().item()).toBe(3000);
    x.dispose();
    expect(zeros([1000]).sum().item()).toBe(0);
  });
});
