/**
 * Unigram (Kudo 2018, https://arxiv.org/abs/1804.10959): each token has a log-probability, and a piece becomes the
 * sequence of tokens with the greatest sum (Viterbi). Serves T5, ALBERT, XLM-R and SentencePiece models. As in
 * SentencePiece an unknown character scores 10 less than the worst token, neighbouring unknowns become one token, and of
 * equal sums the first found stays.
 */

import { TokenizerError } from '../../../lib/errors.js';
import { unitsAt } from '../aligned-text.js';
import { byteCharacters, byteToken } from '../bytes.js';
import { type Fields, show } from '../fields.js';
import { Trie } from '../trie.js';
import { Vocabulary, type IdBuffer, type Model, type Segments } from './model.js';

/** A token and its log-probability; its id is its place in the list. */
export type ScoredToken = readonly [token: string, score: number];

/** How much less than the worst token an unknown character scores. */
const unknownPenalty = 10;

/** Where a text is longer, tokens are settled at the first place that no token reaches across. */
const windowUnits = 2 ** 16;

export class UnigramModel implements Model {
  readonly vocab = new Vocabulary();
  readonly #trie: Trie;
  readonly #scores: Float64Array;
  readonly #unknownScore: number;
  /** Ids of the tokens `<0x00>` to `<0xFF>`, or null where one is missing or byte fallback is off. */
  readonly #byteIds: Int32Array | null;

  /**
   * @param tokens The vocabulary in the order of the ids.
   * @param unkId The token of unknown characters; without one they are errors.
   * @param byteFallback Whether unknown characters become tokens `<0x0A>` of their bytes.
   * @param isFound Which tokens are looked for in a text; all where it is left out, as in a `tokenizer.json`.
   */
  constructor(
    readonly tokens: readonly ScoredToken[],
    readonly unkId: number | null,
    readonly byteFallback = false,
    isFound: (id: number) => boolean = () => true,
  ) {
    if (unkId !== null && unkId >= tokens.length) {
      throw new TokenizerError(
        `the unknown token's id ${unkId} is outside the vocabulary of ${tokens.length}`,
      );
    }
    this.#trie = new Trie(tokens.length);
    this.#scores = new Float64Array(tokens.length);
    let least = Infinity;
    tokens.forEach(([token, score], id) => {
      this.vocab.add(token, id);
      this.#scores[id] = score;
      if (isFound(id)) least = Math.min(least, score);
      if (token !== '' && isFound(id)) this.#trie.set(token, id);
    });
    this.#unknownScore = least - unknownPenalty;
    const byteIds = byteCharacters.map((_, byte) => this.vocab.id(byteToken(byte)) ?? -1);
    this.#byteIds = byteFallback && !byteIds.includes(-1) ? Int32Array.from(byteIds) : null;
  }

  static fromJSON(fields: Fields): UnigramModel {
    const tokens = fields.list('vocab').map((entry, id): ScoredToken => {
      const [token, score] = Array.isArray(entry) ? (entry as unknown[]) : [];
      if (typeof token === 'string' && Number.isFinite(score)) return [token, score as number];
      throw new TokenizerError(
        `${fields.where}.vocab: entry ${id} must be a token and its score, got ${show(entry)}`,
      );
    });
    const unkId = fields.has('unk_id') ? fields.integer('unk_id', 0, tokens.length - 1) : null;
    return new UnigramModel(tokens, unkId, fields.boolean('byte_fallback', false));
  }

  toJSON(): object {
    return { type: 'Unigram', unk_id: this.unkId, vocab: this.tokens, byte_fallback: this.byteFallback };
  }

  encode(piece: string, ids: IdBuffer): void {
    this.#segment(piece, (id, from, to) => {
      if (this.#byteIds === null || id !== this.unkId) ids.push(id);
      else for (const byte of new TextEncoder().encode(piece.slice(from, to))) ids.push(this.#byteIds[byte]);
    });
  }

  segment(piece: string): Segments {
    const segments = { ids: [] as number[], starts: [] as number[], ends: [] as number[] };
    this.#segment(piece, (id, from, to) => {
      const bytes = this.#byteIds !== null && id === this.unkId;
      const ids = bytes
        ? Array.from(new TextEncoder().encode(piece.slice(from, to)), (byte) => this.#byteIds![byte])
        : [id];
      for (const each of ids) {
        segments.ids.push(each);
        segments.starts.push(from);
        segments.ends.push(to);
      }
    });
    return segments;
  }

  /** Calls `token` for the tokens of a piece in order, neighbouring unknowns as one. */
  #segment(piece: string, token: (id: number, from: number, to: number) => void): void {
    const { unkId } = this;
    let unknownFrom = -1;
    this.#windows(piece, (id, from, to) => {
      if (id === unkId) {
        if (unknownFrom < 0) unknownFrom = from;
        return;
      }
      if (unknownFrom >= 0) token(unkId!, unknownFrom, from);
      unknownFrom = -1;
      token(id, from, to);
    });
    if (unknownFrom >= 0) token(unkId!, unknownFrom, piece.length);
  }

  /** The best path, settled whenever the window is full and no token reaches across the place. */
  #windows(piece: string, token: (id: number, from: number, to: number) => void): void {
    for (let from = 0; from < piece.length;) from = this.#window(piece, from, token);
  }

  #window(piece: string, from: number, token: (id: number, from: number, to: number) => void): number {
    let size = Math.min(piece.length - from, windowUnits) + 1;
    let scores = new Float64Array(size).fill(-Infinity);
    let lasts = new Int32Array(size);
    let origins = new Int32Array(size);
    scores[0] = 0;
    const trie = this.#trie;
    let at = 0;
    let reach = 0;
    const offer = (to: number, id: number, score: number): void => {
      if (to >= size) {
        size = Math.min(piece.length - from + 1, Math.max(size * 2, to + 1));
        const larger = new Float64Array(size).fill(-Infinity);
        larger.set(scores);
        scores = larger;
        lasts = grown(lasts, size);
        origins = grown(origins, size);
      }
      if (to > reach) reach = to;
      if (score <= scores[to]) return;
      scores[to] = score;
      lasts[to] = id;
      origins[to] = at;
    };
    for (; from + at < piece.length && !(at >= windowUnits && at === reach);) {
      const units = unitsAt(piece, from + at);
      let single = false;
      for (let end = from + at, node = 0; end < piece.length;) {
        node = trie.child(node, piece.charCodeAt(end++));
        if (node < 0) break;
        const id = trie.value(node);
        if (id < 0) continue;
        if (end - from - at === units) single = true;
        offer(end - from, id, scores[at] + this.#scores[id]);
      }
      if (!single) {
        if (this.unkId === null) {
          const character = piece.slice(from + at, from + at + units);
          throw new TokenizerError(
            `encode: ${show(character)} is not in the vocabulary, which has no unknown token`,
          );
        }
        offer(at + units, this.unkId, scores[at] + this.#unknownScore);
      }
      at += units;
    }
    const path: number[] = [];
    for (let end = at; end > 0; end = origins[end]) path.push(end);
    for (let i = path.length - 1; i >= 0; i--) token(lasts[path[i]], from + origins[path[i]], from + path[i]);
    return from + at;
  }
}

function grown(old: Int32Array, size: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(size);
  larger.set(old);
  return larger;
}
