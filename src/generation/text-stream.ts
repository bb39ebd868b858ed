/**
 * Token ids to text, piece by piece, never handing out what a later token could change: half a character (a byte-level
 * token that ends inside it) or the beginning of a stop text.
 */

import { ArgumentError } from '../../lib/index.js';
import type { Tokenizer } from '../tokenizers/index.js';

const replacement = '\ufffd';

export class TextStream {
  /** Whether a stop text was met. Nothing is handed out after that. */
  stopped = false;
  #pending: number[] = [];
  #held = '';

  constructor(
    private readonly tokenizer: Tokenizer,
    private readonly stops: readonly string[],
  ) {
    if (stops.includes('')) throw new ArgumentError('generate: a stop text must not be empty');
  }

  /** Adds a token and returns the text that is certain now. */
  push(id: number): string {
    this.#pending.push(id);
    const text = this.tokenizer.decode(this.#pending);
    if (text.endsWith(replacement)) return '';
    this.#pending = [];
    return this.#release(text, false);
  }

  /** The text that was held back, at the end of the generation. */
  end(): string {
    const text = this.#pending.length > 0 ? this.tokenizer.decode(this.#pending) : '';
    this.#pending = [];
    return this.#release(text, true);
  }

  #release(text: string, all: boolean): string {
    if (this.stopped) return '';
    this.#held += text;
    const at = this.#firstStop();
    if (at >= 0) {
      this.stopped = true;
      return this.#held.slice(0, at);
    }
    const keep = all ? 0 : this.#possibleStop();
    const out = this.#held.slice(0, this.#held.length - keep);
    this.#held = this.#held.slice(out.length);
    return out;
  }

  #firstStop(): number {
    const found = this.stops.map((stop) => this.#held.indexOf(stop)).filter((at) => at >= 0);
    return found.length === 0 ? -1 : Math.min(...found);
  }

  /** Length of the longest end of the held text that begins a stop text. */
  #possibleStop(): number {
    let longest = 0;
    for (const stop of this.stops) {
      for (let n = Math.min(stop.length - 1, this.#held.length); n > longest; n--) {
        if (this.#held.endsWith(stop.slice(0, n))) longest = n;
      }
    }
    return longest;
  }
}
