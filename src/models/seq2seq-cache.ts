/**
 * The cache of a decoder that attends to an encoder: keys and values of its own positions, which grow, and those of the
 * encoder's output, computed once. Rows that continue the same text, the beams of a search, change places for nothing.
 */

import { indexSelect, scope, type Tensor, tensor } from '../../lib/index.js';
import { KVCache } from './cache.js';

/** What cross-attention needs of the encoder's output. */
interface Source {
  /** Keys and values of each layer, each (B, H, S, D). */
  readonly layers: readonly (readonly [Tensor, Tensor])[];
  /** Added to the scores, (B, 1, 1, S), or null. */
  readonly padding: Tensor | null;
}

export class Seq2SeqCache extends KVCache {
  #source: Source | null = null;
  /** Which row of the encoder's output each row attends to. */
  #rows: readonly number[] = [];

  /** Null until {@link fill}. */
  get source(): Source | null {
    return this.#source;
  }

  /** Takes the keys and values of the encoder's output. */
  fill(source: Source): Source {
    this.#drop();
    for (const t of tensorsOf(source)) t.keep();
    this.#rows = Array.from({ length: this.batch }, (_, row) => row);
    return (this.#source = source);
  }

  override reorder(rows: ArrayLike<number>, from = 0): void {
    super.reorder(rows, from);
    const { layers, padding } = this.#source ?? { layers: [], padding: null };
    const order = Array.from(rows, (row) => this.#rows[row]);
    if (this.#source === null || String(order) === String(this.#rows)) return;
    const picked = scope(() => {
      const ids = tensor(Int32Array.from(rows));
      const pick = (t: Tensor): Tensor => indexSelect(t, 0, ids);
      return {
        layers: layers.map(([k, v]) => [pick(k), pick(v)] as const),
        padding: padding && pick(padding),
      };
    });
    this.fill(picked);
    this.#rows = order;
  }

  override clear(): void {
    super.clear();
    this.#drop();
  }

  override dispose(): void {
    super.dispose();
    this.#drop();
  }

  #drop(): void {
    if (this.#source !== null) for (const t of tensorsOf(this.#source)) t.dispose();
    this.#source = null;
  }
}

const tensorsOf = ({ layers, padding }: Source): Tensor[] => [
  ...layers.flat(),
  ...(padding === null ? [] : [padding]),
];
