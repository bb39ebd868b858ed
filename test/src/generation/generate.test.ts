/** Generation: the options, streaming, stopping, and equality with plain recomputation. */

import { describe, expect, it } from 'vitest';
import {
  argmax,
  ArgumentError,
  type CausalModel,
  CharTokenizer,
  generate,
  type GenerateOptions,
  Generator,
  GPT,
  logSoftmax,
  memory,
  noGrad,
  slice,
  tensor,
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

/** The model with something changed. */
const changed = (changes: Partial<CausalModel>): CausalModel => ({
  contextLength: model.contextLength,
  newCache: (batch, capacity) => model.newCache(batch, capacity),
  forward: (ids, options) => model.forward(ids, options),
  training: false,
  train: () => undefined,
  ...changes,
});

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

  it('takes nothing from a signal that is aborted already', async () => {
    const before = memory().liveBytes;
    const signal = AbortSignal.abort(new Error('enough'));
    for (const options of [{ signal }, { signal, numBeams: 2 }]) {
      let pieces = 0;
      const generation = generate(model, tokenizer, 'hello', options);
      await expect(
        (async () => {
          for await (const _ of generation) pieces++;
        })(),
      ).rejects.toThrow('enough');
      expect(pieces + generation.tokens.length).toBe(0);
    }
    expect(memory().liveBytes).toBe(before);
  });

  it('frees the cache however it ends', async () => {
    model.train();
    const before = memory().liveBytes;
    for await (const _ of generate(model, tokenizer, 'hello', { maxNewTokens: 50 })) break;
    expect(memory().liveBytes).toBe(before);
    for await (const _ of generate(model, tokenizer, ['hello', 'you'], { maxNewTokens: 50 })) break;
    for await (const _ of generate(model, tokenizer, ['hello', 'you'], { maxNewTokens: 9, numBeams: 3 }))
      break;
    expect(memory().liveBytes).toBe(before);
    const thrown = new Error('mine');
    const logitsProcessor = (ids: readonly number[]): void => {
      if (ids.length === 9) throw thrown;
    };
    for (const options of [{ logitsProcessor }, { logitsProcessor, numBeams: 2 }]) {
      await expect(generate(model, tokenizer, 'hello', options).text()).rejects.toBe(thrown);
    }
    const consumer = (async () => {
      for await (const _ of generate(model, tokenizer, 'hello', { maxNewTokens: 50 })) throw thrown;
    })();
    await expect(consumer).rejects.toBe(thrown);
    expect(model.training).toBe(true);
    expect(memory().liveBytes).toBe(before);
  });

  it('allocates nothing more for later tokens', async () => {
    let early = 0;
    let late = 0;
    const generation = generate(model, tokenizer, 'hello', {
      maxNewTokens: 300,
      seed: 1,
      topP: 0.9,
      minP: 0.01,
    });
    for await (const _ of generation) {
      if (generation.tokens.length === 60) early = memory().liveBytes;
      if (generation.tokens.length === 299) late = memory().liveBytes;
    }
    expect(late).toBe(early);
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

  it('gives each prompt of a batch what it gets alone', async () => {
    const prompts = ['hello', 'a', 'the quick brown', tokenizer.encode('you')];
    for (const options of [
      { doSample: false },
      { seed: 40, temperature: 1.3 },
      { seed: 40, topK: 5, repetitionPenalty: 1.2, noRepeatNgramSize: 3, frequencyPenalty: 0.1 },
    ] as GenerateOptions[]) {
      const batch = generate(model, tokenizer, prompts, { ...options, maxNewTokens: 60, eosTokenId: 3 });
      const texts = await batch.texts();
      for (const [i, prompt] of prompts.entries()) {
        const seed = options.seed === undefined ? {} : { seed: options.seed + i };
        const alone = generate(model, tokenizer, prompt, {
          ...options,
          ...seed,
          maxNewTokens: 60,
          eosTokenId: 3,
        });
        expect(texts[i]).toBe(await alone.text());
        expect(batch.sequences[i].tokens).toEqual(alone.tokens);
        expect(batch.sequences[i].finishReason).toBe(alone.finishReason);
        expect(batch.sequences[i].promptTokens).toBe(alone.promptTokens);
        expect(batch.sequences[i].prefillTokens).toBe(alone.prefillTokens);
      }
    }
  });

  it('streams the pieces of a batch with their index', async () => {
    const batch = generate(model, tokenizer, ['hello', 'you'], { maxNewTokens: 10, seed: 3 });
    const texts = ['', ''];
    const order: number[] = [];
    for await (const { index, text } of batch) {
      texts[index] += text;
      order.push(index);
    }
    expect(order.slice(0, 4)).toEqual([0, 1, 0, 1]);
    expect(texts).toEqual(
      await generate(model, tokenizer, ['hello', 'you'], { maxNewTokens: 10, seed: 3 }).texts(),
    );
    expect(texts.map((text) => text.length)).toEqual([10, 10]);
    expect(batch.decodeSeconds).toBeGreaterThan(0);
  });

  it('gives several texts of a prompt', async () => {
    const options = { maxNewTokens: 12, seed: 5, temperature: 2 };
    const batch = generate(model, tokenizer, ['hello', 'you'], { ...options, numReturnSequences: 3 });
    const texts = await batch.texts();
    expect(batch.sequences.map(({ prompt }) => prompt)).toEqual([0, 0, 0, 1, 1, 1]);
    expect(new Set(texts).size).toBe(6);
    for (const [i, text] of texts.entries()) {
      const alone = generate(model, tokenizer, i < 3 ? 'hello' : 'you', { ...options, seed: 5 + i });
      expect(await alone.text()).toBe(text);
    }
  });

  it('tells log-probabilities, by the model alone', async () => {
    model.eval();
    const generation = generate(model, tokenizer, 'hello', {
      maxNewTokens: 6,
      seed: 2,
      temperature: 2,
      repetitionPenalty: 1.5,
      logprobs: 3,
    });
    await generation.text();
    const ids = [...tokenizer.encode('hello'), ...generation.tokens];
    const scores = noGrad(() =>
      logSoftmax(model.forward(tensor([ids], { dtype: 'int32' }))),
    ).toArray() as number[][][];
    expect(generation.logprobs).toHaveLength(6);
    for (const [i, { id, logprob, top }] of generation.logprobs.entries()) {
      const row = scores[0][4 + i];
      expect(id).toBe(generation.tokens[i]);
      expect(logprob).toBeCloseTo(row[id], 4);
      const best = row.map((_, other) => other).sort((a, b) => row[b] - row[a]);
      expect(top.map((one) => one.id)).toEqual(best.slice(0, 3));
      top.forEach((one) => expect(one.logprob).toBeCloseTo(row[one.id], 4));
    }
  });

  it('ends at any of several ends, but not before the least length', async () => {
    const all = generate(model, tokenizer, 'hello', { doSample: false, maxNewTokens: 20 });
    await all.text();
    const eosTokenId = [...new Set(all.tokens.slice(0, 4))];
    const run = async (options: GenerateOptions): Promise<readonly number[]> => {
      const generation = generate(model, tokenizer, 'hello', {
        doSample: false,
        maxNewTokens: 20,
        eosTokenId,
        ...options,
      });
      await generation.text();
      return generation.tokens;
    };
    expect(await run({})).toEqual([]);
    expect((await run({ minNewTokens: 7 })).length).toBeGreaterThanOrEqual(7);
    expect((await run({ minLength: 12 })).length).toBeGreaterThanOrEqual(7);
  });

  it('takes what it is not told from the generation config', async () => {
    model.eval();
    const told = (generationConfig: Record<string, unknown>, options: GenerateOptions = {}) =>
      generate(changed({ generationConfig }), tokenizer, 'hello', {
        seed: 8,
        ...options,
      }).text();
    const config = {
      transformers_version: '4.0',
      max_new_tokens: 9,
      do_sample: true,
      temperature: 3,
      top_k: 2,
      top_p: null,
      num_return_sequences: 7,
    };
    const same = { maxNewTokens: 9, temperature: 3, topK: 2 };
    expect(await told(config)).toBe(await run({ ...same, seed: 8 }));
    expect(await told({ maxNewTokens: 9, temperature: 3, topK: 2 })).toBe(await run({ ...same, seed: 8 }));
    expect(await told(config, { temperature: 0, maxNewTokens: 12 })).toBe(
      await run({ temperature: 0, maxNewTokens: 12 }),
    );
    expect(await told({ ...config, do_sample: false })).toBe(await run({ temperature: 0, maxNewTokens: 9 }));
    expect(await told({ ...config, do_sample: false }, { temperature: 3 })).toBe(
      await run({ ...same, seed: 8 }),
    );
    const beams = { numBeams: 3, maxNewTokens: 9 };
    expect(await told({ ...config, num_beams: 5 }, { numBeams: 3 })).toBe(await run(beams));
    expect(await told({ max_new_tokens: 9, num_beams: 3 })).toBe(await run(beams));
    expect(await told({ ...config, num_beams: 3 }, { temperature: 3 })).toBe(await run({ ...same, seed: 8 }));
    const first = tokenizer.encode(await run({ temperature: 0 }))[0];
    expect(await told({ eos_token_id: [5, first] }, { temperature: 0 })).toBe('');
    expect(await told({ eos_token_id: first }, { temperature: 0, eosTokenId: null })).not.toBe('');
    expect(() => told({ top_k: -1 })).toThrow(
      'generationConfig: topK must be 0 (all) or a positive integer, got -1',
    );
  });

  it('finds a stop text in a beam search', async () => {
    const beams = { numBeams: 3, maxNewTokens: 20 };
    const text = await run(beams);
    const stop = text.slice(6, 8);
    const batch = generate(model, tokenizer, ['hello'], {
      ...beams,
      stopStrings: stop,
      numReturnSequences: 3,
    });
    for (const found of await batch.texts()) expect(found).not.toContain(stop);
    expect(batch.sequences.map(({ finishReason }) => finishReason)).toContain('stop');
    const { score } = batch.sequences[0];
    expect(batch.sequences.every((sequence) => sequence.score! <= score!)).toBe(true);
  });

  it('searches a vocabulary that is smaller than its beams', async () => {
    const two = CharTokenizer.fromText('ab');
    const batch = generate(model, two, ['a'], { numBeams: 8, numReturnSequences: 8, maxNewTokens: 3 });
    const texts = await batch.texts();
    expect(new Set(texts)).toEqual(new Set(['aaa', 'aab', 'aba', 'abb', 'baa', 'bab', 'bba', 'bbb']));
    expect(await generate(model, two, 'a', { numBeams: 8, maxNewTokens: 3 }).text()).toBe(texts[0]);
  });

  it('goes on past the context length in a beam search', async () => {
    const generation = generate(model, tokenizer, 'hello', { numBeams: 3, maxNewTokens: 60 });
    expect(await generation.text()).toHaveLength(60);
  });

  it('ends at once where there is nothing to add', async () => {
    for (const options of [{ maxNewTokens: 0 }, { maxNewTokens: 0, numBeams: 2 }]) {
      const generation = generate(model, tokenizer, 'hello', options);
      expect(await generation.text()).toBe('');
      expect(generation.finishReason).toBe('length');
    }
  });

  it('takes a trillion tokens and a thousand stop texts as they come', async () => {
    const before = memory().liveBytes;
    const stopStrings = Array.from({ length: 1000 }, (_, i) => `no${i}`);
    let count = 0;
    for await (const _ of generate(model, tokenizer, 'hello', { maxNewTokens: 1e12, stopStrings })) {
      if (++count === 100) break;
    }
    expect(memory().liveBytes).toBe(before);
  });

  it('says when the logits are not numbers, or no token is left', async () => {
    const before = memory().liveBytes;
    model.eval();
    const broken = changed({ forward: (ids, options) => model.forward(ids, options).mul(NaN) });
    const suppressTokens = Array.from({ length: tokenizer.vocabSize }, (_, id) => id);
    for (const more of [{}, { doSample: false }, { numBeams: 2 }]) {
      const nan = generate(broken, tokenizer, 'hello', more).text();
      await expect(nan).rejects.toThrow(ArgumentError);
      await expect(nan).rejects.toThrow('logits are not finite (NaN); its weights are damaged');
      const none = generate(model, tokenizer, 'hello', { ...more, suppressTokens }).text();
      await expect(none).rejects.toThrow('generate: every token is excluded');
    }
    expect(memory().liveBytes).toBe(before);
  });

  it('draws no ids that only the model has', async () => {
    const half = CharTokenizer.fromText('abcdefgh');
    const generation = generate(model, half, 'a', { maxNewTokens: 60, seed: 1, temperature: 5 });
    expect(await generation.text()).toMatch(/^[a-h]{60}$/);
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
    [{ minP: 1.5 }, 'minP must lie from 0 (all) to 1, got 1.5'],
    [{ typicalP: 0 }, 'typicalP must lie above 0 and at most at 1, got 0'],
    [{ epsilonCutoff: 1 }, 'epsilonCutoff must lie from 0 (all) to below 1, got 1'],
    [{ etaCutoff: -1 }, 'etaCutoff must lie from 0 (all) to below 1, got -1'],
    [{ doSample: 1 }, 'doSample must be true or false, got 1'],
    [{ repetitionPenalty: 0 }, 'repetitionPenalty must be greater than 0, got 0'],
    [{ frequencyPenalty: Infinity }, 'frequencyPenalty must be a finite number, got Infinity'],
    [{ presencePenalty: '1' }, 'presencePenalty must be a finite number, got "1"'],
    [{ noRepeatNgramSize: -2 }, 'noRepeatNgramSize must be a non-negative integer, got -2'],
    [{ badWordsIds: [[]] }, 'badWordsIds must be lists of token ids, got [[]]'],
    [{ badWordsIds: [[1, 500]] }, 'badWordsIds names token 500, the vocabulary has the ids 0 to 31'],
    [{ suppressTokens: [1.5] }, 'suppressTokens must be a list of token ids, got [1.5]'],
    [{ forcedBosTokenId: 32 }, 'forcedBosTokenId names token 32, the vocabulary'],
    [{ exponentialDecayLengthPenalty: [1] }, 'exponentialDecayLengthPenalty must be [start, factor]'],
    [{ logitBias: { 99999: 1 } }, 'logitBias names token 99999, the vocabulary has the ids 0 to 31'],
    [{ logitBias: { x: 1 } }, 'logitBias names token NaN'],
    [{ logitBias: { 1: NaN } }, 'logitBias must be a finite number or -Infinity, got NaN for token 1'],
    [{ logitBias: 3 }, 'logitBias must be an object or a Map of token ids and numbers, got 3'],
    [{ logitsProcessor: 3 }, 'logitsProcessor must be a function or several, got 3'],
    [{ minNewTokens: -1 }, 'minNewTokens must be a non-negative integer, got -1'],
    [{ minLength: 1.5 }, 'minLength must be a non-negative integer, got 1.5'],
    [{ numBeams: 0 }, 'numBeams must be an integer from 1 to 256, got 0'],
    [{ numBeams: 10_000 }, 'numBeams must be an integer from 1 to 256, got 10000'],
    [{ numBeams: 2, temperature: 0.5 }, 'numBeams takes the likeliest texts; leave out temperature'],
    [{ numBeams: 2, doSample: true }, 'numBeams takes the likeliest texts'],
    [{ numBeams: 2, logprobs: 1 }, 'logprobs are not recorded by a beam search'],
    [{ numBeams: 2, numReturnSequences: 3 }, 'numReturnSequences must be at most numBeams, got 3 and 2'],
    [{ numReturnSequences: 0 }, 'numReturnSequences must be an integer from 1 to 1024, got 0'],
    [{ numReturnSequences: 2 }, 'numReturnSequences 2 needs a list of prompts'],
    [{ numReturnSequences: 2, doSample: false }, 'needs draws or beams; greedy decoding has one result'],
    [{ lengthPenalty: NaN }, 'lengthPenalty must be a finite number, got NaN'],
    [{ earlyStopping: 'always' }, 'earlyStopping must be true, false or \'never\', got "always"'],
    [{ logprobs: -1 }, 'logprobs must be a non-negative integer, got -1'],
    [{ seed: -1 }, 'seed must be an integer from 0 to'],
    [{ eosTokenId: [1, 'x'] }, 'eosTokenId must be a token id, several or null, got [1, "x"]'],
    [{ stop: 'x' }, "unknown option 'stop' (did you mean 'stopStrings'?)"],
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
