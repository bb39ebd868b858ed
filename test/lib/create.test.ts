import { describe, expect, it } from 'vitest';

import * as ts from '../../lib/index.js';
import { Tensor, tensor } from '../../lib/index.js';

describe('tensor', () => {
  it('takes nested arrays, booleans and numbers', () => {
    expect(tensor([[1, 2], [3, 4]])).toMatchObject({ shape: [2, 2], dtype: 'float32' }); // prettier-ignore
    expect(tensor([true, false])).toMatchObject({ shape: [2], dtype: 'bool' });
    expect(tensor([true, 2]).dtype).toBe('float32');
    expect(tensor(5)).toMatchObject({ shape: [], dtype: 'float32' });
    expect(tensor([]).shape).toEqual([0]);
    expect(tensor([[], []]).shape).toEqual([2, 0]);
  });

  it('keeps the type of typed arrays, and copies them', () => {
    const data = new Float64Array([1, 2, 3, 4]);
    const x = tensor(data, { shape: [2, 2] });
    data[0] = 9;
    expect(x.toArray()).toEqual([[1, 2], [3, 4]]); // prettier-ignore
    const types = [
      new Float32Array(1),
      data,
      new Int32Array(1),
      new Uint8Array(1),
      new Int8Array(1),
      new Uint16Array(1),
    ];
    expect(types.map((t) => tensor(t).dtype)).toEqual([
      'float32',
      'float64',
      'int32',
      'uint8',
      'int32',
      'int32',
    ]);
  });

  it('takes the bits of half types', () => {
    const x = tensor(Uint16Array.of(0x3c00, 0xc000, 0x7bff, 0x0001), { dtype: 'float16' });
    expect(x.toArray()).toEqual([1, -2, 65504, 2 ** -24]);
    expect(tensor(Uint16Array.of(0x3f80, 0xc049), { dtype: 'bfloat16' }).toArray()).toEqual([1, -3.140625]);
  });

  it('converts to any dtype', () => {
    expect(tensor([1.7, -1.7], { dtype: 'int32' }).toArray()).toEqual([1, -1]);
    expect(tensor([0, 0.5, NaN], { dtype: 'bool' }).toArray()).toEqual([0, 1, 1]);
    expect(tensor([1 + 2 ** -9], { dtype: 'bfloat16' }).toArray()).toEqual([1]);
    expect(tensor([0.1], { dtype: 'float64' }).toArray()).toEqual([0.1]);
  });
});

describe('constants and counting', () => {
  it('fill', () => {
    expect(ts.full([2], 7).toArray()).toEqual([7, 7]);
    expect(ts.zerosLike(tensor([1, 2], { dtype: 'int32' }))).toMatchObject({ shape: [2], dtype: 'int32' });
    expect(ts.onesLike(tensor([1, 2]), { dtype: 'bool' }).toArray()).toEqual([1, 1]);
    expect(ts.ones([2], { requiresGrad: true }).requiresGrad).toBe(true);
    expect(ts.eye(2).toArray()).toEqual([[1, 0], [0, 1]]); // prettier-ignore
  });

  it('fill blocks beyond the caches to their last item', () => {
    for (const [dtype, bytes] of [
      ['float32', 4],
      ['bfloat16', 2],
      ['uint8', 1],
    ] as const) {
      // prettier-ignore
      const { data } = ts.full([2 ** 25 / bytes + 5], 3, { dtype });
      expect(data.every((bits) => bits === data[0])).toBe(true);
      expect(data.at(-1)).toBe(dtype === 'bfloat16' ? 0x4040 : 3);
    }
  });

  it('count like PyTorch', () => {
    expect(ts.arange(4)).toMatchObject({ dtype: 'int32', shape: [4] });
    expect(ts.arange(1, 4).toArray()).toEqual([1, 2, 3]);
    expect(ts.arange(5, 0, -2).toArray()).toEqual([5, 3, 1]);
    expect(ts.arange(0, 1, 0.25).toArray()).toEqual([0, 0.25, 0.5, 0.75]);
    expect(ts.arange(3, { dtype: 'float64' }).dtype).toBe('float64');
    expect(ts.arange(3, undefined, undefined, { dtype: 'float32' }).dtype).toBe('float32');
    expect(ts.arange(0).shape).toEqual([0]);
    expect(ts.arange(3e9, 3e9 + 2, 1, { dtype: 'float64' }).toArray()).toEqual([3e9, 3e9 + 1]);
    expect(ts.arange(0, 2, 0.5, { dtype: 'float16' }).toArray()).toEqual([0, 0.5, 1, 1.5]);
    expect(ts.arange(2 ** 31 - 2, 2 ** 31).toArray()).toEqual([2 ** 31 - 2, 2 ** 31 - 1]);
  });
});

