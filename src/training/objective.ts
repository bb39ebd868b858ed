/** What a run minimizes: a loss of batches, whatever these are; and the loss of a language model as such an objective. */

import { TrainingError } from '../../lib/errors.js';
import type { Tensor } from '../../lib/tensor.js';
import type { Batch } from '../data/tokens.js';
import { nextTokenLoss, type TrainableModel } from './loss.js';

/** What every model that is trained offers. */
export type Trainable = Pick<TrainableModel, 'parameters' | 'train' | 'namedParameters' | 'setRecompute'>;

/** The loss of one batch. */
export interface BatchLoss {
  /** One number: the mean over all that counts in the batch. */
  readonly loss: Tensor;
  /** How many tokens (or examples) the mean is over, so that means of several batches can be put together. */
  readonly weight: number;
  /** Tokens that the model read, for the run's speed. */
  readonly tokens: number;
}

/** What a run minimizes. */
export interface Objective<B> {
  /** Runs the model on a batch. */
  loss(batch: B): BatchLoss;
}

/** Predicting the next token at every place. */
export function nextToken(model: TrainableModel): Objective<Batch> {
  return {
    loss: ({ inputs, targets, documentStarts }) => {
      const apart = documentStarts !== undefined;
      const weight = apart ? countTargets(targets) : inputs.size;
      const loss = nextTokenLoss(model, inputs, targets, apart ? { documentStarts } : {});
      return { loss, weight, tokens: inputs.size };
    },
  };
}

/** How many of the targets are to be predicted. */
function countTargets(targets: Tensor): number {
  const count = (targets.data as Int32Array).reduce((sum, id) => sum + (id >= 0 ? 1 : 0), 0);
  if (count > 0) return count;
  throw new TrainingError(
    'training: there is nothing to predict in a batch, its documents are of one token each; do not keep them apart',
  );
}
