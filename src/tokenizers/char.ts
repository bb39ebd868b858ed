/**
 * A token for each character (Unicode code point) of a training text, as in Karpathy's char-rnn and nanoGPT:
 * the simplest tokenizer, lossless for its alphabet. Saved as a word-level tokenizer whose words are single
 * characters, so Hugging Face's tokenizers library loads the same file and gives the same ids.
 */

import { statSync } from 'node:fs';
import { join } from 'node:path';

import { ArgumentError, checkOptions, TokenizerError } from '../../lib/errors.js';
import { writeFileAtomic } from '../../lib/formats/atomic-file.js';
import type { Tokenizer } from './tokenizer.js';

/** Options of a {@link CharTokenizer}. */
export interface CharTokenizerOptions {
  /**
   * The token that stands for every character outside the alphabet, `<unk>` say. Without one such characters
   * are errors.
   */
  readonly unknown?: string;
}

/** Splits text into code points; Hugging Face's regex engine reads it as JavaScript does. */
const anyCharacter = '[\\s\\S]';
/** The name that a word-level model must give its unknown token, also where it has none. */
const noUnknown = '<unk>';

/** One past the greatest code point. */
const codePoints = 0x110000;

export class CharTokenizer implements Tokenizer {
  readonly type = 'char';
  /** The token for characters outside the alphabet; its id follows the alphabet's. */
  readonly unknown: string | undefined;
  readonly #alphabet: readonly string[];
  /** Ids of the characters below 2^16, -1 where there is none; the others are in the map. */
  readonly #ids = new Int32Array(0x10000).fill(-1);
  readonly #astralIds = new Map<number, number>();

  /**
   * @param alphabet The characters in the order of their ids.
   * @throws ArgumentError when one is not a single character or appears twice.
   */
  constructor(alphabet: readonly string[], options: CharTokenizerOptions = {}) {
    checkOptions('CharTokenizer', options, ['unknown']);
    alphabet.forEach((character, id) => {
      const code = character.codePointAt(0);
      if (code === undefined || character !== String.fromCodePoint(code) || isSurrogate(code)) {
        throw new ArgumentError(
          `CharTokenizer: entry ${id} of the alphabet must be one character, got ${JSON.stringify(character)}`,
        );
      }
      if (this.#idOf(code) >= 0) {
        throw new ArgumentError(`CharTokenizer: ${describe(code)} is twice in the alphabet`);
      }
      if (code < 0x10000) this.#ids[code] = id;
      else this.#astralIds.set(code, id);
    });
    this.unknown = options.unknown;
    if (this.unknown !== undefined && (this.unknown === '' || alphabet.includes(this.unknown))) {
      throw new ArgumentError(
        `CharTokenizer: the unknown token must differ from the alphabet's characters, got ${JSON.stringify(this.unknown)}`,
      );
    }
    this.#alphabet = [...alphabet];
  }

  /**
   * The tokenizer of a text's characters, in the order of their code points.
   *
   * @throws TokenizerError for an empty text or half a surrogate pair in it.
   * @example
   * const tokenizer = CharTokenizer.fromText('to be or not to be');
   * tokenizer.decode(tokenizer.encode('not to be')); // 'not to be'
   */
  static fromText(text: string, options: CharTokenizerOptions = {}): CharTokenizer {
    if (text === '')
      throw new TokenizerError('CharTokenizer: the text is empty, there is no alphabet to take from it');
    const seen = new Uint8Array(codePoints);
    for (let at = 0; at < text.length;) {
      const code = text.codePointAt(at)!;
      if (isSurrogate(code))
        throw new TokenizerError(`CharTokenizer: ${describe(code)} at position ${at} of the text`);
      seen[code] = 1;
      at += code < 0x10000 ? 1 : 2;
    }
    const alphabet: string[] = [];
    for (let code = seen.indexOf(1); code >= 0; code = seen.indexOf(1, code + 1)) {
      alphabet.push(String.fromCodePoint(code));
    }
    return new CharTokenizer(alphabet, options);
  }

