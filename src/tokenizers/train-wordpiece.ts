/**
 * Training of WordPiece as Hugging Face's `WordPieceTrainer` does it: pairs are merged as in BPE, pieces that go on in a
 * word begin with `##`, and only the vocabulary is kept. Texts are normalized and split as BERT does.
 */

import { ArgumentError, checkOptions } from '../../lib/errors.js';
import { checkMergeOptions, learnMerges, mergeOptionNames, type MergeOptions } from './bpe-learning.js';
import { countWords } from './count-words.js';
import type { PretrainedTokenizer } from './pretrained.js';
import { trainedTokenizer } from './trained.js';
import {
  addedTokens,
  checkSpecialTokens,
  type TokenizerTrainingControl,
  type TokenizerTrainingSource,
} from './training-texts.js';

/** Options of {@link trainWordPiece}. */
export interface TrainWordPieceOptions extends MergeOptions, TokenizerTrainingControl {
  /** The first ids; default BERT's: [PAD], [UNK], [CLS], [SEP], [MASK]. */
  readonly specialTokens?: readonly string[];
  /** The token of words that the vocabulary cannot make, one of the special tokens; default `[UNK]`. */
  readonly unkToken?: string;
  /** Lower case without accents, as bert-base-uncased; default true. */
  readonly lowercase?: boolean;
}

const optionNames = [...mergeOptionNames, 'specialTokens', 'unkToken', 'lowercase', 'onProgress', 'signal'];

const name = 'trainWordPiece';
const prefix = '##';
const bertTokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];

/**
 * Trains a WordPiece tokenizer. With `[CLS]` and `[SEP]` among the special tokens, texts and pairs of texts get them as
 * BERT has them.
 *
 * @throws ArgumentError for options that are unknown or out of range, and for texts that are empty.
 * @example
 * const tokenizer = await trainWordPiece({ files: 'corpus/*.txt' }, { vocabSize: 8000 });
 */
export async function trainWordPiece(
  source: TokenizerTrainingSource,
  options: TrainWordPieceOptions = {},
): Promise<PretrainedTokenizer> {
  checkOptions(name, options, optionNames);
  const { specialTokens = bertTokens, unkToken = '[UNK]', lowercase = true } = options;
  checkMergeOptions(name, options);
  checkSpecialTokens(name, specialTokens);
  if (!specialTokens.includes(unkToken)) {
    throw new ArgumentError(`${name}: unkToken must be one of specialTokens, got '${unkToken}'`);
  }
  if (typeof lowercase !== 'boolean') {
    throw new ArgumentError(`${name}: lowercase must be true or false, got ${String(lowercase)}`);
  }
  const normalizer = {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase,
  };
  const preTokenizer = { type: 'BertPreTokenizer' };
  const { counts, characters } = await countWords(
    name,
    source,
    specialTokens,
    { normalizer, preTokenizer },
    options,
  );
  const { tokens } = learnMerges(
    counts,
    { ...options, byteLevel: false, specialTokens, prefix, suffix: '' },
    characters,
    options,
  );
  return trainedTokenizer({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(specialTokens),
    normalizer,
    pre_tokenizer: preTokenizer,
    post_processor: template(specialTokens),
    decoder: { type: 'WordPiece', prefix, cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: unkToken,
      continuing_subword_prefix: prefix,
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
    },
  });
}

/** BERT's template: [CLS] a [SEP], and [CLS] a [SEP] b [SEP]. */
function template(specialTokens: readonly string[]): object | null {
  const [cls, sep] = ['[CLS]', '[SEP]'];
  if (!specialTokens.includes(cls) || !specialTokens.includes(sep)) return null;
  const special = (id: string, type: number): object => ({ SpecialToken: { id, type_id: type } });
  const text = (id: string, type: number): object => ({ Sequence: { id, type_id: type } });
  const single = [special(cls, 0), text('A', 0), special(sep, 0)];
  return {
    type: 'TemplateProcessing',
    single,
    pair: [...single, text('B', 1), special(sep, 1)],
    special_tokens: Object.fromEntries(
      [cls, sep].map((token) => [token, { id: token, ids: [specialTokens.indexOf(token)], tokens: [token] }]),
    ),
  };
}
