/**
 * The tokenizer in the metadata of a GGUF file (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): the keys
 * `tokenizer.ggml.*` for llama.cpp's vocabularies of the kinds gpt2 (byte-level BPE), llama (SentencePiece BPE), t5
 * (Unigram) and bert (WordPiece).
 */

import { TokenizerError } from '../../../lib/errors.js';
import { readTokenizerConfig, type SpecialTokenName, type TokenizerConfig } from '../config.js';
import { show } from '../fields.js';
import { BpeModel } from '../models/bpe.js';
import { Vocabulary } from '../models/model.js';
import { llama3Pattern, o200kPattern, qwen2Pattern } from '../patterns.js';
import type { PipelineParts } from '../pipeline.js';
import { partsFromPieces, type SentencePieceModel } from './sentencepiece.js';
import {
  bosEosTemplate,
  byteLevelPreTokenizer,
  readMerges,
  special,
  wordPieceParts,
} from './vocabulary-files.js';

const prefix = 'tokenizer.ggml.';

/** The roles of tokens by the keys that hold their ids (`seperator` is how the format spells it). */
const roles: Readonly<Record<SpecialTokenName, readonly string[]>> = {
  bos: ['bos_token_id'],
  eos: ['eos_token_id'],
  unk: ['unknown_token_id'],
  sep: ['seperator_token_id', 'separator_token_id'],
  pad: ['padding_token_id'],
  cls: ['cls_token_id'],
  mask: ['mask_token_id'],
};

/** How text is split, by the name that `tokenizer.ggml.pre` gives it: GPT-2's way (null), or a pattern. */
const splittings: Readonly<Record<string, string | null>> = {
  'gpt-2': null,
  'phi-2': null,
  mpt: null,
  olmo: null,
  jais: null,
  'gpt-4o': o200kPattern,
  llama4: o200kPattern,
  'llama-bpe': llama3Pattern,
  'llama-v3': llama3Pattern,
  llama3: llama3Pattern,
  'smaug-bpe': llama3Pattern,
  qwen2: qwen2Pattern,
  'deepseek-r1-qwen': qwen2Pattern,
  stablelm2: qwen2Pattern,
};

/** Digits one by one, then GPT-2's way. */
const singleDigits = ['smollm', 'starcoder', 'refact', 'command-r', 'codeshell'];

/** Kinds of tokens, numbered as in SentencePiece. */
const [control, userDefined] = [3, 4];

/** A GGUF file's tokenizer and what a `tokenizer_config.json` would say. */
export interface GgufTokenizer {
  readonly parts: PipelineParts;
  readonly config: TokenizerConfig;
}

/**
 * @param metadata The key/value pairs of the file; arrays may be plain or typed.
 * @throws TokenizerError where they describe no tokenizer, or one of a kind that is not known.
 */
export function partsFromGguf(metadata: ReadonlyMap<string, unknown>): GgufTokenizer {
  const reader = new Reader(metadata);
  const model = reader.text('model');
  const tokens = reader.texts('tokens');
  const config = readConfig(reader, tokens, model);
  switch (model) {
    case 'gpt2':
      return { parts: gpt2Parts(reader, tokens, config), config };
    case 'llama':
    case 't5':
      return { parts: partsFromPieces(piecesOf(reader, tokens, model), config), config };
    case 'bert': {
      const vocabulary = new Vocabulary();
      tokens.forEach((token, id) => vocabulary.add(wordPieceSpelling(token), id));
      return { parts: wordPieceParts(vocabulary, config), config };
    }
    default:
      throw new TokenizerError(`${prefix}model: a vocabulary of the kind ${show(model)} is not known`);
  }
}

function readConfig(reader: Reader, tokens: readonly string[], model: string): TokenizerConfig {
  const json: Record<string, unknown> = {};
  for (const [name, keys] of Object.entries(roles)) {
    const id = keys.map((key) => reader.number(key)).find((value) => value !== undefined);
    if (id !== undefined && tokens[id] !== undefined) json[`${name}_token`] = tokens[id];
  }
  const isLlama3 = (splittings[reader.optionalText('pre') ?? ''] ?? null) === llama3Pattern;
  json.add_bos_token = reader.flag('add_bos_token', model === 'llama' || isLlama3);
  json.add_eos_token = reader.flag('add_eos_token', model === 't5');
  const template = reader.value('tokenizer.chat_template');
  if (typeof template === 'string') json.chat_template = template;
  return readTokenizerConfig(json);
}

