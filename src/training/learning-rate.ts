/** The learning rate of a run's steps, as its options say, and what of that belongs to the run's identity. */

import type { RunIdentity } from '../data/batch-source.js';
import { namedSchedule, type Schedule } from './schedules.js';
import type { RunOptions } from './trainer-options.js';

/** A run's learning rates. */
export interface LearningRates {
  /** The highest one. */
  readonly lr: number;
  readonly schedule: Schedule;
  /** Nothing of a schedule that is a function. */
  readonly identity: RunIdentity;
}

/** @param steps Steps of the whole run. */
export function learningRatesOf(options: RunOptions, steps: number): LearningRates {
  const { lr = 1e-3, schedule = { type: 'cosine' } } = options;
  if (typeof schedule === 'function') return { lr, schedule, identity: {} };
  const { minLr = lr / 10, warmup = Math.min(100, Math.floor(steps / 20)) } = options;
  const rates = { lr, minLr, warmup };
  const { type, ...settings } = schedule;
  return {
    lr,
    schedule: namedSchedule(schedule, { ...rates, total: steps }),
    identity: { ...rates, schedule: type, ...(settings as RunIdentity) },
  };
}
