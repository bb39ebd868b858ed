/**
 * What T5 is pre-trained on: spans of a text are taken out, each replaced by a sentinel, and the target is the sentinels with
 * what stood there. The random segmentation is that of the T5 codebase (`random_spans_noise_mask`): noise and text alternate,
 * text first, in spans whose numbers and total lengths are fixed, so a text of known length gives inputs and targets of known
 * lengths.
 *
 *     Thank you for inviting me to your party last week    ->   Thank you <X> me to your party <Y> week </s>
 *                                                               <X> for inviting <Y> last </s>
 */

import { ArgumentError, checkOptions } from '../../lib/errors.js';
import { tensor } from '../../lib/ops/create.js';
import type { Generator, StreamState } from '../../lib/random.js';
import type { Tensor } from '../../lib/tensor.js';
import type { PretrainedTokenizer } from '../tokenizers/pretrained.js';
import { hashIds, streamState, type BatchSource, type JsonValue, type RunIdentity } from './batch-source.js';
import { checkBatch, checkSize, type BatchOptions } from './tokens.js';

/** How spans are taken out. */
export interface SpanCorruptionOptions {
  /** The part of the tokens that is taken out; default 0.15. */
  readonly noiseDensity?: number;
  /** Mean length of a span; default 3. */
  readonly meanSpanLength?: number;
}

/** Names of {@link SpanCorruptionOptions}. */
export const spanOptionNames = ['noiseDensity', 'meanSpanLength'] as const;

/** The ids that stand for spans, and the one that ends texts. */
export interface SpanVocabulary {
  /** `<extra_id_0>`, `<extra_id_1>`, ...: in T5's vocabulary the last ids, descending. */
  readonly sentinels: readonly number[];
  /** `</s>` */
  readonly eos: number;
}

/** A text without its spans, and the spans; both end in `</s>`. */
export interface CorruptedIds {
  readonly inputs: Int32Array;
  readonly targets: Int32Array;
}

/** The tokenizer's `<extra_id_0>`, `<extra_id_1>`, ... and `</s>`. @throws ArgumentError when it has none. */
export function spanVocabulary(tokenizer: PretrainedTokenizer): SpanVocabulary {
  const sentinels: number[] = [];
  for (let id; (id = tokenizer.tokenToId(`<extra_id_${sentinels.length}>`)) !== undefined;)
    sentinels.push(id);
  const { eosId } = tokenizer;
  if (sentinels.length > 0 && eosId !== undefined) return { sentinels, eos: eosId };
  throw new ArgumentError('span corruption: the tokenizer must have the tokens <extra_id_0>, ... and </s>');
}

/** How many tokens and spans are taken out of a text of `length` tokens. */
export function spanCounts(
  length: number,
  options: SpanCorruptionOptions = {},
): { noise: number; spans: number } {
  const { noiseDensity, meanSpanLength } = spanSettings(options);
  const noise = Math.min(Math.max(Math.round(length * noiseDensity), 1), length - 1);
  const spans = Math.max(1, Math.round(noise / meanSpanLength));
  return { noise, spans: Math.min(spans, noise, length - noise) };
}

/**
 * Takes spans out of a text.
 *
 * @param ids Two tokens at least, without `</s>`.
 * @throws ArgumentError for a shorter text, and for one that needs more spans than there are sentinels.
 * @example
 * const { inputs, targets } = corruptSpans(ids, spanVocabulary(tokenizer), new Generator(1));
 */
export function corruptSpans(
  ids: Int32Array,
  { sentinels, eos }: SpanVocabulary,
  generator: Generator,
  options: SpanCorruptionOptions = {},
): CorruptedIds {
  if (ids.length < 2) {
    throw new ArgumentError(`corruptSpans: a text must have two tokens at least, got ${ids.length}`);
  }
  const { noise, spans } = spanCounts(ids.length, options);
  checkSentinels(spans, sentinels, ids.length);
  const noiseLengths = segments(noise, spans, generator);
  const textLengths = segments(ids.length - noise, spans, generator);
  const inputs = new Int32Array(ids.length - noise + spans + 1);
  const targets = new Int32Array(noise + spans + 1);
  let [from, input, target] = [0, 0, 0];
  for (let span = 0; span < spans; span++) {
    const text = ids.subarray(from, from + textLengths[span]);
    from += text.length;
    const hidden = ids.subarray(from, from + noiseLengths[span]);
    from += hidden.length;
    inputs.set(text, input);
    input += text.length;
    inputs[input++] = targets[target++] = sentinels[span];
    targets.set(hidden, target);
    target += hidden.length;
  }
  inputs[input] = targets[target] = eos;
  return { inputs, targets };
}

