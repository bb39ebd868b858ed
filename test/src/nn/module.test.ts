/** Module: which of its properties are parameters, and loading by name. */

import { describe, expect, it } from 'vitest';

import {
  copy_,
  linear,
  noGrad,
  ones,
  scope,
  StateDictError,
  type Tensor,
  zeros,
} from '../../../lib/index.js';
import { Linear, Module } from '../../../src/nn/index.js';
import { Trainer } from '../../../src/training/index.js';

class Net extends Module {
  readonly layers = [new Linear(2, 3), new Linear(3, 2)];
  readonly tied = this.layers[0].weight;
  readonly #table = ones([2]);

  forward(x: Tensor): Tensor {
    return this.layers.reduce((h, layer) => layer.forward(h), x.mul(this.#table));
  }
}

describe('a module', () => {
  it('names its parameters by their paths, tied ones once, private fields never', () => {
    const names = ['layers.0.weight', 'layers.0.bias', 'layers.1.weight', 'layers.1.bias'];
    const net = new Net();
    expect(net.namedParameters().map(([name]) => name)).toEqual(names);
    expect(net.numParameters()).toBe(6 + 3 + 6 + 2);
  });

  it('keeps frozen weights among its parameters, and training leaves them alone', async () => {
    class Model extends Module {
      readonly table = new Linear(4, 4);
      readonly head = new Linear(4, 4);
      forward(ids: Tensor): Tensor {
        const [B, T] = ids.shape;
        return this.head.forward(linear(ones([B, T, 4]), this.table.weight));
      }
    }
    const model = new Model();
    model.table.weight.requiresGrad = false;
    expect([...model.stateDict().keys()]).toContain('table.weight');
    const before = [model.table.weight.toArray(), model.head.weight.toArray()];
    const train = Int32Array.from({ length: 20 }, (_, i) => i % 4);
    await new Trainer({ model, train, batchSize: 2, sequenceLength: 4, steps: 2 }).run();
    expect(model.table.weight.toArray()).toEqual(before[0]);
    expect(model.head.weight.toArray()).not.toEqual(before[1]);
  });

  it('loads strictly or what fits, and nothing when something is wrong', () => {
    const [from, to] = [new Linear(2, 2), new Linear(2, 2)];
    to.loadStateDict(from.stateDict());
    expect(to.weight.toArray()).toEqual(from.weight.toArray());
    const part = new Map([['bias', ones([2])]]);
    expect(() => to.loadStateDict(part)).toThrow(StateDictError);
    expect(() => to.loadStateDict(part)).toThrow('loadStateDict(Linear): 1 missing (weight [2, 2])');
    expect(to.loadStateDict(part, { strict: false })).toEqual({ missing: ['weight'], unexpected: [] });
    expect(to.bias!.toArray()).toEqual([1, 1]);
    noGrad(() => copy_(to.bias!, zeros([2])));
    const wrong = new Map([...part, ['weight', ones([3, 2])]]);
    expect(() => to.loadStateDict(wrong, { strict: false })).toThrow(
      '1 of wrong shape (weight: file [3, 2], model [2, 2])',
    );
    expect(to.bias!.toArray()).toEqual([0, 0]);
  });

  it('takes the tensors themselves with assign, wherever a parameter is held', () => {
    const model = new (class extends Module {
      readonly first = new Linear(2, 2);
      readonly second = new Linear(2, 2);
    })();
    Object.assign(model.second, { weight: model.first.weight }); // tied
    model.first.bias!.requiresGrad = false;
    const [old, bias] = [model.first.weight, model.second.bias!];
    const state = new Map([
      ['first.weight', ones([2, 2], { dtype: 'bfloat16' })],
      ['first.bias', ones([2])],
    ]);
    const result = scope(() => model.loadStateDict(state, { assign: true, strict: false }));
    expect(result).toEqual({ missing: ['second.bias'], unexpected: [] });
    expect(model.first.weight).toBe(state.get('first.weight'));
    expect(model.second.weight).toBe(model.first.weight);
    expect(model.second.bias).toBe(bias);
    expect(model.parameters().map((p) => p.requiresGrad)).toEqual([true, false, true]);
    expect(old.disposed).toBe(true);
    expect(() => model.loadStateDict(state, { asign: true } as object)).toThrow(
      "loadStateDict: unknown option 'asign' (did you mean 'assign'?)",
    );
  });
});
