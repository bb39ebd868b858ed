/**
 * Long texts to tokens piece by piece, where cutting them between two words changes no token: of characters, byte-level BPE,
 * WordPiece, and the SentencePiece models that split at spaces. Others see a text whole.
 */

import { setImmediate } from 'node:timers/promises';

import { checkOptions, TokenizerError } from '../../lib/errors.js';
import { nativeWordsOf } from './native-bpe.js';
import { PretrainedTokenizer } from './pretrained.js';
import type { Tokenizer } from './tokenizer.js';
import { findCut, type CutRule, isSpaceBetweenWords, isWordEnd } from './training-texts.js';

/** Characters (UTF-16 units) that are encoded at once, where a text may be cut: about 30 ms of the slowest tokenizer. */
const pieceLength = 2 ** 16;
/** Milliseconds after which others get a turn. */
const turnMs = 20;

/** How far {@link encodeText} is. */
export interface EncodeTextProgress {
  /** Characters (UTF-16 units) whose tokens are there. */
  readonly characters: number;
  readonly totalCharacters: number;
  readonly tokens: number;
}

/** Options of {@link encodeText}. */
export interface EncodeTextOptions {
  /** Whether the text's special tokens are read as such; true by default. */
  readonly parseSpecialTokens?: boolean;
  /** Called now and then, and at the end. */
  readonly onProgress?: (progress: EncodeTextProgress) => void;
  /** Ends it with the signal's reason. */
  readonly signal?: AbortSignal;
}

/**
 * The ids of a long text, without special tokens around it: those of `encode`, but timers, signals and other work get their
 * turn all the while. Tokenizers that must see a text whole (SentencePiece's BPE, say) give turns before and after only.
 *
 * @throws TokenizerError for text that the tokenizer cannot represent.
 * @example
 * const ids = await encodeText(tokenizer, text, { onProgress: ({ tokens }) => console.error(tokens) });
 */
export async function encodeText(
  tokenizer: Tokenizer,
  text: string,
  options: EncodeTextOptions = {},
): Promise<Int32Array> {
  checkOptions('encodeText', options, ['parseSpecialTokens', 'onProgress', 'signal']);
  const { parseSpecialTokens, onProgress, signal } = options;
  const encoder = new PieceEncoder(tokenizer, parseSpecialTokens);
  const pieces: Int32Array[] = [];
  let tokens = 0;
  const report = (): void =>
    onProgress?.({ characters: text.length - encoder.waiting, totalCharacters: text.length, tokens });
  let turn = -Infinity;
  signal?.throwIfAborted();
  for (const ids of encoded(encoder, tokenizer, text)) {
    pieces.push(ids);
    tokens += ids.length;
    if (performance.now() - turn < turnMs) continue;
    report();
    await setImmediate();
    signal?.throwIfAborted();
    turn = performance.now();
  }
  report();
  const all = new Int32Array(tokens);
  let at = 0;
  for (const ids of pieces) {
    all.set(ids, at);
    at += ids.length;
  }
  return all;
}

/** The tokens of a whole text in pieces. What is wrong with it is said of its place in all of it. */
function* encoded(encoder: PieceEncoder, tokenizer: Tokenizer, text: string): Iterable<Int32Array> {
  try {
    yield* encoder.encode(text, true);
  } catch (error) {
    if (error instanceof TokenizerError) tokenizer.encode(text);
    throw error;
  }
}

/** Encodes a text that comes in parts. */
export class PieceEncoder {
  readonly #tokenizer: Tokenizer;
  readonly #parseSpecialTokens: boolean;
  /** Where a text may be cut; null where it must be seen whole. */
  readonly #rule: CutRule | null;
  /** Tokens with a meaning of their own, which must not be cut. */
  readonly #added: readonly string[];
  /** What was not encoded yet. */
  #rest = '';

  constructor(tokenizer: Tokenizer, parseSpecialTokens = true) {
    this.#tokenizer = tokenizer;
    this.#parseSpecialTokens = parseSpecialTokens;
    this.#rule = cutRuleOf(tokenizer);
    this.#added =
      tokenizer instanceof PretrainedTokenizer ? tokenizer.addedTokens.map(({ content }) => content) : [];
  }

