/**
 * Choosing the next token from logits: temperature, top-k, top-p (nucleus, Holtzman et al., 2019), then one draw.
 */

import { ArgumentError, type Generator } from '../../lib/index.js';

/** How the next token is chosen. */
export interface SamplingOptions {
  /** Divides the logits; 0 takes the most likely token (greedy). 1 by default. */
  readonly temperature?: number;
  /** Only the k most likely tokens; 0 means all. */
  readonly topK?: number;
  /** Only the most likely tokens whose probabilities reach p together; 1 means all. */
  readonly topP?: number;
}

/** A value for a message: JavaScript's callers give strings where numbers belong. */
export const shown = (value: unknown): string =>
  typeof value === 'string' ? JSON.stringify(value) : String(value);

/** Throws ArgumentError when an option is out of range. */
export function checkSampling({
  temperature = 1,
  topK = 0,
  topP = 1,
}: SamplingOptions): Required<SamplingOptions> {
  if (typeof temperature !== 'number' || !(temperature >= 0 && temperature < Infinity)) {
    throw new ArgumentError(`generate: temperature must be 0 (greedy) or greater, got ${shown(temperature)}`);
  }
  if (!Number.isSafeInteger(topK) || topK < 0) {
    throw new ArgumentError(`generate: topK must be 0 (all) or a positive integer, got ${shown(topK)}`);
  }
  if (typeof topP !== 'number' || !(topP > 0 && topP <= 1)) {
    throw new ArgumentError(`generate: topP must lie above 0 and at most at 1, got ${shown(topP)}`);
  }
  return { temperature, topK, topP };
}

/** The id of the greatest logit, the first of equals; of a logit that is not a number, where there is one. */
function mostLikely(logits: Float32Array): number {
  let best = 0;
  for (let i = 0; i < logits.length; i++) {
    if (Number.isNaN(logits[i])) return i;
    if (logits[i] > logits[best]) best = i;
  }
  return best;
}

/**
 * Draws the next token id.
 *
 * @param logits One row of logits; not changed.
 * @throws ArgumentError when a logit is not a number, none is finite, or an option is out of range.
 */
export function sample(logits: Float32Array, options: SamplingOptions, generator: Generator): number {
  const { temperature, topK, topP } = checkSampling(options);
  const best = mostLikely(logits);
  if (!Number.isFinite(logits[best])) {
    throw new ArgumentError(
      `generate: the model's logits are not finite (${logits[best]}); its weights are damaged`,
    );
  }
  if (temperature === 0 || topK === 1) return best;
  const ids = candidates(logits, topK, topP < 1);
  const top = logits[best];
  const weights = Float64Array.from(ids, (id) => Math.exp((logits[id] - top) / temperature));
  const count = topP < 1 ? nucleus(weights, topP) : weights.length;
  let total = 0;
  for (let i = 0; i < count; i++) total += weights[i];
  let draw = generator.nextFloat() * total;
  for (let i = 0; i < count - 1; i++) {
    draw -= weights[i];
    if (draw < 0) return ids[i];
  }
  return ids[count - 1];
}

/** Ids that may be drawn: the `topK` most likely (all when 0), from the most likely on when `sorted` or cut. */
function candidates(logits: Float32Array, topK: number, sorted: boolean): Uint32Array {
  let ids = Uint32Array.from(logits, (_, i) => i);
  if (topK > 0 && topK < ids.length) {
    const least = nthLargest(logits, topK);
    ids = ids.filter((id) => logits[id] >= least);
  } else if (!sorted) {
    return ids;
  }
  // Equal logits keep the order of their ids, so that the result does not depend on the sort.
  ids.sort((a, b) => logits[b] - logits[a] || a - b);
  return topK > 0 ? ids.subarray(0, topK) : ids;
}

/** The k-th largest value. Typed arrays sort numerically in native code, far faster than with a comparison. */
function nthLargest(values: Float32Array, k: number): number {
  const ordered = values.slice().sort();
  return ordered[ordered.length - k];
}

/** How many of the descending weights it takes to reach the share p of their sum. */
function nucleus(weights: Float64Array, p: number): number {
  const total = weights.reduce((sum, w) => sum + w, 0);
  let reached = 0;
  for (let i = 0; i < weights.length; i++) {
    reached += weights[i];
    if (reached >= p * total) return i + 1;
  }
  return weights.length;
}
