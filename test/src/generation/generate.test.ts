/** Generation: the options, streaming, stopping, and equality with plain recomputation. */

import { describe, expect, it } from 'vitest';
import {
  argmax,
  ArgumentError,
  CharTokenizer,
  generate,
  type GenerateOptions,
  Generator,
  GPT,
  noGrad,
  sample,
  slice,
  tensor,
  type Tokenizer,
} from '../../../src/index.js';

const alphabet = 'abcdefghijklmnopqrstuvwxyz .,!?\n';
const tokenizer = CharTokenizer.fromText(alphabet);
const model = new GPT(
  {
    vocab_size: tokenizer.vocabSize,
    n_positions: 24,
    n_embd: 16,
    n_layer: 2,
    n_head: 2,
    initializer_range: 0.4,
  },
  { generator: new Generator(5) },
);
const run = (options: GenerateOptions): Promise<string> =>
  generate(model, tokenizer, 'hello', { seed: 1, ...options }).text();

/** Greedy decoding the slow way: the whole sequence through the model for every token. */
function recompute(prompt: string, count: number): string {
  const ids = Array.from(tokenizer.encode(prompt));
  for (let i = 0; i < count; i++) {
    const logits = noGrad(() => model.forward(tensor([ids], { dtype: 'int32' })));
    ids.push(argmax(slice(logits, 1, -1)).item());
  }
  return tokenizer.decode(ids.slice(prompt.length));
}

