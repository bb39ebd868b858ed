/**
 * A trie over UTF-16 units: which of many words begin at a place of a text. The edges of all nodes lie in one hash table.
 */

import { PairTable } from './pair-table.js';

export class Trie {
  readonly #edges: PairTable;
  /** The value of the word that ends at a node, -1 where none does. */
  readonly #values: number[] = [-1];
  /** Units with which a word begins. */
  readonly #firsts = new Uint8Array(0x10000);

  constructor(expected = 16) {
    this.#edges = new PairTable(expected * 4);
  }

  /** Adds a word that is not empty, or gives it another value. */
  set(word: string, value: number): void {
    this.#firsts[word.charCodeAt(0)] = 1;
    let node = 0;
    for (let at = 0; at < word.length; at++) {
      let child = this.child(node, word.charCodeAt(at));
      if (child < 0) {
        child = this.#values.push(-1) - 1;
        this.#edges.set(node, word.charCodeAt(at), child, 0);
      }
      node = child;
    }
    this.#values[node] = value;
  }

  /** The node that a unit leads to from another (0 is the root), or -1. */
  child(node: number, unit: number): number {
    const slot = this.#edges.find(node, unit);
    return slot < 0 ? -1 : this.#edges.first(slot);
  }

  /** The value of the word that ends at a node, or -1. */
  value(node: number): number {
    return this.#values[node];
  }

  /** Whether a word begins with the unit. */
  begins(unit: number): boolean {
    return this.#firsts[unit] === 1;
  }

  /** The position after the longest word that begins at `from`, or -1; `value` is then its value. */
  longest(text: string, from: number): { readonly end: number; readonly value: number } | null {
    let found = null;
    for (let at = from, node = 0; at < text.length;) {
      node = this.child(node, text.charCodeAt(at++));
      if (node < 0) break;
      if (this.#values[node] >= 0) found = { end: at, value: this.#values[node] };
    }
    return found;
  }
}
