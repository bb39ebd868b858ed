/**
 * The classes of a classification head, as config.json names them (`id2label`), and the losses of the tasks that encoders are
 * fine-tuned for, equal to those that Hugging Face's classes compute from `labels`.
 */

import {
  add,
  ArgumentError,
  binaryCrossEntropyWithLogits,
  ConfigError,
  crossEntropy,
  formatShape,
  IndexError,
  mseLoss,
  mul,
  reshape,
  sameShape,
  scope,
  ShapeError,
  type Tensor,
  tensor,
} from '../../lib/index.js';

/** What a classification head predicts: one number, one class, or any number of classes. */
export type ProblemType = 'regression' | 'single_label_classification' | 'multi_label_classification';

/** Keys of config.json that describe a classification head. */
export interface LabelConfig {
  /** The name of each class by its index, `{ "0": "negative", "1": "positive" }`. */
  id2label: Readonly<Record<string, string>>;
  /** Null: regression where there is one label, else one class. */
  problem_type: ProblemType | null;
}

export const labelDefaults: LabelConfig = {
  id2label: { 0: 'LABEL_0', 1: 'LABEL_1' },
  problem_type: null,
};

export const problemTypes = ['regression', 'single_label_classification', 'multi_label_classification'];

/** `id2label` and `label2id` of config.json for these classes. */
export function labelConfig(labels: readonly string[]): {
  id2label: Record<string, string>;
  label2id: Record<string, number>;
} {
  return {
    id2label: Object.fromEntries(labels.map((label, i) => [i, label])),
    label2id: Object.fromEntries(labels.map((label, i) => [label, i])),
  };
}

/**
 * The classes' names in the order of the logits.
 *
 * @throws ConfigError when the indices do not count from 0 on, or a name is no text or is there twice.
 */
export function labelNames(model: string, { id2label }: Pick<LabelConfig, 'id2label'>): string[] {
  const count = Object.keys(id2label).length;
  const labels = Array.from({ length: count }, (_, i) => id2label[i]);
  if (count === 0 || labels.some((label) => typeof label !== 'string') || new Set(labels).size < count) {
    throw new ConfigError(
      `${model}: id2label must name each class once, by its index from "0" on, got ${JSON.stringify(id2label)}`,
    );
  }
  return labels;
}

/** The index of a class by its name. @throws ArgumentError that lists the names there are. */
export function labelIndex(config: Pick<LabelConfig, 'id2label'>, label: string): number {
  const index = Object.values(config.id2label).indexOf(label);
  if (index < 0) {
    throw new ArgumentError(
      `labels: there is no label '${label}'; there are ${Object.values(config.id2label).join(', ')}`,
    );
  }
  return index;
}

/** What a head's labels are: the configuration's `problem_type`, or what follows from the number of labels. */
export function problemTypeOf(config: LabelConfig): ProblemType {
  const single = Object.keys(config.id2label).length === 1;
  return config.problem_type ?? (single ? 'regression' : 'single_label_classification');
}

/**
 * The loss of a sequence classification: squared error for a regression, cross-entropy for one class, binary
 * cross-entropy of each class for any number of them.
 *
 * @param logits (B, L)
 * @param labels One class: (B) int32, -100 to leave a text out. Else float32: (B, L), or (B) for one number.
 * @param config The model's; its `problem_type` decides, see `problemTypeOf`.
 * @throws IndexError for a class that is none; ShapeError when the labels do not fit.
 */
export function classificationLoss(logits: Tensor, labels: Tensor, config: LabelConfig): Tensor {
  if (problemTypeOf(config) === 'single_label_classification') {
    checkClasses(labels, config);
    return crossEntropy(logits, labels);
  }
  if (!sameShape([labels.shape[0], labels.shape[1] ?? 1], logits.shape) || labels.rank > 2) {
    throw new ShapeError(
      `classificationLoss: labels of a ${problemTypeOf(config)} must be ${formatShape(logits.shape)}, got ${formatShape(labels.shape)}`,
    );
  }
  const targets = reshape(labels, logits.shape);
  return problemTypeOf(config) === 'regression'
    ? mseLoss(logits, targets)
    : binaryCrossEntropyWithLogits(logits, targets);
}

/**
 * The loss of a token classification: the mean cross-entropy over the tokens that have a label.
 *
 * @param logits (B, T, L)
 * @param labels (B, T) int32, -100 where a token has none: padding, special tokens, later pieces of a word
 */
export function tokenClassificationLoss(
  logits: Tensor,
  labels: Tensor,
  config: Pick<LabelConfig, 'id2label'>,
): Tensor {
  checkClasses(labels, config);
  return crossEntropy(logits, labels);
}

function checkClasses(labels: Tensor, { id2label }: Pick<LabelConfig, 'id2label'>): void {
  const names = Object.values(id2label);
  const at = labels.data.findIndex((label) => label !== -100 && !(label >= 0 && label < names.length));
  if (at >= 0) {
    const place = labels.rank === 2 ? `row ${Math.floor(at / labels.shape[1])}` : `row ${at}`;
    throw new IndexError(
      `classification: label ${labels.data[at]} of ${place} is none of the ${names.length} classes (${names.slice(0, 8).join(', ')}${names.length > 8 ? ', ...' : ''})`,
    );
  }
}

/** Start and end of an answer among the positions of a text: logits of each. */
export interface AnswerLogits {
  /** (B, T) */
  readonly start: Tensor;
  /** (B, T) */
  readonly end: Tensor;
}

/**
 * The loss of extractive question answering: the mean of the cross-entropies of the answer's first and last position.
 *
 * @param starts @param ends The positions for each row. One behind the last position (the answer was cut off) does not
 *   count, a negative one means 0, as in Hugging Face.
 */
export function answerLoss(logits: AnswerLogits, starts: readonly number[], ends: readonly number[]): Tensor {
  const [B, T] = logits.start.shape;
  for (const positions of [starts, ends]) {
    if (positions.length !== B) {
      throw new ShapeError(
        `answerLoss: a position for each of the ${B} rows is needed, got ${positions.length}`,
      );
    }
    const wrong = positions.findIndex((p) => !Number.isInteger(p));
    if (wrong >= 0) {
      throw new ArgumentError(
        `answerLoss: position of row ${wrong} must be an integer, got ${positions[wrong]}`,
      );
    }
  }
  const targets = (positions: readonly number[]): Tensor =>
    tensor(Int32Array.from(positions, (p) => Math.min(Math.max(p, 0), T)));
  return scope(() =>
    mul(
      add(
        crossEntropy(logits.start, targets(starts), { ignoreIndex: T }),
        crossEntropy(logits.end, targets(ends), { ignoreIndex: T }),
      ),
      0.5,
    ),
  );
}
