/** All of ../shared/data/oracle-torch/optim.json: each optimizer, schedule and clipping that was recorded has its counterpart here. */

import { describe, expect, it } from 'vitest';

import type { Tensor } from '../../../lib/index.js';
import { Adagrad, Adam, AdamW, RMSprop, SGD, type Optimizer } from '../../../src/training/index.js';
import * as schedules from '../../../src/training/schedules.js';
import { expectClose } from '../../support/golden.js';
import {
  expectClip,
  expectSteps,
  type RecordedClip,
  type RecordedSteps,
} from '../../support/recorded-optim.js';
import { isMissing, readShared } from '../../support/shared.js';

interface OptimJson {
  readonly optimizers: Record<string, RecordedSteps>;
  readonly schedules_lr_by_step_base_1: Record<string, number[]>;
  readonly clip_grad_norm: RecordedClip[];
}

const missing = isMissing('oracle-torch', 'optim.json');
const recorded: OptimJson = missing
  ? { optimizers: {}, schedules_lr_by_step_base_1: {}, clip_grad_norm: [] }
  : readShared<OptimJson>('oracle-torch', 'optim.json');

const optimizers: Record<string, (params: Tensor[]) => Optimizer> = {
  sgd: (p) => new SGD(p, { lr: 0.1 }),
  sgd_momentum: (p) => new SGD(p, { lr: 0.1, momentum: 0.9 }),
  sgd_momentum_nesterov_wd: (p) => new SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 }),
  adam: (p) => new Adam(p, { lr: 0.01 }),
  adam_wd_l2: (p) => new Adam(p, { lr: 0.01, weightDecay: 0.1 }),
  adamw: (p) => new AdamW(p, { lr: 0.01, betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0.1 }),
  adamw_amsgrad: (p) => new AdamW(p, { lr: 0.01, amsgrad: true, betas: [0.9, 0.999], weightDecay: 0.01 }),
  adagrad: (p) => new Adagrad(p, { lr: 0.1 }),
  rmsprop: (p) => new RMSprop(p, { lr: 0.01 }),
};

const warmUp = { lr: 1, warmup: 5, total: 20 };
const fromZero = { ...warmUp, warmupFromZero: true };
/** The schedule, and how many of its steps are meant where PyTorch's goes on otherwise. */
const counterparts: Record<string, readonly [schedules.Schedule, steps?: number]> = {
  linear_warmup5_total20: [schedules.linearScheduleWithWarmup(warmUp)],
  cosine_warmup5_total20: [schedules.cosineScheduleWithWarmup(warmUp)],
  cosine_hard_restarts_w5_t20_c2: [schedules.cosineRestartsSchedule({ ...fromZero, cycles: 2 })],
  'polynomial_w5_t20_end1e-3_p2': [schedules.polynomialSchedule({ ...fromZero, minLr: 1e-3, power: 2 })],
  constant_w5: [schedules.constantScheduleWithWarmup({ lr: 1, warmup: 5 })],
  inverse_sqrt_w5: [schedules.inverseSqrtSchedule({ lr: 1, warmup: 5, warmupFromZero: true })],
  // PyTorch's goes up again after the end of the run.
  'torch_cosine_annealing_T10_min0.1': [schedules.cosineSchedule({ lr: 1, minLr: 0.1, total: 10 }), 11],
  torch_onecycle_max1_total20: [schedules.oneCycleSchedule({ lr: 1, total: 20 })],
};
/** Schedules that have no name here; a function of the step is one: `(step) => 0.5 ** Math.floor(step / 5)`. */
const notNamed = ['torch_step_5_0.5', 'torch_exponential_0.9'];

describe.skipIf(missing)('optim.json', () => {
  it('has nothing that is not compared here', () => {
    const { schedules_lr_by_step_base_1: rates, clip_grad_norm: clips } = recorded;
    expect(Object.keys(recorded).sort()).toEqual([
      'clip_grad_norm',
      'optimizers',
      'schedules_lr_by_step_base_1',
    ]);
    expect(Object.keys(recorded.optimizers).sort()).toEqual(Object.keys(optimizers).sort());
    expect(Object.keys(rates).sort()).toEqual([...Object.keys(counterparts), ...notNamed].sort());
    expect(clips).toHaveLength(3);
  });

  it.each(Object.entries(recorded.optimizers))('%s', (name, steps) => {
    expectSteps(steps, optimizers[name]);
  });

  it.each(Object.entries(recorded.schedules_lr_by_step_base_1).filter(([name]) => !notNamed.includes(name)))(
    '%s',
    (name, rates) => {
      const [schedule, steps = rates.length] = counterparts[name];
      expectClose(
        rates.slice(0, steps).map((_, step) => schedule(step)),
        rates.slice(0, steps),
        { atol: 1e-11 },
      );
    },
  );

  it.each(recorded.clip_grad_norm)('clipping at $max_norm', expectClip);
});
