/**
 * Batches to pre-train BERT on: windows of a text between `[CLS]` and `[SEP]`, or pairs of texts of which the second follows
 * the first or does not; each with hidden tokens (masked.ts).
 */

import { ArgumentError } from '../../lib/errors.js';
import type { Generator, StreamState } from '../../lib/random.js';
import { tensor } from '../../lib/ops/create.js';
import type { Tensor } from '../../lib/tensor.js';
import type { PretrainedTokenizer } from '../tokenizers/pretrained.js';
import { truncatedLengths } from '../tokenizers/encoding.js';
import { hashIds, streamState, type BatchSource, type JsonValue, type RunIdentity } from './batch-source.js';
import { ignoredLabel, type TokenMasker } from './masked.js';
import { padIds, padRows } from './padding.js';
import { checkBatch, checkSize, type BatchOptions } from './tokens.js';

/** A batch of texts with hidden tokens. */
export interface MaskedBatch {
  /** (B, T) int32 */
  readonly ids: Tensor;
  /** (B, T) int32: the hidden tokens, -100 elsewhere. */
  readonly labels: Tensor;
  /** (B, T) bool, where texts are padded. */
  readonly attentionMask?: Tensor;
  /** (B, T) int32, where there are pairs: 0 for the first text, 1 for the second. */
  readonly tokenTypeIds?: Tensor;
  /** (B) int32, where there are pairs: 0 where the second text follows the first, 1 where it does not. */
  readonly relationships?: Tensor;
}

/** What stands around a text. */
interface Frame {
  readonly cls: number;
  readonly sep: number;
  readonly pad: number;
}

function frameOf({ clsId, sepId, bosId, eosId, padId }: PretrainedTokenizer): Frame {
  const cls = clsId ?? bosId;
  const sep = sepId ?? eosId;
  if (cls !== undefined && sep !== undefined && padId !== undefined) return { cls, sep, pad: padId };
  throw new ArgumentError(
    'masked text: the tokenizer must have the tokens [CLS], [SEP] and [PAD] (<s>, </s> and <pad>)',
  );
}

/** Draws windows from anywhere in a text, as {@link BatchSampler} does for decoders, and hides tokens of them. */
export class MaskedTextSource implements BatchSource<MaskedBatch> {
  readonly #ids: Int32Array;
  readonly #options: BatchOptions;
  readonly #masker: TokenMasker;
  readonly #frame: Frame;
  readonly #generator: Generator;

  /**
   * @param ids The text's, without special tokens.
   * @param options.sequenceLength Tokens of a window with the two special tokens around it.
   * @param generator Where places and hidden tokens come from; the source should be its only user.
   * @throws ArgumentError when there are too few tokens for one window.
   */
  constructor(
    ids: Int32Array,
    options: BatchOptions & { readonly tokenizer: PretrainedTokenizer; readonly masker: TokenMasker },
    generator: Generator,
  ) {
    const { batchSize, sequenceLength, tokenizer, masker } = options;
    this.#options = checkSizes('MaskedTextSource', { batchSize, sequenceLength });
    this.#frame = frameOf(tokenizer);
    if (ids.length < sequenceLength - 2) {
      throw new ArgumentError(
        `MaskedTextSource: the text has ${ids.length} tokens, too few for a sequence of ${sequenceLength} (${sequenceLength - 2} and two special ones); use a longer text or a shorter sequence`,
      );
    }
    this.#ids = ids;
    this.#masker = masker;
    this.#generator = generator;
  }

  get length(): number {
    const { batchSize, sequenceLength } = this.#options;
    return this.#ids.length / (batchSize * (sequenceLength - 2));
  }

