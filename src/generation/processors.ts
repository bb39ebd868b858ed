/**
 * What changes the scores of the next token before it is chosen, in the order of Hugging Face's transformers: biases,
 * penalties, bans, lengths, then the caller's own. A processor sees one row: its ids without any padding, so a row gets
 * the same scores in any batch. Each is a function of the ids alone, so beams can change places freely; none allocates.
 */

/**
 * Changes the scores of a row's next token in place; -Infinity excludes a token.
 *
 * @param ids The row so far: the prompt and what was generated. Not to be changed.
 * @param scores One for each id of the vocabulary.
 * @param promptLength How many of `ids` are the prompt.
 */
export type LogitsProcessor = (ids: readonly number[], scores: Float32Array, promptLength: number) => void;

/** Options that make processors; the names are Hugging Face's, where it has them. */
export interface ProcessorOptions {
  /** Added to the scores of single tokens, by id; -Infinity forbids one. OpenAI's `logit_bias`. */
  readonly logitBias?: Readonly<Record<number, number>> | ReadonlyMap<number, number>;
  /** Divides the score of tokens that occur in the row (multiplies it where it is negative); 1 changes nothing. */
  readonly repetitionPenalty?: number;
  /** Taken from a token's score for each time it was generated; OpenAI's, counted without the prompt. */
  readonly frequencyPenalty?: number;
  /** Taken from the score of each token that was generated; OpenAI's, counted without the prompt. */
  readonly presencePenalty?: number;
  /** No run of so many tokens occurs twice in a row, the prompt included; 0 allows all. */
  readonly noRepeatNgramSize?: number;
  /** Runs of ids that must not be generated. */
  readonly badWordsIds?: readonly (readonly number[])[];
  /** No end before the row has so many tokens, the prompt's included. */
  readonly minLength?: number;
  /** No end before so many tokens were generated. */
  readonly minNewTokens?: number;
  /** The token that follows a prompt of one token. */
  readonly forcedBosTokenId?: number;
  /** `[start, factor]`: after `start` new tokens the end's score grows by |score| · (factor^n - 1) at the n-th further one. */
  readonly exponentialDecayLengthPenalty?: readonly [number, number];
  /** Tokens that are never generated. */
  readonly suppressTokens?: readonly number[];
  /** Own processors; they come after all others. */
  readonly logitsProcessor?: LogitsProcessor | readonly LogitsProcessor[];
}

/** The processors that the options ask for. @param eosIds What ends a text. */
export function buildProcessors(options: ProcessorOptions, eosIds: readonly number[]): LogitsProcessor[] {
  const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0, noRepeatNgramSize = 0 } = options;
  const { logitBias, badWordsIds = [], minLength = 0, minNewTokens = 0, logitsProcessor = [] } = options;
  const { forcedBosTokenId, exponentialDecayLengthPenalty: decay, suppressTokens = [] } = options;
  const bad = badWordsIds.filter((word) => !(word.length === 1 && eosIds.includes(word[0])));
  const wanted: (LogitsProcessor | false)[] = [
    logitBias !== undefined && bias(biasEntries(logitBias)),
    repetitionPenalty !== 1 && penalizeRepetition(repetitionPenalty),
    (frequencyPenalty !== 0 || presencePenalty !== 0) && penalizeUse(frequencyPenalty, presencePenalty),
    noRepeatNgramSize > 0 && forbidRepeatedRuns(noRepeatNgramSize),
    bad.length > 0 && forbidRuns(bad),
    minLength > 0 && ((ids, scores) => ids.length < minLength && exclude(scores, eosIds)),
    minNewTokens > 0 &&
      ((ids, scores, promptLength) => ids.length - promptLength < minNewTokens && exclude(scores, eosIds)),
    forcedBosTokenId !== undefined && forceSecond(forcedBosTokenId),
    decay !== undefined && favourEnd(...decay, eosIds),
    suppressTokens.length > 0 && ((_, scores) => exclude(scores, suppressTokens)),
  ];
  const own = typeof logitsProcessor === 'function' ? [logitsProcessor] : logitsProcessor;
  return [...wanted.filter((processor) => processor !== false), ...own];
}

