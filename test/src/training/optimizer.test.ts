import { describe, expect, it } from 'vitest';

import {
  ArgumentError,
  DTypeError,
  getThreads,
  memory,
  scope,
  setThreads,
  StateDictError,
  tensor,
  type Tensor,
  TrainingError,
  zeros,
} from '../../../lib/index.js';
import {
  Adafactor,
  Adagrad,
  Adam,
  AdamW,
  clipGradNorm,
  decayGroups,
  gradNorm,
  Lion,
  Muon,
  RMSprop,
  SGD,
  type Optimizer,
} from '../../../src/training/index.js';
import { bits, fromNumbers, uniform } from '../../support/compare.js';
import { expectClose, readGolden } from '../../support/golden.js';
import {
  expectClip,
  expectSteps,
  parameter,
  toTensor,
  type Recorded,
  type RecordedClip,
  type RecordedSteps,
} from '../../support/recorded-optim.js';

interface Golden {
  readonly adamw: RecordedSteps;
  readonly clip_grad_norm: RecordedClip[];
}
const golden = readGolden<Golden>('optim.json');

describe('AdamW', () => {
  const settings = { lr: 0.01, betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0.1 } as const;

  it("makes PyTorch's updates to 1e-6", () => {
    const { params, optimizer } = expectSteps(golden.adamw, (p) => new AdamW(p, settings));
    optimizer.zeroGrad();
    expect(params.every((p) => p.grad === null)).toBe(true);
  });

  it('goes on from a saved state with the same bits', () => {
    const run = (from: Tensor[], optimizer: AdamW, first: number, last: number): void => {
      for (const grads of golden.adamw.grads.slice(first, last)) {
        grads.forEach((grad, j) => (from[j].grad = toTensor(grad)));
        optimizer.step();
      }
    };
    const straight = golden.adamw.init.map(parameter);
    const optimizer = new AdamW(straight, settings);
    run(straight, optimizer, 0, 5);
    const resumed = straight.map((p) => parameter({ shape: [...p.shape], data: [...p.data] }));
    const second = new AdamW(resumed, settings);
    second.loadStateDict(optimizer.stateDict());
    run(straight, optimizer, 5, 12);
    run(resumed, second, 5, 12);
    resumed.forEach((p, j) => expect(p.data).toEqual(straight[j].data));
  });

  it('scales gradients, skips parameters without one, and keeps the settings of groups', () => {
    const make = () => [1, 2, 3].map((value) => parameter({ shape: [1, 1], data: [value] }));
    const [a, b, c] = make();
    const optimizer = new AdamW(
      [{ params: [a], lr: 0.2, weightDecay: 0 }, { params: [b], weightDecay: 0.5 }, { params: [c] }],
      { lr: 0.1, eps: 0.5 },
    ); // prettier-ignore
    a.grad = tensor([[4]]);
    b.grad = tensor([[4]]);
    optimizer.step({ gradScale: 0.25 });
    const update = 1 / (1 + 0.5); // of a first step with gradient 1
    expectClose(a, [1 - 0.2 * update], { atol: 1e-6 });
    expectClose(b, [2 * (1 - 0.1 * 0.5) - 0.1 * update], { atol: 1e-6 });
    expect(c.item()).toBe(3);
    expect([...optimizer.stateDict().keys()]).toEqual([
      'step',
      '0.exp_avg',
      '0.exp_avg_sq',
      '1.exp_avg',
      '1.exp_avg_sq',
    ]);
    const before = a.item();
    optimizer.lr = 0; // stops all groups
    optimizer.step();
    expect(a.item()).toBe(before);
  });

  it('gives the same bits for all parameters in one call, one by one, and on any number of threads', () => {
    // Empty, smaller than a piece of work, exactly one, one more, several pieces; a scalar's worth between large ones.
    const sizes = [3, 0, 16384, 16385, 1, 70000, 65536, 17, 131073];
    const made = (step: number): Tensor[] =>
      sizes.map((n, i) => fromNumbers(uniform(n, -1, 1, 10 * step + i), [n], 'float32'));
    const run = (threads: number, together: boolean): Buffer[] => {
      setThreads(threads);
      const params = made(0);
      for (const p of params) p.requiresGrad = true;
      const groups = together ? [params] : params.map((p) => [p]);
      const optimizers = groups.map((group) => new AdamW(group, settings));
      let squares = 0;
      for (let step = 1; step < 4; step++) {
        made(step).forEach((grad, i) => (params[i].grad = i === step ? null : grad));
        for (const optimizer of optimizers) optimizer.step({ gradScale: 0.7 });
        squares += gradNorm(params);
      }
      const state = optimizers.flatMap((o) => [...o.stateDict()].filter(([name]) => name !== 'step'));
      return [...params, ...state.map(([, t]) => t)].map(bits).concat(Buffer.from(String(squares)));
    };
    const threads = getThreads();
    try {
      const expected = run(1, false);
      for (const n of [1, 2, 3]) {
        run(n, true).forEach((b, i) => expect(b.equals(expected[i]), `${n} threads, ${i}`).toBe(true));
      }
    } finally {
      setThreads(threads);
    }
  });

  it('refuses what it cannot optimize', () => {
    const p = parameter({ shape: [2], data: [1, 2] });
    expect(() => new AdamW([p, p])).toThrow('a parameter was given twice');
    expect(() => new AdamW([zeros([2])])).toThrow('is not a leaf that requires a gradient');
    expect(() => new AdamW([zeros([2], { dtype: 'float64', requiresGrad: true })])).toThrow(DTypeError);
    expect(() => new AdamW([p, { params: [] }] as never)).toThrow('either parameters or groups');
    expect(() => new AdamW([p], { lr: -1 })).toThrow('AdamW: lr must be 0 or more, got -1');
    expect(() => new AdamW([p], { betas: [0.9, 1] })).toThrow('betas must be from 0 to below 1, got 1');
    expect(() => new AdamW([p], { eps: NaN })).toThrow(ArgumentError);
    expect(() => new AdamW([p], { weigthDecay: 0 } as never)).toThrow("did you mean 'weightDecay'?");
    expect(() => new AdamW([{ params: [p], weightDecay: -1 }])).toThrow(
      'weightDecay must be 0 or more, got -1',
    );
  });

  it('refuses a state that is not its own', () => {
    const optimizer = new AdamW([parameter({ shape: [2], data: [1, 2] })]);
    const steps = (...n: number[]): Tensor => tensor(n, { dtype: 'int32' });
    const load = (state: Record<string, Tensor>) => () =>
      optimizer.loadStateDict(new Map(Object.entries(state)));
    expect(load({})).toThrow(StateDictError);
    expect(load({ step: steps(1, 1) })).toThrow(
      "must count the updates of 1 parameters in 'step', it has int32 [2]",
    );
    expect(load({ step: steps(1) })).toThrow('0.exp_avg must be float32 [2], it is missing');
    expect(load({ step: steps(1), '0.exp_avg': zeros([3]) })).toThrow(
      '0.exp_avg must be float32 [2], it is float32 [3]',
    );
    expect(load({ step: steps(0) })).not.toThrow();
  });
});

