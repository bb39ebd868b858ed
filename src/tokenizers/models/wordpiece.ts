/**
 * WordPiece (BERT): a word is cut into the longest tokens from left to right, those after the first written with `##`.
 * A word with a part that is in no token is unknown as a whole.
 */

import { TokenizerError } from '../../../lib/errors.js';
import { type Fields, show } from '../fields.js';
import {
  readVocabulary,
  WordCache,
  type IdBuffer,
  type Model,
  type Segments,
  type Vocabulary,
} from './model.js';

/** Options of a {@link WordPieceModel}. */
export interface WordPieceOptions {
  /** The token of unknown words. */
  readonly unkToken?: string;
  /** What tokens that continue a word begin with. */
  readonly continuingSubwordPrefix?: string;
  /** Longer words, in characters, are unknown. */
  readonly maxInputCharsPerWord?: number;
}

export class WordPieceModel implements Model {
  readonly options: Required<WordPieceOptions>;
  readonly #unkId: number;
  readonly #longest: number;
  readonly #cache = new WordCache();

  /** @throws TokenizerError when the vocabulary has no unknown token. */
  constructor(
    readonly vocab: Vocabulary,
    options: WordPieceOptions = {},
  ) {
    this.options = {
      unkToken: '[UNK]',
      continuingSubwordPrefix: '##',
      maxInputCharsPerWord: 100,
      ...options,
    };
    const unkId = vocab.id(this.options.unkToken);
    if (unkId === undefined) {
      throw new TokenizerError(`the unknown token ${show(this.options.unkToken)} is not in the vocabulary`);
    }
    this.#unkId = unkId;
    let longest = 0;
    for (const token of vocab.ids.keys()) longest = Math.max(longest, token.length);
    this.#longest = longest;
  }

  static fromJSON(fields: Fields, added: (token: string) => number | undefined): WordPieceModel {
    const vocab = readVocabulary(fields);
    const unkToken = fields.string('unk_token', '[UNK]');
    // Some files have the unknown token among the added tokens only.
    const unkId = added(unkToken);
    if (vocab.id(unkToken) === undefined && unkId !== undefined) vocab.add(unkToken, unkId);
    return new WordPieceModel(vocab, {
      unkToken,
      continuingSubwordPrefix: fields.string('continuing_subword_prefix', '##'),
      maxInputCharsPerWord: fields.integer('max_input_chars_per_word', 0, 2 ** 31, 100),
    });
  }

  toJSON(): object {
    const { unkToken, continuingSubwordPrefix, maxInputCharsPerWord } = this.options;
    return {
      type: 'WordPiece',
      unk_token: unkToken,
      continuing_subword_prefix: continuingSubwordPrefix,
      max_input_chars_per_word: maxInputCharsPerWord,
      vocab: this.vocab.toJSON(),
    };
  }

  encode(piece: string, ids: IdBuffer): void {
    let known = this.#cache.get(piece);
    if (known === undefined) {
      known = Int32Array.from(this.segment(piece).ids);
      this.#cache.set(piece, known);
    }
    ids.pushAll(known);
  }

  segment(piece: string): Segments {
    const { continuingSubwordPrefix: prefix, maxInputCharsPerWord: most } = this.options;
    const unknown = { ids: [this.#unkId], starts: [0], ends: [piece.length] };
    if (piece.length > most && Array.from(piece.slice(0, 2 * most + 2)).length > most) return unknown;
    const segments = { ids: [] as number[], starts: [] as number[], ends: [] as number[] };
    for (let from = 0; from < piece.length;) {
      let to = Math.min(piece.length, from + this.#longest);
      let id: number | undefined;
      for (; to > from; to--) {
        const part = piece.slice(from, to);
        id = this.vocab.id(from > 0 ? prefix + part : part);
        if (id !== undefined) break;
      }
      if (id === undefined) return unknown;
      segments.ids.push(id);
      segments.starts.push(from);
      segments.ends.push(to);
      from = to;
    }
    return segments;
  }
}
