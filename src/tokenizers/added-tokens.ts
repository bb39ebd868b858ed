/**
 * Added tokens: those that are found in a text before anything else happens to it, the longest at the leftmost place
 * (special tokens, mostly). Those marked `normalized` are looked for in the normalized text, the others in the text as it
 * was given.
 */

import { TokenizerError } from '../../lib/errors.js';
import { Fields, show } from './fields.js';
import { maxId } from './models/model.js';
import { Trie } from './trie.js';
import { afterWhitespace, beforeWhitespace, isWord } from './unicode.js';

/** A token beside the model's vocabulary, in the words of a `tokenizer.json`. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Only found where no letter or digit touches it. */
  readonly single_word: boolean;
  /** Takes the white space before it along. */
  readonly lstrip: boolean;
  /** Takes the white space after it along. */
  readonly rstrip: boolean;
  /** Looked for after normalization. */
  readonly normalized: boolean;
  /** Left out by `decode` with `skipSpecialTokens`. */
  readonly special: boolean;
}

/** An added token from JSON; flags that are missing are false, `normalized` the opposite of `special`. */
export function readAddedToken(where: string, json: unknown, id?: number): AddedToken {
  const fields = Fields.of(where, json);
  const special = fields.boolean('special', false);
  return {
    id: id ?? fields.integer('id', 0, maxId),
    content: fields.string('content'),
    single_word: fields.boolean('single_word', false),
    lstrip: fields.boolean('lstrip', false),
    rstrip: fields.boolean('rstrip', false),
    normalized: fields.boolean('normalized', !special),
    special,
  };
}

/** Where a token was found. */
export interface TokenMatch {
  readonly id: number;
  readonly from: number;
  readonly to: number;
}

export interface SearchOptions {
  /** False where special tokens in the text are to be read as text. */
  readonly parseSpecial: boolean;
  /** Parts of the text, in order, in which no token is to be found. */
  readonly literal?: readonly (readonly [from: number, to: number])[];
}

/** Finds some of the added tokens in a text. */
export class AddedTokenFinder {
  readonly #trie: Trie;
  readonly #tokens: readonly AddedToken[];

  /** @param spelling How a token is written where it is looked for. */
  constructor(tokens: readonly AddedToken[], spelling: (token: AddedToken) => string) {
    this.#tokens = tokens;
    this.#trie = new Trie(tokens.length);
    tokens.forEach((token, at) => {
      const spelled = spelling(token);
      if (spelled !== '') this.#trie.set(spelled, at);
    });
  }

  get isEmpty(): boolean {
    return this.#tokens.length === 0;
  }

  /** The first token at or after `from` (where nothing was found before it). */
  find(text: string, from: number, options: SearchOptions): TokenMatch | null {
    const trie = this.#trie;
    for (let at = from; at < text.length; at++) {
      if (!trie.begins(text.charCodeAt(at))) continue;
      const found = trie.longest(text, at);
      if (found === null) continue;
      const token = this.#tokens[found.value];
      const refused =
        (token.special && !options.parseSpecial) ||
        (options.literal !== undefined && touches(options.literal, at, found.end)) ||
        (token.single_word && !standsAlone(text, at, found.end));
      if (refused) {
        // As in Hugging Face's library, nothing else is looked for inside it.
        at = found.end - 1;
        continue;
      }
      return {
        id: token.id,
        from: token.lstrip ? Math.max(from, beforeWhitespace(text, at)) : at,
        to: token.rstrip ? afterWhitespace(text, found.end) : found.end,
      };
    }
    return null;
  }
}

function touches(ranges: readonly (readonly [number, number])[], from: number, to: number): boolean {
  // The first range that ends after `from`.
  let [low, high] = [0, ranges.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranges[middle][1] > from) high = middle;
    else low = middle + 1;
  }
  return low < ranges.length && ranges[low][0] < to;
}

function standsAlone(text: string, from: number, to: number): boolean {
  const before = from === 0 ? '' : Array.from(text.slice(Math.max(0, from - 2), from)).at(-1)!;
  const after = to === text.length ? '' : String.fromCodePoint(text.codePointAt(to)!);
  return (before === '' || !isWord(before)) && (after === '' || !isWord(after));
}

/** @throws TokenizerError where two tokens have the same spelling or id. */
export function checkAddedTokens(tokens: readonly AddedToken[]): void {
  const [contents, ids] = [new Set<string>(), new Map<number, string>()];
  for (const { content, id } of tokens) {
    if (contents.has(content)) throw new TokenizerError(`the added token ${show(content)} is there twice`);
    const other = ids.get(id);
    if (other !== undefined) {
      throw new TokenizerError(`the added tokens ${show(other)} and ${show(content)} have the same id ${id}`);
    }
    contents.add(content);
    ids.set(id, content);
  }
}
