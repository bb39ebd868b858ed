/**
 * Pseudo-perplexity of masked language models ("Masked Language Model Scoring", Salazar et al., 2020): each token of a text is
 * hidden in turn and predicted from all others, so a text of T tokens takes T passes.
 */

import { setImmediate } from 'node:timers/promises';

import { ArgumentError, noGrad, scope, tensor } from '../../lib/index.js';
import { maskedTokenLoss } from '../models/index.js';
import type { MaskedPredictor } from './masked-accuracy.js';

/** Options of {@link pseudoPerplexity}. */
export interface PseudoPerplexityOptions {
  /** What hides a token. */
  readonly maskId: number;
  /** Tokens that are not predicted: [CLS], [SEP]. */
  readonly isSpecial: (id: number) => boolean;
  /** Copies of a text in a pass, each with another token hidden; 16 by default. */
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
}

/**
 * Pseudo-perplexity over all tokens of some texts, the event loop turning between passes.
 *
 * @param texts Ids with the special tokens around them.
 * @throws ArgumentError when there is nothing to predict.
 * @example
 * const { perplexity } = await pseudoPerplexity(model, [tokenizer.encode(text)], {
 *   maskId: tokenizer.maskId!,
 *   isSpecial: (id) => tokenizer.isSpecialId(id),
 * });
 */
export async function pseudoPerplexity(
  model: MaskedPredictor,
  texts: readonly Int32Array[],
  { maskId, isSpecial, batchSize = 16, signal }: PseudoPerplexityOptions,
): Promise<{ perplexity: number; loss: number; tokens: number }> {
  const { training } = model;
  let sum = 0;
  let tokens = 0;
  if (training) model.train(false);
  try {
    for (const text of texts) {
      const places = [...text.keys()].filter((place) => !isSpecial(text[place]));
      for (let first = 0; first < places.length; first += batchSize) {
        signal?.throwIfAborted();
        const group = places.slice(first, first + batchSize);
        sum += group.length * lossOf(model, text, group, maskId);
        tokens += group.length;
        await setImmediate();
      }
    }
  } finally {
    if (training) model.train(true);
  }
  if (tokens === 0) throw new ArgumentError('pseudoPerplexity: there is no token to predict');
  return { perplexity: Math.exp(sum / tokens), loss: sum / tokens, tokens };
}

/** Mean loss of the tokens at these places, each hidden in a copy of the text of its own. */
function lossOf(model: MaskedPredictor, text: Int32Array, places: readonly number[], maskId: number): number {
  const T = text.length;
  const ids = new Int32Array(places.length * T);
  const labels = new Int32Array(ids.length).fill(-100);
  places.forEach((place, row) => {
    ids.set(text, row * T);
    ids[row * T + place] = maskId;
    labels[row * T + place] = text[place];
  });
  const shape = [places.length, T];
  return scope(() =>
    noGrad(() => maskedTokenLoss(model, tensor(ids, { shape }), tensor(labels, { shape })).item()),
  );
}
