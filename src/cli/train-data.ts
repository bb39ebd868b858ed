/**
 * What `tsgpt train --data` names, and its tokenizer: texts, which are read whole and tokenized, or token files, which are
 * read as they are needed.
 */

import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

import { FileError } from '../../lib/index.js';
import {
  isTokenFile,
  readTexts,
  splitTokenFile,
  splitTokens,
  TokenFile,
  TokenFileSource,
  TokenFileWindows,
  type Batch,
  type TokenRange,
} from '../data/index.js';
import type { DecoderModel } from '../models/index.js';
import {
  AutoTokenizer,
  CharTokenizer,
  tokenizerHash,
  trainBpe,
  unpackTokenizer,
  type Tokenizer,
} from '../tokenizers/index.js';
import { nextToken, type SourceTrainerOptions, type TrainerOptions } from '../training/index.js';
import { UsageError } from './args.js';
import { formatCount } from './format.js';
import type { RunValues } from './run-flags.js';
import { encodeShown, showTraining } from './text-progress.js';

/** What a run learns from. */
export interface TrainData {
  readonly tokenizer: Tokenizer;
  /** Tokens to learn from in one pass, and to validate on. */
  readonly tokens: { readonly train: number; readonly validation: number };
  /** In a line: where it is from and how much it is. */
  readonly summary: string;
  /** The options of the trainer that say what it learns. */
  options(model: DecoderModel): TokenOptions | SourceOptions;
}

type TokenOptions = Pick<TrainerOptions, 'train' | 'validation' | 'batchSize' | 'sequenceLength' | 'seed'>;
type SourceOptions = Pick<SourceTrainerOptions<Batch>, 'train' | 'validation' | 'objective'>;

/** A path, and behind a colon its weight. */
interface Part {
  readonly path: string;
  readonly weight?: number;
}

/** Reads or opens the data. */
export async function openData(values: RunValues): Promise<TrainData> {
  const parts = tokenFilesOf(values.data);
  if (parts !== null) return openTokenFiles(values, parts);
  for (const name of ['documents', 'val-data', 'val-tokens'] as const) {
    if (values[name] !== undefined && values[name] !== false) {
      throw new UsageError(`--${name} is for token files; make one with tsgpt tokenize`);
    }
  }
  const { text, files } = await readTexts(values.data);
  const tokenizer = await chooseTokenizer(values, text);
  const { train, validation } = splitTokens(await encodeShown(tokenizer, text), values['val-split']);
  const source = files.length === 1 ? files[0] : `${files.length} files`;
  return {
    tokenizer,
    tokens: { train: train.length, validation: validation.length },
    summary: `text: ${source}, ${formatCount(text.length)} characters, ${countsOf(tokenizer, train.length, validation.length)}`,
    options: () => ({
      train,
      validation,
      batchSize: values.batch,
      sequenceLength: values.seq,
      seed: values.seed,
    }),
  };
}

/** The paths of `--data` made absolute, as the run may be resumed from another folder. */
export function absoluteData(data: string): string {
  if (data === '-') return data;
  const parts = tokenFilesOf(data);
  if (parts === null) return resolve(data);
  return parts
    .map(({ path, weight }) => resolve(path) + (weight === undefined ? '' : `:${weight}`))
    .join(',');
}

const countsOf = (tokenizer: Tokenizer, train: number, validation: number): string =>
  `vocabulary ${tokenizer.vocabSize}; ${formatCount(train)} tokens to train on, ${formatCount(validation)} to validate`;

async function chooseTokenizer(values: RunValues, text: string): Promise<Tokenizer> {
  const path = values.resume ? values.model : (values.tokenizer ?? values.from);
  if (path !== undefined) return AutoTokenizer.fromPretrained(path);
  if (values['tokenizer-type'] === 'char') return CharTokenizer.fromText(text);
  const vocabSize = values['vocab-size'] ?? 1000;
  return showTraining((onProgress) =>
    trainBpe([text], { vocabSize, specialTokens: ['<|endoftext|>'], onProgress }),
  );
}

