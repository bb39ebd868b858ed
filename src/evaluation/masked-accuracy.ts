/** How many hidden tokens a model finds, and how many one finds who knows the frequencies of tokens only. */

import {
  argmax,
  ArgumentError,
  indexSelect,
  noGrad,
  reshape,
  scope,
  tensor,
  type Tensor,
} from '../../lib/index.js';
import type { MaskedBatch } from '../data/masked-text.js';
import type { MaskedLanguageModel } from '../models/index.js';

/** What {@link maskedAccuracy} asks of a model. */
export type MaskedPredictor = MaskedLanguageModel & {
  readonly training: boolean;
  train(mode: boolean): unknown;
};

/** Hidden tokens, and how many of them were found. */
export interface MaskedAccuracy {
  /** From 0 to 1. */
  readonly accuracy: number;
  readonly correct: number;
  readonly total: number;
}

/**
 * The part of the hidden tokens for which the model's likeliest token is the right one; without dropout.
 *
 * @throws ArgumentError when no token is hidden.
 * @example
 * const { accuracy } = maskedAccuracy(model, maskedBatches(ids, { ...sizes, tokenizer, masker }, new Generator(1)));
 */
export function maskedAccuracy(model: MaskedPredictor, batches: Iterable<MaskedBatch>): MaskedAccuracy {
  const { training } = model;
  let correct = 0;
  let total = 0;
  if (training) model.train(false);
  try {
    for (const batch of batches) {
      const { found, labels } = scope(() => noGrad(() => predictions(model, batch)));
      labels.forEach((label, i) => (correct += Number(found[i] === label)));
      total += labels.length;
    }
  } finally {
    if (training) model.train(true);
  }
  return part(correct, total);
}

/** The model's tokens for the hidden ones, and what they are. */
function predictions(
  model: MaskedPredictor,
  { ids, labels, attentionMask, tokenTypeIds }: MaskedBatch,
): { found: number[]; labels: number[] } {
  const places = placesOf(labels);
  if (places.length === 0) return { found: [], labels: [] };
  const hidden = model.hidden(ids, {
    ...(attentionMask && { attentionMask }),
    ...(tokenTypeIds && { tokenTypeIds }),
  });
  const rows = indexSelect(reshape(hidden, [-1, hidden.shape[2]]), 0, tensor(places));
  const found = [...argmax(model.predict(rows), -1).data].map(Number);
  return { found, labels: Array.from(places, (place) => labels.data[place]) };
}

/**
 * The part of the hidden tokens that are the most frequent token of `train`: what a model must be better than to have learned
 * anything from the tokens around.
 */
export function unigramAccuracy(train: Int32Array, batches: Iterable<MaskedBatch>): MaskedAccuracy {
  const counts = new Map<number, number>();
  for (const id of train) counts.set(id, (counts.get(id) ?? 0) + 1);
  const [best] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a), [-1, 0]);
  let correct = 0;
  let total = 0;
  for (const { labels } of batches) {
    for (const place of placesOf(labels)) {
      correct += Number(labels.data[place] === best);
      total++;
    }
  }
  return part(correct, total);
}

const placesOf = ({ data }: Tensor): Int32Array =>
  Int32Array.from(data.keys()).filter((i) => data[i] !== -100);

function part(correct: number, total: number): MaskedAccuracy {
  if (total > 0) return { accuracy: correct / total, correct, total };
  throw new ArgumentError('masked accuracy: no token is hidden in the batches');
}