type Make = (params: Tensor[]) => Optimizer;
/** As in test/golden/record-optimizers.py; Muon's parameters of two dimensions are its matrices. */
const others: Record<string, Make> = {
  adam: (p) => new Adam(p, { lr: 0.01 }),
  adam_l2: (p) => new Adam(p, { lr: 0.01, weightDecay: 0.1 }),
  adam_amsgrad_maximize: (p) => new Adam(p, { lr: 0.01, amsgrad: true, maximize: true }),
  adamw_amsgrad: (p) => new AdamW(p, { lr: 0.01, amsgrad: true }),
  sgd: (p) => new SGD(p, { lr: 0.1 }),
  sgd_momentum: (p) => new SGD(p, { lr: 0.1, momentum: 0.9 }),
  sgd_dampening: (p) => new SGD(p, { lr: 0.1, momentum: 0.9, dampening: 0.3, maximize: true }),
  sgd_nesterov_l2: (p) => new SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 }),
  adagrad: (p) => new Adagrad(p, { lr: 0.1 }),
  adagrad_decay: (p) =>
    new Adagrad(p, { lr: 0.1, lrDecay: 0.1, weightDecay: 0.05, initialAccumulatorValue: 0.2 }),
  rmsprop: (p) => new RMSprop(p, { lr: 0.01 }),
  rmsprop_centered: (p) =>
    new RMSprop(p, { lr: 0.01, alpha: 0.9, weightDecay: 0.05, momentum: 0.8, centered: true }),
  adafactor: (p) => new Adafactor(p, { lr: 0.05 }),
  adafactor_decay: (p) =>
    new Adafactor(p, { lr: 0.05, eps: [1e-6, 1e-2], beta2Decay: -0.6, d: 2, weightDecay: 0.1 }),
  lion: (p) => new Lion(p, { lr: 0.01, weightDecay: 0.1 }),
  muon: (p) => new Muon(p, { lr: 0.02, betas: [0.9, 0.95] }),
  muon_plain: (p) => {
    const matrices = { nesterov: false, momentum: 0.9, iterations: 3, adjustLr: 'matchRmsAdamW' } as const;
    return new Muon(p, { lr: 0.02, betas: [0.9, 0.95], ...matrices });
  },
};

