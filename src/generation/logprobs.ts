/** Log-probabilities of the generated tokens and of the likeliest in their place, for whoever wants to see them. */

import { logsumexp, scope, tensor } from '../../lib/index.js';
import type { ScoredToken, TokenLogprobs } from './generation.js';
import { threshold } from './threshold.js';

/** Tells a token's log-probability once it is chosen. @param count How many of the likeliest to tell too. */
export function readLogprobs(logits: Float32Array, count: number): (id: number) => TokenLogprobs {
  const total = scope(() => logsumexp(tensor(logits), 0).item());
  const raw = logits.slice(); // processors change the scores before the token is chosen
  const scored = (id: number): ScoredToken => ({ id, logprob: raw[id] - total });
  const top = likeliest(raw, count).map(scored);
  return (id) => ({ ...scored(id), top });
}

/** Ids of the `count` greatest values, from the greatest on; of equals the first. */
export function likeliest(values: Float32Array, count: number): number[] {
  if (count === 0) return [];
  const limit = threshold(values, Math.min(count, values.length)).value;
  const ids: number[] = [];
  for (let id = 0; id < values.length; id++) if (values[id] >= limit) ids.push(id);
  return ids.sort((a, b) => values[b] - values[a] || a - b).slice(0, count);
}
