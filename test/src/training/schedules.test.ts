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
