/**
 * Training of the unigram language model (Kudo 2018, https://arxiv.org/abs/1804.10959), as SentencePiece and T5 have it:
 * frequent substrings are thinned out as long as the likelihood of the texts allows. The work is native
 * (native/tokenizers/unigram_trainer.h).
 */

import { ArgumentError, checkOptions } from '../../lib/errors.js';
import { native } from '../../lib/native.js';
import { countWords } from './count-words.js';
import type { PretrainedTokenizer } from './pretrained.js';
import { trainedTokenizer } from './trained.js';
import {
  addedTokens,
  checkSpecialTokens,
  checkWhole,
  type TokenizerTrainingControl,
  type TokenizerTrainingSource,
} from './training-texts.js';

/** Options of {@link trainUnigram}. */
export interface TrainUnigramOptions extends TokenizerTrainingControl {
  /** Tokens in all, special ones among them; default 8000. There are fewer when the texts have too few substrings. */
  readonly vocabSize?: number;
  /** The first ids; default `<unk>`. */
  readonly specialTokens?: readonly string[];
  /** The token of characters that the texts did not have, one of the special tokens; default `<unk>`. */
  readonly unkToken?: string;
  /** One of the special tokens that is put after every text, as T5 has `</s>`; none by default. */
  readonly endToken?: string;
  /** Most characters of a token; default 16. */
  readonly maxPieceLength?: number;
  /** Substrings to begin with, the most frequent ones by their length times their count; default a million. */
  readonly seedSize?: number;
  /** The part of the tokens that each round keeps, between 0 and 1; default 0.75. */
  readonly shrinkingFactor?: number;
}

const optionNames = [
  ...['vocabSize', 'specialTokens', 'unkToken', 'endToken', 'maxPieceLength', 'seedSize', 'shrinkingFactor'],
  ...['onProgress', 'signal'],
];

const name = 'trainUnigram';
/** Fittings of the probabilities in each round. */
const subIterations = 2;

/** What Hugging Face's `SentencePieceUnigramTokenizer` does to texts; SentencePiece's own rules need its tables. */
const normalizer = {
  type: 'Sequence',
  normalizers: [
    { type: 'Nmt' },
    { type: 'NFKC' },
    { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' },
  ],
};
const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true };

/**
 * Trains a unigram tokenizer.
 *
 * @throws ArgumentError for options that are unknown or out of range, for texts that are empty, and for a vocabulary
 * that has no room for the characters of the texts.
 * @example
 * const tokenizer = await trainUnigram({ files: 'corpus.txt' }, { vocabSize: 4000 });
 */
export async function trainUnigram(
  source: TokenizerTrainingSource,
  options: TrainUnigramOptions = {},
): Promise<PretrainedTokenizer> {
  checkOptions(name, options, optionNames);
  const { vocabSize = 8000, specialTokens = ['<unk>'], unkToken = '<unk>' } = options;
  const { endToken, maxPieceLength = 16, seedSize = 1_000_000, shrinkingFactor = 0.75 } = options;
  check({ vocabSize, maxPieceLength, seedSize }, shrinkingFactor, specialTokens, unkToken);
  if (endToken !== undefined && !specialTokens.includes(endToken)) {
    throw new ArgumentError(`${name}: endToken must be one of specialTokens, got '${endToken}'`);
  }
  const steps = { normalizer, preTokenizer: metaspace };
  const { counts, characters } = await countWords(name, source, specialTokens, steps, options);
  const trainer = native.createUnigramTrainer(
    counts,
    Float64Array.of(
      vocabSize - specialTokens.length,
      maxPieceLength,
      seedSize,
      shrinkingFactor,
      subIterations,
    ),
  );
  for (let more = true; more;) {
    options.signal?.throwIfAborted();
    more = native.stepUnigramTrainer(trainer);
    const tokens = native.unigramTrainerSize(trainer) + specialTokens.length;
    options.onProgress?.({ stage: 'learning', characters, tokens });
  }
  const pieces = native.unigramTrainerPieces(trainer);
  if (pieces.length + specialTokens.length > vocabSize) {
    throw new ArgumentError(
      `${name}: vocabSize ${vocabSize} has no room for the ${pieces.length} characters of the texts`,
    );
  }
  const scores = native.unigramTrainerScores(trainer);
  const special = specialTokens.map((token): [string, number] => [token, 0]);
  return trainedTokenizer({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(specialTokens),
    normalizer,
    pre_tokenizer: metaspace,
    post_processor: endToken === undefined ? null : ending(endToken, specialTokens.indexOf(endToken)),
    decoder: metaspace,
    model: {
      type: 'Unigram',
      unk_id: specialTokens.indexOf(unkToken),
      vocab: [...special, ...pieces.map((piece, i): [string, number] => [piece, scores[i]])],
      byte_fallback: false,
    },
  });
}

/** The template of T5: a </s>, and a </s> b </s>. */
function ending(token: string, id: number): object {
  const end = { SpecialToken: { id: token, type_id: 0 } };
  const text = (name: string): object => ({ Sequence: { id: name, type_id: 0 } });
  return {
    type: 'TemplateProcessing',
    single: [text('A'), end],
    pair: [text('A'), end, text('B'), end],
    special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
  };
}

/**
 * The special tokens of a T5: padding, end and unknown, and the sentinels of span corruption, the first of which has the
 * highest id.
 */
export const t5SpecialTokens = (sentinels = 100): string[] => [
  ...['<pad>', '</s>', '<unk>'],
  ...Array.from({ length: sentinels }, (_, i) => `<extra_id_${sentinels - 1 - i}>`),
];

function check(
  numbers: Readonly<Record<'vocabSize' | 'maxPieceLength' | 'seedSize', number>>,
  shrinkingFactor: number,
  specialTokens: readonly string[],
  unkToken: string,
): void {
  checkSpecialTokens(name, specialTokens);
  if (!specialTokens.includes(unkToken)) {
    throw new ArgumentError(`${name}: unkToken must be one of specialTokens, got '${unkToken}'`);
  }
  checkWhole(name, 'vocabSize', numbers.vocabSize, specialTokens.length + 1);
  checkWhole(name, 'maxPieceLength', numbers.maxPieceLength, 1);
  checkWhole(name, 'seedSize', numbers.seedSize, 1);
  if (!(shrinkingFactor > 0 && shrinkingFactor < 1)) {
    throw new ArgumentError(`${name}: shrinkingFactor must be between 0 and 1, got ${shrinkingFactor}`);
  }
}
