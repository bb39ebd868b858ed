/**
 * Learning rates over the steps of a run. A schedule is a function from the optimizer's step (0 is the first) to the
 * learning rate. Two conventions of warm-up are around: nanoGPT's, which never has a rate of 0, and with
 * `warmupFromZero` Hugging Face's, which begins there. Its `...WithWarmup` functions have others of their own after the end.
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
  /** Warm up by `lr step / warmup`, from 0 on, instead of `lr (step + 1) / (warmup + 1)`. */
  readonly warmupFromZero?: boolean;
}

/** Warm-up, then always the same; nanoGPT's warm-up. */
export function constantSchedule(
  options: Pick<ScheduleOptions, 'lr' | 'warmup' | 'warmupFromZero'>,
): Schedule {
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

/** Warm-up, then `cycles` (1 by default) half cosines down to `minLr`, each from `lr` on (SGDR, Loshchilov and Hutter, 2017). */
export function cosineRestartsSchedule(options: ScheduleOptions & { readonly cycles?: number }): Schedule {
  const { cycles = 1, ...rest } = options;
  if (!(Number.isInteger(cycles) && cycles >= 1)) {
    throw new ArgumentError(`cosineRestartsSchedule: cycles must be a whole number from 1, got ${cycles}`);
  }
  return decaying('cosineRestartsSchedule', rest, (progress) =>
    progress >= 1 ? 0 : 0.5 * (1 + Math.cos(Math.PI * ((cycles * progress) % 1))),
  );
}

/** Warm-up, then down to `minLr` along a polynomial: `(1 - progress)^power`, power 1 by default. */
export function polynomialSchedule(options: ScheduleOptions & { readonly power?: number }): Schedule {
  const { power = 1, ...rest } = options;
  if (!(power > 0 && power < Infinity)) {
    throw new ArgumentError(`polynomialSchedule: power must be positive, got ${power}`);
  }
  return decaying('polynomialSchedule', rest, (progress) => (1 - progress) ** power);
}

/** Settings of {@link inverseSqrtSchedule}. */
export interface InverseSqrtOptions extends Pick<ScheduleOptions, 'lr' | 'warmup' | 'warmupFromZero'> {
  /** Steps over which the rate falls to 1 / sqrt(2); `warmup` by default, 10,000 without one. */
  readonly timescale?: number;
}

/** Warm-up, then by the root of the step, without an end ("Attention Is All You Need"): `lr / sqrt(1 + (step - warmup) / timescale)`. */
export function inverseSqrtSchedule(options: InverseSqrtOptions): Schedule {
  const {
    timescale = options.warmup === undefined || options.warmup === 0 ? 10_000 : options.warmup,
    ...rest
  } = options;
  if (!(timescale > 0 && timescale < Infinity)) {
    throw new ArgumentError(`inverseSqrtSchedule: timescale must be positive, got ${timescale}`);
  }
  const {
    lr,
    warmup = 0,
    ...others
  } = checked('inverseSqrtSchedule', { ...rest, total: Infinity }, [
    ...['lr', 'warmup', 'warmupFromZero', 'total'],
  ]);
  return (step) =>
    step < warmup
      ? warmingUp({ ...others, lr, warmup }, step)
      : lr / Math.sqrt(1 + (step - warmup) / timescale);
}

/** Settings of {@link warmupStableDecaySchedule}. */
export interface WarmupStableDecayOptions extends ScheduleOptions {
  /** Steps of the decay at the end; a fifth of `total` by default. */
  readonly decay?: number;
  /** How it falls: 'linear' (the default), 'cosine', or 'sqrt': 1 - sqrt(progress). */
  readonly shape?: 'linear' | 'cosine' | 'sqrt';
}

const shapes = {
  linear: (progress: number) => 1 - progress,
  cosine: (progress: number) => 0.5 * (1 + Math.cos(Math.PI * progress)),
  sqrt: (progress: number) => 1 - Math.sqrt(progress),
};

/**
 * Warm-up, the same rate for most of the run, then down to `minLr` ("MiniCPM", Hu et al., 2024; the shapes: "Scaling Laws
 * and Compute-Optimal Training Beyond Fixed Training Durations", Hägele et al., 2024). A run can be made longer without
 * having been planned so: only its end decays.
 */
export function warmupStableDecaySchedule(options: WarmupStableDecayOptions): Schedule {
  const name = 'warmupStableDecaySchedule';
  const { decay = Math.max(1, Math.floor(options.total / 5)), shape = 'linear', ...rest } = options;
  if (!Object.hasOwn(shapes, shape)) {
    throw new ArgumentError(
      `${name}: shape must be one of ${Object.keys(shapes).join(', ')}, got '${shape}'`,
    );
  }
  if (!(Number.isInteger(decay) && decay >= 1 && decay <= options.total)) {
    throw new ArgumentError(`${name}: decay must be a number of steps from 1 to total, got ${decay}`);
  }
  const begin = options.total - decay;
  const known = ['lr', 'minLr', 'warmup', 'total', 'warmupFromZero'];
  const { lr, minLr = 0, warmup = 0, total } = checked(name, rest, known);
  return (step) => {
    if (step < warmup) return warmingUp(rest, step);
    if (step < begin) return lr;
    return step > total ? minLr : minLr + shapes[shape]((step - begin) / decay) * (lr - minLr);
  };
}

/** Settings of {@link oneCycleSchedule}. */
export interface OneCycleOptions {
  /** The highest learning rate. */
  readonly lr: number;
  /** Steps of the run. */
  readonly total: number;
  /** Part of the run in which the rate rises, 0.3 by default. */
  readonly rising?: number;
  /** The rate begins at `lr / divFactor`; 25 by default. */
  readonly divFactor?: number;
  /** It ends at its beginning divided by this; 10,000 by default. */
  readonly finalDivFactor?: number;
}

/** Up along half a cosine and down along another, as PyTorch's OneCycleLR ("Super-Convergence", Smith and Topin, 2018). */
export function oneCycleSchedule(options: OneCycleOptions): Schedule {
  const name = 'oneCycleSchedule';
  checkOptions(name, options, ['lr', 'total', 'rising', 'divFactor', 'finalDivFactor']);
  const { lr, total, rising = 0.3, divFactor = 25, finalDivFactor = 1e4 } = options;
  checked(name, { lr, total }, ['lr', 'total']);
  if (!(rising > 0 && rising < 1)) {
    throw new ArgumentError(`${name}: rising must be between 0 and 1, got ${rising}`);
  }
  for (const [key, value] of Object.entries({ divFactor, finalDivFactor })) {
    if (!(value >= 1 && value < Infinity))
      throw new ArgumentError(`${name}: ${key} must be 1 or more, got ${value}`);
  }
  const first = lr / divFactor;
  const last = first / finalDivFactor;
  const top = Math.max(0, rising * total - 1);
  const between = (from: number, to: number, progress: number): number =>
    to + 0.5 * (from - to) * (1 + Math.cos(Math.PI * progress));
  return (step) => {
    if (step < top) return between(first, lr, step / top);
    return between(lr, last, Math.min(1, (step - top) / Math.max(1, total - 1 - top)));
  };
}

/** A schedule by its name, with what it has beside learning rates and steps. */
export type NamedSchedule =
  | { readonly type: 'constant' | 'linear' | 'cosine' | 'inverse-sqrt' | 'one-cycle' }
  | { readonly type: 'cosine-restarts'; readonly cycles?: number }
  | { readonly type: 'polynomial'; readonly power?: number }
  | { readonly type: 'wsd'; readonly decay?: number };

/** The schedule of a run by its name. One cycle has a warm-up and an end of its own. */
export function namedSchedule(named: NamedSchedule, options: ScheduleOptions): Schedule {
  const { lr, warmup, total } = options;
  switch (named.type) {
    case 'constant':
      return constantSchedule({ lr, warmup });
    case 'linear':
      return linearSchedule(options);
    case 'cosine':
      return cosineSchedule(options);
    case 'cosine-restarts':
      return cosineRestartsSchedule({ ...options, cycles: named.cycles });
    case 'polynomial':
      return polynomialSchedule({ ...options, power: named.power });
    case 'inverse-sqrt':
      return inverseSqrtSchedule({ lr, warmup });
    case 'wsd':
      return warmupStableDecaySchedule({ ...options, decay: named.decay });
    case 'one-cycle':
      return oneCycleSchedule({ lr, total });
    default:
      throw new ArgumentError(
        `schedule: must be one of ${scheduleNames.join(', ')}, got '${(named as { type: string }).type}'`,
      );
  }
}

/** Names of the schedules of {@link namedSchedule}. */
export const scheduleNames = [
  'constant', 'linear', 'cosine', 'cosine-restarts', 'polynomial', 'inverse-sqrt', 'wsd', 'one-cycle',
] as const; // prettier-ignore

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
  const known = ['lr', 'minLr', 'warmup', 'total', 'warmupFromZero'];
  const { lr, minLr = 0, warmup = 0, total } = checked(name, options, known);
  return (step) => {
    if (step < warmup) return warmingUp(options, step);
    if (step > total) return minLr;
    const progress = total > warmup ? (step - warmup) / (total - warmup) : 1;
    return minLr + shape(progress) * (lr - minLr);
  };
}

function warmingUp({ lr, warmup = 0, warmupFromZero }: Omit<ScheduleOptions, 'total'>, step: number): number {
  return warmupFromZero ? (lr * step) / warmup : (lr * (step + 1)) / (warmup + 1);
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
