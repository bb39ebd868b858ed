import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { Generator } from '../../../lib/index.js';
import {
  corruptedBatches,
  corruptSpans,
  restoreSpans,
  spanCounts,
  SpanCorruptionSource,
  spanVocabulary,
} from '../../../src/data/index.js';
import { wordPieces, wordsWithSentinels } from '../../support/word-tokenizers.js';

const words = Array.from({ length: 50 }, (_, i) => `w${i}`);
const tokenizer = wordsWithSentinels(words, 100);
const vocabulary = spanVocabulary(tokenizer);
const range = (n: number): Int32Array => Int32Array.from({ length: n }, (_, i) => 3 + (i % 50));

/** Lengths of the spans of a target. */
function spansOf(targets: Int32Array): number[] {
  const lengths: number[] = [];
  for (const id of targets.subarray(0, -1)) {
    if (vocabulary.sentinels.includes(id)) lengths.push(0);
    else lengths[lengths.length - 1]++;
  }
  return lengths;
}

describe('corruptSpans', () => {
  it('takes out 15 % in spans of 3 on average, exactly, over long texts', () => {
    const ids = range(1000);
    const { inputs, targets } = corruptSpans(ids, vocabulary, new Generator(1));
    const spans = spansOf(targets);
    expect(spans.reduce((a, b) => a + b)).toBe(150);
    expect(spans.length).toBe(50);
    expect([inputs.length, targets.length]).toEqual([850 + 50 + 1, 150 + 50 + 1]);
    expect(new Set(spans).size).toBeGreaterThan(3); // of random lengths
    const other = corruptSpans(ids, vocabulary, new Generator(1), { noiseDensity: 0.5, meanSpanLength: 10 });
    expect([other.targets.length, spansOf(other.targets).length]).toEqual([500 + 50 + 1, 50]);
  });

  it('names spans by descending sentinels, text first, both parts ended by </s>', () => {
    const first = tokenizer.vocabSize - 1;
    expect(vocabulary.sentinels).toEqual(Array.from({ length: 100 }, (_, i) => first - i));
    const { inputs, targets } = corruptSpans(range(100), vocabulary, new Generator(2));
    const used = [...inputs].filter((id) => id > 52);
    expect(used).toEqual([first, first - 1, first - 2, first - 3, first - 4]);
    expect([...targets].filter((id) => id > 52)).toEqual(used);
    expect([inputs[0], targets[0], inputs.at(-1), targets.at(-1)]).toEqual([3, first, 1, 1]);
  });

  it('cuts spans in every way alike', () => {
    // 4 of 8 tokens in 2 spans: lengths 1 3, 2 2 and 3 1 of both text and noise, 9 ways in all.
    const seen = new Map<string, number>();
    const generator = new Generator(3);
    for (let i = 0; i < 9000; i++) {
      const { inputs, targets } = corruptSpans(range(8), vocabulary, generator, {
        noiseDensity: 0.5,
        meanSpanLength: 2,
      });
      const key = `${spansOf(targets).join()} ${inputs.indexOf(vocabulary.sentinels[0])}`;
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }
    expect(seen.size).toBe(9);
    for (const count of seen.values()) expect(Math.abs(count - 1000)).toBeLessThan(120); // four standard deviations
  });

  it('can be undone, and ends, whatever the text and the options', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 3, max: 52 }), { minLength: 2, maxLength: 120 }),
        fc.double({ min: 0.001, max: 0.999, noNaN: true }),
        fc.double({ min: 1, max: 50, noNaN: true }),
        fc.nat(),
        (list, noiseDensity, meanSpanLength, seed) => {
          const ids = Int32Array.from(list);
          const options = { noiseDensity, meanSpanLength };
          const corrupted = corruptSpans(ids, vocabulary, new Generator(seed), options);
          expect(restoreSpans(corrupted, vocabulary)).toEqual(ids);
          const { noise, spans } = spanCounts(ids.length, options);
          expect(corrupted.targets.length).toBe(noise + spans + 1);
          expect(spansOf(corrupted.targets).every((length) => length > 0)).toBe(true);
        },
      ),
    );
  });

  it('refuses what cannot be done', () => {
    const corrupt =
      (n: number, options = {}) =>
      () =>
        corruptSpans(range(n), vocabulary, new Generator(1), options);
    expect(corrupt(1)).toThrow('corruptSpans: a text must have two tokens at least, got 1');
    expect(corrupt(9, { noiseDensity: 1 })).toThrow('noiseDensity must be between 0 and 1, got 1');
    expect(corrupt(9, { meanSpanLength: 0.5 })).toThrow('meanSpanLength must be at least 1, got 0.5');
    expect(corrupt(5000)).toThrow('a text of 5000 tokens needs 250 sentinels, the tokenizer has 100');
    expect(() => spanVocabulary(wordPieces(['a']))).toThrow(
      'span corruption: the tokenizer must have the tokens <extra_id_0>, ... and </s>',
    );
    const { inputs, targets } = corruptSpans(range(20), vocabulary, new Generator(1));
    expect(() => restoreSpans({ inputs, targets: targets.subarray(1) }, vocabulary)).toThrow(
      'restoreSpans: the target must begin with a sentinel',
    );
    expect(() => restoreSpans({ inputs, targets: Int32Array.of(1) }, vocabulary)).toThrow(
      `restoreSpans: the target has no span for sentinel ${vocabulary.sentinels[0]}`,
    );
  });
});

describe('SpanCorruptionSource', () => {
  const options = { batchSize: 3, sequenceLength: 64, tokenizer };

  it('fills the encoder without padding, and goes on from a state', () => {
    const source = new SpanCorruptionSource(range(500), options, new Generator(1));
    const { ids, labels, attentionMask } = source.next();
    expect(attentionMask).toBeUndefined();
    expect(ids.shape[0]).toBe(3);
    expect([63, 64]).toContain(ids.shape[1]);
    const row = Int32Array.from((ids.toArray() as number[][])[0]);
    const target = Int32Array.from((labels.toArray() as number[][])[0]);
    const text = restoreSpans({ inputs: row, targets: target }, vocabulary);
    expect(String(range(500))).toContain(String(text));
    const state = source.state();
    const next = source.next().ids.toArray();
    const other = new SpanCorruptionSource(range(500), options, new Generator(7));
    other.setState(state);
    expect(other.next().ids.toArray()).toEqual(next);
  });

  it('evaluates on windows side by side', () => {
    const batches = corruptedBatches(range(500), options, new Generator(1));
    expect(batches.map(({ ids }) => ids.shape[0])).toEqual([3, 3, 1]); // windows of 70 tokens
  });

  it('refuses texts, sequences and vocabularies that are too small', () => {
    const make = (n: number, changes: object) => () =>
      new SpanCorruptionSource(range(n), { ...options, ...changes }, new Generator(1));
    expect(make(20, {})).toThrow('the text has 20 tokens, too few for inputs of 64');
    expect(make(20, { sequenceLength: 2 })).toThrow('sequenceLength must be at least 3, got 2');
    expect(make(9000, { sequenceLength: 4000 })).toThrow(
      'sentinels, the tokenizer has 100; use shorter texts',
    );
    expect(make(500, { noiseDensiti: 0.1 })).toThrow("did you mean 'noiseDensity'?");
  });
});
