import { describe, expect, it } from 'vitest';

import { Generator, zeros } from '../../../lib/index.js';
import { resolveFlags, UsageError, type FlagValue } from '../../../src/cli/args.js';
import { trainFlags, type TrainValues } from '../../../src/cli/commands.js';
import {
  checkOptimizerFlags,
  optimizerOf,
  scheduleOf,
  statesOf,
  weightDecayOf,
} from '../../../src/cli/optimizer.js';
import { GPT } from '../../../src/models/index.js';
import { decayGroups } from '../../../src/training/index.js';
import { scheduleNames } from '../../../src/training/schedules.js';

const valuesOf = (flags: Record<string, FlagValue>): TrainValues =>
  resolveFlags(trainFlags, new Map(Object.entries(flags))).values;
const generator = new Generator(1);
const sizes = { vocab_size: 11, n_positions: 8, n_embd: 8, n_layer: 1, n_head: 2 };

describe('--optimizer', () => {
  it.each([
    ['adamw', {}, 'AdamW', 2, 0.1],
    ['adamw', { amsgrad: true }, 'AdamW', 3, 0.1],
    ['adam', {}, 'Adam', 2, 0],
    ['sgd', {}, 'SGD', 0, 0.1],
    ['sgd', { momentum: 0.9, nesterov: true }, 'SGD', 1, 0.1],
    ['adagrad', {}, 'Adagrad', 1, 0],
    ['rmsprop', {}, 'RMSprop', 1, 0],
    ['rmsprop', { momentum: 0.9 }, 'RMSprop', 2, 0],
    ['adafactor', {}, 'Adafactor', 0, 0.1],
    ['lion', {}, 'Lion', 1, 0.1],
    ['muon', {}, 'Muon', 1, 0.1],
  ])('%s with %o', (optimizer, own, name, states, decay) => {
    const values = valuesOf({ optimizer, ...own });
    const model = new GPT(sizes, { generator });
    const made = optimizerOf(values, model)(decayGroups(model.parameters(), weightDecayOf(values)), 0.01);
    expect(made.settings).toMatchObject({ optimizer: name, ...own });
    expect(made.lr).toBe(0.01);
    expect(weightDecayOf(values)).toBe(decay);
    expect(weightDecayOf({ ...values, 'weight-decay': 0.3 })).toBe(0.3);
    // The matrices of the blocks, whose states are counted.
    const { weight } = model.h[0].mlp.c_fc;
    weight.grad = zeros(weight.shape);
    made.step();
    const kept = [...made.stateDict()].filter(([, t]) => t.size === weight.size);
    expect(kept).toHaveLength(states);
    expect(statesOf(values)).toBe(states);
  });

  it('muon has AdamW update the tables', () => {
    const model = new GPT(sizes, { generator });
    const made = optimizerOf(valuesOf({ optimizer: 'muon' }), model)([{ params: [model.wte.weight] }], 0.01);
    model.wte.weight.grad = zeros(model.wte.weight.shape);
    made.step();
    expect([...made.stateDict().keys()]).toEqual(['step', '0.exp_avg', '0.exp_avg_sq']);
  });

  it('goes with a schedule and an average', () => {
    const schedule = (flags: Record<string, FlagValue>) => scheduleOf(valuesOf(flags));
    expect(schedule({})).toEqual({ type: 'cosine' });
    expect(schedule({ schedule: 'cosine-restarts', cycles: 3 })).toEqual({
      type: 'cosine-restarts',
      cycles: 3,
    });
    expect(schedule({ schedule: 'polynomial', power: 2 })).toEqual({ type: 'polynomial', power: 2 });
    expect(schedule({ schedule: 'wsd' })).toEqual({ type: 'wsd' });
    expect(schedule({ schedule: 'wsd', 'decay-steps': 9 })).toEqual({ type: 'wsd', decay: 9 });
    expect(trainFlags.schedule.hint).toBe('NAME');
    for (const name of scheduleNames) expect(trainFlags.schedule.read('--schedule', name)).toBe(name);
    expect(statesOf(valuesOf({ ema: 0.999 }))).toBe(3);
  });

  it('refuses flags that the optimizer has no use for', () => {
    const check = (flags: Record<string, FlagValue>) => () =>
      checkOptimizerFlags(valuesOf(flags), new Set(Object.keys(flags)));
    expect(check({ momentum: 0.9 })).toThrow(UsageError);
    expect(check({ momentum: 0.9 })).toThrow(
      '--momentum is not for --optimizer adamw, only for sgd, rmsprop, muon',
    );
    expect(check({ optimizer: 'sgd', beta1: 0.8 })).toThrow('--beta1 is not for --optimizer sgd');
    expect(check({ optimizer: 'lion', amsgrad: true })).toThrow('--amsgrad is not for --optimizer lion');
    expect(check({ optimizer: 'sgd', nesterov: true })).toThrow('--nesterov needs a --momentum');
    expect(check({ cycles: 2 })).toThrow('--cycles is not for --schedule cosine, only for cosine-restarts');
    expect(check({ schedule: 'wsd', power: 2 })).toThrow(
      '--power is not for --schedule wsd, only for polynomial',
    );
    expect(check({ amsgrad: false, nesterov: false, beta1: 0.8 })).not.toThrow();
  });
});
