/** How well classes are found: accuracy, and precision, recall and F1 of each class, as scikit-learn's `classification_report`. */

import { argmax, ArgumentError, noGrad, scope, type Tensor } from '../../lib/index.js';
import type { ClassBatch } from '../data/examples.js';

/** The part of an answer for one class, or their mean. */
export interface ClassScores {
  /** Of the texts that were given this class, the part that has it; 0 where there are none. */
  readonly precision: number;
  /** Of the texts that have this class, the part that was given it. */
  readonly recall: number;
  /** The harmonic mean of both. */
  readonly f1: number;
  /** Texts that have this class. */
  readonly support: number;
}

/** What {@link classificationReport} finds. */
export interface ClassificationReport {
  readonly accuracy: number;
  /** By class. */
  readonly classes: Readonly<Record<string, ClassScores>>;
  /** Means over the classes: each alike, and by their support. */
  readonly macro: ClassScores;
  readonly weighted: ClassScores;
}

/**
 * Compares classes with what they should be.
 *
 * @param labels The names of the classes.
 * @throws ArgumentError for no or unequally many answers, and for classes that are none.
 * @example
 * classificationReport([0, 1, 1], [0, 1, 0], ['bad', 'good']).accuracy; // 2 of 3
 */
export function classificationReport(
  expected: readonly number[],
  found: readonly number[],
  labels: readonly string[],
): ClassificationReport {
  if (expected.length !== found.length || expected.length === 0) {
    throw new ArgumentError(
      `classificationReport: as many answers as texts are needed, one at least; got ${found.length} for ${expected.length}`,
    );
  }
  const wrong = [...expected, ...found].find(
    (label) => !(Number.isInteger(label) && label >= 0 && label < labels.length),
  );
  if (wrong !== undefined) {
    throw new ArgumentError(`classificationReport: ${wrong} is none of the ${labels.length} classes`);
  }
  const scores = labels.map((_, label) => {
    const support = expected.filter((e) => e === label).length;
    const given = found.filter((f) => f === label).length;
    const right = expected.filter((e, i) => e === label && found[i] === label).length;
    const [precision, recall] = [ratio(right, given), ratio(right, support)];
    return { precision, recall, f1: ratio(2 * precision * recall, precision + recall), support };
  });
  const right = expected.filter((e, i) => e === found[i]).length;
  return {
    accuracy: right / expected.length,
    classes: Object.fromEntries(labels.map((label, i) => [label, scores[i]])),
    macro: meanScores(scores, () => 1 / scores.length),
    weighted: meanScores(scores, ({ support }) => support / expected.length),
  };
}

const ratio = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);

function meanScores(scores: readonly ClassScores[], weight: (score: ClassScores) => number): ClassScores {
  const mean = (name: 'precision' | 'recall' | 'f1'): number =>
    scores.reduce((sum, score) => sum + weight(score) * score[name], 0);
  const support = scores.reduce((sum, score) => sum + score.support, 0);
  return { precision: mean('precision'), recall: mean('recall'), f1: mean('f1'), support };
}

/** A model that gives logits of classes. */
export interface ClassifyingModel {
  forward(ids: Tensor, options?: { attentionMask?: Tensor; tokenTypeIds?: Tensor }): Tensor;
  readonly training: boolean;
  train(mode: boolean): unknown;
}

/** The likeliest class of each text, and the class that it should be, in the order of the batches; without dropout. */
export function findClasses(
  model: ClassifyingModel,
  batches: Iterable<ClassBatch>,
): { expected: number[]; found: number[] } {
  const [expected, found]: [number[], number[]] = [[], []];
  const { training } = model;
  if (training) model.train(false);
  try {
    for (const { ids, labels, attentionMask, tokenTypeIds } of batches) {
      const options = { ...(attentionMask && { attentionMask }), ...(tokenTypeIds && { tokenTypeIds }) };
      const classes = scope(() => noGrad(() => [...argmax(model.forward(ids, options), -1).data]));
      found.push(...classes.map(Number));
      expected.push(...[...labels.data].map(Number));
    }
  } finally {
    if (training) model.train(true);
  }
  return { expected, found };
}
