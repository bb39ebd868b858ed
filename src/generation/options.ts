/**
 * The options of `generate`: what there is, what each must be, and where it comes from when it is not given. An explicit
 * option wins over the model's `generationConfig` (generation_config.json), which wins over the defaults.
 */

import { ArgumentError, checkOptions } from '../../lib/index.js';
import type { Tokenizer } from '../tokenizers/index.js';
import { biasEntries, buildProcessors, type LogitsProcessor, type ProcessorOptions } from './processors.js';
import {
  checkSampling,
  samplingRules,
  shown,
  type SamplingOptions,
  type SamplingSettings,
} from './sampling.js';

/** Options of `generate`; the names are Hugging Face's. */
export interface GenerateOptions extends SamplingOptions, ProcessorOptions {
  /** Most tokens to add, 100 by default. */
  readonly maxNewTokens?: number;
  /** Makes the draws reproducible; random without it. Row i of a batch draws from the stream of `seed + i`. */
  readonly seed?: number;
  /** Texts at which to stop; they are not part of the result. */
  readonly stopStrings?: string | readonly string[];
  /** Tokens at which to stop; the tokenizer's end-of-text by default, null for none. */
  readonly eosTokenId?: number | readonly number[] | null;
  /** Beams of a beam search; 1, the default, is none. */
  readonly numBeams?: number;
  /** A beam's score is its log-probability divided by its length to this power: above 0 favours long texts. 1 by default. */
  readonly lengthPenalty?: number;
  /**
   * When a beam search ends: true as soon as there are `numBeams` finished texts; false, the default, when a better one is
   * unlikely; 'never' when a better one is impossible.
   */
  readonly earlyStopping?: boolean | 'never';
  /** Texts for each prompt: draws, or the best of a beam search. Needs a list of prompts. */
  readonly numReturnSequences?: number;
  /** Record the log-probability of each token, and the so many likeliest tokens with theirs. */
  readonly logprobs?: number;
  /** Aborting it ends the iteration with its reason. */
  readonly signal?: AbortSignal;
}

/** What `generate` works with: every option checked and settled. */
export interface GenerateSettings {
  readonly maxNewTokens: number;
  readonly seed: number;
  readonly stopStrings: readonly string[];
  readonly eosIds: readonly number[];
  readonly sampling: SamplingSettings;
  readonly processors: readonly LogitsProcessor[];
  readonly numBeams: number;
  readonly lengthPenalty: number;
  readonly earlyStopping: boolean | 'never';
  readonly numReturnSequences: number;
  /** Null when they are not wanted. */
  readonly logprobs: number | null;
  readonly signal: AbortSignal | undefined;
}

/** Beams hold a cache each; more than these help nobody. */
const mostBeams = 256;
const mostSequences = 1024;

type Rule = readonly [string, (value: unknown) => boolean];

export const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;
const isFinite = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value);
const within =
  (low: number, high: number) =>
  (value: unknown): boolean =>
    Number.isSafeInteger(value) && (value as number) >= low && (value as number) <= high;
const isList = (value: unknown, each: (entry: unknown) => boolean): value is unknown[] =>
  Array.isArray(value) && value.every((entry) => each(entry)); // `every` passes more arguments, and skips holes
const aCount: Rule = ['be a non-negative integer', isCount];

/** What each option must be, and its test. */
const rules: Readonly<Record<keyof GenerateOptions, Rule>> = {
  ...samplingRules,
  maxNewTokens: aCount,
  minNewTokens: aCount,
  minLength: aCount,
  seed: ['be an integer from 0 to 2^53 - 1025', within(0, Number.MAX_SAFE_INTEGER - 2 * mostSequences)],
  stopStrings: [
    'be a text or several',
    (value) =>
      typeof value === 'string' || (isList(value, (text) => typeof text === 'string') && isWhole(value)),
  ],
  eosTokenId: [
    'be a token id, several or null',
    (value) => value === null || isCount(value) || (isList(value, isCount) && isWhole(value)),
  ],
  numBeams: [`be an integer from 1 to ${mostBeams}`, within(1, mostBeams)],
  lengthPenalty: ['be a finite number', isFinite],
  earlyStopping: ["be true, false or 'never'", (value) => typeof value === 'boolean' || value === 'never'],
  numReturnSequences: [`be an integer from 1 to ${mostSequences}`, within(1, mostSequences)],
  logprobs: aCount,
  signal: [
    "be an AbortController's signal",
    (value) => typeof (value as Partial<AbortSignal> | null)?.throwIfAborted === 'function',
  ],
  logitBias: ['be an object or a Map of token ids and numbers', (v) => typeof v === 'object' && v !== null],
  repetitionPenalty: ['be greater than 0', (value) => isFinite(value) && (value as number) > 0],
  frequencyPenalty: ['be a finite number', isFinite],
  presencePenalty: ['be a finite number', isFinite],
  noRepeatNgramSize: aCount,
  badWordsIds: [
    'be lists of token ids',
    (value) => isList(value, (word) => isList(word, isCount) && word.length > 0 && isWhole(word)),
  ],
  forcedBosTokenId: ['be a token id', isCount],
  exponentialDecayLengthPenalty: [
    'be [start, factor], a non-negative integer and a number above 0',
    (value) => isList(value, isFinite) && value.length === 2 && isCount(value[0]) && (value[1] as number) > 0,
  ],
  suppressTokens: ['be a list of token ids', (value) => isList(value, isCount)],
  logitsProcessor: [
    'be a function or several',
    (value) => typeof value === 'function' || isList(value, (entry) => typeof entry === 'function'),
  ],
};

