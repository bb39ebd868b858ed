/**
 * Beam search as Hugging Face's transformers does it: for each prompt the `numBeams` likeliest beginnings go on, one token
 * a step, side by side in the batch. A text that ends while it is among the best `numBeams` is kept with its score, the
 * sum of its log-probabilities over its length to the power of `lengthPenalty`; the best of these are the result.
 */

import { setImmediate } from 'node:timers/promises';

import { logSoftmax, scope, tensor } from '../../lib/index.js';
import { Decoder, type CausalModel } from './decoder.js';
import type { FinishReason, GeneratedPiece, Progress } from './generation.js';
import { likeliest } from './logprobs.js';
import type { GenerateSettings } from './options.js';
import { mostLikely } from './sampling.js';
import { TextStream, type TextDecoder } from './text-stream.js';

/** A text that goes on. */
interface Beam {
  readonly ids: readonly number[];
  /** Sum of the log-probabilities of its tokens. */
  readonly score: number;
  /** The row of the batch that it continues. */
  readonly parent: number;
}

interface Finished {
  readonly tokens: readonly number[];
  readonly score: number;
  readonly reason: FinishReason;
}

/** The search for one prompt. */
class Search {
  running: Beam[];
  /** The best finished texts, the best first. */
  finished: Finished[] = [];
  done = false;
  /** Scores of every next token of every beam. */
  #scores = new Float32Array(0);

  constructor(
    readonly prompt: number,
    private readonly promptIds: readonly number[],
    private readonly tokenizer: TextDecoder,
    private readonly settings: GenerateSettings,
  ) {
    this.running = [{ ids: promptIds, score: 0, parent: prompt }];
  }

  /** One step. @param logitsOf The logits of a beam's next token. @param firstRow The row of the first beam. */
  step(logitsOf: (beam: number) => Float32Array, firstRow: number): void {
    const { numBeams, eosIds, maxNewTokens } = this.settings;
    const vocabulary = this.#score(logitsOf);
    const length = this.running[0].ids.length + 1 - this.promptIds.length;
    const running: Beam[] = [];
    // Enough that `numBeams` go on even where all others end.
    const candidates = likeliest(this.#scores, Math.max(2, 1 + eosIds.length) * numBeams);
    candidates.forEach((candidate, rank) => {
      const beam = Math.floor(candidate / vocabulary);
      const id = candidate % vocabulary;
      const ids = [...this.running[beam].ids, id];
      const score = this.#scores[candidate];
      const reason = this.#ends(ids, id) ?? (length === maxNewTokens ? 'length' : null);
      if (reason === null) {
        if (running.length < numBeams) running.push({ ids, score, parent: firstRow + beam });
      } else if (rank < numBeams) {
        const tokens = ids.slice(this.promptIds.length, reason === 'eos' ? -1 : undefined);
        this.#finish({ tokens, score: Math.fround(score / length ** this.settings.lengthPenalty), reason });
      }
    });
    this.running = running;
    this.done = this.#isOver(length);
  }

  /** Log-probabilities of all beams' next tokens, added to the beams' scores. Answers the size of the vocabulary. */
  #score(logitsOf: (beam: number) => Float32Array): number {
    let vocabulary = 0;
    this.running.forEach(({ ids, score }, beam) => {
      const logits = logitsOf(beam);
      mostLikely(logits); // throws where they are not finite
      vocabulary = logits.length;
      const size = this.running.length * vocabulary;
      if (this.#scores.length !== size) this.#scores = new Float32Array(size);
      const scores = this.#scores.subarray(beam * vocabulary, (beam + 1) * vocabulary);
      scope(() => scores.set(logSoftmax(tensor(logits)).data));
      for (const process of this.settings.processors) process(ids, scores, this.promptIds.length);
      mostLikely(scores);
      for (let id = 0; id < vocabulary; id++) scores[id] += score;
    });
    return vocabulary;
  }

  #ends(ids: readonly number[], id: number): FinishReason | null {
    const { eosIds, stopStrings } = this.settings;
    if (eosIds.includes(id)) return 'eos';
    if (stopStrings.length === 0) return null;
    // What the last token may have completed; a token has a character or more, but for parts of characters.
    const tail = Math.max(...stopStrings.map((text) => text.length)) + 8;
    const last = ids.slice(Math.max(this.promptIds.length, ids.length - tail));
    const text = this.tokenizer.decode(last, { skipSpecialTokens: true });
    return stopStrings.some((stop) => text.includes(stop)) ? 'stop' : null;
  }