describe('generate', () => {
  it('gives with the cache what recomputation gives', async () => {
    model.eval();
    expect(await run({ temperature: 0, maxNewTokens: 15 })).toBe(recompute('hello', 15));
  });

  it('is reproducible by its seed and leaves the model as it was', async () => {
    model.train();
    const first = await run({ maxNewTokens: 40 });
    expect(await run({ maxNewTokens: 40 })).toBe(first);
    expect(await run({ maxNewTokens: 40, seed: 2 })).not.toBe(first);
    expect(model.training).toBe(true);
  });

  it('goes on past the context length', async () => {
    const generation = generate(model, tokenizer, 'hello', { maxNewTokens: 100, seed: 3 });
    expect(Array.from(await generation.text())).toHaveLength(100);
    expect(generation.tokens).toHaveLength(100);
    expect(generation.finishReason).toBe('length');
  });

  it('takes a prompt longer than the context', async () => {
    const generation = generate(model, tokenizer, 'a'.repeat(60), { maxNewTokens: 5, seed: 3 });
    expect(await generation.text()).toHaveLength(5);
    expect(generation.promptTokens).toBe(60);
    expect(generation.prefillTokens).toBe(model.contextLength / 2);
  });

  it('sees a prompt that fills the context from its beginning', async () => {
    model.eval();
    const prompt = 'abcdefghijklmnopqrstuvwx';
    expect(prompt).toHaveLength(model.contextLength);
    const text = await generate(model, tokenizer, prompt, { temperature: 0, maxNewTokens: 1 }).text();
    expect(text).toBe(recompute(prompt, 1));
  });

  it('leaves the model to others between tokens', async () => {
    model.train();
    const slow = run({ maxNewTokens: 40 });
    const quick = run({ maxNewTokens: 3 });
    await quick;
    expect(model.training).toBe(true);
    expect((await slow).slice(0, 3)).toBe(await quick);
    expect(await run({ maxNewTokens: 40 })).toBe(await slow);
  });

  it('stops at a stop text that spans tokens, and never shows its beginning', async () => {
    const text = await run({ maxNewTokens: 60 });
    const stop = text.slice(10, 13);
    const pieces: string[] = [];
    const generation = generate(model, tokenizer, 'hello', {
      seed: 1,
      maxNewTokens: 60,
      stopStrings: ['never!?', stop],
    });
    for await (const piece of generation) pieces.push(piece);
    expect(pieces.join('')).toBe(text.slice(0, text.indexOf(stop)));
    expect(generation.finishReason).toBe('stop');
  });

  it('hands out what was held back when the text ends inside a possible stop', async () => {
    const text = await run({ maxNewTokens: 10 });
    expect(await run({ maxNewTokens: 10, stopStrings: `${text.slice(-2)}#` })).toBe(text);
  });

  it('stops at the end-of-text token', async () => {
    const all = generate(model, tokenizer, 'hello', { seed: 1, maxNewTokens: 20 });
    await all.text();
    const eosTokenId = all.tokens[7];
    const generation = generate(model, tokenizer, 'hello', { seed: 1, maxNewTokens: 20, eosTokenId });
    await generation.text();
    expect(generation.tokens).toEqual(all.tokens.slice(0, all.tokens.indexOf(eosTokenId)));
    expect(generation.finishReason).toBe('eos');
  });

  it('ends with the reason of an aborted signal', async () => {
    await expect(run({ signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
    const controller = new AbortController();
    const generation = generate(model, tokenizer, 'hello', { signal: controller.signal, maxNewTokens: 1000 });
    await expect(
      (async () => {
        for await (const _ of generation) if (generation.tokens.length === 5) controller.abort();
      })(),
    ).rejects.toThrow(/abort/i);
    expect(generation.tokens).toHaveLength(5);
  });

  it('frees the cache when the consumer leaves early', async () => {
    model.train();
    for await (const _ of generate(model, tokenizer, 'hello', { maxNewTokens: 50 })) break;
    expect(model.training).toBe(true);
  });

  it('runs once, and says so', async () => {
    const again = 'this generation has run or is running; call generate again for another';
    const generation = generate(model, tokenizer, 'hello', { maxNewTokens: 3 });
    await generation.text();
    await expect(generation.text()).rejects.toThrow(again);
    const left = generate(model, tokenizer, 'hello', { maxNewTokens: 3 });
    for await (const _ of left) break;
    await expect(left.text()).rejects.toThrow(again);
  });

  it('draws no ids that only the model has', async () => {
    const half = CharTokenizer.fromText('abcdefgh');
    const generation = generate(model, half, 'a', { maxNewTokens: 60, seed: 1, temperature: 5 });
    expect(await generation.text()).toMatch(/^[a-h]{60}$/);
  });

  it('holds back half a character', async () => {
    // A byte-level tokenizer: ids are bytes, as in a GPT-2 vocabulary.
    const bytes: Tokenizer = Object.assign(Object.create(tokenizer) as Tokenizer, {
      decode: (ids: ArrayLike<number>) => new TextDecoder().decode(Uint8Array.from(ids)),
    });
    const euro = new TextEncoder().encode('€!');
    const { TextStream } = await import('../../../src/generation/text-stream.js');
    const stream = new TextStream(bytes, []);
    expect(Array.from(euro, (byte) => stream.push(byte))).toEqual(['', '', '€', '!']);
  });

  it.each([
    [{ maxNewTokens: -1 }, 'maxNewTokens must be a non-negative integer, got -1'],
    [{ maxNewTokens: NaN }, 'maxNewTokens must be a non-negative integer, got NaN'],
    [{ temperature: -1 }, 'temperature must be 0 (greedy) or greater, got -1'],
    [{ temperature: NaN }, 'temperature must be 0 (greedy) or greater, got NaN'],
    [{ topK: -3 }, 'topK must be 0 (all) or a positive integer, got -3'],
    [{ topP: 0 }, 'topP must lie above 0 and at most at 1, got 0'],
    [{ topP: 1.5 }, 'topP must lie above 0 and at most at 1, got 1.5'],
    [{ stopStrings: '' }, 'a stop text must not be empty'],
    [{ temperature: null }, 'temperature must be 0 (greedy) or greater, got null'],
    [{ temperature: '0.5' }, 'temperature must be 0 (greedy) or greater, got "0.5"'],
    [{ topP: '1' }, 'topP must lie above 0 and at most at 1, got "1"'],
    [{ stopStrings: 5 }, 'stopStrings must be a text or several, got 5'],
    [{ stopStrings: null }, 'stopStrings must be a text or several, got null'],
    [{ stopStrings: ['a', undefined] }, 'stopStrings must be a text or several, got ["a", undefined]'],
    [{ eosTokenId: NaN }, 'eosTokenId must be a token id, several or null, got NaN'],
    [{ eosTokenId: 'x' }, 'eosTokenId must be a token id, several or null, got "x"'],
    [{ signal: {} }, "signal must be an AbortController's signal"],
    [null, 'the options must be an object, got null'],
    [{ topk: 3 } as GenerateOptions, "unknown option 'topk' (did you mean 'topK'?)"],
  ] as unknown as [GenerateOptions, string][])('refuses %o', (options, message) => {
    expect(() => generate(model, tokenizer, 'hello', options)).toThrow(ArgumentError);
    expect(() => generate(model, tokenizer, 'hello', options)).toThrow(message);
  });

  it('refuses an empty prompt, and what is none', () => {
    expect(() => generate(model, tokenizer, '')).toThrow('generate: the prompt is empty');
    for (const [prompt, message] of [
      [[1.5], 'the prompt must be token ids, got 1.5 at 0'],
      [[1, NaN], 'the prompt must be token ids, got NaN at 1'],
      [[1, 'a'], 'the prompt must be token ids, got "a" at 1'],
      [[], 'the prompt is empty'],
      [['a', ''], 'the prompt is empty'],
      [['a', null], 'the prompt must be a text or token ids, got null'],
      [[[1], [2.5]], 'the prompt must be token ids, got 2.5 at 0'],
      [null, 'the prompt must be a text or token ids, got null'],
      [7, 'the prompt must be a text or token ids, got 7'],
    ] as [any, string][]) {
      expect(() => generate(model, tokenizer, prompt)).toThrow(ArgumentError);
      expect(() => generate(model, tokenizer, prompt)).toThrow(`generate: ${message}`);
    }
  });
});

describe('sample', () => {
  const logits = Float32Array.of(1, 3, 2, 0, -Infinity);
  const draw = (options: { temperature?: number; topK?: number; topP?: number }, n = 20000): number[] => {
    const generator = new Generator(11);
    const counts = new Array<number>(logits.length).fill(0);
    for (let i = 0; i < n; i++)
      counts[sample(logits, { temperature: 1, topK: 0, topP: 1, ...options }, generator)]++;
    return counts.map((c) => c / n);
  };

  it('draws with the probabilities of the softmax', () => {
    const weights = Array.from(logits, Math.exp);
    const total = weights.reduce((a, b) => a + b);
    draw({}).forEach((share, i) => expect(share).toBeCloseTo(weights[i] / total, 1.5));
    expect(draw({})[4]).toBe(0);
  });

  it('cuts by temperature, top-k and top-p', () => {
    expect(draw({ temperature: 0 }, 10)).toEqual([0, 1, 0, 0, 0]);
    expect(draw({ topK: 1 }, 10)).toEqual([0, 1, 0, 0, 0]);
    expect(draw({ topK: 2 }).map((s) => s > 0)).toEqual([false, true, true, false, false]);
    expect(draw({ topP: 0.7 }).map((s) => s > 0)).toEqual([false, true, true, false, false]);
    expect(draw({ topP: 0.3 }, 100)).toEqual([0, 1, 0, 0, 0]);
    expect(draw({ temperature: 0.1 })[1]).toBeGreaterThan(0.99);
  });

  it('refuses logits that are not finite', () => {
    for (const nan of [Float32Array.of(NaN, NaN), Float32Array.of(1, 2, NaN)]) {
      expect(() => sample(nan, { topK: 2 }, new Generator(1))).toThrow(/not finite \(NaN\)/);
    }
    expect(() => sample(logits, { topP: 2 }, new Generator(1))).toThrow('topP must lie above 0');
  });
});