describe('reading', () => {
  it('gives numbers', () => {
    const x = tensor([[1, 2], [3, 4]]); // prettier-ignore
    expect(x.transpose(0, 1).data).toEqual(Float32Array.of(1, 3, 2, 4));
    expect(tensor([[5]]).item()).toBe(5);
    expect(tensor(1.5, { dtype: 'bfloat16' }).item()).toBe(1.5);
    expect(() => x.item()).toThrow('item: the tensor must have one element, got [2, 2]');
  });

  it('shares memory through data', () => {
    const x = ts.zeros([3]);
    x.data[1] = 5;
    expect(x.toArray()).toEqual([0, 5, 0]);
  });
});

describe('methods', () => {
  it('are the functions with the tensor in front', () => {
    const x = Tensor.tensor([[1, -2], [3, 4]]); // prettier-ignore
    expect(x.abs().add(1).sum(0, { keepdim: true }).toArray()).toEqual([[6, 8]]);
    expect(x.to('int32').dtype).toBe('int32');
    expect(
      Tensor.zeros([2])
        .add_(tensor([1, 2]))
        .toArray(),
    ).toEqual([1, 2]);
    expect(x.matmul(Tensor.eye(2)).toArray()).toEqual(x.toArray());
    expect(x.topk(1).values.toArray()).toEqual([[1], [4]]);
  });
});

describe('writing in place', () => {
  it('changes what other views show', () => {
    const x = ts.zeros([2, 3]);
    x.select(1, 1).fill_(5);
    x.slice(0, 0, 1).copy_(tensor([1, 2, 3], { dtype: 'float64' }));
    x.transpose(0, 1).add_(tensor([10, 20]));
    expect(x.toArray()).toEqual([[11, 12, 13], [20, 25, 20]]); // prettier-ignore
    expect(x.zero_().toArray()).toEqual([[0, 0, 0], [0, 0, 0]]); // prettier-ignore
  });

  it('adds in every dtype', () => {
    for (const dtype of ['float64', 'float16', 'bfloat16', 'int32', 'uint8'] as const) {
      const x = ts.ones([2, 3], { dtype });
      x.transpose(0, 1).add_(tensor([1, 2]));
      expect(x.toArray()).toEqual([[2, 2, 2], [3, 3, 3]]); // prettier-ignore
    }
  });

  it('adds to bool by or', () => {
    const x = tensor([true, false, true, false]);
    expect(x.add_(tensor([true, true, false, false])).toArray()).toEqual([1, 1, 1, 0]);
  });

  it('takes what is empty', () => {
    const x = ts.zeros([3, 0]);
    expect(x.zero_()).toBe(x);
    expect(
      x
        .add_(ts.ones([3, 0]))
        .copy_(tensor(1))
        .fill_(2).shape,
    ).toEqual([3, 0]);
    expect(ts.zeros([3, 1]).expand([3, 4]).slice(0, 0, 0).zero_().size).toBe(0);
  });

  it('takes its own memory as the source', () => {
    const x = tensor([[1, 2], [3, 4]]); // prettier-ignore
    x.copy_(x.transpose(0, 1));
    expect(x.toArray()).toEqual([[1, 3], [2, 4]]); // prettier-ignore
  });
});

