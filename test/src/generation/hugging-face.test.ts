/** Generation against what Hugging Face's transformers gave: greedy, penalties, bans, beams, left padding, cuts. */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import { CharTokenizer, generate, GPT, Llama, type GenerateOptions } from '../../../src/index.js';
import { buildProcessors, type ProcessorOptions } from '../../../src/generation/processors.js';
import { checkSampling, Sampler, type SamplingOptions } from '../../../src/generation/sampling.js';
import { expectClose, golden, readGolden } from '../../support/golden.js';
import { isMissing, shared } from '../../support/shared.js';

/** Ids are all that these tests need: a character for each. */
const tokenizer = new CharTokenizer(
  Array.from({ length: 131 }, (_, id) => String.fromCodePoint(0x4e00 + id)),
);
const model = GPT.fromPretrained(golden('hf-gpt2')).eval();

interface Case {
  readonly prompts: number[][];
  readonly options: Record<string, unknown>;
  readonly tokens: number[][];
  readonly scores?: number[];
}

const camelCase = (options: Record<string, unknown>): GenerateOptions =>
  Object.fromEntries(
    Object.entries(options).map(([key, value]) => [
      key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      value,
    ]),
  );

describe('the tiny GPT-2, as transformers 5.24', () => {
  const { cases } = readGolden<{ cases: Case[] }>('generation', 'expected.json');

  it.each(cases.map((one) => [JSON.stringify(one.options), one] as const))('%s', async (_, one) => {
    const { prompts, options, tokens, scores } = one;
    const greedy = options.num_beams === undefined ? { doSample: false } : {};
    const batch = generate(model, tokenizer, prompts, { ...camelCase(options), ...greedy });
    await batch.texts();
    expect(batch.sequences.map((sequence) => sequence.tokens)).toEqual(tokens);
    if (scores !== undefined) {
      const found = batch.sequences.map(({ score }) => score!);
      expectClose(found, scores, { atol: 2e-5, rtol: 2e-5 }, 'scores');
    }
  });

  it.each(
    cases
      .filter(({ prompts }) => prompts.length > 1)
      .map((one) => [JSON.stringify(one.options), one] as const),
  )('each prompt alone: %s', async (_, { prompts, options, tokens }) => {
    const greedy = options.num_beams === undefined ? { doSample: false } : {};
    const alone: number[][] = [];
    for (const prompt of prompts) {
      const batch = generate(model, tokenizer, [prompt], { ...camelCase(options), ...greedy });
      await batch.texts();
      alone.push(...batch.sequences.map((sequence) => [...sequence.tokens]));
    }
    expect(alone).toEqual(tokens);
  });
});

interface Recorded {
  readonly sequences: number[][];
  readonly sequences_scores?: number[];
  readonly eos_token_id?: number;
}

const models = {
  'hf-gpt2': GPT,
  'hf-llama-gqa': Llama,
  'hf-llama3-rope-tied': Llama,
  'hf-llama-mha-fp16': Llama,
};

describe.each(Object.entries(models))('%s, as transformers 4.48', (name, { fromPretrained }) => {
  const expected = readGolden<Record<string, Recorded>>(name, 'expected.json');
  const decoder = fromPretrained(golden(name)).eval();
  const { sequences: first } = expected.greedy_20;
  const prompt = first[0].slice(0, 6);
  const tokensOf = async (options: GenerateOptions): Promise<number[]> => {
    const generation = generate(decoder, tokenizer, prompt, options);
    await generation.text();
    return [...prompt, ...generation.tokens];
  };

  it('greedy, with an end, penalty and n-gram', async () => {
    const greedy: GenerateOptions = { doSample: false, maxNewTokens: 20, eosTokenId: null };
    expect(await tokensOf(greedy)).toEqual(first[0]);
    const { sequences, eos_token_id } = expected.greedy_eos;
    expect([...(await tokensOf({ ...greedy, eosTokenId: eos_token_id })), eos_token_id]).toEqual(
      sequences[0],
    );
    expect(await tokensOf({ ...greedy, repetitionPenalty: 1.3 })).toEqual(
      expected['greedy_repetition_penalty_1.3'].sequences[0],
    );
    expect(await tokensOf({ ...greedy, noRepeatNgramSize: 2 })).toEqual(
      expected.greedy_no_repeat_ngram_2.sequences[0],
    );
  });

  it('beams', async () => {
    const { sequences, sequences_scores } = expected.beam4_10;
    const generation = generate(decoder, tokenizer, prompt, {
      numBeams: 4,
      maxNewTokens: 10,
      eosTokenId: null,
    });
    await generation.text();
    expect([...prompt, ...generation.tokens]).toEqual(sequences[0]);
    // The library ran this one in half precision.
    const rtol = name === 'hf-llama-mha-fp16' ? 2e-3 : 2e-5;
    expectClose([generation.score!], sequences_scores!, { atol: 2e-5, rtol });
  });

  it('left padding; a hole in the mask is as if it were not there', async () => {
    const { input_ids, attention_mask, sequences } = expected.batch_left_pad_greedy_8 as unknown as Record<
      string,
      number[][]
    >;
    const prompts = input_ids.map((ids, row) => ids.filter((_, i) => attention_mask[row][i] === 1));
    const batch = generate(decoder, tokenizer, prompts, {
      doSample: false,
      maxNewTokens: 8,
      eosTokenId: null,
    });
    await batch.texts();
    expect(batch.sequences.map(({ tokens }) => tokens)).toEqual(sequences.map((row) => row.slice(-8)));
  });
});

