/**
 * Choosing the next token from its scores: temperature, then cuts to the likely tokens in the order of Hugging Face's
 * transformers (top-k; top-p or nucleus, Holtzman et al., 2019; min-p, Nguyen et al., 2024; typical, Meister et al., 2022;
 * epsilon and eta, Hewitt et al., 2022), then one draw. Nothing is sorted: a cut keeps what reaches a threshold, which
 * is found in linear time.
 */

import { ArgumentError, type Generator, scope, softmax, tensor } from '../../lib/index.js';
import { threshold } from './threshold.js';

/** How the next token is chosen; the names are Hugging Face's. */
export interface SamplingOptions {
  /** Whether to draw; false takes the most likely token (greedy). */
  readonly doSample?: boolean;
  /** Divides the logits; 0 takes the most likely token (greedy). 1 by default. */
  readonly temperature?: number;
  /** Only the k most likely tokens and what equals the last of them; 0 means all. */
  readonly topK?: number;
  /** Only the most likely tokens whose probabilities reach p together; 1 means all. */
  readonly topP?: number;
  /** Only tokens at least this part as likely as the most likely one; 0 means all. */
  readonly minP?: number;
  /** Only the tokens, together of this probability, whose surprise is nearest to the expected one; 1 means all. */
  readonly typicalP?: number;
  /** Only tokens of at least this probability; 0 means all. */
  readonly epsilonCutoff?: number;
  /** As `epsilonCutoff`, lower where the distribution is flat; 0 means all. */
  readonly etaCutoff?: number;
}

/** Sampling options, all settled. */
export type SamplingSettings = Required<SamplingOptions>;

