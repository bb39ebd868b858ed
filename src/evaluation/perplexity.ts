/**
 * Perplexity of a text that is longer than the model's context: a window slides over it, and each step predicts only the
 * tokens that are new in it, so that every token but the first is predicted once, with at least `window - stride` tokens
 * before it (from the second window on). A small stride gives the model more context and takes longer; the method of
 * Hugging Face's "Perplexity of fixed-length models".
 */

import { setImmediate } from 'node:timers/promises';

import {
  ArgumentError,
  checkOptions,
  crossEntropy,
  linearCrossEntropy,
  noGrad,
  scope,
  slice,
  tensor,
  type Tensor,
} from '../../lib/index.js';

/** What evaluation needs of a model. */
export interface LanguageModel {
  readonly contextLength: number;
  /** ids (B, T) int32 to logits (B, T, V). */
  forward(ids: Tensor): Tensor;
  /** ids (B, T) to (B, T, C), of which `forward` is the product with `headWeight`; then all logits never exist at once. */
  hidden?(ids: Tensor): Tensor;
  readonly headWeight?: Tensor;
  readonly training: boolean;
  train(mode: boolean): unknown;
}

/** Options of {@link perplexity}. */
export interface PerplexityOptions {
  /** Tokens that the model sees at once, its context by default. */
  readonly window?: number;
  /** New tokens of each window, half of `window` by default; at most `window - 1`. */
  readonly stride?: number;
  /** Called after each window with the tokens predicted so far, of how many, and the loss up to there. */
  readonly onProgress?: (progress: PerplexityProgress) => void;
  /** Aborting it ends the evaluation with its reason. */
  readonly signal?: AbortSignal;
}

/** How far an evaluation has come. */
export interface PerplexityProgress {
  readonly tokens: number;
  readonly total: number;
  /** Mean negative log-likelihood so far. */
  readonly loss: number;
}

/** What {@link perplexity} found. */
export interface PerplexityResult {
  /** Mean negative log-likelihood of a token, in nats. */
  readonly loss: number;
  /** e to the power of it. */
  readonly perplexity: number;
  /** Tokens that were predicted: all but the first. */
  readonly tokens: number;
}

/**
 * Perplexity of a model on tokens, the event loop turning between windows.
 *
 * @param ids Two tokens at least.
 * @throws ArgumentError when an option is unknown or out of range, or there are too few tokens.
 * @example
 * const { perplexity: value } = await perplexity(model, tokenizer.encode(text), { stride: 512 });
 */
export async function perplexity(
  model: LanguageModel,
  ids: ArrayLike<number>,
  options: PerplexityOptions = {},
): Promise<PerplexityResult> {
  checkOptions('perplexity', options, ['window', 'stride', 'onProgress', 'signal']);
  const { window = model.contextLength, onProgress, signal } = options;
  checkCount('window', window, 2, model.contextLength);
  const { stride = Math.max(1, Math.floor(window / 2)) } = options;
  checkCount('stride', stride, 1, window - 1);
  if (ids.length < 2) {
    throw new ArgumentError(`perplexity: there must be two tokens at least, got ${ids.length}`);
  }
  const total = ids.length - 1;
  let sum = 0;
  let tokens = 0;
  for (let end = 1; end < ids.length;) {
    signal?.throwIfAborted();
    const first = end; // the first token that is new
    end = Math.min(ids.length, first === 1 ? window : first + stride);
    const start = Math.max(0, end - window);
    sum += lossOf(
      model,
      Int32Array.from({ length: end - start }, (_, i) => ids[start + i]),
      end - first,
    );
    tokens += end - first;
    onProgress?.({ tokens, total, loss: sum / tokens });
    await setImmediate();
  }
  const loss = sum / tokens;
  return { loss, perplexity: Math.exp(loss), tokens };
}

/** Negative log-likelihood of the last `count` ids together. */
function lossOf(model: LanguageModel, ids: Int32Array, count: number): number {
  const { training } = model;
  if (training) model.train(false);
  try {
    return noGrad(() =>
      scope(() => {
        const inputs = tensor(ids.subarray(0, -1), { dtype: 'int32', shape: [1, ids.length - 1] });
        const targets = tensor(ids.subarray(-count), { dtype: 'int32', shape: [1, count] });
        const options = { reduction: 'sum' } as const;
        const loss =
          model.hidden !== undefined && model.headWeight !== undefined
            ? linearCrossEntropy(slice(model.hidden(inputs), 1, -count), model.headWeight, targets, options)
            : crossEntropy(slice(model.forward(inputs), 1, -count), targets, options);
        return loss.item();
      }),
    );
  } finally {
    if (training) model.train(true);
  }
}

function checkCount(name: string, value: unknown, least: number, most: number): void {
  if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most) return;
  throw new ArgumentError(
    `perplexity: ${name} must be an integer from ${least} to ${most}, got ${String(value)}`,
  );
}
