/**
 * What every tokenizer does: text to ids and back. A tokenizer's file is a `tokenizer.json` in Hugging Face's
 * form.
 */

/** Text to ids and back. */
export interface Tokenizer {
  /** The kind: `char`, ... */
  readonly type: string;
  /** Number of ids: they run from 0 to `vocabSize - 1`. */
  readonly vocabSize: number;
  /** The id that ends a text, where there is one. */
  readonly eosId?: number;

  /**
   * The ids of a text.
   * @throws TokenizerError for text that the tokenizer cannot represent.
   */
  encode(text: string): Int32Array;

  /**
   * The text of ids.
   * @throws TokenizerError for an id outside the vocabulary.
   */
  decode(ids: ArrayLike<number>): string;

  /**
   * Writes the tokenizer to a file, or as `tokenizer.json` into an existing folder; `loadTokenizer` reads it.
   * @throws FileError when it cannot be written.
   */
  save(path: string): void;
}
