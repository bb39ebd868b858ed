/**
 * Byte-level BPE in native code: texts of any length to ids at hundreds of MB/s, for the splitting patterns that
 * published models use. The TypeScript model (models/bpe.ts) is the definition; this is its fast way, with equal ids.
 */

import { TokenizerError } from '../../lib/errors.js';
import { native } from '../../lib/native.js';
import type { NativeHandle } from '../../lib/native-addon.js';
import { cl100kPattern, gpt2Pattern, llama3Pattern, qwen2Pattern } from './patterns.js';

/** Patterns that cut text into words and are written out in native code, in the order of their numbers there. */
const splits = ['gpt2', 'llama3', 'qwen2', 'cl100k'] as const;

/** A splitting pattern that native code knows. */
export type NativeSplit = (typeof splits)[number];

/** The patterns as files have them, and which split each is. */
const patterns: readonly (readonly [pattern: string, split: NativeSplit])[] = [
  [gpt2Pattern, 'gpt2'],
  [llama3Pattern, 'llama3'],
  [cl100kPattern, 'cl100k'],
  [qwen2Pattern, 'qwen2'],
];

/** The split that a pattern is, undefined when native code does not know it. */
export function nativeSplitOf(pattern: string): NativeSplit | undefined {
  return patterns.find(([known]) => known === pattern)?.[1];
}

/** The pattern of a split, as published files have it; undefined for an unknown one. */
export function splitPattern(split: string): string | undefined {
  return patterns.find(([, known]) => known === split)?.[0];
}

/** How a pre-tokenizer cuts texts for the model, where native code can do it. */
export interface NativeWords {
  readonly split: NativeSplit;
  /** A space is put before texts that do not begin with one. */
  readonly addPrefixSpace: boolean;
}

/** The native way of a byte-level pre-tokenizer of a `tokenizer.json`; null where it is another one. */
export function nativeWordsOf(preTokenizer: object | null): NativeWords | null {
  const steps = stepsOf(preTokenizer);
  const last = steps.at(-1);
  if (last?.type !== 'ByteLevel' || steps.length > 2) return null;
  const { add_prefix_space: addPrefixSpace = true, use_regex: useRegex = true } = last;
  if (typeof addPrefixSpace !== 'boolean' || typeof useRegex !== 'boolean') return null;
  if (steps.length === 1) return useRegex ? { split: 'gpt2', addPrefixSpace } : null;
  const { type, pattern, behavior, invert = false } = steps[0];
  const regex = ((pattern ?? {}) as { Regex?: unknown }).Regex;
  if (type !== 'Split' || behavior !== 'Isolated' || invert !== false || typeof regex !== 'string')
    return null;
  const split = nativeSplitOf(regex);
  // A space before each word, or GPT-2's pattern within the words of another, is no published way.
  return split === undefined || useRegex || addPrefixSpace ? null : { split, addPrefixSpace };
}

function stepsOf(preTokenizer: object | null): Record<string, unknown>[] {
  if (preTokenizer === null) return [];
  const { type, pretokenizers } = preTokenizer as Record<string, unknown>;
  if (type !== 'Sequence') return [preTokenizer as Record<string, unknown>];
  return Array.isArray(pretokenizers) ? (pretokenizers as Record<string, unknown>[]) : [];
}

/** The number by which native code knows a split; `spaces` is for training only. */
export const splitNumber = (split: NativeSplit | 'spaces'): number =>
  split === 'spaces' ? splits.length : splits.indexOf(split);

/** How pieces become tokens; see `BpeOptions`. */
export interface NativeBpeOptions {
  readonly ignoreMerges?: boolean;
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
    { ignoreMerges = false, rankByToken = false }: NativeBpeOptions = {},
  ) {
    const lines = tokens.some((token) => token.includes('\n'))
      ? tokens.map((token) => (token.includes('\n') ? '' : token)).join('\n')
      : tokens.join('\n');
    this.#handle = checked(() => native.createBpe(lines, ids, merges.join('\n'), ignoreMerges, rankByToken));
  }

  /** Whether no text loses bytes because the vocabulary lacks them. */
  get hasAllBytes(): boolean {
    return native.bpeHasAllBytes(this.#handle);
  }

  /** The ids of a text; half surrogate pairs in it count as U+FFFD. */
  encode(text: string, split: NativeSplit): Int32Array {
    return checked(() => native.encodeBpe(this.#handle, text, splitNumber(split)));
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
