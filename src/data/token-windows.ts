/**
 * Batches of windows of token files. The windows of a file lie side by side, so a pass over it sees every token once; each
 * pass has an order of its own (permutation.ts), of which nothing is kept but the place. Of several files, windows are
 * drawn in proportion to weights, as evenly as whole numbers allow.
 *
 * Where documents are kept apart, a window's tokens see their own document only (Batch.documentStarts), and the first
 * token of a document is not predicted from the one before it.
 */

import { ArgumentError } from '../../lib/errors.js';
import { Tensor } from '../../lib/tensor.js';
import { hashIds, type BatchSource, type JsonValue, type RunIdentity } from './batch-source.js';
import { permutation } from './permutation.js';
import { checkIds, type TokenFile } from './token-file.js';
import { checkBatch, checkSize, type Batch, type BatchOptions } from './tokens.js';

/** Tokens of a file, from `first` to before `end`. */
export interface TokenRange {
  readonly file: TokenFile;
  /** 0 by default. */
  readonly first?: number;
  /** The file's length by default. */
  readonly end?: number;
  /** Its share of the windows, in any unit; by default all ranges have shares as their lengths are. */
  readonly weight?: number;
}

/** Settings of {@link TokenFileSource} and {@link TokenFileWindows}. */
export interface TokenFileSourceOptions extends BatchOptions {
  /** Seed of the order, 0 by default. */
  readonly seed?: number;
  /** Ids must be below it; by default what the file says, where it says so. */
  readonly vocabSize?: number;
  /** Whether documents are kept apart; false by default. */
  readonly documents?: boolean;
  /** The id that ends documents, for files that do not say where they end. */
  readonly eosId?: number;
}

/**
 * Cuts off the end of a file for validation.
 *
 * @param fraction The part that validates, from 0 (none) to below 1.
 * @param most Tokens that validate at most.
 */
export function splitTokenFile(
  file: TokenFile,
  fraction: number,
  most = Infinity,
): { readonly train: TokenRange; readonly validation: TokenRange } {
  if (!(fraction >= 0 && fraction < 1)) {
    throw new ArgumentError(`splitTokenFile: the fraction must be from 0 to below 1, got ${fraction}`);
  }
  const cut = Math.max(Math.floor((1 - fraction) * file.length), file.length - most);
  return { train: { file, first: 0, end: cut }, validation: { file, first: cut, end: file.length } };
}

/** Windows of token files in a seeded order without an end. */
export class TokenFileSource implements BatchSource<Batch> {
  readonly #readers: WindowReader[];
  /** Whole windows of each range. */
  readonly #counts: number[];
  /** Shares of the windows, which add up to 1. */
  readonly #weights: number[];
  readonly #options: TokenFileSourceOptions;
  #seed: number;
  /** Windows drawn so far from each range. */
  #drawn: number[];
  /** The pass that each range is in, and its order. */
  #orders: { readonly pass: number; readonly order: (place: number) => number }[] = [];

  /** @throws ArgumentError when a range has no whole window, or the files are of different tokenizers. */
  constructor(ranges: readonly TokenRange[], options: TokenFileSourceOptions) {
    checkSizes(options);
    checkTokenizers(ranges);
    const { sequenceLength, seed = 0 } = options;
    this.#options = options;
    this.#readers = ranges.map((range) => new WindowReader(range, options));
    this.#counts = this.#readers.map((reader) => reader.windows(sequenceLength));
    this.#weights = sharesOf(ranges, this.#counts);
    this.#seed = seed;
    this.#drawn = ranges.map(() => 0);
    permutation(1, seed); // checks the seed
  }

