/** `tsgpt tokenizer train|encode|decode|info`: tokenizers made, used and looked into. */

import { mkdirSync } from 'node:fs';
import { dirname, extname } from 'node:path';

import { fileError } from '../../lib/formats/system-error.js';
import { readTexts } from '../data/index.js';
import {
  AutoTokenizer,
  CharTokenizer,
  PretrainedTokenizer,
  trainBpe,
  trainUnigram,
  trainWordPiece,
  type Tokenizer,
  type TrainBpeOptions,
  type TokenizerTrainingProgress,
} from '../tokenizers/index.js';
import { UsageError, type FlagValues, type ParsedFlags } from './args.js';
import { formatCount, formatDuration } from './format.js';
import { showTraining } from './text-progress.js';
import type {
  tokenizerDecodeFlags,
  tokenizerEncodeFlags,
  tokenizerInfoFlags,
  tokenizerTrainFlags,
} from './tokenizer-flags.js';

type TrainValues = FlagValues<typeof tokenizerTrainFlags>;

const print = (line: string): unknown => process.stdout.write(`${line}\n`);

/** The flags that only some types of tokenizers have. */
const typesOf: Readonly<Record<string, readonly string[]>> = {
  'vocab-size': ['bpe', 'wordpiece', 'unigram'],
  'special-tokens': ['bpe', 'wordpiece', 'unigram'],
  'min-frequency': ['bpe', 'wordpiece'],
  split: ['bpe'],
  cased: ['wordpiece'],
};

/** Runs `tsgpt tokenizer train` and answers its exit code. */
export async function tokenizerTrain({
  values,
  given,
}: ParsedFlags<typeof tokenizerTrainFlags>): Promise<number> {
  for (const [flag, types] of Object.entries(typesOf)) {
    if (given.has(flag) && !types.includes(values.type)) {
      throw new UsageError(`--${flag} is for ${types.join(' and ')}, not for --type ${values.type}`);
    }
  }
  const start = performance.now();
  const { tokenizer, characters } = await trainTokenizer(values);
  const path = save(tokenizer, values.out);
  const seconds = (performance.now() - start) / 1000;
  process.stderr.write(
    `${values.type}, ${formatCount(tokenizer.vocabSize)} tokens from ${formatCount(characters)} characters ` +
      `in ${formatDuration(seconds)}; saved in ${path}\n`,
  );
  if (values.json) {
    print(JSON.stringify({ type: values.type, vocab_size: tokenizer.vocabSize, characters, seconds, path }));
  }
  return 0;
}

/** The tokenizer, and the characters of the texts that it was made of. */
async function trainTokenizer(values: TrainValues): Promise<{ tokenizer: Tokenizer; characters: number }> {
  if (values.type === 'char') {
    const { text } = await readTexts(values.data);
    return { tokenizer: CharTokenizer.fromText(text), characters: text.length };
  }
  const source = { files: values.data };
  const list = values['special-tokens']?.split(',').filter((token) => token !== '');
  let characters = 0;
  const tokenizer = await showTraining((show) => {
    const common = {
      vocabSize: values['vocab-size'] ?? 8000,
      ...(list === undefined ? {} : { specialTokens: list }),
      onProgress: (state: TokenizerTrainingProgress) => {
        ({ characters } = state);
        show(state);
      },
    };
    const minFrequency = values['min-frequency'] ?? 0;
    if (values.type === 'wordpiece')
      return trainWordPiece(source, { ...common, minFrequency, lowercase: !values.cased });
    if (values.type === 'unigram') return trainUnigram(source, common);
    const split = (values.split ?? 'gpt2') as TrainBpeOptions['split'];
    return trainBpe(source, { specialTokens: ['<|endoftext|>'], ...common, minFrequency, split });
  });
  return { tokenizer, characters };
}

/** Writes the tokenizer into a folder, which is made if need be, or to a .json file. */
function save(tokenizer: Tokenizer, out: string): string {
  const isFile = extname(out) === '.json';
  try {
    mkdirSync(isFile ? dirname(out) : out, { recursive: true });
  } catch (error) {
    throw fileError(out, 'cannot be written', error);
  }
  tokenizer.save(out);
  return out;
}