/**
 * Puts the spans back: the inverse of {@link corruptSpans}.
 * @throws ArgumentError when the target has not the spans of the input.
 */
export function restoreSpans(
  { inputs, targets }: CorruptedIds,
  { sentinels, eos }: SpanVocabulary,
): Int32Array {
  const isSentinel = new Set(sentinels);
  const spans = new Map<number, number[]>();
  let current: number[] | undefined;
  for (const id of targets) {
    if (id === eos) break;
    if (isSentinel.has(id)) spans.set(id, (current = []));
    else if (current === undefined)
      throw new ArgumentError('restoreSpans: the target must begin with a sentinel');
    else current.push(id);
  }
  const restored: number[] = [];
  for (const id of inputs) {
    if (id === eos) break;
    const span = isSentinel.has(id) ? spans.get(id) : [id];
    if (span === undefined)
      throw new ArgumentError(`restoreSpans: the target has no span for sentinel ${id}`);
    restored.push(...span);
  }
  return Int32Array.from(restored);
}

/** Cuts `items` into `count` parts of at least one, every way as likely as any other. */
function segments(items: number, count: number, generator: Generator): number[] {
  // `count - 1` of the `items - 1` places between items are cuts: drawn one by one (Knuth's algorithm S).
  const lengths: number[] = [];
  let [cuts, start] = [count - 1, 0];
  for (let place = 1; place < items && cuts > 0; place++) {
    if (generator.nextFloat() * (items - place) >= cuts) continue;
    lengths.push(place - start);
    start = place;
    cuts--;
  }
  return [...lengths, items - start];
}

/** A batch for an encoder-decoder. */
export interface Seq2SeqBatch {
  /** (B, S) int32, the texts that are read. */
  readonly ids: Tensor;
  /** (B, S) bool, where they are padded. */
  readonly attentionMask?: Tensor;
  /** (B, T) int32, the texts to write, `</s>` last; -100 where they are padded. */
  readonly labels: Tensor;
}

/** What {@link SpanCorruptionSource} and {@link corruptedBatches} take. */
export type SpanBatchOptions = BatchOptions &
  SpanCorruptionOptions & { readonly tokenizer: PretrainedTokenizer };

/**
 * Draws windows from anywhere in a text and takes spans out of them. Windows are as long as fits: their inputs have
 * `sequenceLength` tokens or one less, so nothing is padded.
 */
export class SpanCorruptionSource implements BatchSource<Seq2SeqBatch> {
  readonly #ids: Int32Array;
  readonly #plan: SpanPlan;
  readonly #generator: Generator;

  /**
   * @param ids The text's, without `</s>`.
   * @param options `sequenceLength` counts the tokens that the encoder reads, with sentinels and `</s>`.
   * @param generator Where places and spans come from; the source should be its only user.
   */
  constructor(ids: Int32Array, options: SpanBatchOptions, generator: Generator) {
    this.#plan = planOf('SpanCorruptionSource', options);
    const { window } = this.#plan;
    if (ids.length < window) {
      throw new ArgumentError(
        `SpanCorruptionSource: the text has ${ids.length} tokens, too few for inputs of ${options.sequenceLength} (at least ${window} are needed); use a longer text or a shorter sequence`,
      );
    }
    this.#ids = ids;
    this.#generator = generator;
  }

  get length(): number {
    return this.#ids.length / (this.#plan.batchSize * this.#plan.window);
  }

