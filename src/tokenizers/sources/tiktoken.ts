/**
 * tiktoken's rank files (https://github.com/openai/tiktoken): a line for each token, its bytes as base64 and its rank,
 * which is also its id. How text is split and which special tokens there are is not in the file; the encodings that
 * OpenAI published are known by the number of their tokens.
 */

import { TokenizerError } from '../../../lib/errors.js';
import { tokenOfBytes } from '../bytes.js';
import { show } from '../fields.js';
import { BpeModel } from '../models/bpe.js';
import { Vocabulary } from '../models/model.js';
import { cl100kPattern, gpt2Pattern, llama3Pattern, o200kPattern } from '../patterns.js';
import type { PipelineParts } from '../pipeline.js';
import { mergesByScore } from './ranked-merges.js';
import { byteLevelPreTokenizer, special } from './vocabulary-files.js';

interface KnownEncoding {
  readonly name: string;
  /** Lines of the file. */
  readonly tokens: number;
  readonly pattern: string;
  readonly special: Readonly<Record<string, number>>;
}

/** Llama 3's 256 special tokens; those without a name are reserved. */
function llama3Special(): Record<string, number> {
  const first = 128000;
  const named = new Map([
    [0, '<|begin_of_text|>'],
    [1, '<|end_of_text|>'],
    [6, '<|start_header_id|>'],
    [7, '<|end_header_id|>'],
    [9, '<|eot_id|>'],
  ]);
  let reserved = 0;
  return Object.fromEntries(
    Array.from({ length: 256 }, (_, at) => [
      named.get(at) ?? `<|reserved_special_token_${reserved++}|>`,
      first + at,
    ]),
  );
}

const encodings: readonly KnownEncoding[] = [
  { name: 'gpt2', tokens: 50256, pattern: gpt2Pattern, special: { '<|endoftext|>': 50256 } },
  {
    name: 'cl100k_base',
    tokens: 100256,
    pattern: cl100kPattern,
    special: {
      '<|endoftext|>': 100257,
      '<|fim_prefix|>': 100258,
      '<|fim_middle|>': 100259,
      '<|fim_suffix|>': 100260,
      '<|endofprompt|>': 100276,
    },
  },
  {
    name: 'o200k_base',
    tokens: 199998,
    pattern: o200kPattern,
    special: { '<|endoftext|>': 199999, '<|endofprompt|>': 200018 },
  },
  { name: 'llama3', tokens: 128000, pattern: llama3Pattern, special: llama3Special() },
];

/** @throws TokenizerError for lines that are none of such a file, or a number of tokens that no known encoding has. */
export function partsFromTiktoken(text: string): PipelineParts {
  const vocabulary = new Vocabulary();
  text.split('\n').forEach((line, at) => {
    const trimmed = line.trimEnd();
    if (trimmed === '') return;
    const [, base64, rank] = /^([A-Za-z0-9+/]+={0,2}) (\d{1,8})$/.exec(trimmed) ?? [];
    if (rank === undefined) {
      throw new TokenizerError(`line ${at + 1} must be a token in base64 and its rank, got ${show(trimmed)}`);
    }
    vocabulary.add(tokenOfBytes(Buffer.from(base64, 'base64')), Number(rank));
  });
  const count = vocabulary.ids.size;
  const encoding = encodings.find(({ tokens }) => tokens === count);
  if (encoding === undefined) {
    const known = encodings.map(({ name, tokens }) => `${name} (${tokens})`).join(', ');
    throw new TokenizerError(
      `has ${count} tokens, and a rank file does not say how text is split; known are ${known}`,
    );
  }
  const tokens = Array.from(vocabulary.entries(), ([token, rank]) => ({ token, score: -rank, used: true }));
  return {
    model: new BpeModel(vocabulary, mergesByScore(tokens, vocabulary), {
      byteLevel: true,
      // tiktoken looks a whole piece up before it merges.
      ignoreMerges: true,
      rankByToken: true,
    }),
    addedTokens: Object.entries(encoding.special).map(([content, id]) => special(content, id)),
    normalizer: null,
    preTokenizer: byteLevelPreTokenizer(encoding.name === 'gpt2' ? null : encoding.pattern),
    postProcessor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
  };
}
