/** Choosing tokens: thresholds against sorting, shares of the draws, cuts alone and together, what is refused. */

import { describe, expect, it } from 'vitest';

import { ArgumentError, Generator, sample, type SamplingOptions } from '../../../src/index.js';
import { buildProcessors } from '../../../src/generation/processors.js';
import { checkSampling, Sampler } from '../../../src/generation/sampling.js';
import { likeliest } from '../../../src/generation/logprobs.js';
import { threshold } from '../../../src/generation/threshold.js';

const random = new Generator(4);
const numbers = (n: number, spread: number): Float32Array =>
  Float32Array.from({ length: n }, () => (random.nextFloat() - 0.5) * spread);

describe('threshold', () => {
  it.each([1, 7, 100, 5000])('is the k-th largest of %i values', (n) => {
    for (const spread of [1e-30, 1, 100, 1e30]) {
      const values = numbers(n, spread);
      values[random.nextInt(n)] = -Infinity;
      const sorted = values.slice().sort().reverse();
      for (const k of [1, 2, Math.ceil(n / 3), n].filter((k) => k <= n)) {
        const { value, above } = threshold(values, k);
        expect(value).toBe(sorted[k - 1]);
        expect(above).toBe(values.filter((v) => v > value).length);
      }
    }
  });

  it('is the edge of the nucleus', () => {
    const values = numbers(1000, 10).map((x) => Math.exp(x));
    const total = values.reduce((a, b) => a + b, 0);
    const sorted = values.slice().sort().reverse();
    for (const part of [0.01, 0.5, 0.9, 0.999]) {
      let sum = 0;
      const edge = sorted.findIndex((v) => (sum += v) >= part * total);
      expect(threshold(values, part * total, values).value).toBe(sorted[edge]);
    }
    // More than all together: the least one that weighs something.
    expect(threshold(values, total * 1.001, values).value).toBe(sorted[999]);
    expect(threshold(Float32Array.of(0, 3, 0, 1), 10, Float32Array.of(0, 3, 0, 1)).value).toBe(1);
  });

  it('takes equal values, zeros of both signs and infinities', () => {
    expect(threshold(Float32Array.of(2, 2, 2), 2).value).toBe(2);
    const zeros = Float32Array.of(-0, 0, -1e-45, 1e-45, -1, 0, -0);
    expect([1, 2, 5, 6, 7].map((k) => threshold(zeros, k).value)).toEqual([
      Math.fround(1e-45),
      0,
      0,
      Math.fround(-1e-45),
      -1,
    ]);
    expect(threshold(Float32Array.of(-Infinity, -Infinity, 5), 3).value).toBe(-Infinity);
  });

  it('orders the likeliest', () => {
    expect(likeliest(Float32Array.of(1, 5, 3, 5, 2), 3)).toEqual([1, 3, 2]);
    expect(likeliest(Float32Array.of(1, 5), 9)).toEqual([1, 0]);
    expect(likeliest(Float32Array.of(1, 5), 0)).toEqual([]);
  });
});

