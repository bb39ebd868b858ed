/** A token for each piece: vocabularies of whole words. */

import { TokenizerError } from '../../../lib/errors.js';
import { type Fields, show } from '../fields.js';
import { readVocabulary, type IdBuffer, type Model, type Segments, type Vocabulary } from './model.js';

export class WordLevelModel implements Model {
  /** @param unkToken The token of pieces that are not in the vocabulary. */
  constructor(
    readonly vocab: Vocabulary,
    readonly unkToken: string,
  ) {}

  static fromJSON(fields: Fields): WordLevelModel {
    return new WordLevelModel(readVocabulary(fields), fields.string('unk_token', '<unk>'));
  }

  toJSON(): object {
    return { type: 'WordLevel', vocab: this.vocab.toJSON(), unk_token: this.unkToken };
  }

  encode(piece: string, ids: IdBuffer): void {
    ids.push(this.#id(piece));
  }

  segment(piece: string): Segments {
    return { ids: [this.#id(piece)], starts: [0], ends: [piece.length] };
  }

  #id(piece: string): number {
    const id = this.vocab.id(piece) ?? this.vocab.id(this.unkToken);
    if (id !== undefined) return id;
    throw new TokenizerError(
      `encode: neither ${show(piece)} nor the unknown token ${show(this.unkToken)} is in the vocabulary`,
    );
  }
}
