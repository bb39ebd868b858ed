/**
 * A text's tokens cut into the part that trains and the part that judges, and both into windows for the
 * model.
 */

import { ArgumentError } from '../../lib/errors.js';
import { Tensor } from '../../lib/tensor.js';
import type { Generator, StreamState } from '../../lib/random.js';
import { hashIds, streamState, type BatchSource, type JsonValue, type RunIdentity } from './batch-source.js';

/** What a language model learns from: token ids, and at each position the id that follows. */
export interface Batch {
  /** (B, T), int32 */
  readonly inputs: Tensor;
  /** (B, T), int32: the inputs one position on; -100 where nothing is to be predicted. */
  readonly targets: Tensor;
  /** (B, T), int32: the column at which each token's document begins, where documents are kept apart. */
  readonly documentStarts?: Tensor;
}

/** Tokens to train on and tokens to judge by; views of one array. */
export interface TokenSplit {
  readonly train: Int32Array;
  readonly validation: Int32Array;
}

/**
 * Cuts off the last part of the tokens for validation.
 *
 * @param fraction The part that validates, from 0 (none) to below 1.
 * @example
 * const { train, validation } = splitTokens(tokenizer.encode(text), 0.1);
 */
export function splitTokens(ids: Int32Array, fraction: number): TokenSplit {
  if (!(fraction >= 0 && fraction < 1)) {
    throw new ArgumentError(
      `splitTokens: the fraction for validation must be from 0 to below 1, got ${fraction}`,
    );
  }
  const cut = Math.floor((1 - fraction) * ids.length);
  return { train: ids.subarray(0, cut), validation: ids.subarray(cut) };
}

/** Sizes of the windows that a {@link BatchSampler} draws. */
export interface BatchOptions {
  /** Windows per batch, B. */
  readonly batchSize: number;
  /** Tokens per window, T. */
  readonly sequenceLength: number;
}

/**
 * Draws batches of windows from anywhere in the tokens, each place as likely as any other, as nanoGPT does.
 */
export class BatchSampler implements BatchSource<Batch> {
  readonly #ids: Int32Array;
  readonly #batchSize: number;
  readonly #sequenceLength: number;
  readonly #generator: Generator;

  /**
   * @param generator Where the places come from; the sampler should be its only user.
   * @throws ArgumentError when there are too few tokens for one window.
   */
  constructor(ids: Int32Array, options: BatchOptions, generator: Generator) {
    checkSize('batchSize', options.batchSize);
    checkSize('sequenceLength', options.sequenceLength);
    checkLength(ids.length, options.sequenceLength);
    checkBatch(options);
    this.#ids = ids;
    this.#batchSize = options.batchSize;
    this.#sequenceLength = options.sequenceLength;
    this.#generator = generator;
  }

  /** Batches with as many tokens as there are. */
  get length(): number {
    return this.#ids.length / (this.#batchSize * this.#sequenceLength);
  }

  get identity(): RunIdentity {
    return {
      batchSize: this.#batchSize,
      sequenceLength: this.#sequenceLength,
      trainTokens: this.#ids.length,
      trainHash: hashIds(this.#ids),
    };
  }

  /** The next batch, drawn at random. */
  next(): Batch {
    const places = this.#ids.length - this.#sequenceLength;
    return windows(this.#ids, [this.#batchSize, this.#sequenceLength], () => this.#generator.nextInt(places));
  }

  state(): StreamState {
    return this.#generator.state();
  }

  setState(state: JsonValue): void {
    this.#generator.setState(streamState('BatchSampler', state));
  }
}

/**
 * All tokens in order, for evaluation: batches of windows that lie side by side, so that every token but the
 * first is predicted exactly once. What does not fill a window comes last, as a batch of one shorter window.
 */
export function* sequentialBatches(ids: Int32Array, options: BatchOptions): Iterable<Batch> {
  const { batchSize, sequenceLength } = options;
  checkSize('batchSize', batchSize);
  checkSize('sequenceLength', sequenceLength);
  const predictions = Math.max(0, ids.length - 1);
  const whole = Math.floor(predictions / sequenceLength);
  for (let first = 0; first < whole; first += batchSize) {
    const count = Math.min(batchSize, whole - first);
    yield windows(ids, [count, sequenceLength], (row) => (first + row) * sequenceLength);
  }
  const rest = predictions - whole * sequenceLength;
  if (rest > 0) yield windows(ids, [1, rest], () => whole * sequenceLength);
}

/** Windows of tokens, each from the place that `placeOf` gives for its row, and those one position on. */
function windows(
  ids: Int32Array,
  [rows, length]: readonly [rows: number, length: number],
  placeOf: (row: number) => number,
): Batch {
  const inputs = Tensor.empty([rows, length], 'int32', 'batch inputs');
  const targets = Tensor.empty([rows, length], 'int32', 'batch targets');
  for (let row = 0; row < rows; row++) {
    const place = placeOf(row);
    inputs.memory.set(ids.subarray(place, place + length), row * length);
    targets.memory.set(ids.subarray(place + 1, place + 1 + length), row * length);
  }
  return { inputs, targets };
}

/** Tokens of a batch at most: their positions are 32-bit integers. */
const mostTokens = 2 ** 31 - 1;

/** Throws ArgumentError unless there are tokens enough for one window and the id that follows it. */
export function checkLength(tokens: number, sequenceLength: number): void {
  if (tokens > sequenceLength) return;
  throw new ArgumentError(
    `BatchSampler: the text has ${tokens} tokens to train on, too few for a sequence of ${sequenceLength} ` +
      `(at least ${sequenceLength + 1} are needed); use a longer text or a shorter sequence`,
  );
}

/** Throws ArgumentError when a batch has more tokens than the kernels can count. */
export function checkBatch({ batchSize, sequenceLength }: BatchOptions): void {
  if (batchSize * sequenceLength <= mostTokens) return;
  throw new ArgumentError(
    `BatchSampler: a batch of ${batchSize} sequences of ${sequenceLength} has more than ${mostTokens} tokens; ` +
      'use smaller batches, and accumulate their gradients',
  );
}

/** Throws ArgumentError unless it is a whole number of at least 1. */
export function checkSize(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1) {
    throw new ArgumentError(`${name}: must be a positive integer, got ${value}`);
  }
}