  #finish(text: Finished): void {
    this.finished.push(text);
    this.finished.sort((a, b) => b.score - a.score); // stable: the earlier of equals stays before
    this.finished.length = Math.min(this.finished.length, this.settings.numBeams);
  }

  /** Whether no running beam can, or is likely to, become better than the finished ones. */
  #isOver(length: number): boolean {
    const { numBeams, earlyStopping, lengthPenalty, maxNewTokens } = this.settings;
    if (this.running.length === 0) return true;
    if (this.finished.length < numBeams) return false;
    if (earlyStopping === true) return true;
    // Scores grow with the length where the penalty is positive; without 'never' the present length is taken for the last.
    const last = earlyStopping === 'never' && lengthPenalty > 0 ? maxNewTokens : length;
    const best = Math.fround(this.running[0].score / last ** lengthPenalty);
    return best <= this.finished[numBeams - 1].score;
  }
}

/** Runs the searches of all prompts to their ends; a sequence's text is one piece. */
export async function* beamSearch(
  model: CausalModel,
  tokenizer: TextDecoder,
  prompts: readonly (readonly number[])[],
  settings: GenerateSettings,
  progress: Progress,
): AsyncGenerator<GeneratedPiece, void> {
  const { signal, maxNewTokens } = settings;
  signal?.throwIfAborted();
  if (maxNewTokens === 0) {
    for (const sequence of progress.sequences) sequence.finishReason = 'length';
    return;
  }
  const longest = Math.max(...prompts.map((prompt) => prompt.length)) + maxNewTokens;
  const decoder = new Decoder(model, prompts.length, longest);
  let searches = prompts.map((ids, i) => new Search(i, ids, tokenizer, settings));
  try {
    for (let step = 0; searches.length > 0; step++) {
      signal?.throwIfAborted();
      const started = performance.now();
      decoder.next(searches.flatMap(({ running }) => running.map(({ ids }) => ids)));
      if (step === 0) for (const s of progress.sequences) s.prefillTokens = decoder.seen(s.prompt);
      let row = 0;
      for (const search of searches) {
        const first = row;
        row += search.running.length;
        search.step((beam) => decoder.logitsOf(first + beam, tokenizer.vocabSize), first);
      }
      const over = searches.filter(({ done }) => done);
      searches = searches.filter(({ done }) => !done);
      const parents = searches.flatMap(({ running }) => running.map(({ parent }) => parent));
      if (parents.length > 0) decoder.reorder(parents);
      const seconds = (performance.now() - started) / 1000;
      if (step === 0) progress.prefillSeconds = seconds;
      else progress.decodeSeconds += seconds;
      for (const search of over)
        yield* results(search, prompts[search.prompt], tokenizer, settings, progress);
      await setImmediate();
    }
  } finally {
    decoder.dispose();
  }
}

/** The texts of a search that is over. */
function* results(
  search: Search,
  promptIds: readonly number[],
  tokenizer: TextDecoder,
  settings: GenerateSettings,
  progress: Progress,
): Generator<GeneratedPiece, void> {
  const { numReturnSequences, stopStrings } = settings;
  for (const [i, { tokens, score, reason }] of search.finished.slice(0, numReturnSequences).entries()) {
    const index = search.prompt * numReturnSequences + i;
    const sequence = progress.sequences[index];
    sequence.tokens.push(...tokens);
    [sequence.score, sequence.finishReason] = [score, reason];
    const stream = new TextStream(tokenizer, stopStrings, promptIds);
    const text = tokens.map((id) => stream.push(id)).join('') + stream.end();
    if (text !== '') yield { index, text };
  }
}
