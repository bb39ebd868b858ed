/**
 * The key/value cache of decoding: what attention computed for earlier positions, so that each new token costs one
 * position only. It is an explicit argument of a model's forward. Memory grows by doubling with what is held, never to
 * the whole context at once. A model with a sliding window needs only the last `window` positions: when the buffer is
 * full they move to the beginning of a fresh one, a copy of `window` positions every `window` tokens; so keys stay in
 * order and side by side, as attention reads them.
 */

import { totalmem } from 'node:os';

import {
  ArgumentError,
  copy_,
  indexSelect,
  MemoryError,
  scope,
  slice,
  tensor,
  zeros,
  type Tensor,
} from '../../lib/index.js';

/** Sizes of a {@link KVCache}. */
export interface KVCacheSizes {
  readonly layers: number;
  readonly batch: number;
  /** Heads of keys and values. */
  readonly heads: number;
  /** Most positions that will be appended. Memory follows what is held, not this. */
  readonly capacity: number;
  readonly headSize: number;
  /** For each layer its sliding window: a position sees only the last so many, its own among them. Null means all. */
  readonly windows?: readonly (number | null)[];
}

/** The smallest buffer, in positions. */
const leastSize = 32;

/** Keys and values of one layer. */
export class LayerCache {
  /** Buffers of (B, H, size, D); null before the first positions come. */
  #keys: Tensor | null = null;
  #values: Tensor | null = null;
  /** One past the last position in the buffers. */
  #end = 0;
  #length = 0;
  #batch: number;

  constructor(
    private readonly sizes: KVCacheSizes,
    private readonly window: number | null,
  ) {
    this.#batch = sizes.batch;
  }

  /** Positions appended so far; with a window, more than are held. */
  get length(): number {
    return this.#length;
  }

  /**
   * Adds the keys and values of T new positions, (B, H, T, D), and returns those of all positions that they see,
   * (B, H, S, D): all so far, or with a window the T new ones and up to `window - 1` before them.
   *
   * @throws ArgumentError when they do not fit any more; MemoryError when the machine has no room for them.
   */
  append(k: Tensor, v: Tensor): [Tensor, Tensor] {
    const { capacity } = this.sizes;
    const count = k.shape[2];
    if (this.#length + count > capacity) {
      throw new ArgumentError(`KVCache: ${this.#length + count} positions do not fit a cache of ${capacity}`);
    }
    const past = this.window === null ? this.#length : Math.min(this.#length, this.window - 1);
    if (this.#keys === null || this.#end + count > this.#keys.shape[2]) this.#grow(past, count);
    const [keys, values] = [this.#keys!, this.#values!];
    const end = this.#end + count;
    copy_(slice(keys, 2, this.#end, end), k);
    copy_(slice(values, 2, this.#end, end), v);
    this.#end = end;
    this.#length += count;
    return [slice(keys, 2, end - count - past, end), slice(values, 2, end - count - past, end)];
  }

  /** Moves the last `past` positions to buffers that have room for `count` more, and as much again. */
  #grow(past: number, count: number): void {
    const { capacity, heads, headSize } = this.sizes;
    const size = Math.min(capacity, Math.max(2 * (past + count), leastSize));
    const shape = [this.#batch, heads, size, headSize];
    const moved = (buffer: Tensor | null): Tensor => {
      const larger = this.#allocate(shape);
      if (buffer !== null && past > 0) {
        copy_(slice(larger, 2, 0, past), slice(buffer, 2, this.#end - past, this.#end));
      }
      buffer?.dispose();
      return larger;
    };
    scope(() => {
      this.#keys = moved(this.#keys);
      this.#values = moved(this.#values);
    });
    this.#end = past;
  }

  /** A buffer, once it is known that those of all layers have room. */
  #allocate(shape: readonly number[]): Tensor {
    const bytes = 2 * this.sizes.layers * shape.reduce((a, b) => a * b, 4);
    if (bytes > totalmem()) {
      const gib = (n: number): string => `${(n / 2 ** 30).toPrecision(3)} GiB`;
      throw new MemoryError(
        `KVCache: keys and values of ${shape[2]} positions in ${shape[0]} rows take ${gib(bytes)}, this machine has ` +
          `${gib(totalmem())}; take fewer rows or beams, or a shorter text`,
      );
    }
    return zeros(shape).keep();
  }

  /** See {@link KVCache.reorder}. */
  reorder(rows: Tensor, from: number): void {
    const [batch] = rows.shape;
    const resized = batch !== this.#batch;
    const start = resized ? 0 : Math.max(0, this.#end - (this.#length - from));
    const pick = (buffer: Tensor | null): Tensor | null => {
      if (buffer === null) return null;
      const [, heads, size, headSize] = buffer.shape;
      const into = resized ? this.#allocate([batch, heads, size, headSize]) : buffer;
      copy_(slice(into, 2, start, this.#end), indexSelect(slice(buffer, 2, start, this.#end), 0, rows));
      if (resized) buffer.dispose();
      return into;
    };
    scope(() => {
      this.#keys = pick(this.#keys);
      this.#values = pick(this.#values);
    });
    this.#batch = batch;
  }

  /** Forgets everything; the memory stays. */
  clear(): void {
    this.#length = 0;
    this.#end = 0;
  }

  dispose(): void {
    this.#keys?.dispose();
    this.#values?.dispose();
    [this.#keys, this.#values] = [null, null];
    this.clear();
  }
}

export class KVCache {
  readonly layers: LayerCache[];
  /** Most positions that fit. */
  readonly capacity: number;
  #batch: number;

  constructor(sizes: KVCacheSizes) {
    this.capacity = sizes.capacity;
    this.#batch = sizes.batch;
    const { layers, windows = [] } = sizes;
    this.layers = Array.from({ length: layers }, (_, layer) => new LayerCache(sizes, windows[layer] ?? null));
  }

  /** Positions appended so far: the position of the next one. */
  get length(): number {
    return this.layers[this.layers.length - 1].length;
  }

  /** Number of sequences. */
  get batch(): number {
    return this.#batch;
  }

  /**
   * Makes row i what row `rows[i]` was: the beams that go on, the rows that are not finished, a prompt several times.
   *
   * @param from Where the batch stays as large: positions before this one are equal in the rows that change places, and
   *   are not moved.
   * @throws ArgumentError when a row is not in the batch, or there is none.
   */
  reorder(rows: ArrayLike<number>, from = 0): void {
    const order = Int32Array.from(rows);
    const wrong = order.find((row) => row < 0 || row >= this.#batch);
    if (order.length === 0 || wrong !== undefined) {
      throw new ArgumentError(
        `KVCache.reorder: rows must lie from 0 to ${this.#batch - 1}, got ${wrong ?? 'none'}`,
      );
    }
    if (order.length === this.#batch && order.every((row, i) => row === i)) return;
    scope(() => {
      const ids = tensor(order, { dtype: 'int32' });
      for (const layer of this.layers) layer.reorder(ids, from);
    });
    this.#batch = order.length;
  }

  /** Forgets everything; the memory stays. */
  clear(): void {
    for (const layer of this.layers) layer.clear();
  }

  /** Gives the memory back. */
  dispose(): void {
    for (const layer of this.layers) layer.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