  /** Whether texts may be cut. */
  get cuts(): boolean {
    return this.#rule !== null;
  }

  /** Characters that were not encoded yet. */
  get waiting(): number {
    return this.#rest.length;
  }

  /**
   * The tokens so far, as far as they do not depend on what comes.
   * @param text The next part.
   * @param ends Whether the text ends with it; then another one may begin.
   */
  *encode(text: string, ends: boolean): Iterable<Int32Array> {
    this.#rest += text;
    while (this.#rule !== null && this.#rest.length > pieceLength) {
      const cut = this.#cut(this.#rule);
      if (cut === 0) break;
      const piece = this.#rest.slice(0, cut);
      this.#rest = this.#rest.slice(cut);
      yield this.#tokens(piece);
    }
    if (!ends) return;
    const last = this.#rest;
    this.#rest = '';
    if (last !== '') yield this.#tokens(last);
  }

  /** The last place to cut in the first characters, of more and more where there is none; 0 in none of all. */
  #cut(rule: CutRule): number {
    for (let from = 0, length = pieceLength; from < this.#rest.length; from = length, length *= 2) {
      const cut = findCut(this.#rest.slice(0, length), this.#added, from, rule);
      if (cut > 0) return cut;
    }
    return 0;
  }

  #tokens(text: string): Int32Array {
    const parseSpecialTokens = this.#parseSpecialTokens;
    return this.#tokenizer instanceof PretrainedTokenizer
      ? this.#tokenizer.encode(text, { addSpecialTokens: false, parseSpecialTokens })
      : this.#tokenizer.encode(text);
  }
}

/** A place between two characters: not within a pair of surrogates. */
const isBetweenCharacters: CutRule = (text, cut) => {
  const code = text.charCodeAt(cut);
  return !(code >= 0xdc00 && code < 0xe000);
};

/** Normalizers that change characters by themselves, wherever the text between two words is cut. */
const localNormalizers = ['Nmt', 'NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'Precompiled'];

type Step = Readonly<Record<string, unknown>>;

/** Where texts of a tokenizer may be cut without a change of their tokens; null where that is not known. */
function cutRuleOf(tokenizer: Tokenizer): CutRule | null {
  if (tokenizer.type === 'char') return isBetweenCharacters;
  if (!(tokenizer instanceof PretrainedTokenizer)) return null;
  // A token that swallows the space behind it, and that no rule would notice.
  if (tokenizer.addedTokens.some(({ content, rstrip }) => rstrip && /[\p{L}\p{N}]$/u.test(content)))
    return null;
  const { normalizer, pre_tokenizer: words } = tokenizer.toJSON() as Record<string, Step | null>;
  if (words?.type === 'BertPreTokenizer')
    return normalizer === null || normalizer?.type === 'BertNormalizer' ? isWordEnd : null;
  if (splitsAtSpaces(words))
    return stepsOf(normalizer, 'normalizers').every(isLocal) ? isSpaceBetweenWords : null;
  const isNfc = stepsOf(normalizer, 'normalizers').every(({ type }) => type === 'NFC');
  return isNfc && nativeWordsOf(words)?.addPrefixSpace === false ? isWordEnd : null;
}

/** SentencePiece's words, each with the space before it. */
function splitsAtSpaces(words: Step | null): boolean {
  const steps = stepsOf(words, 'pretokenizers');
  const last = steps.at(-1);
  if (last?.type !== 'Metaspace' || last.split === false) return false;
  return steps.slice(0, -1).every(({ type }) => type === 'WhitespaceSplit');
}

const isLocal = ({ type, pattern }: Step): boolean =>
  localNormalizers.includes(type as string) ||
  (type === 'Replace' && (pattern as { Regex?: unknown } | undefined)?.Regex === ' {2,}');

function stepsOf(step: Step | null, name: string): readonly Step[] {
  if (step === null) return [];
  return step.type === 'Sequence' && Array.isArray(step[name]) ? (step[name] as Step[]) : [step];
}
