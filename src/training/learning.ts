/**
 * What a trainer learns, in the one form that its loop knows: a source of batches, an objective, and batches to evaluate on.
 * Token ids are put into this form.
 */

import { ArgumentError, checkOptions } from '../../lib/errors.js';
import { Generator } from '../../lib/random.js';
import type { BatchSource } from '../data/batch-source.js';
import { BatchSampler, sequentialBatches, type Batch, type BatchOptions } from '../data/tokens.js';
import { checkValidation } from './evaluation.js';
import { nextToken, type Objective } from './objective.js';
import { checkCount } from './run-length.js';
import {
  sourceOptionNames,
  tokenOptionNames,
  type SourceTrainerOptions,
  type TrainerOptions,
} from './trainer-options.js';

/** What is learned. */
export interface Learning<B> {
  readonly source: BatchSource<B>;
  readonly objective: Objective<B>;
  /** Null where there is nothing to evaluate on. */
  readonly validation: Iterable<B> | null;
}

/**
 * What a trainer of these options learns.
 * @throws ArgumentError naming the option that is unknown or out of range, or the part of the data that is too short.
 */
export function learningOf<B>(options: TrainerOptions | SourceTrainerOptions<B>): Learning<B> {
  checkOptions('Trainer', options, isOfTokens(options) ? tokenOptionNames : sourceOptionNames);
  // The type of the batches follows from which form it is, which the compiler cannot see.
  if (isOfTokens(options)) return ofTokens(options) as Learning<unknown> as Learning<B>;
  const { train, objective, validation } = options;
  if (typeof (objective as Partial<Objective<B>> | undefined)?.loss !== 'function') {
    throw new ArgumentError('Trainer: a source of batches needs an objective, { loss(batch) }');
  }
  const empty = validation === undefined || (Array.isArray(validation) && validation.length === 0);
  return { source: train, objective, validation: empty ? null : validation };
}

const isOfTokens = <B>(options: TrainerOptions | SourceTrainerOptions<B>): options is TrainerOptions =>
  (options as Partial<TrainerOptions> | null)?.train instanceof Int32Array;

function ofTokens(options: TrainerOptions): Learning<Batch> {
  const { model, train, validation, batchSize, sequenceLength, seed = 0, evalInterval } = options;
  const source = new BatchSampler(train, { batchSize, sequenceLength }, new Generator(seed));
  const evalBatchSize = checkCount('evalBatchSize', options.evalBatchSize ?? batchSize, 1);
  if (validation === undefined || validation.length === 0) {
    return { source, objective: nextToken(model), validation: null };
  }
  checkValidation(validation.length, evalInterval ?? 1);
  const sizes = { batchSize: evalBatchSize, sequenceLength };
  return { source, objective: nextToken(model), validation: new ValidationWindows(validation, sizes) };
}

/** All windows of token ids in order, as often as they are asked for; each lives until the next. */
export class ValidationWindows implements Iterable<Batch> {
  readonly #ids: Int32Array;
  readonly #sizes: BatchOptions;

  constructor(ids: Int32Array, sizes: BatchOptions) {
    this.#ids = ids;
    this.#sizes = sizes;
  }

  *[Symbol.iterator](): IterableIterator<Batch> {
    for (const batch of sequentialBatches(this.#ids, this.#sizes)) {
      yield batch;
      batch.inputs.dispose();
      batch.targets.dispose();
    }
  }
}
