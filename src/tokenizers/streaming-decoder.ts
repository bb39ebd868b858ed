/**
 * Text of ids that come one after the other, as a model makes them. A token may end inside a character (byte-level and
 * byte fallback), and what a token looks like may depend on the one before it (the space of SentencePiece's first word),
 * so each step decodes the last tokens together and hands out what is new and certain.
 */

import type { DecodeOptions, Tokenizer } from './tokenizer.js';

const replacement = '\ufffd';
/** A character's bytes that are not there yet: at most three of four. */
const mostIncomplete = 3;

/**
 * @example
 * const stream = new StreamingDecoder(tokenizer, { skipSpecialTokens: true });
 * for (const id of ids) process.stdout.write(stream.push(id));
 * process.stdout.write(stream.end());
 */
export class StreamingDecoder {
  /** Tokens whose text was handed out, kept as context of the next. */
  #context: number[] = [];
  /** Tokens since, the first of which may have been handed out in part. */
  #pending: number[] = [];
  /** Units of the pending tokens' text that were handed out. */
  #handed = 0;

  constructor(
    private readonly tokenizer: Tokenizer,
    private readonly options: DecodeOptions = {},
  ) {}

  /** Adds a token; the text that is certain now, which may be empty. */
  push(id: number): string {
    this.#pending.push(id);
    const text = this.#pendingText();
    let certain = text.length;
    // What ends in U+FFFD may be the beginning of a character.
    while (certain > 0 && text.length - certain < mostIncomplete && text[certain - 1] === replacement)
      certain--;
    const piece = text.slice(this.#handed, certain);
    this.#handed = Math.max(this.#handed, certain);
    if (certain === text.length) this.#settle(text !== '');
    return piece;
  }

  /** The text that was held back, at the end. */
  end(): string {
    const piece = this.#pendingText().slice(this.#handed);
    this.#context = [];
    this.#pending = [];
    this.#handed = 0;
    return piece;
  }

  /** What the pending tokens add to the context's text. */
  #pendingText(): string {
    const before = this.#decode(this.#context);
    const all = this.#decode([...this.#context, ...this.#pending]);
    return all.startsWith(before) ? all.slice(before.length) : this.#decode(this.#pending);
  }

  #settle(hasText: boolean): void {
    // Tokens without a text (special ones that are skipped) are no context.
    if (hasText) this.#context = this.#pending;
    this.#pending = [];
    this.#handed = 0;
  }

  #decode(ids: readonly number[]): string {
    return ids.length === 0 ? '' : this.tokenizer.decode(ids, this.options);
  }
}
