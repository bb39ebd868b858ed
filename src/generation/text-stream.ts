/**
 * Token ids to text, piece by piece, never handing out what a later token could change: half a character, or the beginning
 * of a stop text.
 */

import { StreamingDecoder, type Tokenizer } from '../tokenizers/index.js';
import { StopStrings } from './stop-strings.js';

/** What a stream needs of a tokenizer. */
export type TextDecoder = Pick<Tokenizer, 'decode' | 'vocabSize'>;

export class TextStream {
  /** Whether a stop text was met. Nothing is handed out after that. */
  stopped = false;
  /** Text that may be the beginning of a stop text. */
  #held = '';
  readonly #decoder: StreamingDecoder;
  readonly #stops: StopStrings;

  /**
   * @param stops Texts that end the stream; they are not handed out.
   * @param before Ids of the text that the stream continues: the prompt.
   * @throws ArgumentError when a stop text is empty.
   */
  constructor(tokenizer: TextDecoder, stops: readonly string[] = [], before: readonly number[] = []) {
    this.#decoder = new StreamingDecoder(tokenizer, { before, skipSpecialTokens: true });
    this.#stops = new StopStrings(stops);
  }

  /** Adds a token and returns the text that is certain now. */
  push(id: number): string {
    return this.stopped ? '' : this.#release(this.#decoder.push(id));
  }

  /** The text that was held back, at the end of the generation. */
  end(): string {
    if (this.stopped) return '';
    const text = this.#release(this.#decoder.end());
    return this.stopped ? text : text + this.#held;
  }

  #release(text: string): string {
    const all = this.#held + text;
    const match = this.#stops.push(text);
    if (match !== null) {
      this.stopped = true;
      return all.slice(0, this.#held.length + match.end - match.length);
    }
    const out = all.slice(0, all.length - this.#stops.pending);
    this.#held = all.slice(out.length);
    return out;
  }
}
