/**
 * Learning rates over the steps of a run. A schedule is a function from the step (0 is the first) to the
 * learning rate. Two conventions are around: nanoGPT's never has a rate of 0 in the warm-up and stays at
 * `minLr` after the end; Hugging Face's `...WithWarmup` starts at 0.
 */

import { ArgumentError, checkOptions } from '../../lib/errors.js';

/** The learning rate of a step; steps count from 0. */
export type Schedule = (step: number) => number;

/** Settings of the schedules. */
export interface ScheduleOptions {
  /** The highest learning rate. */
  readonly lr: number;
  /** The last one, 0 by default. */
  readonly minLr?: number;
  /** Steps of linear warm-up, 0 by default. */
  readonly warmup?: number;
  /** Steps of the run; the last learning rate is reached there. */
  readonly total: number;
}

/** Warm-up, then always the same; nanoGPT's warm-up. */
export function constantSchedule(options: Pick<ScheduleOptions, 'lr' | 'warmup'>): Schedule {
  return decaying('constantSchedule', { ...options, total: Infinity }, () => 1);
}

/** Warm-up, then down to `minLr` along a line. */
export function linearSchedule(options: ScheduleOptions): Schedule {
  return decaying('linearSchedule', options, (progress) => 1 - progress);
}

/**
 * Warm-up, then down to `minLr` along half a cosine, as in nanoGPT: `lr (step + 1) / (warmup + 1)` first,
 * then `minLr + (lr - minLr) (1 + cos(pi progress)) / 2`.
 *
 * @example
 * const schedule = cosineSchedule({ lr: 1e-3, minLr: 1e-4, warmup: 100, total: 2000 });
 * schedule(100); // 0.001
 */
export function cosineSchedule(options: ScheduleOptions): Schedule {
  return decaying('cosineSchedule', options, (progress) => 0.5 * (1 + Math.cos(Math.PI * progress)));
}

/** Hugging Face's `get_constant_schedule_with_warmup`. */
export function constantScheduleWithWarmup(options: Pick<ScheduleOptions, 'lr' | 'warmup'>): Schedule {
  return fromZero('constantScheduleWithWarmup', { ...options, total: Infinity }, () => 1);
}

/** Hugging Face's `get_linear_schedule_with_warmup`. */
export function linearScheduleWithWarmup(options: Omit<ScheduleOptions, 'minLr'>): Schedule {
  return fromZero('linearScheduleWithWarmup', options, (progress) => 1 - progress);
}

/**
 * Hugging Face's `get_cosine_schedule_with_warmup`: half a cosine down to 0. After the end it rises again.
 */
export function cosineScheduleWithWarmup(options: Omit<ScheduleOptions, 'minLr'>): Schedule {
  return fromZero(
    'cosineScheduleWithWarmup',
    options,
    (progress) => 0.5 * (1 + Math.cos(Math.PI * progress)),
  );
}

/** `shape` gives the height, 1 to 0, at a progress from 0 to 1. */
function decaying(name: string, options: ScheduleOptions, shape: (progress: number) => number): Schedule {
  const { lr, minLr = 0, warmup = 0, total } = checked(name, options, ['lr', 'minLr', 'warmup', 'total']);
  return (step) => {
    if (step < warmup) return (lr * (step + 1)) / (warmup + 1);
    if (step > total) return minLr;
    const progress = total > warmup ? (step - warmup) / (total - warmup) : 1;
    return minLr + shape(progress) * (lr - minLr);
  };
}

function fromZero(name: string, options: ScheduleOptions, shape: (progress: number) => number): Schedule {
  const { lr, warmup = 0, total } = checked(name, options, ['lr', 'warmup', 'total']);
  return (step) => {
    if (step < warmup) return (lr * step) / warmup;
    return lr * Math.max(0, shape((step - warmup) / Math.max(1, total - warmup)));
  };
}

function checked(name: string, options: ScheduleOptions, known: readonly string[]): ScheduleOptions {
  checkOptions(name, options, known);
  const { lr, minLr = 0, warmup = 0, total } = options;
  if (!(lr >= 0 && lr < Infinity)) throw new ArgumentError(`${name}: lr must be 0 or more, got ${lr}`);
  if (!(minLr >= 0 && minLr <= lr))
    throw new ArgumentError(`${name}: minLr must be from 0 to lr, got ${minLr}`);
  if (!(Number.isInteger(warmup) && warmup >= 0)) {
    throw new ArgumentError(`${name}: warmup must be a number of steps, got ${warmup}`);
  }
  if (!(total > 0))
    throw new ArgumentError(`${name}: total must be a positive number of steps, got ${total}`);
  return options;
}