describe('dtypes that meet', () => {
  const of = (dtype: ts.DType): Tensor => ts.ones([2], { dtype });

  it.each([
    ['float32', 'float64', 'float64'],
    ['float32', 'float16', 'float32'],
    ['float16', 'bfloat16', 'float32'],
    ['int32', 'float16', 'float16'],
    ['uint8', 'int32', 'int32'],
    ['bool', 'uint8', 'uint8'],
    ['bool', 'bool', 'int32'],
  ] as const)('%s + %s = %s', (a, b, sum) => {
    expect(ts.add(of(a), of(b)).dtype).toBe(sum);
    expect(ts.add(of(b), of(a)).toArray()).toEqual([2, 2]);
  });

  it('keep the dtype next to a number', () => {
    for (const dtype of ['float16', 'bfloat16', 'float64', 'int32', 'uint8'] as const) {
      expect(of(dtype).add(2)).toMatchObject({ dtype });
      expect(of(dtype).add(2).toArray()).toEqual([3, 3]);
    }
    expect(of('int32').mul(0.5)).toMatchObject({ dtype: 'float32' });
    expect(of('bool').add(1)).toMatchObject({ dtype: 'int32' });
  });

  it('compare with numbers that they do not hold', () => {
    const u = tensor([0, 255, 1], { dtype: 'uint8' });
    expect(u.eq(-1).toArray()).toEqual([0, 0, 0]);
    expect(u.lt(300).toArray()).toEqual([1, 1, 1]);
    expect(u.ne(256).toArray()).toEqual([1, 1, 1]);
    expect(u.gt(-1).toArray()).toEqual([1, 1, 1]);
    const i = tensor([2 ** 31 - 1, -(2 ** 31)], { dtype: 'int32' });
    expect(i.lt(3e9).toArray()).toEqual([1, 1]);
    expect(ts.ge(2 ** 31, i).toArray()).toEqual([1, 1]);
    expect(i.eq(2 ** 31 - 1).toArray()).toEqual([1, 0]);
    expect(tensor([true, false]).lt(3e9).toArray()).toEqual([1, 1]);
    expect(tensor([3], { dtype: 'int32' }).div(3e9).item()).toBeCloseTo(1e-9, 15);
  });

  it('divide truly, and keep whole powers whole', () => {
    const x = tensor([7, -7], { dtype: 'int32' });
    expect(x.div(2)).toMatchObject({ dtype: 'float32' });
    expect(x.div(2).toArray()).toEqual([3.5, -3.5]);
    expect(x.pow(3)).toMatchObject({ dtype: 'int32' });
    expect(x.pow(3).toArray()).toEqual([343, -343]);
    expect(x.exp().dtype).toBe('float32');
    expect(tensor([true, true]).sum().item()).toBe(2);
    expect(tensor([200, 100], { dtype: 'uint8' }).sum().item()).toBe(300);
    expect(tensor([200, 100], { dtype: 'uint8' }).amax()).toMatchObject({ dtype: 'uint8' });
    expect(tensor([200, 100], { dtype: 'uint8' }).amax().item()).toBe(200);
  });
});

describe('numbers that are none', () => {
  const odd = tensor([NaN, Infinity, -Infinity, 0, -0, 1]);
  const list = (x: Tensor): number[] => Array.from(x.toFloat64Array());

  it('pass through', () => {
    expect(list(odd.neg())).toEqual([NaN, -Infinity, Infinity, -0, 0, -1]);
    expect(list(odd.mul(2))).toEqual([NaN, Infinity, -Infinity, 0, -0, 2]);
    expect(list(odd.abs())).toEqual([NaN, Infinity, Infinity, 0, 0, 1]);
    expect(list(odd.relu().add(0))).toEqual([NaN, Infinity, 0, 0, 0, 1]);
    expect(list(odd.exp())).toEqual([NaN, Infinity, 0, 1, 1, expect.closeTo(Math.E)]);
    expect(list(odd.sigmoid())).toEqual([NaN, 1, 0, 0.5, 0.5, expect.closeTo(0.731058)]);
    expect(list(odd.tanh())).toEqual([NaN, 1, -1, 0, -0, expect.closeTo(0.761594)]);
    expect(list(odd.clamp(-1, 0.5))).toEqual([NaN, 0.5, -1, 0, expect.closeTo(0), 0.5]);
    expect(list(tensor([0, 2]).clamp(NaN, 1))).toEqual([NaN, NaN]);
    expect(list(tensor([0, 2], { dtype: 'float64' }).clamp(0, NaN))).toEqual([NaN, NaN]);
    expect(list(odd.reciprocal())).toEqual([NaN, 0, -0, Infinity, -Infinity, 1]);
    expect(list(odd.isNaN())).toEqual([1, 0, 0, 0, 0, 0]);
    expect(list(ts.maximum(odd, 0.5))[0]).toBeNaN();
    expect(odd.amax().item()).toBeNaN();
    expect(odd.argmax().item()).toBe(0);
    expect(list(odd.slice(0, 1).log())).toEqual([Infinity, NaN, -Infinity, -Infinity, 0]);
  });

  it('are ordered as PyTorch orders them', () => {
    const x = tensor([2, NaN, -1, Infinity]);
    expect(list(x.sort().values)).toEqual([-1, 2, Infinity, NaN]);
    expect(list(x.sort(0, { descending: true }).indices)).toEqual([1, 3, 0, 2]);
    expect(list(x.topk(2).indices)).toEqual([1, 3]);
  });

  it('do not spoil log-sum-exp', () => {
    expect(tensor([-Infinity, -Infinity]).logsumexp(0).item()).toBe(-Infinity);
    expect(tensor([Infinity, 1]).logsumexp(0).item()).toBe(Infinity);
    expect(tensor([1000, 1000]).logsumexp(0).item()).toBeCloseTo(1000 + Math.LN2, 3);
  });

  it('come of nothing', () => {
    expect(ts.zeros([0]).sum().item()).toBe(0);
    expect(ts.zeros([0]).prod().item()).toBe(1);
    expect(ts.zeros([0]).mean().item()).toBeNaN();
    expect(ts.zeros([0, 3]).sum(0).toArray()).toEqual([0, 0, 0]);
    expect(tensor([1]).variance().item()).toBeNaN();
  });
});

