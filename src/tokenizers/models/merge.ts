/**
 * The merging of byte pair encoding: the pair of neighbours with the lowest rank becomes one symbol, the leftmost first
 * among equals, until no pair has a rank. Short words scan for the lowest rank each time; long ones keep the pairs in a
 * binary heap over a linked list, so that a word of a million characters takes n log n steps.
 */

import type { PairTable } from '../pair-table.js';

/** Above this many symbols the heap is quicker than scanning. */
const scanLimit = 32;

/** The symbols of one word, merged in place. The arrays are kept from word to word. */
export class Merger {
  /** Ids of the symbols. */
  ids = new Int32Array(64);
  /** How much of the word each symbol covers, in whatever unit the caller counts. */
  lengths = new Int32Array(64);
  /** Number of symbols. */
  count = 0;
  /** Rank of the pair that begins at a symbol; `none` where it has no rank. */
  #ranks = new Int32Array(64);
  #previous = new Int32Array(0);
  #next = new Int32Array(0);

  /** @param merges From the ids of two neighbours to the rank of their pair and the id of both together. */
  constructor(private readonly merges: PairTable) {}

  /** Empties the word and makes room for `symbols`. */
  begin(symbols: number): void {
    this.count = 0;
    if (symbols <= this.ids.length) return;
    const size = Math.max(symbols, 2 * this.ids.length);
    this.ids = new Int32Array(size);
    this.lengths = new Int32Array(size);
    this.#ranks = new Int32Array(size);
  }

  add(id: number, length: number): void {
    this.ids[this.count] = id;
    this.lengths[this.count++] = length;
  }

  merge(): void {
    if (this.count < 2) return;
    if (this.count <= scanLimit) this.#scan();
    else this.#mergeByHeap();
  }

  #rank(left: number, right: number): number {
    const slot = this.merges.find(left, right);
    return slot < 0 ? none : this.merges.first(slot);
  }

  #scan(): void {
    const { ids, lengths, merges } = this;
    const ranks = this.#ranks;
    let last = this.count - 1;
    for (let at = 0; at < last; at++) ranks[at] = this.#rank(ids[at], ids[at + 1]);
    for (;;) {
      let best = 0;
      for (let at = 1; at < last; at++) if (ranks[at] < ranks[best]) best = at;
      if (last === 0 || ranks[best] === none) break;
      ids[best] = merges.second(merges.find(ids[best], ids[best + 1]));
      lengths[best] += lengths[best + 1];
      for (let at = best + 1; at < last; at++) {
        ids[at] = ids[at + 1];
        lengths[at] = lengths[at + 1];
        ranks[at] = ranks[at + 1];
      }
      last--;
      if (best > 0) ranks[best - 1] = this.#rank(ids[best - 1], ids[best]);
      if (best < last) ranks[best] = this.#rank(ids[best], ids[best + 1]);
    }
    this.count = last + 1;
  }

  #mergeByHeap(): void {
    const { ids, lengths, merges, count } = this;
    const ranks = this.#ranks;
    if (this.#next.length < count) {
      this.#next = new Int32Array(this.ids.length);
      this.#previous = new Int32Array(this.ids.length);
    }
    const [next, previous] = [this.#next, this.#previous];
    const heap = new Heap(count);
    for (let at = 0; at < count; at++) {
      next[at] = at + 1;
      previous[at] = at - 1;
      ranks[at] = at + 1 < count ? this.#rank(ids[at], ids[at + 1]) : none;
      if (ranks[at] !== none) heap.push(ranks[at], at);
    }
    while (heap.pop()) {
      const at = heap.position;
      if (ranks[at] !== heap.rank) continue; // the pair was changed meanwhile
      const gone = next[at];
      const after = next[gone];
      ids[at] = merges.second(merges.find(ids[at], ids[gone]));
      lengths[at] += lengths[gone];
      ranks[gone] = none;
      next[at] = after;
      if (after < count) previous[after] = at;
      ranks[at] = after < count ? this.#rank(ids[at], ids[after]) : none;
      if (ranks[at] !== none) heap.push(ranks[at], at);
      const before = previous[at];
      if (before < 0) continue;
      ranks[before] = this.#rank(ids[before], ids[at]);
      if (ranks[before] !== none) heap.push(ranks[before], before);
    }
    let kept = 0;
    for (let at = 0; at < count; at = next[at]) {
      ids[kept] = ids[at];
      lengths[kept++] = lengths[at];
    }
    this.count = kept;
  }
}

/** The rank of pairs that are not merged. */
const none = 2 ** 31 - 1;

/** A binary heap of (rank, position), the smallest first, both in one number. */
class Heap {
  rank = 0;
  position = 0;
  #keys: Float64Array;
  #size = 0;

  constructor(capacity: number) {
    this.#keys = new Float64Array(Math.max(16, capacity));
  }

  push(rank: number, position: number): void {
    if (this.#size === this.#keys.length) {
      const larger = new Float64Array(this.#size * 2);
      larger.set(this.#keys);
      this.#keys = larger;
    }
    const keys = this.#keys;
    const key = rank * span + position;
    let at = this.#size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (keys[parent] <= key) break;
      keys[at] = keys[parent];
      at = parent;
    }
    keys[at] = key;
  }

  /** Takes the smallest out, into `rank` and `position`; false when there is none. */
  pop(): boolean {
    if (this.#size === 0) return false;
    const keys = this.#keys;
    const top = keys[0];
    this.rank = Math.floor(top / span);
    this.position = top - this.rank * span;
    const key = keys[--this.#size];
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && keys[child + 1] < keys[child]) child++;
      if (keys[child] >= key) break;
      keys[at] = keys[child];
      at = child;
    }
    keys[at] = key;
    return true;
  }
}

/** Positions are below 2^29 (the longest string) times three bytes a unit, ranks below 2^22: exact in a double. */
const span = 2 ** 31;
