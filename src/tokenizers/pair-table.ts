/**
 * A hash table from pairs of small numbers to numbers: merges of BPE (two token ids) and edges of a trie (node and
 * UTF-16 unit). Open addressing over one Int32Array: JavaScript's Map would box each pair into a heap number, at three
 * times the memory and half the speed.
 */

/** Numbers a slot: two keys and two values. */
const slotSize = 4;

export class PairTable {
  #slots: Int32Array;
  #shift: number;
  #count = 0;

  /** @param capacity Pairs to expect; the table grows when there are more. */
  constructor(capacity = 16) {
    const bits = Math.max(4, Math.ceil(Math.log2(capacity * 1.6)));
    this.#slots = new Int32Array(slotSize << bits).fill(-1);
    this.#shift = 32 - bits;
  }

  /** Where the values of a pair lie (see {@link first}), or -1. */
  find(left: number, right: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = this.#home(left, right); ; slot = (slot + slotSize) & mask) {
      if (slots[slot] === left && slots[slot + 1] === right) return slot;
      if (slots[slot] < 0) return -1;
    }
  }

  first(slot: number): number {
    return this.#slots[slot + 2];
  }

  second(slot: number): number {
    return this.#slots[slot + 3];
  }

  /** Sets the values of a pair of numbers that are not negative; answers whether it is new. */
  set(left: number, right: number, first: number, second: number): boolean {
    const found = this.find(left, right);
    if (found < 0 && ++this.#count * 1.5 * slotSize > this.#slots.length) this.#grow();
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = found;
    if (slot < 0) {
      slot = this.#home(left, right);
      while (slots[slot] >= 0) slot = (slot + slotSize) & mask;
    }
    slots[slot] = left;
    slots[slot + 1] = right;
    slots[slot + 2] = first;
    slots[slot + 3] = second;
    return found < 0;
  }

  #home(left: number, right: number): number {
    const hash = Math.imul(Math.imul(left, 0x9e3779b1) ^ right, 0x85ebca6b);
    return (hash >>> this.#shift) * slotSize;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Int32Array(old.length * 2).fill(-1);
    this.#shift--;
    const mask = this.#slots.length - 1;
    for (let from = 0; from < old.length; from += slotSize) {
      if (old[from] < 0) continue;
      let slot = this.#home(old[from], old[from + 1]);
      while (this.#slots[slot] >= 0) slot = (slot + slotSize) & mask;
      this.#slots.set(old.subarray(from, from + slotSize), slot);
    }
  }
}
