/**
 * Merges of vocabularies that rank tokens instead of pairs (SentencePiece's scores, tiktoken's ranks): any two tokens
 * whose joint spelling is a token merge into it, with that token's rank.
 */

import { unitsAt } from '../aligned-text.js';
import type { Merge } from '../models/bpe.js';
import type { Vocabulary } from '../models/model.js';

/** A token that merges may make, where it is `used`. */
export interface RankedToken {
  readonly token: string;
  /** Greater is merged earlier. */
  readonly score: number;
  readonly used: boolean;
}

/** The merges in the order of the tokens that they make, to be ranked by token. */
export function mergesByScore(tokens: readonly RankedToken[], vocabulary: Vocabulary): Merge[] {
  const merges: Merge[] = [];
  const ordered = tokens.filter(({ used }) => used).sort((a, b) => b.score - a.score);
  const known = new Set(ordered.map(({ token }) => token));
  for (const { token } of ordered) {
    const splits: Merge[] = [];
    for (let at = unitsAt(token, 0); at < token.length; at += unitsAt(token, at)) {
      const merge: Merge = [token.slice(0, at), token.slice(at)];
      if (known.has(merge[0]) && known.has(merge[1])) splits.push(merge);
    }
    // As Hugging Face's converters have it, for who reads the saved file without ranks by token.
    splits.sort(
      (a, b) => vocabulary.id(a[0])! - vocabulary.id(b[0])! || vocabulary.id(a[1])! - vocabulary.id(b[1])!,
    );
    for (const split of splits) merges.push(split);
  }
  return merges;
}