/** No holes: `every` passes over them. */
function isWhole(list: readonly unknown[]): boolean {
  return !list.includes(undefined);
}

const names = Object.keys(rules) as (keyof GenerateOptions)[];
/** Options that belong to a call, not to a model. */
const ofCall: readonly string[] = [
  'seed',
  'signal',
  'logprobs',
  'numReturnSequences',
  'logitsProcessor',
  'logitBias',
];
const ofSampling = Object.keys(samplingRules).filter(
  (name) => name !== 'doSample',
) as (keyof SamplingOptions)[];

/**
 * Settles the options.
 * @param config The model's generation_config.json, in its own or in camelCase names; what `generate` does not know, and
 *   null, are left out.
 * @throws ArgumentError when an option is unknown or out of range.
 */
export function settle(
  options: GenerateOptions,
  tokenizer: Pick<Tokenizer, 'vocabSize' | 'eosId'>,
  config: Readonly<Record<string, unknown>> = {},
): GenerateSettings {
  checkOptions('generate', options, names);
  check('generate', options);
  const defaults = fromConfig(config);
  check('generationConfig', defaults);
  const given: GenerateOptions = Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  );
  const wantsDraws =
    given.doSample ?? ofSampling.some((name) => given[name] !== undefined && given.temperature !== 0);
  const all: GenerateOptions = { ...defaults, ...given };
  const numBeams = given.numBeams ?? (wantsDraws ? 1 : (defaults.numBeams ?? 1));
  checkTogether(given, numBeams, wantsDraws);
  const doSample = numBeams === 1 && (given.doSample ?? (wantsDraws || (defaults.doSample ?? true)));
  const { eosTokenId = tokenizer.eosId ?? null, stopStrings = [] } = all;
  const eosIds = eosTokenId === null ? [] : typeof eosTokenId === 'number' ? [eosTokenId] : eosTokenId;
  checkIds(all, tokenizer.vocabSize);
  const sampling = checkSampling({ ...pick(all, ofSampling), doSample });
  const { numReturnSequences = 1 } = all;
  if (numBeams === 1 && numReturnSequences > 1 && (!doSample || sampling.temperature === 0)) {
    throw new ArgumentError(
      `generate: numReturnSequences ${numReturnSequences} needs draws or beams; greedy decoding has one result`,
    );
  }
  return {
    maxNewTokens: all.maxNewTokens ?? 100,
    seed: all.seed ?? Math.floor(Math.random() * 2 ** 32),
    stopStrings: typeof stopStrings === 'string' ? [stopStrings] : stopStrings,
    eosIds,
    sampling,
    processors: buildProcessors(all, eosIds),
    numBeams,
    lengthPenalty: all.lengthPenalty ?? 1,
    earlyStopping: all.earlyStopping ?? false,
    numReturnSequences,
    logprobs: all.logprobs ?? null,
    signal: all.signal,
  };
}

function check(where: string, options: GenerateOptions): void {
  for (const name of names) {
    const [value, [rule, fits]] = [options[name], rules[name]];
    if (value !== undefined && !fits(value)) {
      throw new ArgumentError(`${where}: ${name} must ${rule}, got ${shown(value)}`);
    }
  }
  const { stopStrings = [] } = options;
  if ([stopStrings].flat().includes('')) {
    throw new ArgumentError(`${where}: a stop text must not be empty`);
  }
}

/** What can only be wrong together. */
function checkTogether(given: GenerateOptions, numBeams: number, wantsDraws: boolean): void {
  const { numReturnSequences = 1, logprobs } = given;
  if (numBeams === 1) return;
  if (wantsDraws) {
    throw new ArgumentError(
      'generate: numBeams takes the likeliest texts; leave out temperature, topK, topP and the like, or numBeams',
    );
  }
  if (numReturnSequences > numBeams) {
    throw new ArgumentError(
      `generate: numReturnSequences must be at most numBeams, got ${numReturnSequences} and ${numBeams}`,
    );
  }
  if (logprobs !== undefined) {
    throw new ArgumentError(
      'generate: logprobs are not recorded by a beam search; its sequences have a score',
    );
  }
}

/** Ids that get another score must exist. */
function checkIds(options: GenerateOptions, vocabSize: number): void {
  const { logitBias = {}, badWordsIds = [], forcedBosTokenId = [] } = options;
  for (const [id, value] of biasEntries(logitBias)) {
    if (typeof value !== 'number' || !(value < Infinity)) {
      throw new ArgumentError(
        `generate: logitBias must be a finite number or -Infinity, got ${shown(value)} for token ${id}`,
      );
    }
  }
  const ids = { logitBias: biasEntries(logitBias).map(([id]) => id), badWordsIds, forcedBosTokenId };
  for (const [name, list] of Object.entries(ids)) {
    const unknown = [list].flat(2).find((id) => !isCount(id) || id >= vocabSize);
    if (unknown === undefined) continue;
    throw new ArgumentError(
      `generate: ${name} names token ${unknown}, the vocabulary has the ids 0 to ${vocabSize - 1}`,
    );
  }
}

/** The keys of a generation_config.json that `generate` knows. */
function fromConfig(config: Readonly<Record<string, unknown>>): GenerateOptions {
  const known: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(config)) {
    const name = key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    if (value !== null && Object.hasOwn(rules, name) && !ofCall.includes(name)) known[name] = value;
  }
  return known;
}

const pick = <T, K extends keyof T>(object: T, keys: readonly K[]): Pick<T, K> =>
  Object.fromEntries(
    keys.filter((key) => object[key] !== undefined).map((key) => [key, object[key]]),
  ) as Pick<T, K>;
