/** The loss of a language model: the mean cross-entropy of the next token. */

import { crossEntropy, linearCrossEntropy } from '../../lib/ops/loss.js';
import { scope, type Tensor } from '../../lib/tensor.js';
import type { Recompute } from '../nn/index.js';

/** What batches of documents side by side ask of a model (see DecoderOptions). */
export interface PackedOptions {
  /** (B, T) int32: the column at which each token's document begins. */
  readonly documentStarts?: Tensor;
}

/** What the trainer asks of a model. */
export interface TrainableModel {
  /** ids (B, T) to logits (B, T, V). */
  forward(ids: Tensor, options?: PackedOptions): Tensor;
  parameters(): Tensor[];
  /** The same with their names, for messages. */
  namedParameters?(): [string, Tensor][];
  /** See the trainer's `recompute`. */
  setRecompute?(choice: Recompute): unknown;
  /** Switches dropout. */
  train(mode?: boolean): unknown;
  /**
   * ids (B, T) to (B, T, C), of which `forward` is the product with `headWeight` and nothing else. A model that has both is
   * trained without ever holding all its logits.
   */
  hidden?(ids: Tensor, options?: PackedOptions): Tensor;
  /** The weight of the output head, (V, C). */
  readonly headWeight?: Tensor;
}

/**
 * Mean cross-entropy of a model's next tokens. In a scope of its own: backward may then write gradients over what
 * forward has left.
 *
 * @param inputs (B, T) int32
 * @param targets (B, T) int32; -100 where nothing is to be predicted
 */
export function nextTokenLoss(
  model: Pick<TrainableModel, 'forward' | 'hidden' | 'headWeight'>,
  inputs: Tensor,
  targets: Tensor,
  options: PackedOptions = {},
): Tensor {
  return scope(() =>
    model.hidden !== undefined && model.headWeight !== undefined
      ? linearCrossEntropy(model.hidden(inputs, options), model.headWeight, targets)
      : crossEntropy(model.forward(inputs, options), targets),
  );
}
