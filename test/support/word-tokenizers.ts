/** Small tokenizers of BERT's and T5's kinds, for tests: made of a few words, without training. */

import { PretrainedTokenizer } from '../../src/tokenizers/pretrained.js';
import { readTokenizerConfig } from '../../src/tokenizers/config.js';
import { partsFromJson } from '../../src/tokenizers/sources/tokenizer-json.js';

const added = (tokens: readonly string[]): object[] =>
  tokens.map((content, id) => ({
    ...{ id, content, single_word: false, lstrip: false, rstrip: false },
    ...{ normalized: false, special: true },
  }));

/** [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4, then the pieces; words are split at spaces. */
export function wordPieces(pieces: readonly string[]): PretrainedTokenizer {
  const special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
  const token = (id: string, type: number): object => ({ SpecialToken: { id, type_id: type } });
  const text = (id: string, type: number): object => ({ Sequence: { id, type_id: type } });
  const single = [token('[CLS]', 0), text('A', 0), token('[SEP]', 0)];
  const entry = (id: string): object => ({ id, ids: [special.indexOf(id)], tokens: [id] });
  const parts = partsFromJson({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added(special),
    normalizer: null,
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single,
      pair: [...single, text('B', 1), token('[SEP]', 1)],
      special_tokens: { '[CLS]': entry('[CLS]'), '[SEP]': entry('[SEP]') },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries([...special, ...pieces].map((piece, id) => [piece, id])),
    },
  });
  return new PretrainedTokenizer(parts, readTokenizerConfig({}, {}, null));
}

/** <pad> 0, </s> 1, <unk> 2, then the words, then the sentinels, <extra_id_0> last; `</s>` ends every text. */
export function wordsWithSentinels(words: readonly string[], sentinels: number): PretrainedTokenizer {
  const special = ['<pad>', '</s>', '<unk>'];
  const extra = Array.from({ length: sentinels }, (_, i) => `<extra_id_${sentinels - 1 - i}>`);
  const all = [...special, ...words.map((word) => `▁${word}`), ...extra];
  const specialEntry = (content: string): object => ({
    ...{ id: all.indexOf(content), content, single_word: false, lstrip: false, rstrip: false },
    ...{ normalized: false, special: true },
  });
  const end = { SpecialToken: { id: '</s>', type_id: 0 } };
  const parts = partsFromJson({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [...special, ...extra].map(specialEntry),
    normalizer: null,
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ Sequence: { id: 'A', type_id: 0 } }, end],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, end, { Sequence: { id: 'B', type_id: 0 } }, end],
      special_tokens: { '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] } },
    },
    decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    model: { type: 'Unigram', unk_id: 2, byte_fallback: false, vocab: all.map((piece, i) => [piece, -i]) },
  });
  return new PretrainedTokenizer(parts, readTokenizerConfig({}, {}, null));
}