  get identity(): RunIdentity {
    const { batchSize, sequenceLength, settings } = this.#plan;
    const data = { trainTokens: this.#ids.length, trainHash: hashIds(this.#ids) };
    return { batchSize, sequenceLength, ...settings, ...data };
  }

  next(): Seq2SeqBatch {
    const { batchSize, window } = this.#plan;
    const rows = Array.from({ length: batchSize }, () => {
      const place = this.#generator.nextInt(this.#ids.length - window + 1);
      return this.#ids.subarray(place, place + window);
    });
    return corruptedBatch(rows, this.#plan, this.#generator);
  }

  state(): StreamState {
    return this.#generator.state();
  }

  setState(state: JsonValue): void {
    this.#generator.setState(streamState('SpanCorruptionSource', state));
  }
}

/**
 * A whole text in batches of windows side by side, to evaluate on: the same spans are taken out for the same generator. What
 * does not fill a window is left out.
 */
export function corruptedBatches(
  ids: Int32Array,
  options: SpanBatchOptions,
  generator: Generator,
): Seq2SeqBatch[] {
  const plan = planOf('corruptedBatches', options);
  const { window, batchSize } = plan;
  const rows = Array.from({ length: Math.floor(ids.length / window) }, (_, i) =>
    ids.subarray(i * window, (i + 1) * window),
  );
  return Array.from({ length: Math.ceil(rows.length / batchSize) }, (_, i) =>
    corruptedBatch(rows.slice(i * batchSize, (i + 1) * batchSize), plan, generator),
  );
}

interface SpanPlan {
  readonly batchSize: number;
  readonly sequenceLength: number;
  /** Tokens of a text whose inputs are at most `sequenceLength`. */
  readonly window: number;
  readonly settings: Required<SpanCorruptionOptions>;
  readonly vocabulary: SpanVocabulary;
}

function planOf(name: string, options: SpanBatchOptions): SpanPlan {
  checkOptions(name, options, ['batchSize', 'sequenceLength', 'tokenizer', ...spanOptionNames]);
  const { batchSize, sequenceLength, tokenizer, noiseDensity, meanSpanLength } = options;
  checkSize('batchSize', batchSize);
  checkSize('sequenceLength', sequenceLength);
  checkBatch(options);
  const settings = spanSettings({ noiseDensity, meanSpanLength });
  const inputLength = (length: number): number => {
    const { noise, spans } = spanCounts(length, settings);
    return length - noise + spans + 1;
  };
  if (sequenceLength < inputLength(2)) {
    throw new ArgumentError(
      `${name}: sequenceLength must be at least ${inputLength(2)}, got ${sequenceLength}`,
    );
  }
  let window = 2;
  while (inputLength(window + 1) <= sequenceLength) window++;
  const vocabulary = spanVocabulary(tokenizer);
  checkSentinels(spanCounts(window, settings).spans, vocabulary.sentinels, window);
  return { batchSize, sequenceLength, window, settings, vocabulary };
}

function corruptedBatch(rows: readonly Int32Array[], plan: SpanPlan, generator: Generator): Seq2SeqBatch {
  const corrupted = rows.map((row) => corruptSpans(row, plan.vocabulary, generator, plan.settings));
  const stacked = (texts: readonly Int32Array[]): Tensor =>
    tensor(Int32Array.from(texts.flatMap((ids) => [...ids])), { shape: [texts.length, texts[0].length] });
  return {
    ids: stacked(corrupted.map(({ inputs }) => inputs)),
    labels: stacked(corrupted.map(({ targets }) => targets)),
  };
}

function spanSettings(options: SpanCorruptionOptions): Required<SpanCorruptionOptions> {
  checkOptions('span corruption', options, spanOptionNames);
  const { noiseDensity = 0.15, meanSpanLength = 3 } = options;
  if (!(noiseDensity > 0 && noiseDensity < 1)) {
    throw new ArgumentError(`span corruption: noiseDensity must be between 0 and 1, got ${noiseDensity}`);
  }
  if (!(meanSpanLength >= 1 && meanSpanLength < Infinity)) {
    throw new ArgumentError(`span corruption: meanSpanLength must be at least 1, got ${meanSpanLength}`);
  }
  return { noiseDensity, meanSpanLength };
}

function checkSentinels(spans: number, sentinels: readonly number[], length: number): void {
  if (spans <= sentinels.length) return;
  throw new ArgumentError(
    `span corruption: a text of ${length} tokens needs ${spans} sentinels, the tokenizer has ${sentinels.length}; use shorter texts or longer spans`,
  );
}
