/** The loss of a model over a whole validation part, yielding to the event loop between batches. */

import { setImmediate } from 'node:timers/promises';

import { noGrad } from '../../lib/autograd.js';
import { ArgumentError } from '../../lib/errors.js';
import type { ProcessGroup } from '../../lib/process-group.js';
import { scope } from '../../lib/tensor.js';
import type { Objective, Trainable } from './objective.js';

/**
 * Mean loss over all that counts in the batches, with dropout off. The model is left in training mode.
 *
 * @param batches The same ones in every evaluation. They belong to the iterable; this does not dispose them.
 * @param isStopped Asked after each batch; the evaluation is left undone once it says yes.
 * @param group Processes that divide the batches among them.
 * @returns null when it was left undone.
 */
export async function evaluateLoss<B>(
  model: Trainable,
  objective: Objective<B>,
  batches: Iterable<B>,
  isStopped: () => boolean,
  group?: ProcessGroup,
): Promise<number | null> {
  let sum = 0;
  let total = 0;
  let index = 0;
  model.train(false);
  try {
    // Batches are made here, between the scopes of the passes over them.
    for (const batch of batches) {
      if (group !== undefined && index++ % group.size !== group.rank) continue;
      const { loss, weight } = scope(() =>
        noGrad(() => {
          const { loss, weight } = objective.loss(batch);
          return { loss: loss.item(), weight };
        }),
      );
      sum += loss * weight;
      total += weight;
      await setImmediate();
      if (isStopped()) return null;
    }
  } finally {
    model.train(true);
  }
  if (group !== undefined) [sum, total] = await group.sumNumbers([sum, total]);
  if (total > 0) return sum / total;
  throw new ArgumentError('Trainer: there is nothing to predict in the validation batches');
}

/** Throws ArgumentError when the validation part is too short for the evaluations that are asked for. */
export function checkValidation(tokens: number, evalInterval: number): void {
  if (tokens !== 1 || evalInterval === 0) return;
  throw new ArgumentError(
    'Trainer: the validation part is one token, too short to evaluate on; use a longer text, a greater part, ' +
      'or no evaluation (evalInterval 0)',
  );
}
