/**
 * The part of training that BPE and WordPiece share: counted words to merges, in native code, which is left now and then
 * to report progress and to look at the signal.
 */

import { ArgumentError } from '../../lib/errors.js';
import { native } from '../../lib/native.js';
import type { NativeHandle } from '../../lib/native-addon.js';
import { checkWhole, type TokenizerTrainingControl } from './training-texts.js';

/** How pairs become tokens. */
export interface MergeOptions {
  /** Tokens in all, special ones and the alphabet among them; default 30000. There are fewer when no pair is left. */
  readonly vocabSize?: number;
  /** A pair must occur so often to become a token; default 0. */
  readonly minFrequency?: number;
  /** Characters that are tokens whether they occur or not; default: all bytes for splits on bytes, else none. */
  readonly initialAlphabet?: readonly string[];
  /** At most so many characters are tokens, the most frequent ones. */
  readonly limitAlphabet?: number;
  /** Tokens stay shorter than so many characters (bytes for splits on bytes); Hugging Face's rule, exclusive. */
  readonly maxTokenLength?: number;
  /**
   * Which of equally frequent pairs becomes a token: the one of the lower ids (the default; Hugging Face), or the one of
   * the greater strings (subword-nmt, Stanford's CS336).
   */
  readonly ties?: 'lower-ids' | 'greater-strings';
}

export const mergeOptionNames = [
  'vocabSize',
  'minFrequency',
  'initialAlphabet',
  'limitAlphabet',
  'maxTokenLength',
  'ties',
] as const;

/** What is the caller's to say. */
interface Setting extends MergeOptions {
  readonly byteLevel: boolean;
  readonly specialTokens: readonly string[];
  readonly prefix: string;
  readonly suffix: string;
}

/** Merges between two looks at the signal. */
const stepSize = 256;

/** @throws ArgumentError for options out of range. */
export function checkMergeOptions(name: string, options: MergeOptions): void {
  const least = { vocabSize: 1, minFrequency: 0, limitAlphabet: 0, maxTokenLength: 1 } as const;
  for (const option of Object.keys(least) as (keyof typeof least)[]) {
    const value = options[option];
    if (value !== undefined) checkWhole(name, option, value, least[option]);
  }
  for (const character of options.initialAlphabet ?? []) {
    if (typeof character !== 'string' || Array.from(character).length !== 1) {
      throw new ArgumentError(
        `${name}: initialAlphabet must be single characters, got ${JSON.stringify(character)}`,
      );
    }
  }
  if (options.ties !== undefined && !['lower-ids', 'greater-strings'].includes(options.ties)) {
    throw new ArgumentError(
      `${name}: ties must be 'lower-ids' or 'greater-strings', got ${JSON.stringify(options.ties)}`,
    );
  }
}

/** The tokens in the order of their ids, and the merges in their order. */
export function learnMerges(
  counts: NativeHandle<'words'>,
  setting: Setting,
  characters: number,
  { onProgress, signal }: TokenizerTrainingControl,
): { tokens: string[]; merges: string[] } {
  const trainer = native.createBpeTrainer(
    counts,
    Float64Array.of(
      setting.vocabSize ?? 30000,
      setting.minFrequency ?? 0,
      setting.limitAlphabet ?? Number.MAX_SAFE_INTEGER,
      setting.maxTokenLength ?? Number.MAX_SAFE_INTEGER,
      Number(setting.byteLevel),
      Number(setting.ties === 'greater-strings'),
    ),
    setting.specialTokens.join('\0'),
    (setting.initialAlphabet ?? []).join(''),
    setting.prefix,
    setting.suffix,
  );
  let more = true;
  while (more) {
    signal?.throwIfAborted();
    more = native.stepBpeTrainer(trainer, stepSize);
    onProgress?.({ stage: 'learning', characters, tokens: native.bpeTrainerSize(trainer) });
  }
  const tokens = native.bpeTrainerTokens(trainer);
  const pairs = native.bpeTrainerMerges(trainer);
  const merges = Array.from(
    { length: pairs.length / 2 },
    (_, i) => `${tokens[pairs[2 * i]]} ${tokens[pairs[2 * i + 1]]}`,
  );
  // A pair can be merged twice, when two ways lead to the same token; the later rank holds, as in Hugging Face's library.
  const ranks = new Map(merges.map((merge, rank) => [merge, rank]));
  return { tokens, merges: merges.filter((merge, rank) => ranks.get(merge) === rank) };
}
