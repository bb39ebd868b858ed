/**
 * Text of ids that come one after the other, as a model makes them. A token may end inside a character (byte-level and
 * byte fallback), and what a token looks like may depend on the one before it (the space of SentencePiece's first word).
 * So each token is decoded together with a few before it, and its text is what it adds to theirs, as Hugging Face's
 * text-generation-inference does it; each is decoded a bounded number of times.
 */

import type { DecodeOptions, Tokenizer } from './tokenizer.js';

const replacement = '\ufffd';
/** A character's bytes that are not there yet: at most three of four, each shown by one U+FFFD or all by one. */
const mostIncomplete = 3;
/** Tokens of an earlier text that are decoded with its first new ones. */
const contextTokens = 6;
/** So many tokens without a certain end of a character are no text; what came is then taken as it is. */
const mostTokens = 64;

/** Options of a {@link StreamingDecoder}. */
export interface StreamingDecoderOptions extends DecodeOptions {
  /** Ids of the text that the stream continues, a prompt say; they are not handed out. */
  readonly before?: readonly number[];
}

/**
 * @example
 * const stream = new StreamingDecoder(tokenizer, { skipSpecialTokens: true });
 * for (const id of ids) process.stdout.write(stream.push(id));
 * process.stdout.write(stream.end());
 */
export class StreamingDecoder {
  readonly #options: DecodeOptions;
  /** Ids that are decoded together: context first, then those whose text is not all handed out. */
  #window: number[];
  #context: number;
  /** How much of the window's text is context, or handed out. */
  #handed: number;

  constructor(
    private readonly tokenizer: Pick<Tokenizer, 'decode' | 'vocabSize'>,
    { before = [], ...options }: StreamingDecoderOptions = {},
  ) {
    this.#options = options;
    // A prompt may have ids that only the model knows.
    this.#window = before.slice(-contextTokens).filter((id) => id < tokenizer.vocabSize);
    this.#context = this.#window.length;
    this.#handed = certain(this.#text());
  }

  /** Adds a token; the text that is certain now, which may be empty. */
  push(id: number): string {
    this.#window.push(id);
    const text = this.#text();
    const end = certain(text);
    const piece = text.slice(this.#handed, end);
    this.#handed = Math.max(this.#handed, end);
    if (end === text.length && piece !== '') {
      // Tokens without a text (special ones that are skipped) alone are no context.
      this.#window = this.#window.slice(this.#context);
      this.#context = this.#window.length;
      this.#handed = this.#text().length;
    } else if (this.#window.length > mostTokens) {
      this.#window = this.#window.slice(-contextTokens);
      this.#context = this.#window.length;
      this.#handed = certain(this.#text());
    }
    return piece;
  }

  /** The text that was held back, at the end. */
  end(): string {
    const piece = this.#text().slice(this.#handed);
    this.#window = [];
    this.#context = 0;
    this.#handed = 0;
    return piece;
  }

  #text(): string {
    return this.#window.length === 0 ? '' : this.tokenizer.decode(this.#window, this.#options);
  }
}

/** Length of the part of a text that later tokens do not change: what ends in U+FFFD may be the beginning of a character. */
function certain(text: string): number {
  let incomplete = 0;
  while (incomplete < mostIncomplete && text[text.length - 1 - incomplete] === replacement) incomplete++;
  return text.length - incomplete;
}