/** A value for a message: JavaScript's callers give strings where numbers belong. */
export function shown(value: unknown): string {
  if (Array.isArray(value))
    return `[${value.slice(0, 10).map(shown).join(', ')}${value.length > 10 ? ', ...' : ''}]`;
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

const isNumber = (low: number, high: number) => (value: unknown) =>
  typeof value === 'number' && value >= low && value <= high;
const isPart = (value: unknown): boolean => isNumber(0, 1)(value) && value !== 0;
const belowOne = (value: unknown): boolean => isNumber(0, 1)(value) && value !== 1;

/** What each option must be, and its test. */
export const samplingRules: Record<keyof SamplingOptions, readonly [string, (value: unknown) => boolean]> = {
  doSample: ['be true or false', (value) => typeof value === 'boolean'],
  temperature: ['be 0 (greedy) or greater', isNumber(0, Number.MAX_VALUE)],
  topK: [
    'be 0 (all) or a positive integer',
    (value) => Number.isSafeInteger(value) && (value as number) >= 0,
  ],
  topP: ['lie above 0 and at most at 1', isPart],
  minP: ['lie from 0 (all) to 1', isNumber(0, 1)],
  typicalP: ['lie above 0 and at most at 1', isPart],
  epsilonCutoff: ['lie from 0 (all) to below 1', belowOne],
  etaCutoff: ['lie from 0 (all) to below 1', belowOne],
};

/** The given options over the defaults; throws ArgumentError when one is out of range. */
export function checkSampling(options: SamplingOptions): SamplingSettings {
  for (const [name, [rule, fits]] of Object.entries(samplingRules)) {
    const value = options[name as keyof SamplingOptions];
    if (value !== undefined && !fits(value)) {
      throw new ArgumentError(`generate: ${name} must ${rule}, got ${shown(value)}`);
    }
  }
  const { doSample = true, temperature = 1, topK = 0, topP = 1, minP = 0, typicalP = 1 } = options;
  const { epsilonCutoff = 0, etaCutoff = 0 } = options;
  return { doSample, temperature, topK, topP, minP, typicalP, epsilonCutoff, etaCutoff };
}

/**
 * The id of the greatest score, the first of equals.
 * @throws ArgumentError when a score is not a number, or none is finite.
 */
export function mostLikely(scores: Float32Array): number {
  let best = 0;
  for (let i = 0; i < scores.length; i++) {
    if (scores[i] > scores[best]) best = i;
    else if (Number.isNaN(scores[i])) {
      best = i;
      break;
    }
  }
  if (!Number.isFinite(scores[best])) {
    throw new ArgumentError(
      scores[best] === -Infinity
        ? 'generate: every token is excluded; badWordsIds, suppressTokens, logitBias or a logitsProcessor leave none'
        : `generate: the model's logits are not finite (${scores[best]}); its weights are damaged`,
    );
  }
  return best;
}

/** Chooses tokens by one setting. Its buffers are used again for every token. */
export class Sampler {
  readonly #cuts: readonly (() => void)[];
  readonly #greedy: boolean;
  readonly #temperature: number;
  /** Scores of the candidates, and their probabilities as of the last {@link #weigh}; `#count` of them. */
  #scores = new Float32Array(0);
  #probabilities = new Float32Array(0);
  /** Room for typical sampling: how near a candidate's surprise is to the expected one. */
  #nearness = new Float32Array(0);
  /** Their ids, once some were cut; before, candidate i is token i. */
  #ids = new Int32Array(0);
  #isCut = false;
  #count = 0;

  constructor(settings: SamplingSettings) {
    const { temperature, topK, topP, minP, typicalP, epsilonCutoff, etaCutoff } = settings;
    this.#temperature = temperature;
    this.#greedy = !settings.doSample || temperature === 0 || topK === 1;
    const cuts: [boolean, () => void][] = [
      [topK > 0, () => this.#topK(topK)],
      [topP < 1, () => this.#topP(topP)],
      [minP > 0, () => this.#atLeast(minP * this.#weigh())],
      [typicalP < 1, () => this.#typical(typicalP)],
      [epsilonCutoff > 0, () => this.#atLeast(Math.min(epsilonCutoff, this.#weigh()))],
      [etaCutoff > 0, () => this.#eta(etaCutoff)],
    ];
    this.#cuts = cuts.filter(([wanted]) => wanted).map(([, cut]) => cut);
  }

  /**
   * The next token's id.
   * @param scores One row of logits; not changed.
   * @throws ArgumentError when a score is not a number, or none is finite.
   */
  choose(scores: Float32Array, generator: Generator): number {
    const best = mostLikely(scores);
    if (this.#greedy) return best;
    this.#prepare(scores, scores[best]);
    this.#weigh();
    let total = 0;
    for (let i = 0; i < this.#count; i++) total += this.#probabilities[i];
    let draw = generator.nextFloat() * total;
    let last = 0;
    for (let i = 0; i < this.#count; i++) {
      if (this.#probabilities[i] === 0) continue;
      last = i;
      draw -= this.#probabilities[i];
      if (draw < 0) break;
    }
    return this.#isCut ? this.#ids[last] : last;
  }

  /** The candidates that a draw chooses among: their ids, and their scores up to a constant. */
  candidates(scores: Float32Array): { ids: number[]; scores: number[] } {
    this.#prepare(scores, scores[mostLikely(scores)]);
    const kept = Array.from(this.#scores.subarray(0, this.#count));
    return { ids: kept.map((_, i) => (this.#isCut ? this.#ids[i] : i)), scores: kept };
  }

  #prepare(scores: Float32Array, top: number): void {
    if (this.#scores.length !== scores.length) {
      this.#scores = new Float32Array(scores.length);
      this.#probabilities = new Float32Array(scores.length);
      this.#nearness = new Float32Array(scores.length);
      this.#ids = new Int32Array(scores.length);
    }
    this.#count = scores.length;
    this.#isCut = false;
    // Less the greatest, so that a small temperature cannot overflow; softmax does not see the difference.
    for (let i = 0; i < scores.length; i++) this.#scores[i] = (scores[i] - top) / this.#temperature;
    for (const cut of this.#cuts) cut();
  }

  /** Probabilities of the candidates; answers the greatest. */
  #weigh(): number {
    const scores = this.#scores.subarray(0, this.#count);
    scope(() => this.#probabilities.set(softmax(tensor(scores)).data));
    let top = 0;
    for (let i = 0; i < this.#count; i++) if (this.#probabilities[i] > top) top = this.#probabilities[i];
    return top;
  }

  /** Keeps the candidates whose value is greater than `limit`, and the first `ties` of those that equal it. */
  #keep(values: Float32Array, limit: number, ties = Infinity): void {
    let kept = 0;
    for (let i = 0; i < this.#count; i++) {
      if (!(values[i] > limit) && (values[i] !== limit || ties-- <= 0)) continue;
      this.#scores[kept] = this.#scores[i];
      this.#ids[kept++] = this.#isCut ? this.#ids[i] : i;
    }
    this.#count = kept;
    this.#isCut = true;
  }

  /** Keeps the candidates of at least this probability. */
  #atLeast(limit: number): void {
    this.#keep(this.#probabilities, Math.fround(limit));
  }

  #topK(k: number): void {
    if (k >= this.#count) return;
    const scores = this.#scores.subarray(0, this.#count);
    this.#keep(scores, threshold(scores, k).value);
  }

  #topP(p: number): void {
    this.#weigh();
    const probabilities = this.#probabilities.subarray(0, this.#count);
    const { value, above } = threshold(probabilities, p, probabilities);
    this.#keep(probabilities, value, Math.max(1, Math.ceil((p - above) / value)));
  }

  #typical(mass: number): void {
    const { entropy, total } = this.#entropy();
    // Nearest first; what has no probability is farthest.
    for (let i = 0; i < this.#count; i++) {
      this.#nearness[i] = -Math.abs(total - this.#scores[i] - entropy);
    }
    const [nearness, probabilities] = [this.#nearness, this.#probabilities].map((all) =>
      all.subarray(0, this.#count),
    );
    this.#keep(nearness, threshold(nearness, mass, probabilities).value);
  }

  #eta(epsilon: number): void {
    const { entropy, top } = this.#entropy();
    this.#atLeast(Math.min(epsilon, Math.sqrt(epsilon) * Math.exp(-entropy), top));
  }

  /** Entropy of the candidates, the log of their weights' sum (log p = score - total), and the greatest probability. */
  #entropy(): { entropy: number; total: number; top: number } {
    const top = this.#weigh();
    const total = -Math.log(top); // the greatest score is 0
    let entropy = 0;
    for (let i = 0; i < this.#count; i++) {
      const p = this.#probabilities[i];
      if (p > 0) entropy += p * (total - this.#scores[i]);
    }
    return { entropy, total, top };
  }
}

/**
 * Draws the next token id.
 *
 * @param logits One row of logits; not changed.
 * @throws ArgumentError when a logit is not a number, none is finite, or an option is out of range.
 */
export function sample(logits: Float32Array, options: SamplingOptions, generator: Generator): number {
  return new Sampler(checkSampling(options)).choose(logits, generator);
}