/** Runs `tsgpt tokenizer encode` and answers its exit code. */
export async function tokenizerEncode(values: FlagValues<typeof tokenizerEncodeFlags>): Promise<number> {
  if (values.text !== undefined && values.data !== undefined) {
    throw new UsageError('--text and --data exclude each other');
  }
  if (values.tokens && values.json) throw new UsageError('--tokens and --json exclude each other');
  const tokenizer = AutoTokenizer.fromPretrained(values.tokenizer);
  const text = values.text ?? (await readTexts(values.data ?? '-')).text;
  const addSpecialTokens = values['add-special-tokens'];
  if (!values.tokens && !values.json) {
    print(tokenizer.encode(text, { addSpecialTokens }).join(' '));
    return 0;
  }
  const { ids, tokens, offsets } = describe(tokenizer, text, addSpecialTokens);
  if (values.json) print(JSON.stringify({ ids: Array.from(ids), tokens, offsets }));
  else {
    const lines = tokens.map(
      (token, at) => `${ids[at]}\t${JSON.stringify(token)}\t${offsets[at].join('-')}\n`,
    );
    process.stdout.write(lines.join(''));
  }
  return 0;
}

function describe(tokenizer: Tokenizer, text: string, addSpecialTokens: boolean) {
  if (tokenizer instanceof PretrainedTokenizer) return tokenizer.encodePlus(text, { addSpecialTokens });
  const ids = tokenizer.encode(text);
  const tokens = Array.from(ids, (id) => tokenizer.decode([id]));
  let at = 0;
  const offsets = Array.from(text, (character) => [at, (at += character.length)]);
  return { ids, tokens, offsets };
}

/** Runs `tsgpt tokenizer decode` and answers its exit code. */
export async function tokenizerDecode(values: FlagValues<typeof tokenizerDecodeFlags>): Promise<number> {
  const tokenizer = AutoTokenizer.fromPretrained(values.tokenizer);
  const list = values.ids ?? (await readTexts('-')).text;
  const words = list.split(/[\s,]+/).filter((word) => word !== '');
  const wrong = words.find((word) => !/^\d+$/.test(word));
  if (wrong !== undefined) {
    throw new UsageError(`ids must be whole numbers with spaces or commas between them, got '${wrong}'`);
  }
  const text = tokenizer.decode(words.map(Number), { skipSpecialTokens: values['skip-special-tokens'] });
  print(values.json ? JSON.stringify({ text }) : text);
  return 0;
}

/** Runs `tsgpt tokenizer info` and answers its exit code. */
export function tokenizerInfo(values: FlagValues<typeof tokenizerInfoFlags>): number {
  const tokenizer = AutoTokenizer.fromPretrained(values.tokenizer);
  const json = tokenizer.toJSON() as Record<string, { type?: string } | null>;
  const typeOf = (part: string): string | null => json[part]?.type ?? null;
  const report = {
    type: tokenizer.type,
    vocab_size: tokenizer.vocabSize,
    special_tokens: specialTokens(tokenizer),
    added_tokens: tokenizer instanceof PretrainedTokenizer ? tokenizer.addedTokens.length : 0,
    normalizer: typeOf('normalizer'),
    pre_tokenizer: typeOf('pre_tokenizer'),
    post_processor: typeOf('post_processor'),
    decoder: typeOf('decoder'),
  };
  if (values.json) {
    print(JSON.stringify(report));
    return 0;
  }
  const special = Object.entries(report.special_tokens).map(([role, token]) => `${role} ${token}`);
  const rows = { ...report, special_tokens: special.join(', ') || null };
  for (const [name, value] of Object.entries(rows)) {
    print(`${name.replaceAll('_', ' ').padEnd(16)} ${value ?? 'none'}`);
  }
  return 0;
}

const specialTokens = (tokenizer: Tokenizer): Readonly<Record<string, string>> =>
  tokenizer instanceof PretrainedTokenizer ? tokenizer.specialTokens : {};