  get identity(): RunIdentity {
    const data = { trainTokens: this.#ids.length, trainHash: hashIds(this.#ids) };
    return { ...this.#options, ...this.#masker.settings, ...data };
  }

  next(): MaskedBatch {
    const { batchSize, sequenceLength } = this.#options;
    const size = sequenceLength - 2;
    const rows = Array.from({ length: batchSize }, () => {
      const place = this.#generator.nextInt(this.#ids.length - size + 1);
      return framed(this.#ids.subarray(place, place + size), this.#frame);
    });
    return maskedBatch(rows, this.#masker, this.#frame, this.#generator);
  }

  state(): StreamState {
    return this.#generator.state();
  }

  setState(state: JsonValue): void {
    this.#generator.setState(streamState('MaskedTextSource', state));
  }
}

/**
 * A whole text in batches of windows side by side, to evaluate on: the same tokens are hidden for the same generator. What
 * does not fill a window comes last, shorter.
 */
export function maskedBatches(
  ids: Int32Array,
  options: BatchOptions & { readonly tokenizer: PretrainedTokenizer; readonly masker: TokenMasker },
  generator: Generator,
): MaskedBatch[] {
  const { batchSize, sequenceLength, tokenizer, masker } = options;
  checkSizes('maskedBatches', { batchSize, sequenceLength });
  const frame = frameOf(tokenizer);
  const size = sequenceLength - 2;
  const rows = Array.from({ length: Math.ceil(ids.length / size) }, (_, i) =>
    framed(ids.subarray(i * size, (i + 1) * size), frame),
  );
  return Array.from({ length: Math.ceil(rows.length / batchSize) }, (_, i) =>
    maskedBatch(rows.slice(i * batchSize, (i + 1) * batchSize), masker, frame, generator),
  );
}

function maskedBatch(
  rows: readonly Int32Array[],
  masker: TokenMasker,
  { pad }: Frame,
  generator: Generator,
): MaskedBatch {
  const masked = rows.map((row) => masker.mask(row, generator));
  const labels = padRows(
    masked.map((row) => row.labels),
    ignoredLabel,
  );
  const ids = masked.map((row) => row.ids);
  return { ...padIds(ids, pad), labels };
}

function framed(text: Int32Array, { cls, sep }: Frame): Int32Array {
  const row = new Int32Array(text.length + 2);
  row[0] = cls;
  row.set(text, 1);
  row[row.length - 1] = sep;
  return row;
}

/** Two texts and whether they belong together. */
interface TextPairIds {
  readonly first: Int32Array;
  readonly second: Int32Array;
  /** 0 where the second follows the first, 1 where it does not. */
  readonly relationship: number;
}

/**
 * Draws pairs of texts for BERT's second task: in half of them the second is what follows the first, in the others it comes
 * from elsewhere. Each text is whole sentences; a pair that is too long loses tokens at the end of its longer text.
 */
export class NextSentenceSource implements BatchSource<MaskedBatch> {
  readonly #documents: readonly (readonly Int32Array[])[];
  /** All sentences but the last of each document, which none follows: document and place. */
  readonly #starts: readonly (readonly [document: number, sentence: number])[];
  readonly #severalDocuments: boolean;
  readonly #options: BatchOptions;
  readonly #masker: TokenMasker;
  readonly #frame: Frame;
  readonly #generator: Generator;
  readonly #tokens: number;

  /**
   * @param documents The sentences of each text, without special tokens; see {@link splitSentences}.
   * @param options.sequenceLength Tokens of a pair at most, with the three special tokens.
   * @throws ArgumentError when no text has two sentences.
   */
  constructor(
    documents: readonly (readonly Int32Array[])[],
    options: BatchOptions & { readonly tokenizer: PretrainedTokenizer; readonly masker: TokenMasker },
    generator: Generator,
  ) {
    const { batchSize, sequenceLength, tokenizer, masker } = options;
    this.#options = checkSizes('NextSentenceSource', { batchSize, sequenceLength }, 5);
    this.#frame = frameOf(tokenizer);
    this.#documents = documents.map((sentences) => sentences.filter((ids) => ids.length > 0));
    this.#starts = this.#documents.flatMap((sentences, d) =>
      sentences.slice(1).map((_, s): [number, number] => [d, s]),
    );
    if (this.#starts.length < 2) {
      throw new ArgumentError(
        'NextSentenceSource: there must be two pairs of sentences at least, one after the other in a text',
      );
    }
    this.#severalDocuments = this.#starts.some(([d]) => d !== this.#starts[0][0]);
    this.#masker = masker;
    this.#generator = generator;
    this.#tokens = this.#documents.flat().reduce((sum, ids) => sum + ids.length, 0);
  }

  get length(): number {
    const { batchSize, sequenceLength } = this.#options;
    return this.#tokens / (batchSize * (sequenceLength - 3));
  }

  get identity(): RunIdentity {
    const hash = this.#documents.flat().reduce((h, ids) => hashIds(ids, h), 0x811c9dc5);
    return {
      ...{ ...this.#options, ...this.#masker.settings, nextSentence: true },
      ...{ trainTokens: this.#tokens, trainHash: hash },
    };
  }

  next(): MaskedBatch {
    const pairs = Array.from({ length: this.#options.batchSize }, () => this.#pair());
    const { cls, sep } = this.#frame;
    const rows = pairs.map(({ first, second }) => Int32Array.from([cls, ...first, sep, ...second, sep]));
    const types = pairs.map(({ first, second }) => {
      const row = new Int32Array(first.length + second.length + 3);
      return row.fill(1, first.length + 2);
    });
    return {
      ...maskedBatch(rows, this.#masker, this.#frame, this.#generator),
      tokenTypeIds: padRows(types, 0),
      relationships: tensor(Int32Array.from(pairs, ({ relationship }) => relationship)),
    };
  }

  #pair(): TextPairIds {
    const generator = this.#generator;
    const most = this.#options.sequenceLength - 3;
    const [document, start] = this.#starts[generator.nextInt(this.#starts.length)];
    // The first text takes a part of the room that is drawn, so that texts of all lengths are seen.
    const first = this.#sentences(document, start, 1 + generator.nextInt(most - 1));
    const relationship = generator.nextInt(2);
    const from = relationship === 0 ? [document, first.end] : this.#elsewhere(document, first.end);
    const second = this.#sentences(from[0], from[1], Math.max(1, most - first.ids.length));
    const [a, b] = truncatedLengths([first.ids.length, second.ids.length], most, 'longest_first');
    return { first: first.ids.subarray(0, a), second: second.ids.subarray(0, b), relationship };
  }

  /** Whole sentences from a place on until there are `room` tokens; one is left for what follows. */
  #sentences(document: number, start: number, room: number): { ids: Int32Array; end: number } {
    const sentences = this.#documents[document];
    const ids: number[] = [];
    let end = start;
    do ids.push(...sentences[end++]);
    while (ids.length < room && end < sentences.length - 1);
    return { ids: Int32Array.from(ids), end };
  }

  /** A place that is not the one given, in another document where there is one. */
  #elsewhere(document: number, sentence: number): readonly [number, number] {
    for (;;) {
      const place = this.#starts[this.#generator.nextInt(this.#starts.length)];
      if (this.#severalDocuments ? place[0] !== document : place[1] !== sentence) return place;
    }
  }

  state(): StreamState {
    return this.#generator.state();
  }

  setState(state: JsonValue): void {
    this.#generator.setState(streamState('NextSentenceSource', state));
  }
}

/**
 * A text as documents of sentences: blank lines part documents, line breaks and the ends of sentences (`.`, `!`, `?` before a
 * space) part sentences.
 */
export function splitSentences(text: string): string[][] {
  return text
    .split(/\r?\n(?:[ \t]*\r?\n)+/)
    .map((document) =>
      document
        .split(/(?<=[.!?]["')\]]*)\s+|\s*\n\s*/)
        .map((sentence) => sentence.trim())
        .filter((sentence) => sentence !== ''),
    )
    .filter((sentences) => sentences.length > 0);
}

function checkSizes(name: string, sizes: BatchOptions, least = 3): BatchOptions {
  checkSize('batchSize', sizes.batchSize);
  checkSize('sequenceLength', sizes.sequenceLength);
  if (sizes.sequenceLength < least) {
    throw new ArgumentError(
      `${name}: sequenceLength must be at least ${least}, as special tokens stand around a text; got ${sizes.sequenceLength}`,
    );
  }
  checkBatch(sizes);
  return sizes;
}
