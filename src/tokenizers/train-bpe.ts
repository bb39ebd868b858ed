/**
 * Training of BPE: byte-level as GPT-2's, or on characters with a mark at the ends of words (Sennrich et al. 2016). The
 * result is that of Hugging Face's `BpeTrainer`, or, with `ties: 'greater-strings'`, that of subword-nmt and of
 * Stanford's CS336. The same texts and options always give the same tokenizer.
 */

import { ArgumentError, checkOptions } from '../../lib/errors.js';
import { native } from '../../lib/native.js';
import { checkMergeOptions, learnMerges, mergeOptionNames, type MergeOptions } from './bpe-learning.js';
import { byteCharacters } from './bytes.js';
import type { PretrainedTokenizer } from './pretrained.js';
import { trainedTokenizer } from './trained.js';
import { splitNumber, splitPattern, type NativeSplit } from './native-bpe.js';
import {
  addedTokens,
  checkSpecialTokens,
  eachText,
  type TokenizerTrainingControl,
  type TokenizerTrainingSource,
} from './training-texts.js';

/** Options of {@link trainBpe}. */
export interface TrainBpeOptions extends MergeOptions, TokenizerTrainingControl {
  /** Tokens that no text is cut into, as `<|endoftext|>`; they get the first ids. */
  readonly specialTokens?: readonly string[];
  /**
   * How texts are cut into words, which no token reaches across: as GPT-2 does (the default), Llama 3, Qwen2 or GPT-4
   * (`cl100k`), or at white space, which is dropped (`spaces`). All but the last work on bytes and lose nothing.
   */
  readonly split?: NativeSplit | 'spaces';
  /** With split `spaces`: ends the last token of a word, as `</w>`. */
  readonly endOfWordSuffix?: string;
  /** With split `spaces`: the special token for characters that are not in the alphabet. */
  readonly unkToken?: string;
}

const optionNames = [
  ...mergeOptionNames,
  ...['specialTokens', 'split', 'endOfWordSuffix', 'unkToken', 'onProgress', 'signal'],
];

const name = 'trainBpe';

/**
 * Trains a BPE tokenizer.
 *
 * @param source Strings, each a text of its own, or files, which are read piece by piece.
 * @throws ArgumentError for options that are unknown or out of range, and for texts that are empty; FileError for files
 * that cannot be read or are no UTF-8.
 * @example
 * const tokenizer = await trainBpe({ files: 'corpus/*.txt' }, { vocabSize: 8000 });
 * tokenizer.save('tokenizer.json');
 */
export async function trainBpe(
  source: TokenizerTrainingSource,
  options: TrainBpeOptions = {},
): Promise<PretrainedTokenizer> {
  checkOptions(name, options, optionNames);
  const { split = 'gpt2', specialTokens = [], endOfWordSuffix = '', unkToken } = options;
  check(options, split, specialTokens);
  const counts = native.createWordCounts(splitNumber(split));
  const normalize = split === 'qwen2' ? (text: string) => text.normalize('NFC') : (text: string) => text;
  const use = (text: string): void => native.countText(counts, normalize(text));
  const characters = await eachText(name, source, specialTokens, use, options);
  const byteLevel = split !== 'spaces';
  const { initialAlphabet = byteLevel ? byteCharacters : [] } = options;
  const trained = learnMerges(
    counts,
    { ...options, byteLevel, specialTokens, initialAlphabet, prefix: '', suffix: endOfWordSuffix },
    characters,
    options,
  );
  return trainedTokenizer({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(specialTokens),
    normalizer: split === 'qwen2' ? { type: 'NFC' } : null,
    pre_tokenizer: preTokenizer(split),
    post_processor: null,
    decoder: byteLevel ? byteLevelStep(true) : wordDecoder(endOfWordSuffix),
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: unkToken ?? null,
      continuing_subword_prefix: null,
      end_of_word_suffix: endOfWordSuffix === '' ? null : endOfWordSuffix,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(trained.tokens.map((token, id) => [token, id])),
      merges: trained.merges,
    },
  });
}

function check(options: TrainBpeOptions, split: string, specialTokens: readonly string[]): void {
  if (split !== 'spaces' && splitPattern(split) === undefined) {
    throw new ArgumentError(
      `${name}: split must be gpt2, llama3, qwen2, cl100k or spaces, got ${JSON.stringify(split)}`,
    );
  }
  for (const option of ['endOfWordSuffix', 'unkToken'] as const) {
    if (options[option] !== undefined && split !== 'spaces') {
      throw new ArgumentError(
        `${name}: ${option} is for split 'spaces'; split '${split}' works on bytes, which lack nothing`,
      );
    }
  }
  if (options.unkToken !== undefined && !specialTokens.includes(options.unkToken)) {
    throw new ArgumentError(`${name}: unkToken must be one of specialTokens, got '${options.unkToken}'`);
  }
  checkMergeOptions(name, options);
  checkSpecialTokens(name, specialTokens);
}

const byteLevelStep = (useRegex: boolean): object => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
});

function preTokenizer(split: NativeSplit | 'spaces'): object {
  if (split === 'spaces') return { type: 'WhitespaceSplit' };
  if (split === 'gpt2') return byteLevelStep(true);
  const pattern = {
    type: 'Split',
    pattern: { Regex: splitPattern(split) },
    behavior: 'Isolated',
    invert: false,
  };
  return { type: 'Sequence', pretokenizers: [pattern, byteLevelStep(false)] };
}

/** Without a suffix nothing says where words end: the tokens are joined with spaces. */
const wordDecoder = (suffix: string): object | null =>
  suffix === '' ? null : { type: 'BPEDecoder', suffix };
