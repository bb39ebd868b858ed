/** How long a run is, in batches: the optimizer's steps follow from it and from the batches that make one. */

import { ArgumentError } from '../../lib/errors.js';
import type { RunOptions } from './trainer-options.js';

/**
 * Batches of the whole run.
 * @param pass Batches in one pass over the data.
 * @param accumulation Batches that make one step.
 * @throws ArgumentError unless the options say how long the run is, once.
 */
export function batchesOfRun(
  { steps, epochs }: Pick<RunOptions, 'steps' | 'epochs'>,
  pass: number,
  accumulation: number,
): number {
  if ((steps === undefined) === (epochs === undefined)) {
    throw new ArgumentError('Trainer: give either steps or epochs');
  }
  if (steps !== undefined) return checkCount('steps', steps, 1) * accumulation;
  if (!(epochs! > 0 && epochs! < Infinity)) {
    throw new ArgumentError(`Trainer: epochs must be positive, got ${epochs}`);
  }
  return batchesOfEpochs(epochs!, pass);
}

/**
 * Batches of a run whose length is given in passes over the data.
 * @param pass Batches in one pass, a fraction too.
 * @throws ArgumentError when they are more than can be counted.
 */
export function batchesOfEpochs(epochs: number, pass: number): number {
  const exact = epochs * pass;
  const whole = Math.round(exact);
  const batches = Math.abs(exact - whole) <= exact * 2 ** -50 ? whole : Math.ceil(exact); // not one more for rounding
  if (Number.isSafeInteger(batches)) return batches;
  throw new ArgumentError(`Trainer: epochs must not make more than 2^53 batches, got ${epochs}`);
}

/** The number itself; throws ArgumentError unless it is a whole number of at least `least`. */
export function checkCount(name: string, value: number, least: number): number {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new ArgumentError(`Trainer: ${name} must be an integer of at least ${least}, got ${value}`);
  }
  return value;
}
