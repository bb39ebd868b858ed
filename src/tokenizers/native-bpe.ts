/**
 * Byte-level BPE in native code: texts of any length to ids at hundreds of MB/s, for the splitting patterns that
 * published models use. The TypeScript model (models/bpe.ts) is the definition; this is its fast way, with equal ids.
 */

import { TokenizerError } from '../../lib/errors.js';
import { native } from '../../lib/native.js';
import type { NativeHandle } from '../../lib/native-addon.js';

/** Patterns that cut text into words and are written out in native code, in the order of their numbers there. */
const splits = ['gpt2', 'cl100k', 'qwen2'] as const;

/** A splitting pattern that native code knows; `cl100k` is Llama 3's too. */
export type NativeSplit = (typeof splits)[number];

/** GPT-2's pattern: what the `ByteLevel` pre-tokenizer does with `use_regex`. */
export const gpt2Pattern =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const modern = (numbers: string): string =>
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" +
  `${numbers}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

/** The ways in which published files write the patterns. */
const patterns: readonly (readonly [pattern: string, split: NativeSplit])[] = [
  [gpt2Pattern, 'gpt2'],
  ["'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", 'gpt2'],
  [modern('\\p{N}{1,3}'), 'cl100k'],
  [modern('\\p{N}'), 'qwen2'],
];

/** The split that a pattern is, undefined when native code does not know it. */
export function nativeSplitOf(pattern: string): NativeSplit | undefined {
  return patterns.find(([known]) => known === pattern)?.[1];
}

/** The pattern of a split, as published files have it; undefined for an unknown one. */
export function splitPattern(split: string): string | undefined {
  return patterns.find(([, known]) => known === split)?.[0];
}

/** The number by which native code knows a split; `spaces` is for training only. */
export const splitNumber = (split: NativeSplit | 'spaces'): number =>
  split === 'spaces' ? splits.length : splits.indexOf(split);

/** How a {@link NativeBpe} differs from GPT-2's. */
export interface NativeBpeOptions {
  readonly split: NativeSplit;
  /** A word that is in the vocabulary is a token at once, whatever the merges say (Llama 3). */
  readonly ignoreMerges?: boolean;
  /** Merges that make the same token have the same rank (tiktoken). */
  readonly rankByToken?: boolean;
}

export class NativeBpe {
  readonly #handle: NativeHandle<'bpe'>;

  /**
   * @param tokens The vocabulary in the byte alphabet; tokens with other characters (special tokens, say) are passed over.
   * @param ids The ids of the tokens.
   * @param merges `left right`, in the order of their ranks.
   * @throws TokenizerError when a merge is not of tokens or an id is negative.
   */
  constructor(
    tokens: readonly string[],
    ids: Int32Array,
    merges: readonly string[],
    { split, ignoreMerges = false, rankByToken = false }: NativeBpeOptions,
  ) {
    const lines = tokens.join('\n');
    this.#handle = checked(() =>
      native.createBpe(lines, ids, merges.join('\n'), splitNumber(split), ignoreMerges, rankByToken),
    );
  }

  /** Whether no text loses bytes because the vocabulary lacks them. */
  get hasAllBytes(): boolean {
    return native.bpeHasAllBytes(this.#handle);
  }

  /** The ids of a text; half surrogate pairs in it count as U+FFFD. */
  encode(text: string): Int32Array {
    return checked(() => native.encodeBpe(this.#handle, text));
  }

  /**
   * Where the characters of each token begin and end in the text, two numbers a token in UTF-16 units; tokens that share
   * a character all have the whole of it.
   *
   * @param ids What {@link encode} gave for the text.
   * @throws TokenizerError when they are not.
   */
  offsets(text: string, ids: Int32Array): Int32Array {
    return checked(() => native.bpeOffsets(this.#handle, text, ids));
  }
}

/** Native code's errors in our words. */
function checked<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ERR_NATIVE_ARGUMENT') throw error;
    throw new TokenizerError(`BPE: ${(error as Error).message}`);
  }
}