describe('sample', () => {
  const logits = Float32Array.of(1, 3, 2, 0, -Infinity);
  const draw = (options: SamplingOptions, n = 20000): number[] => {
    const generator = new Generator(11);
    const counts = new Array<number>(logits.length).fill(0);
    const sampler = new Sampler(checkSampling(options));
    for (let i = 0; i < n; i++) counts[sampler.choose(logits, generator)]++;
    return counts.map((c) => c / n);
  };
  const drawn = (options: SamplingOptions): boolean[] => draw(options).map((share) => share > 0);

  it('draws with the probabilities of the softmax', () => {
    const weights = Array.from(logits, Math.exp);
    const total = weights.reduce((a, b) => a + b);
    draw({}).forEach((share, i) => expect(share).toBeCloseTo(weights[i] / total, 1.5));
    expect(draw({})[4]).toBe(0);
  });

  it('cuts, alone and together', () => {
    expect(draw({ temperature: 0 }, 10)).toEqual([0, 1, 0, 0, 0]);
    expect(draw({ doSample: false }, 10)).toEqual([0, 1, 0, 0, 0]);
    expect(draw({ topK: 1 }, 10)).toEqual([0, 1, 0, 0, 0]);
    expect(drawn({ topK: 2 })).toEqual([false, true, true, false, false]);
    expect(drawn({ topP: 0.7 })).toEqual([false, true, true, false, false]);
    expect(draw({ topP: 0.3 }, 100)).toEqual([0, 1, 0, 0, 0]);
    expect(draw({ temperature: 0.1 })[1]).toBeGreaterThan(0.99);
    // Probabilities: 0.087, 0.644, 0.237, 0.032.
    expect(drawn({ minP: 0.2 })).toEqual([false, true, true, false, false]);
    expect(drawn({ epsilonCutoff: 0.05 })).toEqual([true, true, true, false, false]);
    expect(drawn({ etaCutoff: 0.05 })).toEqual([true, true, true, false, false]);
    expect(drawn({ topK: 3, topP: 0.95 })).toEqual([true, true, true, false, false]);
    expect(drawn({ topK: 2, topP: 0.7 })).toEqual([false, true, false, false, false]);
    expect(drawn({ temperature: 1e-300, topK: 4 })).toEqual([false, true, false, false, false]);
    expect(drawn({ temperature: Number.MAX_VALUE, topK: 4 })).toEqual([true, true, true, true, false]);
  });

  it('takes tokens that are equally likely in the order of their ids', () => {
    const flat = new Float32Array(10);
    const sampler = new Sampler(checkSampling({ topP: 0.35 }));
    expect(sampler.candidates(flat).ids).toEqual([0, 1, 2, 3]);
    expect(new Sampler(checkSampling({ topK: 2 })).candidates(flat).ids).toHaveLength(10); // as transformers
  });

  it('refuses logits that are not finite', () => {
    for (const nan of [Float32Array.of(NaN, NaN), Float32Array.of(1, 2, NaN), Float32Array.of(1, Infinity)]) {
      expect(() => sample(nan, { topK: 2 }, new Generator(1))).toThrow(ArgumentError);
      expect(() => sample(nan, { topK: 2 }, new Generator(1))).toThrow(/not finite \((NaN|Infinity)\)/);
    }
    expect(() => sample(new Float32Array(3).fill(-Infinity), {}, new Generator(1))).toThrow(
      'every token is excluded',
    );
    expect(() => sample(logits, { topP: 2 }, new Generator(1))).toThrow('topP must lie above 0');
  });
});

describe('processors that Hugging Face does not have', () => {
  const apply = (options: object, ids: number[], promptLength = 0): number[] => {
    const scores = Float32Array.of(1, 1, 1, 1);
    for (const process of buildProcessors(options, [])) process(ids, scores, promptLength);
    return Array.from(scores);
  };

  it('logitBias', () => {
    expect(apply({ logitBias: { 2: -Infinity, 0: 1.5 } }, [1])).toEqual([2.5, 1, -Infinity, 1]);
    expect(apply({ logitBias: new Map([[3, -4]]) }, [1])).toEqual([1, 1, 1, -3]);
  });

  it('frequency and presence penalties count what was generated', () => {
    expect(apply({ frequencyPenalty: 0.5 }, [0, 0, 1, 2, 2, 2], 2)).toEqual([1, 0.5, -0.5, 1]);
    expect(apply({ presencePenalty: -0.5 }, [0, 0, 1, 2, 2, 2], 2)).toEqual([1, 1.5, 1.5, 1]);
  });

  it('passes over ids that have no score', () => {
    expect(apply({ repetitionPenalty: 2, noRepeatNgramSize: 1, frequencyPenalty: 1 }, [9, 1])).toEqual([
      1,
      -Infinity,
      1,
      1,
    ]);
  });

  it("the caller's come last, in their order", () => {
    const double = (_: readonly number[], scores: Float32Array): void =>
      scores.forEach((s, i) => (scores[i] = s * 2));
    const one = (_: readonly number[], scores: Float32Array): void =>
      scores.forEach((s, i) => (scores[i] = s + 1));
    expect(apply({ logitBias: { 0: 2 }, logitsProcessor: [double, one] }, [1])).toEqual([7, 3, 3, 3]);
    expect(apply({ logitsProcessor: one }, [1])).toEqual([2, 2, 2, 2]);
  });
});
