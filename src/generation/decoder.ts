/**
 * Rows of tokens through a model's cache: prompts of unequal length are padded on the left and masked, so that all rows
 * get their next token at the same position; then each call feeds one token a row. A row that has filled the context goes
 * on from its second half, which is fed again; the others keep what they see, so a row's numbers do not depend on the
 * batch it is in.
 */

import { noGrad, scope, tensor, type Tensor } from '../../lib/index.js';
import type { KVCache } from '../models/index.js';

/** What generation needs of a model: a decoder with a cache. */
export interface CausalModel {
  /** Most positions the model can see. */
  readonly contextLength: number;
  /** An empty cache for `batch` rows of up to `capacity` positions. */
  newCache(batch?: number, capacity?: number): KVCache;
  /**
   * @param ids (B, T) int32
   * @param options.attentionMask (B, S) bool, true for tokens and false for padding, of the S positions that are in the
   *   cache and in `ids`. Positions count the tokens of a row only. Absent where no row is padded.
   * @returns logits of the last position, (B, 1, V)
   */
  forward(ids: Tensor, options: { cache: KVCache; lastOnly: true; attentionMask?: Tensor }): Tensor;
  readonly training: boolean;
  train(mode: boolean): unknown;
  /** Tokens of each prompt that an encoder has read; absent where the rows are the prompts. */
  readonly tokensRead?: readonly number[];
  /** The model's generation_config.json: what `generate` does where it is not told. */
  readonly generationConfig?: Readonly<Record<string, unknown>> | null;
}

/** Ids of a row so far; a decoder feeds what is new. */
export type Row = readonly number[];

/** Ids of the longest row. There may be more rows than a call takes arguments. */
export const longestOf = (rows: readonly Row[]): number =>
  rows.reduce((most, row) => Math.max(most, row.length), 0);

export class Decoder {
  readonly #cache: KVCache;
  /** For each row, the first of its ids that the model sees, and the padding before it. */
  #starts: number[];
  #pads: number[];
  /** Which prompt each row continues, and how many positions the prompts take in the cache. */
  #prompts: readonly number[];
  #promptWidth = 0;
  #logits = new Float32Array(0);
  #vocabulary = 0;

  /** @param longest Ids of the longest row at its end. */
  constructor(
    private readonly model: CausalModel,
    rows: number,
    longest: number,
  ) {
    this.#cache = model.newCache(rows, Math.min(model.contextLength, longest));
    this.#starts = new Array<number>(rows).fill(0);
    this.#pads = new Array<number>(rows).fill(0);
    this.#prompts = this.#pads.map((_, row) => row);
  }

  /** How many tokens of a row's prompt the model sees, after the first call. */
  seen(row: number): number {
    return this.model.tokensRead?.[row] ?? this.#cache.length - this.#pads[row];
  }

  /**
   * Feeds what the rows have gained since the last call: at first all of it, then one id each.
   * @returns The logits of each row's next token, a row's after the other's; they are overwritten by the next call.
   */
  next(rows: readonly Row[]): Float32Array {
    const cache = this.#cache;
    if (cache.length === 0 || cache.length === cache.capacity) return this.#feedAll(rows);
    const ids = Int32Array.from(rows, (row) => row[row.length - 1]);
    return this.#forward(ids, rows.length);
  }

  /** Row i becomes what row `rows[i]` was: the beams that go on, the rows that are not finished. */
  reorder(rows: readonly number[]): void {
    const amongBeams = rows.every((row, i) => this.#prompts[row] === this.#prompts[i]);
    this.#cache.reorder(rows, amongBeams ? this.#promptWidth : 0);
    this.#prompts = rows.map((row) => this.#prompts[row]);
    this.#starts = rows.map((row) => this.#starts[row]);
    this.#pads = rows.map((row) => this.#pads[row]);
  }

  /** Logits of row `row` in what {@link next} gave. */
  logitsOf(row: number, vocabSize: number): Float32Array {
    // A model may have more ids than its tokenizer (padding to a round number); these have no text.
    const first = row * this.#vocabulary;
    return this.#logits.subarray(first, first + Math.min(vocabSize, this.#vocabulary));
  }

  dispose(): void {
    this.#cache.dispose();
  }

  #feedAll(rows: readonly Row[]): Float32Array {
    const { capacity } = this.#cache;
    const again = this.#cache.length > 0;
    this.#cache.clear();
    this.#starts = rows.map((row, i) =>
      row.length - this.#starts[i] > capacity ? row.length - Math.ceil(capacity / 2) : this.#starts[i],
    );
    const width = rows.reduce((most, row, i) => Math.max(most, row.length - this.#starts[i]), 0);
    this.#promptWidth = again ? 0 : width;
    const ids = new Int32Array(rows.length * width);
    rows.forEach((row, i) => {
      this.#pads[i] = width - (row.length - this.#starts[i]);
      ids.set(row.slice(this.#starts[i]), i * width + this.#pads[i]);
    });
    return this.#forward(ids, rows.length);
  }

  /** The model is in evaluation mode for this call only: between calls others may train it or generate with it. */
  #forward(ids: Int32Array, batch: number): Float32Array {
    const { model } = this;
    const { training } = model;
    if (training) model.train(false);
    try {
      noGrad(() =>
        scope(() => {
          const width = ids.length / batch;
          const logits = model.forward(tensor(ids, { dtype: 'int32', shape: [batch, width] }), {
            cache: this.#cache,
            lastOnly: true,
            ...this.#mask(this.#cache.length + width),
          }); // (B, 1, V)
          this.#vocabulary = logits.shape[2];
          if (this.#logits.length !== logits.size) this.#logits = new Float32Array(logits.size);
          this.#logits.set(logits.data);
        }),
      );
    } finally {
      if (training) model.train(true);
    }
    return this.#logits;
  }

  #mask(length: number): { attentionMask?: Tensor } {
    if (!this.#pads.some((pad) => pad > 0)) return {};
    const mask = new Uint8Array(this.#pads.length * length).fill(1);
    this.#pads.forEach((pad, i) => mask.fill(0, i * length, i * length + pad));
    return { attentionMask: tensor(mask, { dtype: 'bool', shape: [this.#pads.length, length] }) };
  }
}