describe('half types', () => {
  it('have the deviations of PyTorch, whose squares would not fit', () => {
    expect(tensor([300, -300, 300, -300], { dtype: 'float16' }).std().item()).toBe(346.5);
    expect(tensor([1000, 1001, 1002, 1003], { dtype: 'bfloat16' }).std().item()).toBe(2);
    expect(tensor([1000, 1001, 1002, 1003], { dtype: 'bfloat16' }).variance().item()).toBe(4);
  });
});

describe('gradients at special places', () => {
  const gradient = (f: (x: Tensor) => Tensor, at: number[]): number[] => {
    const x = tensor(at, { requiresGrad: true });
    f(x).sum().backward();
    return Array.from(x.grad!.toFloat64Array(), (g) => g + 0);
  };

  it('are those of PyTorch', () => {
    expect(gradient(ts.relu, [-1, 0, 1, NaN])).toEqual([0, 0, 1, 1]);
    expect(gradient((x) => x.clamp(NaN, 1), [0, 2])).toEqual([0, 0]);
    expect(gradient((x) => x.reshape([2, 2]).std(1), [1, 1, 1, 2])).toEqual([
      0,
      0,
      -Math.fround(Math.SQRT1_2),
      Math.fround(Math.SQRT1_2),
    ]);
    expect(gradient(ts.abs, [-1, 0, 1])).toEqual([-1, 0, 1]);
    expect(gradient((x) => x.clamp(-1, 1), [-2, -1, 0, 1, 2])).toEqual([0, 1, 1, 1, 0]);
    expect(gradient((x) => ts.maximum(x, 1), [0, 1, 2])).toEqual([0, 0.5, 1]);
    expect(gradient((x) => x.amax(), [3, 1, 3])).toEqual([0.5, 0, 0.5]);
    expect(gradient((x) => x.prod(), [2, 0, 3])).toEqual([0, 6, 0]);
    expect(gradient((x) => x.prod(), [0, 0, 3])).toEqual([0, 0, 0]);
    expect(gradient((x) => x.pow(0), [0, 2])).toEqual([0, 0]);
    expect(gradient((x) => ts.pow(x, tensor([0, 2])), [0, 3])).toEqual([0, 6]);
    expect(gradient((x) => ts.pow(tensor([0, 2]), x), [2, 0])).toEqual([0, expect.closeTo(Math.LN2)]);
  });
});

describe('views', () => {
  it('cost no memory', () => {
    const x = ts.zeros([4, 6]);
    const { liveBytes } = ts.memory();
    const views = [
      x.reshape([2, 12]),
      x.transpose(0, 1),
      x.slice(1, 2, 4),
      x.select(0, 1),
      x.unsqueeze(0),
      x.flatten(),
      ...x.split(2, 1),
      // splitting the last dimension of a slice needs no copy either
      x.slice(1, 0, 4).reshape([4, 2, 2]),
    ];
    expect(views.every((v) => v.storage === x.storage)).toBe(true);
    expect(ts.memory().liveBytes).toBeLessThanOrEqual(liveBytes);
    expect(x.transpose(0, 1).reshape([24]).storage).not.toBe(x.storage);
  });
});
