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
import { type EncoderOptions, firstPlaces, onlyReading, type SegmentedEncoderOptions } from './encoder.js';

/** An encoder that predicts tokens. */
export interface MaskedLanguageModel<O extends EncoderOptions = SegmentedEncoderOptions> {
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
export function maskedTokenLoss<O extends EncoderOptions = SegmentedEncoderOptions>(
  model: MaskedLanguageModel<O>,
  ids: Tensor,
  labels: Tensor,
  options?: O,
): Tensor {
  checkLabels(ids, labels);
  const places = labelled(labels);
  const read = options && onlyReading(options, places);
  return scope(() => tokenLoss(model, model.hidden(ids, read), labels, places));
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
  const places = labelled(labels);
  const read = options && onlyReading(options, [...places, ...firstPlaces(ids)]);
  return scope(() => {
    const hidden = model.hidden(ids, read);
    return add(tokenLoss(model, hidden, labels, places), crossEntropy(model.relate(hidden), relationships));
  });
}

/** Where the labels are: row · T + column. */
const labelled = ({ data }: Tensor): Int32Array =>
  Int32Array.from(data.keys()).filter((i) => data[i] !== -100);

function tokenLoss(
  model: MaskedLanguageModel<never>,
  hidden: Tensor,
  labels: Tensor,
  places: Int32Array,
): Tensor {
  const rows = indexSelect(reshape(hidden, [-1, hidden.shape[2]]), 0, tensor(places)); // (N, C)
  return crossEntropy(model.predict(rows), tensor(Int32Array.from(places, (i) => labels.data[i])));
}

function checkLabels(ids: Tensor, labels: Tensor): void {
  if (labels.dtype !== 'int32' || !sameShape(ids.shape, labels.shape)) {
    throw new ShapeError(
      `maskedTokenLoss: labels must be int32 ${formatShape(ids.shape)} as the ids, got ${labels.dtype} ${formatShape(labels.shape)}`,
    );
  }
}
