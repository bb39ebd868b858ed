/**
 * The losses of predicting masked tokens. Only the positions that have a label, one in seven, go through the head and its
 * product with the vocabulary, which for BERT-base is a fifth of the step when all do.
 */

import {
  add,
  crossEntropy,
  formatShape,
  indexSelect,
  reshape,
  sameShape,
  scope,
  ShapeError,
  type Tensor,
  tensor,
} from '../../lib/index.js';
import { type SegmentedEncoderOptions } from './encoder.js';

/** An encoder that predicts tokens. */
export interface MaskedLanguageModel<O = SegmentedEncoderOptions> {
  /** (B, T) int32 to (B, T, C) */
  hidden(ids: Tensor, options?: O): Tensor;
  /** (N, C) to (N, V) */
  predict(hidden: Tensor): Tensor;
}

/** Of BERT's pre-training. */
interface PairModel extends MaskedLanguageModel {
  /** (B, T, C) to (B, 2) */
  relate(hidden: Tensor): Tensor;
}

/**
 * Mean cross-entropy of the tokens at the positions that have a label: `crossEntropy(model.forward(ids), labels)` at a part
 * of its cost. Without any label it is NaN, as in PyTorch.
 *
 * @param ids (B, T) int32
 * @param labels (B, T) int32: the token that stood where it is masked now, -100 elsewhere.
 */
export function maskedTokenLoss<O = SegmentedEncoderOptions>(
  model: MaskedLanguageModel<O>,
  ids: Tensor,
  labels: Tensor,
  options?: O,
): Tensor {
  checkLabels(ids, labels);
  return scope(() => tokenLoss(model, model.hidden(ids, options), labels));
}

/**
 * The loss of BERT's pre-training: that of the masked tokens and that of whether the second text follows the first.
 *
 * @param ids (B, T) int32
 * @param labels As in {@link maskedTokenLoss}.
 * @param relationships (B) int32: 0 where the second text follows the first, 1 where it does not.
 */
export function preTrainingLoss(
  model: PairModel,
  ids: Tensor,
  labels: Tensor,
  relationships: Tensor,
  options?: SegmentedEncoderOptions,
): Tensor {
  checkLabels(ids, labels);
  return scope(() => {
    const hidden = model.hidden(ids, options);
    return add(tokenLoss(model, hidden, labels), crossEntropy(model.relate(hidden), relationships));
  });
}

function tokenLoss(model: MaskedLanguageModel<never>, hidden: Tensor, labels: Tensor): Tensor {
  const { data } = labels;
  const places = Int32Array.from(data.keys()).filter((i) => data[i] !== -100);
  const rows = indexSelect(reshape(hidden, [-1, hidden.shape[2]]), 0, tensor(places)); // (N, C)
  return crossEntropy(model.predict(rows), tensor(Int32Array.from(places, (i) => data[i])));
}

function checkLabels(ids: Tensor, labels: Tensor): void {
  if (labels.dtype !== 'int32' || !sameShape(ids.shape, labels.shape)) {
    throw new ShapeError(
      `maskedTokenLoss: labels must be int32 ${formatShape(ids.shape)} as the ids, got ${labels.dtype} ${formatShape(labels.shape)}`,
    );
  }
}