function gpt2Parts(reader: Reader, tokens: readonly string[], config: TokenizerConfig): PipelineParts {
  const vocabulary = new Vocabulary();
  tokens.forEach((token, id) => vocabulary.add(token, id));
  const types = reader.numbers('token_type');
  const pre = reader.optionalText('pre') ?? 'gpt-2';
  const digits = singleDigits.includes(pre);
  if (!digits && !Object.hasOwn(splittings, pre)) {
    const known = [...Object.keys(splittings), ...singleDigits].join(', ');
    throw new TokenizerError(`${prefix}pre: the splitting ${show(pre)} is not known; known are ${known}`);
  }
  const split = byteLevelPreTokenizer(digits ? null : splittings[pre]);
  const pattern = digits ? null : splittings[pre];
  return {
    model: new BpeModel(vocabulary, readMerges(reader.texts('merges').join('\n')), {
      byteLevel: true,
      ignoreMerges: pattern === llama3Pattern,
    }),
    addedTokens: tokens.flatMap((token, id) => {
      if (types?.[id] !== control && types?.[id] !== userDefined) return [];
      return [{ ...special(token, id), special: types[id] === control }];
    }),
    normalizer: pattern === qwen2Pattern ? { type: 'NFC' } : null,
    preTokenizer: digits
      ? { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, split] }
      : split,
    postProcessor: bosEosTemplate(vocabulary, config),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
  };
}

function piecesOf(reader: Reader, tokens: readonly string[], model: 'llama' | 't5'): SentencePieceModel {
  const scores = reader.numbers('scores');
  const types = reader.numbers('token_type');
  if (scores?.length !== tokens.length || (types !== undefined && types.length !== tokens.length)) {
    throw new TokenizerError(
      `${prefix}scores: there must be one for each of the ${tokens.length} tokens, got ${scores?.length ?? 0}`,
    );
  }
  return {
    pieces: tokens.map((piece, id) => ({ piece, score: scores[id], kind: types?.[id] ?? 1 })),
    modelType: model === 't5' ? 'unigram' : 'bpe',
    byteFallback: model === 'llama',
    charsmap: Uint8Array.from(reader.numbers('precompiled_charsmap') ?? []),
    addDummyPrefix: reader.flag('add_space_prefix', true),
    removeExtraWhitespaces: reader.flag('remove_extra_whitespaces', model === 't5'),
    escapeWhitespaces: true,
  };
}

/** llama.cpp writes words with ▁ before them and leaves `##` out; BERT has it the other way round. */
function wordPieceSpelling(token: string): string {
  if (token.startsWith('▁')) return token.slice(1);
  return /^\[.+\]$/.test(token) ? token : `##${token}`;
}

/** Typed access to the keys of a tokenizer. */
class Reader {
  constructor(private readonly metadata: ReadonlyMap<string, unknown>) {}

  value(key: string): unknown {
    return this.metadata.get(key);
  }

  text(name: string): string {
    const value = this.optionalText(name);
    return value ?? this.#fail(name, 'a text');
  }

  optionalText(name: string): string | undefined {
    const value = this.metadata.get(prefix + name);
    return value === undefined || typeof value === 'string' ? value : this.#fail(name, 'a text');
  }

  flag(name: string, otherwise: boolean): boolean {
    const value = this.metadata.get(prefix + name) ?? otherwise;
    return typeof value === 'boolean' ? value : this.#fail(name, 'true or false');
  }

  number(name: string): number | undefined {
    const value = this.metadata.get(prefix + name);
    if (value === undefined) return undefined;
    const id = Number(value);
    return Number.isSafeInteger(id) && id >= 0 ? id : this.#fail(name, 'an id');
  }

  texts(name: string): readonly string[] {
    const value = this.metadata.get(prefix + name);
    if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return value;
    return this.#fail(name, 'a list of texts');
  }

  numbers(name: string): ArrayLike<number> | undefined {
    const value = this.metadata.get(prefix + name);
    if (value === undefined) return undefined;
    if (Array.isArray(value) && value.every((each) => typeof each === 'number')) return value;
    if (ArrayBuffer.isView(value) && 'length' in value) return value as unknown as ArrayLike<number>;
    return this.#fail(name, 'a list of numbers');
  }

  #fail(name: string, wanted: string): never {
    throw new TokenizerError(
      `${prefix}${name}: must be ${wanted}, got ${show(this.metadata.get(prefix + name))}`,
    );
  }
}
