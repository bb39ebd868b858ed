/**
 * Finds the first of several texts in a text that comes in pieces, in linear time: each has its Knuth-Morris-Pratt
 * automaton, which knows after every character how much of the text is the beginning of a match. That much must not be
 * handed out yet. The first to be complete counts, so the place does not depend on how tokens cut the text.
 */

import { ArgumentError } from '../../lib/index.js';

interface Automaton {
  readonly text: string;
  /** For each length, that of the longest proper beginning that is also its end. */
  readonly borders: Int32Array;
  /** How many of its characters match the end of what came. */
  matched: number;
}

export class StopStrings {
  readonly #automata: readonly Automaton[];

  /** @throws ArgumentError when a text is empty. */
  constructor(texts: readonly string[]) {
    if (texts.includes('')) throw new ArgumentError('generate: a stop text must not be empty');
    this.#automata = texts.map((text) => ({ text, borders: bordersOf(text), matched: 0 }));
  }

  /** Reads on. Answers where in `piece` the first match ends, and its length; null when there is none. */
  push(piece: string): { end: number; length: number } | null {
    if (this.#automata.length === 0) return null;
    for (let i = 0; i < piece.length; i++) {
      let length = 0;
      for (const automaton of this.#automata) {
        advance(automaton, piece[i]);
        if (automaton.matched === automaton.text.length) length = Math.max(length, automaton.matched);
      }
      if (length > 0) return { end: i + 1, length };
    }
    return null;
  }

  /** How many of the last characters may be the beginning of a match. */
  get pending(): number {
    let longest = 0;
    for (const { matched } of this.#automata) longest = Math.max(longest, matched);
    return longest;
  }
}

function advance(automaton: Automaton, character: string): void {
  const { text, borders } = automaton;
  let { matched } = automaton;
  while (matched > 0 && text[matched] !== character) matched = borders[matched];
  if (text[matched] === character) matched++;
  automaton.matched = matched;
}

function bordersOf(text: string): Int32Array {
  const borders = new Int32Array(text.length + 1);
  for (let length = 2, border = 0; length <= text.length; length++) {
    const character = text[length - 1];
    while (border > 0 && text[border] !== character) border = borders[border];
    if (text[border] === character) border++;
    borders[length] = border;
  }
  return borders;
}
