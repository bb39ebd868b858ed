/**
 * Token ids to text, piece by piece, never handing out what a later token could change: half a character (a byte-level
 * token that ends inside it) or the beginning of a stop text.
 *
 * What a token adds depends on its neighbours: SentencePiece drops the space before a text's first token, byte tokens
 * make characters together. So a token is decoded together with a few before it, and its text is what it adds to
 * theirs, as Hugging Face's text-generation-inference does it; each token is decoded a fixed number of times.
 */

import type { Tokenizer } from '../tokenizers/index.js';
import { StopStrings } from './stop-strings.js';

const replacement = '\ufffd';
/** Characters that may still become one: an unfinished character has at most three bytes, each shown by one of these. */
const mostUnfinished = 3;
/** Tokens before the new ones that are decoded with them. */
const contextTokens = 6;
/** So many tokens without a certain end of a character are no text; what came is then taken as it is. */
const mostWindow = 64;

/** What a stream needs of a tokenizer. */
export type TextDecoder = Pick<Tokenizer, 'decode' | 'vocabSize'>;

export class TextStream {
  /** Whether a stop text was met. Nothing is handed out after that. */
  stopped = false;
  /** Ids that are decoded together: context first, then those whose text is not all handed on. */
  #window: number[];
  #context: number;
  /** How much of the window's text is context, or handed on. */
  #sent: number;
  /** Text that may be the beginning of a stop text. */
  #held = '';
  readonly #stops: StopStrings;

  /**
   * @param stops Texts that end the stream; they are not handed out.
   * @param before Ids of the text that the stream continues: the prompt.
   * @throws ArgumentError when a stop text is empty.
   */
  constructor(
    private readonly tokenizer: TextDecoder,
    stops: readonly string[] = [],
    before: readonly number[] = [],
  ) {
    this.#stops = new StopStrings(stops);
    this.#window = before.slice(-contextTokens).filter((id) => id < tokenizer.vocabSize);
    this.#context = this.#window.length;
    this.#sent = certain(this.#text());
  }

  /** Adds a token and returns the text that is certain now. */
  push(id: number): string {
    if (this.stopped) return '';
    this.#window.push(id);
    const text = this.#text();
    const end = certain(text);
    const piece = text.slice(this.#sent, end);
    this.#sent = Math.max(this.#sent, end);
    if (end === text.length && piece !== '') {
      this.#window = this.#window.slice(this.#context);
      this.#sent = this.#text().length;
      this.#context = this.#window.length;
    } else if (this.#window.length > mostWindow) {
      this.#window = this.#window.slice(-contextTokens);
      this.#sent = certain(this.#text());
      this.#context = this.#window.length;
    }
    return this.#release(piece);
  }

  /** The text that was held back, at the end of the generation. */
  end(): string {
    if (this.stopped) return '';
    const text = this.#release(this.#text().slice(this.#sent));
    return this.stopped ? text : text + this.#held;
  }

  #text(): string {
    return this.#window.length === 0 ? '' : this.tokenizer.decode(this.#window);
  }

  #release(text: string): string {
    const match = this.#stops.push(text);
    if (match !== null) {
      this.stopped = true;
      const upTo = this.#held + text.slice(0, match.end);
      return upTo.slice(0, upTo.length - match.length);
    }
    const all = this.#held + text;
    const out = all.slice(0, all.length - this.#stops.pending);
    this.#held = all.slice(out.length);
    return out;
  }
}

/** Length of the part of a text that later tokens do not change. */
function certain(text: string): number {
  let unfinished = 0;
  while (unfinished < mostUnfinished && text[text.length - 1 - unfinished] === replacement) unfinished++;
  return text.length - unfinished;
}