/** Ids and biases of `logitBias`. */
export const biasEntries = (
  logitBias: NonNullable<ProcessorOptions['logitBias']>,
): (readonly [number, number])[] =>
  logitBias instanceof Map
    ? [...(logitBias as ReadonlyMap<number, number>)]
    : Object.entries(logitBias as Readonly<Record<string, number>>).map(([id, value]) => [Number(id), value]);

function exclude(scores: Float32Array, ids: readonly number[]): void {
  for (const id of ids) if (id < scores.length) scores[id] = -Infinity;
}

const bias =
  (entries: readonly (readonly [number, number])[]): LogitsProcessor =>
  (_, scores) => {
    for (const [id, value] of entries) scores[id] += value;
  };

/** How often each id was seen in this call; all zero between calls. */
let counts = new Uint32Array(0);

/** Calls `visit` once for each id from `start` on that has a score, with the number of times that it occurs. */
function eachDistinct(
  ids: readonly number[],
  start: number,
  vocabulary: number,
  visit: (id: number, count: number) => void,
): void {
  if (counts.length < vocabulary) counts = new Uint32Array(vocabulary);
  for (let i = start; i < ids.length; i++) if (ids[i] < vocabulary) counts[ids[i]]++;
  for (let i = start; i < ids.length; i++) {
    const id = ids[i];
    if (id >= vocabulary || counts[id] === 0) continue;
    visit(id, counts[id]);
    counts[id] = 0;
  }
}

const penalizeRepetition =
  (penalty: number): LogitsProcessor =>
  (ids, scores) =>
    eachDistinct(ids, 0, scores.length, (id) => {
      scores[id] = scores[id] < 0 ? scores[id] * penalty : scores[id] / penalty;
    });

const penalizeUse =
  (frequency: number, presence: number): LogitsProcessor =>
  (ids, scores, promptLength) =>
    eachDistinct(ids, promptLength, scores.length, (id, count) => {
      scores[id] -= frequency * count + presence;
    });

/** Whether `ids` has the first `count` ids of `run`, whose beginning is `runStart`, at `at`. */
function matches(
  ids: readonly number[],
  at: number,
  run: readonly number[],
  runStart: number,
  count: number,
): boolean {
  for (let i = 0; i < count; i++) if (ids[at + i] !== run[runStart + i]) return false;
  return true;
}

const forbidRepeatedRuns =
  (size: number): LogitsProcessor =>
  (ids, scores) => {
    const suffix = ids.length - (size - 1);
    for (let at = 0; at + size <= ids.length; at++) {
      const next = ids[at + size - 1];
      if (next < scores.length && matches(ids, at, ids, suffix, size - 1)) scores[next] = -Infinity;
    }
  };

const forbidRuns =
  (runs: readonly (readonly number[])[]): LogitsProcessor =>
  (ids, scores) => {
    for (const run of runs) {
      const before = run.length - 1;
      if (before <= ids.length && matches(ids, ids.length - before, run, 0, before)) {
        scores[run[before]] = -Infinity;
      }
    }
  };

const forceSecond =
  (id: number): LogitsProcessor =>
  (ids, scores) => {
    if (ids.length !== 1) return;
    scores.fill(-Infinity);
    scores[id] = 0;
  };

const favourEnd =
  (start: number, factor: number, eosIds: readonly number[]): LogitsProcessor =>
  (ids, scores, promptLength) => {
    const over = ids.length - promptLength - start;
    if (over <= 0) return;
    for (const id of eosIds) {
      if (Number.isFinite(scores[id])) scores[id] += Math.abs(scores[id]) * (factor ** over - 1);
    }
  };
