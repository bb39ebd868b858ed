/** The loss of a model over a whole validation part, yielding to the event loop between batches. */

import { setImmediate } from 'node:timers/promises';

import { noGrad } from '../../lib/autograd.js';
import { ArgumentError } from '../../lib/errors.js';
import { scope } from '../../lib/tensor.js';
import { sequentialBatches, type BatchOptions } from '../data/tokens.js';
import { nextTokenLoss, type TrainableModel } from './loss.js';

/**
 * Mean loss of the next token over all of `ids`, with dropout off. The model is left in training mode.
 *
 * @param isStopped Asked after each batch; the evaluation is left undone once it says yes.
 * @returns null when it was left undone.
 */
export async function evaluateLoss(
  model: TrainableModel,
  ids: Int32Array,
  sizes: BatchOptions,
  isStopped: () => boolean,
): Promise<number | null> {
  let sum = 0;
  let tokens = 0;
  model.train(false);
  try {
    // Batches are made here, between the scopes of the passes over them.
    for (const { inputs, targets } of sequentialBatches(ids, sizes)) {
      const loss = scope(() => noGrad(() => nextTokenLoss(model, inputs, targets).item()));
      sum += loss * inputs.size;
      tokens += inputs.size;
      inputs.dispose();
      targets.dispose();
      await setImmediate();
      if (isStopped()) return null;
    }
  } finally {
    model.train(true);
  }
  return sum / tokens;
}

/** Throws ArgumentError when the validation part is too short for the evaluations that are asked for. */
export function checkValidation(tokens: number, evalInterval: number): void {
  if (tokens !== 1 || evalInterval === 0) return;
  throw new ArgumentError(
    'Trainer: the validation part is one token, too short to evaluate on; use a longer text, a greater part, ' +
      'or no evaluation (evalInterval 0)',
  );
}
