/**
 * The key/value cache of a decoder: what attention has seen so far, so that the next token costs one row of work. Memory
 * for the whole context is taken once and filled in place. It is an explicit argument of a model's forward.
 */

import type { Tensor } from '../../lib/index.js';
import { ArgumentError, copy_, slice, zeros } from '../../lib/index.js';

/** Keys and values of one layer. */
export class LayerCache {
  #length = 0;

  /** @param keys @param values (B, H, capacity, D) */
  constructor(
    private readonly keys: Tensor,
    private readonly values: Tensor,
  ) {}

  get length(): number {
    return this.#length;
  }

  /**
   * Adds the keys and values of T new positions, (B, H, T, D), and returns those of all positions so far.
   *
   * @throws ArgumentError when they do not fit any more.
   */
  append(k: Tensor, v: Tensor): [Tensor, Tensor] {
    const end = this.#length + k.shape[2];
    if (end > this.keys.shape[2]) {
      throw new ArgumentError(`KVCache: ${end} positions do not fit a cache of ${this.keys.shape[2]}`);
    }
    copy_(slice(this.keys, 2, this.#length, end), k);
    copy_(slice(this.values, 2, this.#length, end), v);
    this.#length = end;
    return [slice(this.keys, 2, 0, end), slice(this.values, 2, 0, end)];
  }

  /** Forgets everything; the memory stays. */
  clear(): void {
    this.#length = 0;
  }

  dispose(): void {
    this.keys.dispose();
    this.values.dispose();
  }
}

/** Sizes of a {@link KVCache}. */
export interface KVCacheSizes {
  readonly layers: number;
  readonly batch: number;
  readonly heads: number;
  /** Most positions it can hold. */
  readonly capacity: number;
  readonly headSize: number;
}

export class KVCache {
  readonly layers: LayerCache[];
  readonly capacity: number;

  constructor({ layers, batch, heads, capacity, headSize }: KVCacheSizes) {
    const shape = [batch, heads, capacity, headSize];
    this.capacity = capacity;
    this.layers = Array.from(
      { length: layers },
      () => new LayerCache(zeros(shape).keep(), zeros(shape).keep()),
    );
  }

  /** Positions held. */
  get length(): number {
    return this.layers[this.layers.length - 1].length;
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