describe('the other optimizers', () => {
  const recorded = readGolden<Record<string, number[][][]>>('optimizers.json');
  const { init, grads } = golden.adamw;
  /** The matrix, the vector, and the matrix transposed. */
  const twice = ([matrix, vector]: Recorded[]): Tensor[] => {
    const m = toTensor(matrix);
    return [m, toTensor(vector), m.transpose(0, 1).contiguous()];
  };
  const start = (): Tensor[] => twice(init).map((p) => Object.assign(p, { requiresGrad: true }));
  const step = (params: Tensor[], optimizer: Optimizer, i: number): void => {
    twice(grads[i]).forEach((grad, j) => (params[j].grad = grad));
    optimizer.step();
  };

  it('are all recorded', () => expect(Object.keys(others).sort()).toEqual(Object.keys(recorded).sort()));

  it.each(Object.entries(others))("%s makes the reference's updates to 2e-6", (name, make) => {
    const params = start();
    const optimizer = make(params);
    recorded[name].forEach((expected, i) => {
      step(params, optimizer, i);
      params.forEach((p, j) => expectClose(p, expected[j], { atol: 2e-6 }, `step ${i}, parameter ${j}`));
    });
  });

  it.each(Object.entries(others))('%s goes on from a saved state with the same bits', (_, make) => {
    const params = start();
    const optimizer = make(params);
    for (let i = 0; i < 5; i++) step(params, optimizer, i);
    const resumed = params.map((p) => Object.assign(p.detach().clone(), { requiresGrad: true }));
    const second = make(resumed);
    second.loadStateDict(optimizer.stateDict());
    for (let i = 5; i < 12; i++) for (const [p, o] of [[params, optimizer], [resumed, second]] as const) step(p, o, i); // prettier-ignore
    resumed.forEach((p, j) => expect(bits(p).equals(bits(params[j]))).toBe(true));
  });

  it('leave no memory behind', () => {
    for (const make of Object.values(others)) {
      const params = start();
      const optimizer = make(params);
      const live = [0, 1, 2, 3].map((i) => {
        scope(() => step(params, optimizer, i));
        return memory().liveBytes;
      });
      expect(live[3]).toBeLessThanOrEqual(live[1]);
    }
  });

  it('Muon leaves the tables that it is told of to AdamW', () => {
    const [a, b] = [start(), start()];
    const muon = new Muon(a, { lr: 0.02, weightDecay: 0.1, adamw: a });
    const adamw = new AdamW(b, { lr: 0.02, weightDecay: 0.1 });
    for (let i = 0; i < 3; i++) for (const [p, o] of [[a, muon], [b, adamw]] as const) step(p, o, i); // prettier-ignore
    a.forEach((p, j) => expect(bits(p).equals(bits(b[j]))).toBe(true));
  });

  it('refuse what they cannot use', () => {
    const p = start();
    const make: [() => Optimizer, string][] = [
      [() => new Adam(p, { betas: [0.9, -1] }), 'Adam: betas must be from 0 to below 1, got -1'],
      [() => new SGD(p, { nesterov: true }), 'SGD: nesterov needs a momentum and no dampening'],
      [() => new SGD(p, { momentum: -1 }), 'SGD: momentum must be 0 or more, got -1'],
      [() => new SGD(p, { momentun: 1 } as never), "did you mean 'momentum'?"],
      [() => new Adagrad(p, { lrDecay: -1 }), 'Adagrad: lrDecay must be 0 or more, got -1'],
      [() => new RMSprop(p, { alpha: 1 }), 'RMSprop: alpha must be from 0 to below 1, got 1'],
      [() => new Adafactor(p, { beta2Decay: 1 }), 'Adafactor: beta2Decay must be 0 or less, got 1'],
      [() => new Adafactor(p, { eps: [1] as never }), 'Adafactor: eps must be two numbers, got 1'],
      [() => new Adafactor(p, { eps: [-1, 1] }), 'Adafactor: eps must be 0 or more, got -1'],
      [() => new Adafactor(p, { d: 0.5 }), 'Adafactor: d must be 1 or more, got 0.5'],
      [() => new Lion(p, { betas: [1] as never }), 'Lion: betas must be two numbers, got 1'],
      [() => new Muon(p, { momentum: 1 }), 'Muon: momentum must be from 0 to below 1, got 1'],
      [() => new Muon(p, { iterations: 0 }), 'Muon: iterations must be a whole number from 1 to 99, got 0'],
      [() => new Muon(p, { adjustLr: 'none' as never }), "adjustLr must be 'original' or 'matchRmsAdamW'"],
    ];
    for (const [call, message] of make) {
      expect(call).toThrow(ArgumentError);
      expect(call).toThrow(message);
    }
  });

  it("refuse another optimizer's state", () => {
    const [a, b] = [start(), start()];
    const adamw = new AdamW(a);
    step(a, adamw, 0);
    const lion = new Lion(b);
    expect(() => lion.loadStateDict(adamw.stateDict())).toThrow(StateDictError);
    expect(() => lion.loadStateDict(adamw.stateDict())).toThrow(
      "Lion: keeps no 0.exp_avg_sq; the state is another optimizer's",
    );
  });
});

