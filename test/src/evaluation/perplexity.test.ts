/** Perplexity with a sliding window against a direct computation, token by token. */

import { describe, expect, it } from 'vitest';

import {
  ArgumentError,
  Generator,
  GPT,
  logSoftmax,
  memory,
  noGrad,
  perplexity,
  tensor,
  type LanguageModel,
  type PerplexityOptions,
} from '../../../src/index.js';

const model = new GPT(
  { vocab_size: 23, n_positions: 16, n_embd: 16, n_layer: 2, n_head: 2, initializer_range: 0.4 },
  { generator: new Generator(3) },
).eval();
const random = new Generator(8);
const ids = Int32Array.from({ length: 75 }, () => random.nextInt(23));

/** -log p of token `at`, the model seeing those from `start` on. */
function surprise(start: number, at: number): number {
  const seen = tensor(ids.subarray(start, at), { dtype: 'int32', shape: [1, at - start] });
  const scores = noGrad(() => logSoftmax(model.forward(seen, { lastOnly: true })));
  return -scores.data[ids[at]];
}

/** The same the slow way: for each token the window in which it is new. */
function direct(length: number, window: number, stride: number): number {
  let sum = 0;
  for (let at = 1; at < length; at++) {
    const step = at < window ? 0 : Math.floor((at - window) / stride) + 1;
    const end = Math.min(length, window + step * stride);
    sum += surprise(Math.max(0, end - window), at);
  }
  return sum / (length - 1);
}

describe('perplexity', () => {
  it.each([
    [75, 16, 8],
    [75, 16, 15],
    [75, 16, 1],
    [75, 9, 4],
    [75, 2, 1],
    [16, 16, 8],
    [17, 16, 8],
    [5, 16, 8],
    [2, 16, 8],
  ])('of %i tokens, window %i, stride %i', async (length, window, stride) => {
    const steps: number[] = [];
    const onProgress: PerplexityOptions['onProgress'] = ({ tokens, total }) => {
      expect(total).toBe(length - 1);
      steps.push(tokens);
    };
    const result = await perplexity(model, ids.subarray(0, length), { window, stride, onProgress });
    expect(result.tokens).toBe(length - 1);
    expect(result.loss).toBeCloseTo(direct(length, window, stride), 5);
    expect(result.perplexity).toBeCloseTo(Math.exp(result.loss), 10);
    expect(steps.at(-1)).toBe(length - 1);
    expect(steps).toHaveLength(1 + Math.max(0, Math.ceil((length - window) / stride)));
  });

  it('takes the whole context and half of it by default, and models with a forward only', async () => {
    const whole = await perplexity(model, ids);
    expect(whole.loss).toBeCloseTo(direct(75, 16, 8), 5);
    const plain: LanguageModel = {
      contextLength: 16,
      training: false,
      train: () => undefined,
      forward: (x) => model.forward(x),
    };
    expect((await perplexity(plain, Array.from(ids))).loss).toBeCloseTo(whole.loss, 6);
  });

  it('leaves mode and memory as they were, and can be aborted', async () => {
    const before = memory().liveBytes;
    model.train();
    const controller = new AbortController();
    const stopped = perplexity(model, ids, {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(stopped).rejects.toThrow(/abort/i);
    const thrown = new Error('mine');
    const failing = perplexity(model, ids, {
      onProgress: () => {
        throw thrown;
      },
    });
    await expect(failing).rejects.toBe(thrown);
    expect(model.training).toBe(true);
    expect(memory().liveBytes).toBeLessThanOrEqual(before);
    model.eval();
  });

  it.each([
    [{ window: 1 }, 'perplexity: window must be an integer from 2 to 16, got 1'],
    [{ window: 17 }, 'window must be an integer from 2 to 16, got 17'],
    [{ stride: 16 }, 'perplexity: stride must be an integer from 1 to 15, got 16'],
    [{ stride: 0 }, 'stride must be an integer from 1 to 15, got 0'],
    [{ window: NaN }, 'window must be an integer from 2 to 16, got NaN'],
    [{ strid: 3 } as PerplexityOptions, "unknown option 'strid' (did you mean 'stride'?)"],
  ])('refuses %o', async (options, message) => {
    await expect(perplexity(model, ids, options)).rejects.toThrow(ArgumentError);
    await expect(perplexity(model, ids, options)).rejects.toThrow(message);
  });

  it('refuses too few tokens', async () => {
    await expect(perplexity(model, [3])).rejects.toThrow(
      'perplexity: there must be two tokens at least, got 1',
    );
  });
});