  /**
   * The tokenizer that a `tokenizer.json` written by {@link save} describes, or null when it describes
   * another kind.
   * @param json The parsed file.
   */
  static fromJSON(json: unknown): CharTokenizer | null {
    const { model, pre_tokenizer: split, decoder, normalizer, post_processor: post } = fields(json);
    const { type, vocab, unk_token: unknown } = fields(model);
    if (type !== 'WordLevel' || fields(decoder).type !== 'Fuse' || (normalizer ?? null) !== null) return null;
    if (fields(split).type !== 'Split' || fields(fields(split).pattern).Regex !== anyCharacter) return null;
    if (fields(split).behavior !== 'Isolated' || fields(split).invert === true || (post ?? null) !== null)
      return null;
    if (typeof vocab !== 'object' || vocab === null) return null;
    const tokens: string[] = [];
    for (const [token, id] of Object.entries(vocab as Record<string, unknown>)) {
      if (!isId(id) || tokens[id] !== undefined) {
        throw new TokenizerError(
          `the id of ${JSON.stringify(token)} must be a number of its own, got ${String(id)}`,
        );
      }
      tokens[id] = token;
    }
    const gap = tokens.findIndex((token) => token === undefined);
    if (gap >= 0) throw new TokenizerError(`no token has the id ${gap}`);
    const last = tokens.at(-1);
    if (last === undefined || last !== unknown) return new CharTokenizer(tokens);
    return new CharTokenizer(tokens.slice(0, -1), { unknown: last });
  }

  get vocabSize(): number {
    return this.#alphabet.length + (this.unknown === undefined ? 0 : 1);
  }

  /** The characters in the order of their ids. */
  get alphabet(): readonly string[] {
    return this.#alphabet;
  }

  encode(text: string): Int32Array {
    const ids = new Int32Array(text.length);
    const unknownId = this.unknown === undefined ? -1 : this.#alphabet.length;
    let count = 0;
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      let id = this.#ids[unit];
      if (id < 0) {
        const code = text.codePointAt(at)!;
        id = this.#idOf(code);
        if (id < 0) id = unknownId;
        if (id < 0) throw this.#unknownCharacter(code, at);
        if (code >= 0x10000) at++;
      }
      ids[count++] = id;
    }
    // A copy when it is shorter, so that the unused part does not stay in memory.
    return count === ids.length ? ids : ids.slice(0, count);
  }

  decode(ids: ArrayLike<number>): string {
    const parts = new Array<string>(ids.length);
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i];
      const token = id === this.#alphabet.length ? this.unknown : this.#alphabet[id];
      if (token === undefined) {
        throw new TokenizerError(
          `decode: id ${id} at position ${i} is outside the vocabulary of ${this.vocabSize}`,
        );
      }
      parts[i] = token;
    }
    return parts.join('');
  }

  /** The tokenizer in Hugging Face's `tokenizer.json` form. */
  toJSON(): object {
    const tokens = this.unknown === undefined ? this.#alphabet : [...this.#alphabet, this.unknown];
    return {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: { type: 'Split', pattern: { Regex: anyCharacter }, behavior: 'Isolated', invert: false },
      post_processor: null,
      decoder: { type: 'Fuse' },
      model: {
        type: 'WordLevel',
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        unk_token: this.unknown ?? noUnknown,
      },
    };
  }

  save(path: string): void {
    const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
    writeFileAtomic(isFolder ? join(path, 'tokenizer.json') : path, `${JSON.stringify(this, null, 2)}\n`);
  }

  #idOf(code: number): number {
    return code < 0x10000 ? this.#ids[code] : (this.#astralIds.get(code) ?? -1);
  }

  #unknownCharacter(code: number, at: number): TokenizerError {
    const remedy = isSurrogate(code)
      ? 'the text is not valid Unicode'
      : "it is not in the tokenizer's alphabet; use text of the same kind, or a tokenizer with an unknown token";
    return new TokenizerError(`encode: ${describe(code)} at position ${at}: ${remedy}`);
  }
}

const isId = (id: unknown): id is number =>
  Number.isSafeInteger(id) && (id as number) >= 0 && (id as number) <= codePoints;
const isSurrogate = (code: number): boolean => code >= 0xd800 && code <= 0xdfff;

/** A character for a message: `'é' (U+00E9)`. */
function describe(code: number): string {
  const hex = `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
  if (isSurrogate(code)) return `half a surrogate pair (${hex})`;
  const character = String.fromCodePoint(code);
  return /\p{C}|\p{Z}/u.test(character) && character !== ' ' ? `character ${hex}` : `'${character}' (${hex})`;
}

/** The members of a value that may or may not be an object. */
function fields(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