/** Token files with commas between them, each with its weight where it has one; null where the data are texts. */
function tokenFilesOf(data: string): Part[] | null {
  if (existsSync(data)) return isTokenFile(data) ? [{ path: data }] : null;
  const parts = data.split(',').map((part): Part => {
    const [, path, weight] = /^(.+):(\d*\.?\d+)$/.exec(part) ?? [];
    return path === undefined || existsSync(part) ? { path: part } : { path, weight: Number(weight) };
  });
  const texts = parts.filter(({ path }) => !isTokenFile(path));
  if (texts.length === parts.length) return null;
  if (texts.length === 0) return parts;
  throw new UsageError(
    `--data ${data}: ${texts[0].path} is no token file, the others are; make one of it with tsgpt tokenize`,
  );
}

function openTokenFiles(values: RunValues, parts: readonly Part[]): TrainData {
  if (values.tokenizer === undefined && values['tokenizer-type'] !== 'char') {
    throw new UsageError('--tokenizer-type is for texts; token files have their tokenizer');
  }
  const files = parts.map(({ path }) => new TokenFile(path));
  const tokenizer = tokenizerOf(values, files[0]);
  for (const file of files) checkTokenizer(values, tokenizer, file);
  const { batch, seq, seed, documents, 'val-split': fraction, 'val-data': valData } = values;
  const options = {
    ...{ batchSize: batch, sequenceLength: seq, seed, documents, vocabSize: tokenizer.vocabSize },
    ...(tokenizer.eosId === undefined ? {} : { eosId: tokenizer.eosId }),
  };
  const splits = files.map((file) =>
    splitTokenFile(
      file,
      valData === undefined ? fraction : 0,
      Math.floor((values['val-tokens'] ?? 2 ** 20) / files.length),
    ),
  );
  const ranges = splits.map(({ train }, i): TokenRange => ({ ...train, ...parts[i] }));
  const source = new TokenFileSource(ranges, options);
  const validation =
    valData === undefined
      ? splits.map((split) => split.validation)
      : [validationFile(values, tokenizer, valData)];
  const validated = validation.reduce((sum, { first = 0, end = 0 }) => sum + Math.max(0, end - first - 1), 0);
  const train = Math.round(source.length * batch) * seq;
  const names = parts
    .map(({ path, weight }) => path + (weight === undefined ? '' : ` (${weight})`))
    .join(', ');
  return {
    tokenizer,
    tokens: { train, validation: validated },
    summary: `tokens: ${names}, ${countsOf(tokenizer, train, validated)}`,
    options: (model) => ({
      train: source,
      objective: nextToken(model),
      validation: validated === 0 ? [] : new TokenFileWindows(validation, options),
    }),
  };
}

function validationFile(values: RunValues, tokenizer: Tokenizer, path: string): TokenRange {
  const file = new TokenFile(path);
  checkTokenizer(values, tokenizer, file);
  return splitTokenFile(file, 1 - 2 ** -52, values['val-tokens'] ?? 2 ** 20).validation;
}

function tokenizerOf(values: RunValues, file: TokenFile): Tokenizer {
  const path = values.resume ? values.model : (values.tokenizer ?? values.from);
  if (path !== undefined) return AutoTokenizer.fromPretrained(path);
  const packed = file.tokenizerJson();
  if (packed !== null) return unpackTokenizer(file.path, packed);
  throw new UsageError(
    `${file.path} does not bring its tokenizer along; say which it was made with (--tokenizer)`,
  );
}

function checkTokenizer(values: RunValues, tokenizer: Tokenizer, file: TokenFile): void {
  const { tokenizerHash: hash } = file.info;
  if (hash === null || hash === tokenizerHash(tokenizer)) return;
  const where = values.resume ? values.model : (values.tokenizer ?? 'the first file');
  throw new FileError(
    file.path,
    `was made with another tokenizer than that of ${where}; tokenize the texts with that one, or use the file's own`,
  );
}