  /** Batches with as many windows as there are. */
  get length(): number {
    return sum(this.#counts) / this.#options.batchSize;
  }

  get identity(): RunIdentity {
    const { batchSize, sequenceLength, documents = false } = this.#options;
    return {
      ...{ batchSize, sequenceLength, documents },
      ...(this.#weights.length > 1 ? { weights: this.#weights.map((w) => w.toPrecision(6)).join(' ') } : {}),
      trainTokens: sum(this.#readers.map((reader) => reader.length)),
      trainHash: this.#readers.reduce((hash, reader) => reader.hash(hash), 0x811c9dc5),
    };
  }

  next(): Batch {
    const { batchSize, sequenceLength } = this.#options;
    const rows = Array.from({ length: batchSize }, () => this.#draw());
    return readBatch(rows, sequenceLength, this.#options.documents ?? false);
  }

  state(): JsonValue {
    return { seed: this.#seed, drawn: [...this.#drawn] };
  }

  setState(state: JsonValue): void {
    const { seed, drawn } = (state ?? {}) as { seed?: unknown; drawn?: unknown };
    const isCount = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
    if (!isCount(seed) || !Array.isArray(drawn) || !drawn.every(isCount)) {
      throw new ArgumentError(
        `TokenFileSource: the state must have a seed and the windows drawn, got ${JSON.stringify(state)}; ` +
          'was it saved by a run on other data?',
      );
    }
    if (drawn.length !== this.#drawn.length) {
      throw new ArgumentError(
        `TokenFileSource: the state is of ${drawn.length} token files, there are ${this.#drawn.length}`,
      );
    }
    this.#seed = seed;
    this.#drawn = [...drawn];
    this.#orders = [];
  }

  /** The next window: of the range that is furthest behind its share. */
  #draw(): Row {
    const total = sum(this.#drawn) + 1;
    const behind = this.#weights.map((weight, i) => weight * total - this.#drawn[i]);
    const range = behind.indexOf(Math.max(...behind));
    const [count, drawn] = [this.#counts[range], this.#drawn[range]++];
    const pass = Math.floor(drawn / count);
    if (this.#orders[range]?.pass !== pass) {
      this.#orders[range] = { pass, order: permutation(count, this.#seed + range, pass) };
    }
    const window = this.#orders[range].order(drawn % count);
    return { reader: this.#readers[range], window: window * this.#options.sequenceLength };
  }
}

/**
 * All windows of ranges in order, as often as they are asked for, so that every token but each first one is predicted
 * once. Each batch lives until the next.
 */
export class TokenFileWindows implements Iterable<Batch> {
  readonly #readers: WindowReader[];
  readonly #options: TokenFileSourceOptions;

  constructor(ranges: readonly TokenRange[], options: TokenFileSourceOptions) {
    checkSizes(options);
    checkTokenizers(ranges);
    this.#options = options;
    this.#readers = ranges.map((range) => new WindowReader(range, options));
  }

  *[Symbol.iterator](): IterableIterator<Batch> {
    const { batchSize, sequenceLength, documents = false } = this.#options;
    for (const reader of this.#readers) {
      const predictions = Math.max(0, reader.length - 1);
      const whole = Math.floor(predictions / sequenceLength);
      const rest = predictions - whole * sequenceLength;
      const row = (i: number): Row => ({ reader, window: i * sequenceLength });
      for (let first = 0; first < whole; first += batchSize) {
        const count = Math.min(batchSize, whole - first);
        yield* lent(readBatch(Array.from({ length: count }, (_, i) => row(first + i)), sequenceLength, documents)); // prettier-ignore
      }
      if (rest > 0) yield* lent(readBatch([row(whole)], rest, documents));
    }
  }
}

/** A batch until the next is asked for. */
function* lent(batch: Batch): IterableIterator<Batch> {
  yield batch;
  for (const tensor of [batch.inputs, batch.targets, batch.documentStarts]) tensor?.dispose();
}

interface Row {
  readonly reader: WindowReader;
  /** The window's first token, within the reader's range. */
  readonly window: number;
}

/** What is not predicted. */
const ignored = -100;

function readBatch(rows: readonly Row[], length: number, documents: boolean): Batch {
  const shape = [rows.length, length];
  const inputs = Tensor.empty(shape, 'int32', 'batch inputs');
  const targets = Tensor.empty(shape, 'int32', 'batch targets');
  const starts = documents ? Tensor.empty(shape, 'int32', 'document starts') : undefined;
  const ids = new Int32Array(length + 1);
  rows.forEach(({ reader, window }, row) => {
    reader.read(window, ids);
    inputs.memory.set(ids.subarray(0, length), row * length);
    targets.memory.set(ids.subarray(1), row * length);
    if (starts === undefined) return;
    const columns = (starts.memory as Int32Array).subarray(row * length, (row + 1) * length).fill(0);
    for (const start of reader.documentStarts(window, ids)) {
      columns.fill(start, start);
      targets.memory[row * length + start - 1] = ignored;
    }
  });
  return starts === undefined ? { inputs, targets } : { inputs, targets, documentStarts: starts };
}

/** Reads windows of a range. */
class WindowReader {
  readonly length: number;
  readonly #file: TokenFile;
  readonly #first: number;
  readonly #vocabSize: number;
  readonly #eosId: number | null;

  constructor(range: TokenRange, options: TokenFileSourceOptions) {
    const { file, first = 0, end = file.length } = range;
    const { info } = file;
    this.#file = file;
    this.#first = first;
    this.length = end - first;
    this.#vocabSize = options.vocabSize ?? info.vocabSize ?? 2 ** 31;
    this.#eosId = options.eosId ?? info.eosId;
    const isWithin =
      [first, end].every(Number.isSafeInteger) && 0 <= first && first <= end && end <= file.length;
    if (!isWithin) {
      throw new ArgumentError(
        `TokenFileSource: ${file.path} has ${file.length} tokens, not ${first} to ${end}`,
      );
    }
    if (options.documents === true && info.documents === null && this.#eosId === null) {
      throw new ArgumentError(
        `TokenFileSource: ${file.path} does not say where documents end, and there is no token that ends them; ` +
          'make the file with tsgpt tokenize, or give eosId',
      );
    }
  }

  /** Whole windows, each with the token that follows it. */
  windows(sequenceLength: number): number {
    const count = Math.floor((this.length - 1) / sequenceLength);
    if (count >= 1) return count;
    throw new ArgumentError(
      `TokenFileSource: ${this.#file.path} has ${this.length} tokens to train on, too few for a sequence of ` +
        `${sequenceLength} (at least ${sequenceLength + 1} are needed); use more text or a shorter sequence`,
    );
  }

  read(window: number, ids: Int32Array): void {
    this.#file.read(this.#first + window, ids);
    checkIds(this.#file, ids, this.#first + window, this.#vocabSize);
  }

  /** The columns of a window, from 1 to its length, at which a document begins. */
  *documentStarts(window: number, ids: Int32Array): Iterable<number> {
    const first = this.#first + window;
    const { documents } = this.#file.info;
    if (documents === null) {
      for (let i = 0; i < ids.length - 1; i++) if (ids[i] === this.#eosId) yield i + 1;
      return;
    }
    for (let document = this.#file.documentAt(first); document < documents; document++) {
      const column = this.#file.documentEnd(document) - first;
      if (column >= ids.length) return;
      if (column > 0) yield column;
    }
  }

  /** Goes on with a hash: by the checksum that the file has, or by a sample of its tokens. */
  hash(before: number): number {
    const { tokensHash } = this.#file.info;
    const place = Int32Array.of(this.#first, this.length, Math.floor(this.length / 2 ** 31));
    if (tokensHash !== null)
      return hashIds(Int32Array.from(Buffer.from(tokensHash, 'hex')), hashIds(place, before));
    const sample = new Int32Array(Math.min(1024, this.length));
    let hash = hashIds(place, before);
    for (let i = 0; i < 64; i++) {
      this.#file.read(this.#first + Math.floor(((this.length - sample.length) * i) / 63), sample);
      hash = hashIds(sample, hash);
    }
    return hash;
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

function checkSizes(options: TokenFileSourceOptions): void {
  checkSize('batchSize', options.batchSize);
  checkSize('sequenceLength', options.sequenceLength);
  checkBatch(options);
}

function checkTokenizers(ranges: readonly TokenRange[]): void {
  if (ranges.length === 0) throw new ArgumentError('TokenFileSource: there must be a token file at least');
  const [first, ...rest] = ranges.filter(({ file }) => file.info.tokenizerHash !== null);
  const other = rest.find(({ file }) => file.info.tokenizerHash !== first.file.info.tokenizerHash);
  if (other === undefined) return;
  throw new ArgumentError(
    `TokenFileSource: ${first.file.path} and ${other.file.path} were made with different tokenizers; tokenize one of them again`,
  );
}

function sharesOf(ranges: readonly TokenRange[], counts: readonly number[]): number[] {
  const given = ranges.filter(({ weight }) => weight !== undefined).length;
  if (given > 0 && given < ranges.length) {
    throw new ArgumentError('TokenFileSource: give all token files a weight, or none');
  }
  const weights = ranges.map(({ weight }, i) => weight ?? counts[i]);
  const wrong = weights.find((weight) => !(weight > 0 && weight < Infinity));
  if (wrong !== undefined) throw new ArgumentError(`TokenFileSource: weights must be positive, got ${wrong}`);
  const total = sum(weights);
  return weights.map((weight) => weight / total);
}
