/**
 * Batches of examples of unequal length: each pass takes every example once, in a new order in which neighbours have about the
 * same length, so that little of a batch is padding.
 */

import { ArgumentError } from '../../lib/errors.js';
import { tensor } from '../../lib/ops/create.js';
import type { Generator, StreamState } from '../../lib/random.js';
import type { Tensor } from '../../lib/tensor.js';
import type { PretrainedTokenizer } from '../tokenizers/pretrained.js';
import { hashIds, streamState, type BatchSource, type JsonValue, type RunIdentity } from './batch-source.js';
import { ignoredLabel } from './masked.js';
import { padIds, padRows, type PaddedIds } from './padding.js';
import type { LabelledText, TextPair } from './rows.js';
import type { Seq2SeqBatch } from './span-corruption.js';
import { checkSize } from './tokens.js';

/** Batches that are sorted by length together: as many as keep the order random and the padding small. */
const batchesOfPool = 32;

/** What an {@link ExampleSource} needs to know of its examples. */
export interface ExampleSourceOptions<E, B> {
  readonly batchSize: number;
  /** Tokens of an example, by which examples of about the same length come together. */
  readonly lengthOf: (example: E) => number;
  /** Makes a batch. */
  readonly collate: (examples: readonly E[]) => B;
  /** The ids by which the run can tell whether its data has changed. */
  readonly idsOf: (example: E) => Int32Array;
}

/** Examples in a random order with little padding. */
export class ExampleSource<E, B> implements BatchSource<B> {
  readonly #examples: readonly E[];
  readonly #options: ExampleSourceOptions<E, B>;
  readonly #generator: Generator;
  /** Where the random stream stood when the pass began, and how many of its batches are done. */
  #pass: StreamState;
  #done = 0;
  #batches: number[][] | null = null;

  /** @param generator Where the order comes from; the source should be its only user. */
  constructor(examples: readonly E[], options: ExampleSourceOptions<E, B>, generator: Generator) {
    if (examples.length === 0) throw new ArgumentError('ExampleSource: there must be one example at least');
    checkSize('batchSize', options.batchSize);
    this.#examples = examples;
    this.#options = options;
    this.#generator = generator;
    this.#pass = generator.state();
  }