const recordedProcessors = ['oracle-hf', 'logits_processors.json'];

describe.skipIf(isMissing(...recordedProcessors))('logits processors and cuts', () => {
  interface File {
    readonly scores: number[][];
    readonly input_ids: number[][];
    readonly cases: Record<string, (number | '-inf')[][]>;
  }
  const file = isMissing(...recordedProcessors)
    ? { scores: [], input_ids: [], cases: {} }
    : (JSON.parse(readFileSync(shared(...recordedProcessors), 'utf8')) as File);
  const recorded = (name: string): number[][] =>
    file.cases[name].map((row) => row.map((score) => (score === '-inf' ? -Infinity : score)));

  const processors: Record<string, [ProcessorOptions, number]> = {
    'repetition_penalty_1.3': [{ repetitionPenalty: 1.3 }, 0],
    no_repeat_ngram_2: [{ noRepeatNgramSize: 2 }, 0],
    min_length_20_eos_4: [{ minLength: 20 }, 0],
    bad_words: [{ badWordsIds: [[7], [25, 9]] }, 0],
    forced_bos_at_len1_applies_only_then: [{ forcedBosTokenId: 7 }, 0],
    exp_decay: [{ exponentialDecayLengthPenalty: [1, 1.1] }, 10],
    suppress_1_2_3: [{ suppressTokens: [1, 2, 3] }, 0],
  };
  const cuts: Record<string, SamplingOptions> = {
    'temperature_0.7': { temperature: 0.7 },
    top_k_5: { topK: 5 },
    'top_p_0.9': { topP: 0.9 },
    'top_p_0.1': { topP: 0.1 },
    'min_p_0.05': { minP: 0.05 },
    'typical_p_0.8': { typicalP: 0.8 },
    'epsilon_0.01': { epsilonCutoff: 0.01 },
    'eta_0.01': { etaCutoff: 0.01 },
  };

  it('are all tested', () => {
    expect(Object.keys({ ...processors, ...cuts }).sort()).toEqual(Object.keys(file.cases).sort());
  });

  it.each(Object.entries(processors))('%s', (name, [options, promptLength]) => {
    file.scores.forEach((row, i) => {
      const scores = Float32Array.from(row);
      for (const process of buildProcessors(options, [4])) process(file.input_ids[i], scores, promptLength);
      expectClose(scores, recorded(name)[i], { rtol: 1e-6 }, name);
    });
  });

  it.each(Object.entries(cuts))('%s', (name, options) => {
    const sampler = new Sampler(checkSampling(options));
    file.scores.forEach((row, i) => {
      const top = Math.max(...recorded(name)[i]); // scores are relative to the greatest
      const scores = new Float64Array(row.length).fill(-Infinity);
      const kept = sampler.candidates(Float32Array.from(row));
      kept.ids.forEach((id, k) => (scores[id] = kept.scores[k] + top));
      expectClose(scores, recorded(name)[i], { atol: 2e-6, rtol: 1e-6 }, name);
    });
  });
});
