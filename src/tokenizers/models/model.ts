/**
 * What the models have in common: a vocabulary, and the way from a piece of text (a pre-token) to ids. The quick way
 * answers ids alone; the other way also says which part of the piece each token stands for.
 */

import { TokenizerError } from '../../../lib/errors.js';
import { show, type Fields } from '../fields.js';

/** Tokens of a piece with the UTF-16 positions in it that they stand for. */
export interface Segments {
  readonly ids: readonly number[];
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

export interface Model {
  readonly vocab: Vocabulary;
  /** Appends the ids of a piece. */
  encode(piece: string, ids: IdBuffer): void;
  /** The tokens of a piece and where they are in it. */
  segment(piece: string): Segments;
  /** The model as an object of a `tokenizer.json`. */
  toJSON(): object;
}

/** Ids beyond this are taken for damage: the largest vocabulary published has 262,144 tokens. */
export const maxId = 2 ** 24 - 1;

/** Tokens and their ids. Ids may have gaps between them. */
export class Vocabulary {
  readonly #tokens: (string | undefined)[] = [];
  /** Made when a token is first looked for: of a large vocabulary that takes a good part of loading. */
  #ids: Map<string, number> | undefined;

  /**
   * A vocabulary of many tokens at once. A token that is there twice is found by its greater id.
   *
   * @throws TokenizerError for an id that is no id, or that two tokens have.
   */
  static of(tokens: readonly string[], ids: readonly number[]): Vocabulary {
    const vocabulary = new Vocabulary();
    tokens.forEach((token, at) => vocabulary.#put(token, ids[at]));
    return vocabulary;
  }

  /** @throws TokenizerError for an id that is no id, or that another token has, or a token that is there already. */
  add(token: string, id: unknown): void {
    if (this.#index.has(token))
      throw new TokenizerError(`the token ${show(token)} is twice in the vocabulary`);
    this.#put(token, id);
    this.#index.set(token, id as number);
  }

  #put(token: string, id: unknown): void {
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) > maxId) {
      throw new TokenizerError(
        `the id of ${show(token)} must be a whole number from 0 to ${maxId}, got ${show(id)}`,
      );
    }
    const at = id as number;
    if (this.#tokens[at] !== undefined) {
      throw new TokenizerError(
        `the tokens ${show(this.#tokens[at])} and ${show(token)} have the same id ${at}`,
      );
    }
    this.#tokens[at] = token;
  }

  token(id: number): string | undefined {
    return this.#tokens[id];
  }

  id(token: string): number | undefined {
    return this.#index.get(token);
  }

  /** The ids by token. */
  get ids(): ReadonlyMap<string, number> {
    return this.#index;
  }

  get #index(): Map<string, number> {
    return (this.#ids ??= new Map(this.entries()));
  }

  /** All tokens and their ids, in the order of the ids. */
  columns(): { tokens: string[]; ids: Int32Array } {
    const [tokens, ids]: [string[], number[]] = [[], []];
    this.#tokens.forEach((token, id) => {
      if (token === undefined) return;
      tokens.push(token);
      ids.push(id);
    });
    return { tokens, ids: Int32Array.from(ids) };
  }

  /** One past the greatest id. */
  get size(): number {
    return this.#tokens.length;
  }

  /** Tokens and ids in the order of the ids. */
  *entries(): Iterable<[string, number]> {
    for (let id = 0; id < this.#tokens.length; id++) {
      const token = this.#tokens[id];
      if (token !== undefined) yield [token, id];
    }
  }

  toJSON(): Record<string, number> {
    return Object.fromEntries(this.entries());
  }
}

/** Ids that are appended one after the other: an Int32Array that grows. */
export class IdBuffer {
  #ids = new Int32Array(64);
  length = 0;

  push(id: number): void {
    if (this.length === this.#ids.length) this.#reserve(1);
    this.#ids[this.length++] = id;
  }

  pushAll(ids: Int32Array): void {
    if (this.length + ids.length > this.#ids.length) this.#reserve(ids.length);
    if (ids.length < 8) for (let i = 0; i < ids.length; i++) this.#ids[this.length++] = ids[i];
    else {
      this.#ids.set(ids, this.length);
      this.length += ids.length;
    }
  }

  /** The ids so far, in memory of their own. */
  toArray(): Int32Array {
    return this.#ids.slice(0, this.length);
  }

  #reserve(count: number): void {
    const larger = new Int32Array(Math.max(this.#ids.length * 2, this.length + count));
    larger.set(this.#ids.subarray(0, this.length));
    this.#ids = larger;
  }
}

/** Ids of the words met so far. Cleared when full: texts repeat their words soon. */
export class WordCache {
  readonly #words = new Map<string, Int32Array>();

  get(word: string): Int32Array | undefined {
    return this.#words.get(word);
  }

  set(word: string, ids: Int32Array): void {
    if (word.length > longestCached) return;
    if (this.#words.size >= mostCached) this.#words.clear();
    // A slice of a long text would keep the whole text in memory.
    this.#words.set(` ${word}`.slice(1), ids);
  }
}

const mostCached = 2 ** 16;
/** Longer words hardly ever come twice. */
const longestCached = 64;

/** The members of a `vocab` that was read without `JSON.parse`; see `parseTokenizerJson`. */
export class VocabularyMembers {
  readonly tokens: string[] = [];
  readonly ids: number[] = [];
}

/** The `vocab` of a model in a `tokenizer.json`: an object of tokens with their ids. */
export function readVocabulary(fields: Fields): Vocabulary {
  const members = fields.raw('vocab');
  if (members instanceof VocabularyMembers) return Vocabulary.of(members.tokens, members.ids);
  const vocabulary = new Vocabulary();
  fields.object('vocab').each((token, id) => vocabulary.add(token, id));
  return vocabulary;
}