  /** Batches of a pass; the last one may have fewer examples. */
  get length(): number {
    return Math.ceil(this.#examples.length / this.#options.batchSize);
  }

  get identity(): RunIdentity {
    const { batchSize, idsOf } = this.#options;
    const hash = this.#examples.reduce((h, example) => hashIds(idsOf(example), h), 0x811c9dc5);
    return { batchSize, trainExamples: this.#examples.length, trainHash: hash };
  }

  next(): B {
    if (this.#done === this.length) {
      this.#pass = this.#generator.state();
      this.#done = 0;
      this.#batches = null;
    }
    this.#batches ??= this.#order();
    const batch = this.#batches[this.#done++];
    return this.#options.collate(batch.map((i) => this.#examples[i]));
  }

  /** The batches of one pass: shuffled, sorted by length within pools, cut, and shuffled again. */
  #order(): number[][] {
    const { batchSize, lengthOf } = this.#options;
    const order = shuffle([...this.#examples.keys()], this.#generator);
    const batches: number[][] = [];
    const pool = batchSize * batchesOfPool;
    for (let first = 0; first < order.length; first += pool) {
      const part = order.slice(first, first + pool);
      part.sort((a, b) => lengthOf(this.#examples[a]) - lengthOf(this.#examples[b]));
      for (let i = 0; i < part.length; i += batchSize) batches.push(part.slice(i, i + batchSize));
    }
    return shuffle(batches, this.#generator);
  }

  state(): JsonValue {
    return { ...this.#pass, done: this.#done };
  }

  setState(state: JsonValue): void {
    const pass = streamState('ExampleSource', state);
    const { done } = state as { done?: JsonValue };
    if (!Number.isSafeInteger(done) || (done as number) < 0 || (done as number) > this.length) {
      throw new ArgumentError(
        `ExampleSource: the state must have done, from 0 to ${this.length} batches, got ${JSON.stringify(state)}; was it saved by a run on other data?`,
      );
    }
    this.#generator.setState(pass);
    this.#pass = pass;
    this.#batches = this.#order();
    this.#done = done as number;
  }
}

/** Examples in batches in the order of their lengths, to evaluate on. */
export function exampleBatches<E, B>(
  examples: readonly E[],
  { batchSize, lengthOf, collate }: Omit<ExampleSourceOptions<E, B>, 'idsOf'>,
): B[] {
  checkSize('batchSize', batchSize);
  const sorted = [...examples].sort((a, b) => lengthOf(a) - lengthOf(b));
  return Array.from({ length: Math.ceil(sorted.length / batchSize) }, (_, i) =>
    collate(sorted.slice(i * batchSize, (i + 1) * batchSize)),
  );
}

/** Shuffles in place (Fisher and Yates). */
export function shuffle<T>(items: T[], generator: Generator): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = generator.nextInt(i + 1);
    [items[i], items[j]] = [items[j], items[i]];
  }
  return items;
}

/** A text, or pair of texts, as ids, and its class. */
export interface ClassExample {
  readonly ids: Int32Array;
  readonly typeIds: Int32Array;
  /** The number of its class. */
  readonly label: number;
}

/** A batch of texts with their classes. */
export interface ClassBatch extends PaddedIds {
  /** (B, T) int32, where there are pairs: 1 for the second texts. */
  readonly tokenTypeIds?: Tensor;
  /** (B) int32 */
  readonly labels: Tensor;
}

/**
 * Encodes texts with their classes, as `BertForSequenceClassification` takes them; texts that are too long are cut.
 *
 * @param classes The class of each text, see {@link classesOf}.
 * @param maxLength Tokens with the special ones.
 */
export function encodeClassExamples(
  tokenizer: PretrainedTokenizer,
  texts: readonly LabelledText[],
  classes: readonly number[],
  maxLength: number,
): ClassExample[] {
  return texts.map(({ text, pair }, i) => {
    const options = { truncation: true, maxLength, ...(pair === undefined ? {} : { textPair: pair }) };
    const { ids, typeIds } = tokenizer.encodePlus(text, options);
    return { ids, typeIds, label: classes[i] };
  });
}

/**
 * How texts with classes become batches.
 *
 * @param padId The tokenizer's.
 * @param options.segments Whether the model is told which text of a pair a token is in; true by default.
 */
export function classBatches(
  batchSize: number,
  padId: number,
  options: { readonly segments?: boolean } = {},
): ExampleSourceOptions<ClassExample, ClassBatch> {
  const { segments = true } = options;
  return {
    batchSize,
    lengthOf: ({ ids }) => ids.length,
    idsOf: ({ ids, label }) => Int32Array.from([...ids, label]),
    collate: (examples) => {
      const ids = examples.map((example) => example.ids);
      const types = examples.map(({ typeIds }) => typeIds);
      const arePairs = segments && types.some((row) => row.includes(1));
      return {
        ...padIds(ids, padId),
        ...(arePairs ? { tokenTypeIds: padRows(types, 0) } : {}),
        labels: tensor(Int32Array.from(examples, ({ label }) => label)),
      };
    },
  };
}

/** A text and what is to be written for it, as ids. */
export interface Seq2SeqExample {
  readonly ids: Int32Array;
  /** `</s>` last. */
  readonly labels: Int32Array;
}

/** Encodes pairs of texts for an encoder-decoder, whose tokenizer puts `</s>` at their ends; what is too long is cut. */
export function encodeSeq2SeqExamples(
  tokenizer: PretrainedTokenizer,
  pairs: readonly Pick<TextPair, 'source' | 'target'>[],
  maxLength: number,
): Seq2SeqExample[] {
  const encode = (text: string): Int32Array => tokenizer.encode(text, { truncation: true, maxLength });
  return pairs.map(({ source, target }) => ({ ids: encode(source), labels: encode(target) }));
}

/** How pairs of texts become batches: sources padded by `padId`, the tokenizer's, targets by -100. */
export function seq2seqBatches(
  batchSize: number,
  padId: number,
): ExampleSourceOptions<Seq2SeqExample, Seq2SeqBatch> {
  return {
    batchSize,
    lengthOf: ({ ids, labels }) => ids.length + labels.length,
    idsOf: ({ ids, labels }) => Int32Array.from([...ids, ...labels]),
    collate: (examples) => ({
      ...padIds(
        examples.map(({ ids }) => ids),
        padId,
      ),
      labels: padRows(
        examples.map(({ labels }) => labels),
        ignoredLabel,
      ),
    }),
  };
}
