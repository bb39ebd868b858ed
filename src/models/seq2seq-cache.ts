/**
 * The cache of a decoder that attends to an encoder: keys and values of its own positions, which grow, and those of the
 * encoder's output, computed once. Rows that continue the same text, the beams of a search, change places for nothing.
 */

import { indexSelect, scope, type Tensor, tensor } from '../../lib/index.js';
import { KVCache } from './cache.js';

/** What cross-attention needs of the encoder's output. */
interface Source {
  /** Keys and values of each layer, each (B, H, S, D), or packed (1, H, sum of the lengths, D). */
  readonly layers: readonly (readonly [Tensor, Tensor])[];
  /** Added to the scores, (B, 1, 1, S), or null. */
  readonly mask: Tensor | null;
  /** The lengths of the texts where they are packed, else null. */
  readonly lengths: Int32Array | null;
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
    if (this.#source === null) return;
    const order = Array.from(rows, (row) => this.#rows[row]);
    if (String(order) === String(this.#rows)) return;
    this.fill(pickRows(this.#source, Array.from(rows)));
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

/** The texts of `rows`, copied. */
function pickRows({ layers, mask, lengths }: Source, rows: readonly number[]): Source {
  return scope(() => {
    const ids = lengths === null ? rows : rows.flatMap((row) => range(lengths, row));
    const picked = tensor(Int32Array.from(ids));
    const pick = (t: Tensor): Tensor => indexSelect(t, lengths === null ? 0 : 2, picked);
    return {
      layers: layers.map(([k, v]) => [pick(k), pick(v)] as const),
      mask: mask && pick(mask),
      lengths: lengths && Int32Array.from(rows, (row) => lengths[row]),
    };
  });
}

/** The rows of a packed text. */
function range(lengths: Int32Array, text: number): number[] {
  const start = lengths.subarray(0, text).reduce((sum, length) => sum + length, 0);
  return Array.from({ length: lengths[text] }, (_, i) => start + i);
}

const tensorsOf = ({ layers, mask }: Source): Tensor[] => [
  ...layers.flat(),
  ...(mask === null ? [] : [mask]),
];
