/** What a run minimizes: a loss of batches, whatever these are; and the loss of a language model as such an objective. */

import type { Tensor } from '../../lib/tensor.js';
import type { Batch } from '../data/tokens.js';
import { nextTokenLoss, type TrainableModel } from './loss.js';

/** What every model that is trained offers. */
export type Trainable = Pick<TrainableModel, 'parameters' | 'train'>;

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
    loss: ({ inputs, targets }) => ({
      loss: nextTokenLoss(model, inputs, targets),
      weight: inputs.size,
      tokens: inputs.size,
    }),
  };
}
