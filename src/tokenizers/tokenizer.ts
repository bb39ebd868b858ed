/**
 * What every tokenizer does: text to ids and back. A tokenizer's file is a `tokenizer.json` in Hugging Face's
 * form.
 */

/** Options of {@link Tokenizer.encode} that all tokenizers know. */
export interface TokenizerEncodeOptions {
  /**
   * Puts the special tokens there that the tokenizer's file asks for (a bos token before the text, say). Default true;
   * tokenizers without such tokens make no difference.
   */
  readonly addSpecialTokens?: boolean;
}

/** Options of {@link Tokenizer.decode}. */
export interface DecodeOptions {
  /** Leaves out tokens that are marked as special: bos, eos, padding, ... Default false. */
  readonly skipSpecialTokens?: boolean;
  /** Takes away spaces before punctuation and contractions. Default: what the tokenizer's configuration says, else false. */
  readonly cleanUpTokenizationSpaces?: boolean;
}

/** Text to ids and back. */
export interface Tokenizer {
  /** The kind: `char`, `bpe`, `wordpiece`, `unigram`, `wordlevel`. */
  readonly type: string;
  /** Number of ids: they run from 0 to `vocabSize - 1`. */
  readonly vocabSize: number;
  /** The id that ends a text, where there is one. */
  readonly eosId?: number;
  /** The id that begins a text, where there is one. */
  readonly bosId?: number;
  /** The id that fills short rows of a batch, where there is one. */
  readonly padId?: number;

  /**
   * The ids of a text.
   * @throws TokenizerError for text that the tokenizer cannot represent.
   */
  encode(text: string, options?: TokenizerEncodeOptions): Int32Array;

  /**
   * The text of ids.
   * @throws TokenizerError for an id outside the vocabulary.
   */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;

  /**
   * Writes the tokenizer to a file, or as `tokenizer.json` into an existing folder; `AutoTokenizer.fromPretrained`
   * reads it.
   * @throws FileError when it cannot be written.
   */
  save(path: string): void;
}