it('decayGroups spares biases and norms', () => {
  const [matrix, bias, table] = [[2, 3], [3], [4, 2]].map((shape) => zeros(shape, { requiresGrad: true }));
  expect(decayGroups([matrix, bias, table], 0.1)).toEqual([
    { params: [matrix, table], weightDecay: 0.1 },
    { params: [bias], weightDecay: 0 },
  ]);
});

describe('clipGradNorm', () => {
  it.each(golden.clip_grad_norm)("is PyTorch's at $max_norm", expectClip);

  it('is the norm of the sums of squares of each, whatever their dtypes', () => {
    const params = (['float32', 'float64', 'float16', 'bfloat16'] as const).map((dtype) => {
      const p = zeros([5], { dtype, requiresGrad: true });
      p.grad = fromNumbers([1, -2, 0.5, 0, 4], [5], dtype);
      return p;
    });
    expect(gradNorm(params)).toBe(Math.sqrt(4 * 21.25));
    expect(gradNorm([])).toBe(0);
  });

  it('leaves gradients that are not finite alone and says so', () => {
    const p = parameter({ shape: [2], data: [0, 0] });
    p.grad = tensor([Infinity, 1]);
    expect(() => clipGradNorm([p], 1)).toThrow(TrainingError);
    expect(p.grad.toArray()).toEqual([Infinity, 1]);
    p.grad = tensor([NaN, 1]);
    expect(() => clipGradNorm([p], 1)).toThrow('the norm of the gradients is NaN');
    expect(() => clipGradNorm([p], 0)).toThrow(ArgumentError);
  });
});
