/**
 * The texts that a tokenizer is trained on: strings, or files read piece by piece, so that a corpus need not fit in
 * memory. Special tokens in them are taken out; what stands between them is handed on in pieces that begin and end where
 * every splitting pattern begins and ends a word, so files give the same words as if they were read whole.
 * Only text without any such place, one endless word, is gathered until it ends.
 */

import { ArgumentError, TokenizerError } from '../../lib/errors.js';
import { streamTexts } from '../../lib/formats/text-files.js';

/**
 * Texts to train on: strings, each a text of its own, or files: paths, folders, glob patterns, `-` (as
 * {@link readTexts} has them).
 */
export type TokenizerTrainingSource =
  Iterable<string> | AsyncIterable<string> | { readonly files: string | readonly string[] };

/** How far a training is. */
export interface TokenizerTrainingProgress {
  /** Reading the texts, or learning tokens from them. */
  readonly stage: 'reading' | 'learning';
  /** Characters read so far. */
  readonly characters: number;
  /** Tokens of the vocabulary so far; of unigram the tokens that are still to be thinned out. */
  readonly tokens: number;
}

/** What all trainings of tokenizers take. */
export interface TokenizerTrainingControl {
  /** Called now and then. */
  readonly onProgress?: (progress: TokenizerTrainingProgress) => void;
  /** Ends the training with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Units of UTF-16 that are handed on at once. */
const pieceLength = 1 << 20;
/** Text without a place to cut is damage, or a device that never ends. */
const longestWord = 1 << 26;

/**
 * Reads a source and hands on its texts without special tokens.
 * @returns The number of characters (UTF-16 units).
 */
export async function eachText(
  name: string,
  source: TokenizerTrainingSource,
  specialTokens: readonly string[],
  use: (text: string) => void,
  { onProgress, signal }: TokenizerTrainingControl,
): Promise<number> {
  const special = specialPattern(specialTokens);
  let characters = 0;
  const take = (text: string): void => {
    signal?.throwIfAborted();
    for (const part of special === null ? [text] : text.split(special)) if (part !== '') use(part);
    characters += text.length;
    onProgress?.({ stage: 'reading', characters, tokens: 0 });
  };
  if (typeof source === 'object' && 'files' in source) {
    await eachPiece(name, source.files, specialTokens, take);
  } else {
    if (typeof source !== 'object' || !isIterable(source)) {
      throw new ArgumentError(
        `${name}: the texts must be an iterable of strings or { files: paths }, got ${typeof source}`,
      );
    }
    for await (const text of source) {
      if (typeof text !== 'string') {
        throw new ArgumentError(`${name}: each text must be a string, got ${typeof text}`);
      }
      take(text);
    }
  }
  if (characters === 0)
    throw new ArgumentError(`${name}: the texts are empty, there is nothing to learn from`);
  return characters;
}

const isIterable = (value: object): boolean => Symbol.iterator in value || Symbol.asyncIterator in value;

async function eachPiece(
  name: string,
  files: string | readonly string[],
  specialTokens: readonly string[],
  take: (text: string) => void,
): Promise<void> {
  let rest = '';
  let searched = 0; // the rest has no cut before this
  for await (const { text, ends } of streamTexts(files)) {
    rest += text;
    if (!ends && rest.length < pieceLength) continue;
    const cut = ends ? rest.length : findCut(rest, specialTokens, searched);
    if (cut > 0) take(rest.slice(0, cut));
    rest = rest.slice(cut);
    if (rest.length > longestWord) {
      throw new TokenizerError(
        `${name}: ${longestWord} characters of a file have no end of a word among them; is it text?`,
      );
    }
    searched = cut === 0 ? rest.length - longestOf(specialTokens) : 0;
  }
}

const longestOf = (tokens: readonly string[]): number => Math.max(1, ...tokens.map((token) => token.length));

/** Whether a text may be cut before the character at `cut`. */
export type CutRule = (text: string, cut: number) => boolean;

/** Between a letter or number and white space or punctuation. */
export const isWordEnd: CutRule = (text, cut) =>
  /[\s\p{P}]/u.test(text.charAt(cut)) && /[\p{L}\p{N}]/u.test(text.charAt(cut - 1));

/** Before a single space between a letter or number and a plain letter or digit. */
export const isSpaceBetweenWords: CutRule = (text, cut) =>
  text[cut] === ' ' && /[A-Za-z0-9]/.test(text.charAt(cut + 1)) && /[\p{L}\p{N}]/u.test(text.charAt(cut - 1));

/** The last place behind `from` where the rule lets a text be cut and no special token reaches across; 0 where there is none. */
export function findCut(
  text: string,
  specialTokens: readonly string[],
  from = 0,
  rule: CutRule = isWordEnd,
): number {
  for (let cut = text.length - longestOf(specialTokens); cut > from; cut--) {
    if (!rule(text, cut)) continue;
    const isInside = specialTokens.some((token) =>
      text.slice(Math.max(0, cut - token.length + 1), cut + token.length - 1).includes(token),
    );
    if (!isInside) return cut;
  }
  return 0;
}

function specialPattern(tokens: readonly string[]): RegExp | null {
  if (tokens.length === 0) return null;
  const longestFirst = [...tokens].sort((a, b) => b.length - a.length);
  return new RegExp(
    longestFirst.map((token) => token.replace(/[$()*+.?[\\\]^{|}-]/g, '\\$&')).join('|'),
    'u',
  );
}

/** @throws ArgumentError for special tokens that cannot be any. */
export function checkSpecialTokens(name: string, tokens: readonly string[]): void {
  tokens.forEach((token, i) => {
    if (typeof token !== 'string' || token === '' || token.includes('\0')) {
      throw new ArgumentError(
        `${name}: special tokens must be strings that are not empty, without U+0000, got ${JSON.stringify(token)}`,
      );
    }
    if (tokens.indexOf(token) !== i) {
      throw new ArgumentError(`${name}: the special token ${JSON.stringify(token)} is given twice`);
    }
  });
}

/** @throws ArgumentError unless the option is a whole number of at least `least`. */
export function checkWhole(name: string, option: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new ArgumentError(`${name}: ${option} must be a whole number of at least ${least}, got ${value}`);
  }
}

/** Special tokens as a `tokenizer.json` lists them; they have the first ids. */
export function addedTokens(specialTokens: readonly string[]): object[] {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return specialTokens.map((content, id) => ({ id, content, ...flags }));
}
