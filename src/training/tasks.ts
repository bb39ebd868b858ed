/** What encoders and encoder-decoders learn, as objectives of the trainer: hidden tokens, classes, texts for texts. */

import type { Tensor } from '../../lib/tensor.js';
import type { ClassBatch } from '../data/examples.js';
import { ignoredLabel } from '../data/masked.js';
import type { MaskedBatch } from '../data/masked-text.js';
import type { Seq2SeqBatch } from '../data/span-corruption.js';
import {
  classificationLoss,
  maskedTokenLoss,
  preTrainingLoss,
  seq2seqLoss,
  type BertForPreTraining,
  type LabelConfig,
  type MaskedLanguageModel,
  type SegmentedEncoderOptions,
  type T5,
} from '../models/index.js';
import type { Objective } from './objective.js';

/** Predicting hidden tokens. */
export function maskedTokens(model: MaskedLanguageModel): Objective<MaskedBatch> {
  return {
    loss: ({ ids, labels, attentionMask, tokenTypeIds }) => ({
      loss: maskedTokenLoss(model, ids, labels, {
        ...(attentionMask && { attentionMask }),
        ...(tokenTypeIds && { tokenTypeIds }),
      }),
      weight: countLabels(labels),
      tokens: countTokens(ids, attentionMask),
    }),
  };
}

/** Predicting hidden tokens, and whether the second text of a pair follows the first. */
export function maskedTokensAndPairs(
  model: BertForPreTraining,
): Objective<Required<Pick<MaskedBatch, 'relationships'>> & MaskedBatch> {
  return {
    loss: ({ ids, labels, relationships, attentionMask, tokenTypeIds }) => ({
      loss: preTrainingLoss(model, ids, labels, relationships, { attentionMask, tokenTypeIds }),
      weight: countLabels(labels),
      tokens: countTokens(ids, attentionMask),
    }),
  };
}

/** A model that classifies texts. */
export interface TrainableClassifier {
  readonly config: LabelConfig;
  /** (B, T) int32 to logits, (B, L) */
  forward(ids: Tensor, options?: SegmentedEncoderOptions): Tensor;
}

/** Predicting the classes of texts. */
export function textClasses(model: TrainableClassifier): Objective<ClassBatch> {
  return {
    loss: ({ ids, labels, attentionMask, tokenTypeIds }) => ({
      loss: classificationLoss(
        model.forward(ids, {
          ...(attentionMask && { attentionMask }),
          ...(tokenTypeIds && { tokenTypeIds }),
        }),
        labels,
        model.config,
      ),
      weight: labels.size,
      tokens: countTokens(ids, attentionMask),
    }),
  };
}

/** Writing texts for texts. */
export function textToText(model: T5): Objective<Seq2SeqBatch> {
  return {
    loss: ({ ids, labels, attentionMask }) => ({
      loss: seq2seqLoss(model, ids, labels, { attentionMask }),
      weight: countLabels(labels),
      tokens: countTokens(ids, attentionMask) + countLabels(labels),
    }),
  };
}

function countLabels({ data }: Tensor): number {
  let count = 0;
  for (const label of data) if (label !== ignoredLabel) count++;
  return count;
}

function countTokens(ids: Tensor, mask: Tensor | undefined): number {
  if (mask === undefined) return ids.size;
  let count = 0;
  for (const token of mask.data) count += token;
  return count;
}
