/** Generation with an encoder-decoder: T5 against what Hugging Face's transformers 4.48 gave. */

import { describe, expect, it } from 'vitest';
import { ArgumentError, CharTokenizer, generate, T5 } from '../../../src/index.js';
import { expectClose, golden, readGolden } from '../../support/golden.js';

/** Ids are all that these tests need: a character for each. */
const tokenizer = new CharTokenizer(
  Array.from({ length: 131 }, (_, id) => String.fromCodePoint(0x4e00 + id)),
);

interface Beams {
  sequences: number[][];
  sequences_scores: number[];
}
type Recorded = { input_ids: number[][]; attention_mask: number[][] } & Record<string, Beams>;

describe.each(['hf-t5-v1_0-relu-tied', 'hf-t5-v1_1-gated-gelu-untied'])('%s', (name) => {
  const expected = readGolden<Recorded>(name, 'expected.json');
  const model = T5.fromPretrained(golden(name));
  const texts = expected.input_ids.map((ids, row) =>
    ids.filter((_, i) => expected.attention_mask[row][i] === 1),
  );
  const written = ({ sequences }: Beams): number[][] => sequences.map((ids) => ids.slice(1)); // without the start token

  it('writes the recorded text greedily, padded texts together and each alone', async () => {
    const options = { doSample: false, maxNewTokens: 16 };
    const batch = generate(model, tokenizer, texts, options);
    await batch.texts();
    expect(batch.sequences.map(({ tokens }) => tokens)).toEqual(written(expected.greedy_16));
    for (const [i, text] of texts.entries()) {
      const alone = generate(model.train(), tokenizer, text, options);
      await alone.text();
      expect(alone.tokens).toEqual(written(expected.greedy_16)[i]);
      expect(model.training).toBe(true);
    }
    model.eval();
  });

  it.each([1, 0.6, 2])('finds the recorded beams, length penalty %f', async (lengthPenalty) => {
    const recorded = expected[`beam4_12_length_penalty_${lengthPenalty.toFixed(1)}`];
    const batch = generate(model, tokenizer, texts, { numBeams: 4, maxNewTokens: 12, lengthPenalty });
    await batch.texts();
    expect(batch.sequences.map(({ tokens }) => tokens)).toEqual(written(recorded));
    expectClose(batch.sequences.map(({ score }) => score!), recorded.sequences_scores, { atol: 1e-4, rtol: 1e-4 }); // prettier-ignore
  });

  it('finds the three best beams', async () => {
    const recorded = expected.beam4_12_return3_early_stopping;
    const options = { numBeams: 4, numReturnSequences: 3, maxNewTokens: 12, earlyStopping: true };
    const batch = generate(model, tokenizer, texts, options);
    await batch.texts();
    expect(batch.sequences.map(({ tokens }) => tokens)).toEqual(written(recorded));
  });

  it('counts what is generated, and what was read, without the text in the decoder', async () => {
    const options = { doSample: false, maxNewTokens: 16 };
    const free = generate(model, tokenizer, texts[0], options);
    await free.text();
    expect(free.prefillTokens).toBe(texts[0].length);
    const least = free.tokens.length === 16 ? 0 : free.tokens.length + 2; // past its end, so that the end must wait
    const forced = generate(model, tokenizer, texts[0], { ...options, minNewTokens: least });
    await forced.text();
    expect(forced.tokens.length).toBeGreaterThanOrEqual(least);
    // A penalty on what was generated takes effect from the second token on, however long the text was.
    const first = free.tokens[0];
    const penalized = generate(model, tokenizer, texts[0], {
      ...options,
      presencePenalty: 1e4,
      minNewTokens: 4,
    });
    await penalized.text();
    expect(penalized.tokens[0]).toBe(first);
    expect(new Set(penalized.tokens).size).toBe(penalized.tokens.length);
  });

  it('draws the same from the same seed', async () => {
    const draw = (seed: number): Promise<string> =>
      generate(model, tokenizer, texts[0], { seed, maxNewTokens: 12, topK: 20 }).text();
    expect(await draw(3)).toBe(await draw(3));
    expect(await draw(3)).not.toBe(await draw(4));
  });
});

it('an encoder-decoder without a start token is refused', () => {
  const sizes = { vocab_size: 131, d_model: 8, d_kv: 4, d_ff: 8, num_layers: 1, num_heads: 2 };
  const model = new T5({ ...sizes, decoder_start_token_id: null });
  const start = (): unknown => generate(model, tokenizer, [5, 6]);
  expect(start).toThrow(ArgumentError);
  expect(start).toThrow(
    'generate: the model has no decoder_start_token_id, which an encoder-decoder starts from',
  );
});
