/** Vocabularies in files of their own: `vocab.json` with `merges.txt` (GPT-2, Qwen2) and `vocab.txt` (BERT). */

import { TokenizerError } from '../../../lib/errors.js';
import type { TokenizerConfig } from '../config.js';
import { Fields, show } from '../fields.js';
import { BpeModel, type Merge } from '../models/bpe.js';
import { Vocabulary } from '../models/model.js';
import { WordPieceModel } from '../models/wordpiece.js';
import { qwen2Pattern } from '../patterns.js';
import type { PipelineParts } from '../pipeline.js';

/**
 * Byte-level BPE of `vocab.json` and `merges.txt`.
 * @param merges The text of `merges.txt`.
 * @param config Its `tokenizer_class` says how text is split: Qwen2's way or GPT-2's.
 */
export function partsFromVocabAndMerges(
  vocab: unknown,
  merges: string,
  config: TokenizerConfig,
): PipelineParts {
  const vocabulary = new Vocabulary();
  for (const [token, id] of Fields.of('vocab', vocab).entries()) vocabulary.add(token, id);
  const isQwen = String(config.json.tokenizer_class).startsWith('Qwen2');
  const { eos, unk } = config.specialTokens;
  // Hugging Face's GPT-2 has one special token, whether the files name it or not.
  const ends = eos ?? (vocabulary.id('<|endoftext|>') === undefined ? undefined : '<|endoftext|>');
  return {
    model: new BpeModel(vocabulary, readMerges(merges), {
      byteLevel: true,
      unkToken: unk !== undefined && vocabulary.id(unk) !== undefined && !isQwen ? unk : null,
    }),
    addedTokens:
      ends === undefined || vocabulary.id(ends) === undefined ? [] : [special(ends, vocabulary.id(ends)!)],
    normalizer: isQwen ? { type: 'NFC' } : null,
    preTokenizer: byteLevelPreTokenizer(isQwen ? qwen2Pattern : null, config.addPrefixSpace),
    postProcessor: bosEosTemplate(vocabulary, config),
    decoder: byteLevelParts,
  };
}

const byteLevelParts = { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true };

/** Byte-level splitting by a pattern, or GPT-2's where there is none. */
export function byteLevelPreTokenizer(pattern: string | null, addPrefixSpace = false): object {
  const bytes = { ...byteLevelParts, add_prefix_space: addPrefixSpace, trim_offsets: false };
  if (pattern === null) return bytes;
  return {
    type: 'Sequence',
    pretokenizers: [
      { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false },
      { ...bytes, use_regex: false },
    ],
  };
}

/** Puts bos and eos around a text where the configuration asks for it. */
export function bosEosTemplate(
  vocabulary: { id: (token: string) => number | undefined },
  {
    specialTokens,
    addBosToken,
    addEosToken,
  }: Pick<TokenizerConfig, 'specialTokens' | 'addBosToken' | 'addEosToken'>,
): object | null {
  const token = (name: 'bos' | 'eos', wanted: boolean): string | null => {
    const content = specialTokens[name];
    return wanted && content !== undefined && vocabulary.id(content) !== undefined ? content : null;
  };
  const [bos, eos] = [token('bos', addBosToken), token('eos', addEosToken)];
  if (bos === null && eos === null) return null;
  const around = (id: 'A' | 'B', type: number): object[] => [
    ...(bos === null ? [] : [{ SpecialToken: { id: bos, type_id: type } }]),
    { Sequence: { id, type_id: type } },
    ...(eos === null ? [] : [{ SpecialToken: { id: eos, type_id: type } }]),
  ];
  const used = [bos, eos].filter((content) => content !== null);
  return {
    type: 'TemplateProcessing',
    single: around('A', 0),
    pair: [...around('A', 0), ...around('B', 1)],
    special_tokens: Object.fromEntries(
      used.map((content) => [content, { id: content, ids: [vocabulary.id(content)], tokens: [content] }]),
    ),
  };
}

/** A special token as `tokenizer.json` has them. */
export const special = (content: string, id: number): PipelineParts['addedTokens'][number] => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

/** The lines of `merges.txt`; the first may be a comment, later ones may begin with `#` like any merge. */
export function readMerges(text: string): Merge[] {
  const lines = text.split('\n');
  const merges: Merge[] = [];
  lines.forEach((line, at) => {
    const trimmed = line.endsWith('\r') ? line.slice(0, -1) : line;
    if (trimmed === '' || (at === 0 && trimmed.startsWith('#version'))) return;
    const parts = trimmed.split(' ');
    if (parts.length !== 2 || parts.includes('')) {
      throw new TokenizerError(`line ${at + 1} of the merges must be two tokens, got ${show(trimmed)}`);
    }
    merges.push([parts[0], parts[1]]);
  });
  return merges;
}

/** BERT's tokens with a role. */
const bertTokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];

/** WordPiece of a `vocab.txt`: a token a line, its id the number of the line. */
export function partsFromVocabTxt(text: string, config: TokenizerConfig): PipelineParts {
  const vocabulary = new Vocabulary();
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  lines.forEach((line, id) => vocabulary.add(line.endsWith('\r') ? line.slice(0, -1) : line, id));
  return wordPieceParts(vocabulary, config);
}

/** BERT's tokenizer over a vocabulary. */
export function wordPieceParts(vocabulary: Vocabulary, config: TokenizerConfig): PipelineParts {
  const unkToken = config.specialTokens.unk ?? '[UNK]';
  const [cls, sep] = [config.specialTokens.cls ?? '[CLS]', config.specialTokens.sep ?? '[SEP]'];
  const model = new WordPieceModel(vocabulary, { unkToken });
  const named = (token: string): [string, number] | null => {
    const id = vocabulary.id(token);
    return id === undefined ? null : [token, id];
  };
  const [first, last] = [named(cls), named(sep)];
  const { json } = config;
  return {
    model,
    addedTokens: bertTokens.flatMap((token) => {
      const id = vocabulary.id(token);
      return id === undefined ? [] : [special(token, id)];
    }),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: json.tokenize_chinese_chars ?? true,
      strip_accents: json.strip_accents ?? null,
      lowercase: config.lowerCase ?? looksLowerCase(vocabulary),
    },
    preTokenizer: { type: 'BertPreTokenizer' },
    postProcessor: first === null || last === null ? null : bertTemplate(first, last),
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  };
}

/** Whether no word of a vocabulary has a capital letter: where nobody says so, that tells the uncased models. */
function looksLowerCase(vocabulary: Vocabulary): boolean {
  for (const token of vocabulary.ids.keys()) {
    if (/^[A-Z]/.test(token)) return false;
  }
  return true;
}

function bertTemplate([cls, clsId]: [string, number], [sep, sepId]: [string, number]): object {
  const part = (id: string, type: number): object => ({ SpecialToken: { id, type_id: type } });
  const single = [part(cls, 0), { Sequence: { id: 'A', type_id: 0 } }, part(sep, 0)];
  return {
    type: 'TemplateProcessing',
    single,
    pair: [...single, { Sequence: { id: 'B', type_id: 1 } }, part(sep, 1)],
    special_tokens: {
      [cls]: { id: cls, ids: [clsId], tokens: [cls] },
      [sep]: { id: sep, ids: [sepId], tokens: [sep] },
    },
  };
}
