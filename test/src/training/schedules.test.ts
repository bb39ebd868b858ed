import { describe, expect, it } from 'vitest';

import { ArgumentError } from '../../../lib/index.js';
import * as schedules from '../../../src/training/schedules.js';
import { expectClose, readGolden } from '../../support/golden.js';

const { schedules: recorded } = readGolden<{ schedules: Record<string, number[]> }>('optim.json');

describe("Hugging Face's schedules", () => {
  const options = { lr: 1, warmup: 5, total: 20 };
  it.each([
    ['linear_warmup5_total20', schedules.linearScheduleWithWarmup(options)],
    ['cosine_warmup5_total20', schedules.cosineScheduleWithWarmup(options)],
    ['constant_w5', schedules.constantScheduleWithWarmup({ lr: 1, warmup: 5 })],
  ])('%s', (name, schedule) => {
    expectClose(
      recorded[name].map((_, step) => schedule(step)),
      recorded[name],
      { atol: 1e-11 },
    );
  });
});

describe('the other schedules', () => {
  const later = readGolden<Record<string, number[]>>('schedules.json');
  const hf = { lr: 1, warmup: 5, total: 20, warmupFromZero: true };
  const wsd = { ...hf, total: 25, decay: 10 };
  it.each([
    ['cosine_restarts', schedules.cosineRestartsSchedule({ ...hf, cycles: 2 })],
    ['polynomial', schedules.polynomialSchedule({ ...hf, minLr: 1e-3, power: 2 })],
    ['inverse_sqrt', schedules.inverseSqrtSchedule({ lr: 1, warmup: 5, warmupFromZero: true })],
    [
      'inverse_sqrt_timescale',
      schedules.inverseSqrtSchedule({ lr: 1, warmup: 5, warmupFromZero: true, timescale: 12 }),
    ],
    ['one_cycle', schedules.oneCycleSchedule({ lr: 1, total: 20 })],
    [
      'one_cycle_settings',
      schedules.oneCycleSchedule({ lr: 1, total: 20, rising: 0.4, divFactor: 10, finalDivFactor: 100 }),
    ],
    ['wsd_linear', schedules.warmupStableDecaySchedule(wsd)],
    ['wsd_cosine', schedules.warmupStableDecaySchedule({ ...wsd, shape: 'cosine' })],
    ['wsd_sqrt', schedules.warmupStableDecaySchedule({ ...wsd, shape: 'sqrt' })],
  ])("%s is the reference's", (name, schedule) => {
    expectClose(
      later[name].map((_, step) => schedule(step)),
      later[name],
      { atol: 1e-11 },
    );
  });

  it('have names, under which they warm up and end alike', () => {
    for (const type of schedules.scheduleNames) {
      const schedule = schedules.namedSchedule({ type }, { lr: 1, minLr: 0.1, warmup: 4, total: 40 });
      const rates = Array.from({ length: 41 }, (_, step) => schedule(step));
      expect(Math.max(...rates), type).toBeCloseTo(1, 2);
      expect(rates.every((rate) => rate > 0 && rate <= 1)).toBe(true);
      if (type === 'one-cycle') continue;
      expect(rates.slice(0, 5)).toEqual([0.2, 0.4, 0.6, 0.8, 1]);
      const end = { constant: 1, 'inverse-sqrt': 1 / Math.sqrt(10) }[type as string] ?? 0.1;
      expect(rates[40]).toBeCloseTo(end, 12);
    }
    const power = schedules.namedSchedule({ type: 'polynomial', power: 2 }, { lr: 1, total: 10 });
    expect(power(5)).toBe(0.25);
    expect(schedules.namedSchedule({ type: 'wsd', decay: 2 }, { lr: 1, total: 10 })(9)).toBe(0.5);
  });

  it('refuse settings out of range', () => {
    const base = { lr: 1, total: 10 };
    const calls: [() => unknown, string][] = [
      [
        () => schedules.cosineRestartsSchedule({ ...base, cycles: 0 }),
        'cycles must be a whole number from 1',
      ],
      [() => schedules.polynomialSchedule({ ...base, power: 0 }), 'power must be positive, got 0'],
      [() => schedules.inverseSqrtSchedule({ lr: 1, timescale: -1 }), 'timescale must be positive, got -1'],
      [() => schedules.inverseSqrtSchedule({ lr: -1 }), 'inverseSqrtSchedule: lr must be 0 or more, got -1'],
      [
        () => schedules.warmupStableDecaySchedule({ ...base, decay: 11 }),
        'decay must be a number of steps from 1 to total, got 11',
      ],
      [
        () => schedules.warmupStableDecaySchedule({ ...base, shape: 'round' as never }),
        "shape must be one of linear, cosine, sqrt, got 'round'",
      ],
      [() => schedules.oneCycleSchedule({ ...base, rising: 1 }), 'rising must be between 0 and 1, got 1'],
      [() => schedules.oneCycleSchedule({ ...base, divFactor: 0 }), 'divFactor must be 1 or more, got 0'],
      [() => schedules.oneCycleSchedule({ ...base, warmup: 1 } as never), "unknown option 'warmup'"],
      [() => schedules.namedSchedule({ type: 'stairs' as never }, base), 'must be one of constant, linear'],
    ];
    for (const [call, message] of calls) {
      expect(call).toThrow(ArgumentError);
      expect(call).toThrow(message);
    }
  });
});

describe('cosineSchedule', () => {
  const schedule = schedules.cosineSchedule({ lr: 1e-3, minLr: 1e-4, warmup: 100, total: 2000 });

  it("is nanoGPT's", () => {
    for (let step = 0; step < 2000; step++) {
      const ratio = (step - 100) / (2000 - 100);
      const expected =
        step < 100 ? (1e-3 * (step + 1)) / 101 : 1e-4 + 0.5 * (1 + Math.cos(Math.PI * ratio)) * (1e-3 - 1e-4);
      expect(schedule(step)).toBe(expected);
    }
  });

  it('stays at its end', () => {
    expect([schedule(100), schedule(2000), schedule(2001), schedule(1e6)]).toEqual([1e-3, 1e-4, 1e-4, 1e-4]);
  });
});

it('linear and constant ones warm up the same way', () => {
  const linear = schedules.linearSchedule({ lr: 1, minLr: 0.5, warmup: 1, total: 5 });
  expect([0, 1, 2, 3, 4, 5, 6].map(linear)).toEqual([0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.5]);
  const constant = schedules.constantSchedule({ lr: 2, warmup: 1 });
  expect([0, 1, 2, 1e9].map(constant)).toEqual([1, 2, 2, 2]);
  expect(schedules.linearSchedule({ lr: 1, warmup: 9, total: 5 })(4)).toBe(0.5); // a run that ends in the warm-up
});

it('refuses settings out of range', () => {
  const make = (o: object) => () => schedules.cosineSchedule({ lr: 1, total: 10, ...o });
  expect(make({ lr: -1 })).toThrow('cosineSchedule: lr must be 0 or more, got -1');
  expect(make({ minLr: 2 })).toThrow('minLr must be from 0 to lr, got 2');
  expect(make({ warmup: 1.5 })).toThrow('warmup must be a number of steps');
  expect(make({ total: 0 })).toThrow(ArgumentError);
  expect(make({ warmUp: 3 })).toThrow("did you mean 'warmup'?");
});
