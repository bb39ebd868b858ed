import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ArgumentError, Generator, type Tensor } from '../../../lib/index.js';
import {
  maskedBatches,
  MaskedTextSource,
  NextSentenceSource,
  splitSentences,
  TokenMasker,
  type MaskedBatch,
} from '../../../src/data/index.js';
import { CharTokenizer, type PretrainedTokenizer } from '../../../src/tokenizers/index.js';
import { wordPieces } from '../../support/word-tokenizers.js';

const letters = Array.from('abcdefghijklmnopqrstuvwxyz');
/** Ids 5 to 30 begin words, 31 to 56 go on. */
const tokenizer = wordPieces([...letters, ...letters.map((letter) => `##${letter}`)]);
const maskId = tokenizer.maskId!;
const rows = (t: Tensor): number[][] => t.toArray() as number[][];

/** Words of three pieces between special tokens. */
const text = Int32Array.from([
  2,
  ...Array.from({ length: 3000 }, (_, i) => (i % 3 === 0 ? 5 : 31) + (i % 26)),
  3,
]);

/** How many of the labelled tokens are hidden, replaced and kept, and how many there are. */
function count(masked: { ids: Int32Array; labels: Int32Array }, original: Int32Array) {
  let [hidden, random, kept, all] = [0, 0, 0, 0];
  masked.labels.forEach((label, i) => {
    if (label === -100) {
      expect(masked.ids[i]).toBe(original[i]);
      return;
    }
    expect(label).toBe(original[i]);
    all++;
    if (masked.ids[i] === maskId) hidden++;
    else if (masked.ids[i] === label) kept++;
    else random++;
  });
  return { hidden, random, kept, all };
}

/** Sums over many maskings of the text. */
function rates(masker: TokenMasker, times = 40) {
  const generator = new Generator(1);
  const sums = { hidden: 0, random: 0, kept: 0, all: 0 };
  for (let i = 0; i < times; i++) {
    const found = count(masker.mask(text, generator), text);
    for (const name of Object.keys(sums) as (keyof typeof sums)[]) sums[name] += found[name];
  }
  const { hidden, random, kept, all } = sums;
  return { rate: all / (3000 * times), hidden: hidden / all, random: random / all, kept: kept / all };
}

describe('TokenMasker', () => {
  it('chooses 15 % of the tokens: 80 % hidden, 10 % replaced, 10 % kept', () => {
    const { rate, hidden, random, kept } = rates(new TokenMasker(tokenizer));
    expect(rate).toBeCloseTo(0.15, 10); // 450 of 3,000 each time
    // 18,000 draws: three standard deviations are below 0.009; a random token is the old one in 1 of 52.
    expect(Math.abs(hidden - 0.8)).toBeLessThan(0.009);
    expect(Math.abs(random - 0.1 * (51 / 52))).toBeLessThan(0.007);
    expect(Math.abs(kept - 0.1 * (53 / 52))).toBeLessThan(0.007);
  });

  it('honours maskProb, randomProb and keepProb', () => {
    const only = (options: object) => rates(new TokenMasker(tokenizer, options), 10);
    expect(only({ maskProb: 0.4, randomProb: 0, keepProb: 0 })).toEqual({
      rate: 0.4,
      hidden: 1,
      random: 0,
      kept: 0,
    });
    expect(only({ randomProb: 0, keepProb: 1 })).toMatchObject({ hidden: 0, kept: 1 });
    const { hidden, random } = only({ randomProb: 1, keepProb: 0 });
    expect(hidden).toBe(0);
    expect(random).toBeGreaterThan(0.96);
    expect(only({ maskProb: 1 }).rate).toBe(1);
  });

  it('meets the rate on average where texts are short', () => {
    const masker = new TokenMasker(tokenizer);
    const generator = new Generator(2);
    const short = Int32Array.from([2, ...Array<number>(18).fill(5), 3]); // 2.7 tokens
    let all = 0;
    for (let i = 0; i < 4000; i++) all += count(masker.mask(short, generator), short).all;
    expect(Math.abs(all / 4000 - 2.7)).toBeLessThan(0.022);
  });

  it('never chooses special tokens, never puts one but the mask, and chooses one token at least', () => {
    const masker = new TokenMasker(tokenizer, { randomProb: 0.5, keepProb: 0 });
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 56 }), { maxLength: 40 }), fc.nat(), (list, seed) => {
        const ids = Int32Array.from(list);
        const { ids: masked, labels } = masker.mask(ids, new Generator(seed));
        ids.forEach((id, i) => {
          if (id < 5) expect([labels[i], masked[i]]).toEqual([-100, id]);
          else if (labels[i] !== -100) expect(masked[i] === maskId || masked[i] >= 5).toBe(true);
        });
        const ordinary = ids.filter((id) => id >= 5).length;
        expect(labels.some((label) => label !== -100)).toBe(ordinary > 0);
      }),
    );
  });

  it('chooses whole words where it is told to', () => {
    const masker = new TokenMasker(tokenizer, { wholeWords: true });
    const { labels } = masker.mask(text, new Generator(3));
    let words = 0;
    for (let i = 1; i < text.length - 1; i += 3) {
      const chosen = [0, 1, 2].filter((j) => labels[i + j] !== -100).length;
      expect([0, 3]).toContain(chosen);
      words += chosen / 3;
    }
    expect(words).toBe(150);
    const pieces = new TokenMasker(tokenizer).mask(text, new Generator(3)).labels;
    expect(Array.from({ length: 1000 }, (_, w) => pieces.slice(1 + 3 * w, 4 + 3 * w).filter((l) => l !== -100).length)).toContain(1); // prettier-ignore
  });

  it('gives the same for the same seed', () => {
    const masker = new TokenMasker(tokenizer);
    const mask = (seed: number) => masker.mask(text, new Generator(seed));
    expect(mask(1)).toEqual(mask(1));
    expect(mask(1)).not.toEqual(mask(2));
  });

  it('refuses parts that are none, and tokenizers without a mask', () => {
    const make = (options: object) => () => new TokenMasker(tokenizer, options);
    expect(make({ maskProb: 1.5 })).toThrow('TokenMasker: maskProb must be from 0 to 1, got 1.5');
    expect(make({ maskProb: 0 })).toThrow('TokenMasker: maskProb must be above 0, got 0');
    expect(make({ randomProb: 0.6, keepProb: 0.5 })).toThrow(
      'TokenMasker: randomProb and keepProb must be at most 1 together, got 0.6 and 0.5',
    );
    expect(make({ maskprob: 0.1 })).toThrow("did you mean 'maskProb'?");
    const char = CharTokenizer.fromText('abc') as unknown as PretrainedTokenizer;
    expect(() => new TokenMasker(char)).toThrow(
      'TokenMasker: the tokenizer has no mask token, which hides the others',
    );
  });
});

const masker = new TokenMasker(tokenizer);
const sizes = { batchSize: 4, sequenceLength: 10, tokenizer, masker };
const ids = text.subarray(1, -1);

describe('MaskedTextSource', () => {
  it('gives windows between [CLS] and [SEP], and goes on from a state', () => {
    const source = new MaskedTextSource(ids, sizes, new Generator(1));
    const { ids: inputs, labels, attentionMask } = source.next();
    expect([inputs.shape, labels.shape, attentionMask]).toEqual([[4, 10], [4, 10], undefined]);
    rows(inputs).forEach((row, b) => {
      expect([row[0], row[9]]).toEqual([2, 3]);
      // The text rises by one but where a word begins: what was hidden fits in.
      const whole = row.map((id, t) => (rows(labels)[b][t] === -100 ? id : rows(labels)[b][t])).slice(1, -1);
      expect(String(ids)).toContain(String(whole));
    });
    const state = JSON.parse(JSON.stringify(source.state())) as ReturnType<typeof source.state>;
    const next = source.next();
    const other = new MaskedTextSource(ids, sizes, new Generator(9));
    other.setState(state);
    expect(other.next().ids.toArray()).toEqual(next.ids.toArray());
    expect(source.length).toBe(3000 / 32);
    expect(source.identity).toMatchObject({ batchSize: 4, maskProb: 0.15, trainTokens: 3000 });
  });

  it('evaluates on every token of a text once', () => {
    const batches = maskedBatches(ids.subarray(0, 60), sizes, new Generator(1));
    const whole = batches.flatMap(({ ids: inputs, labels, attentionMask }) =>
      rows(inputs).flatMap((row, b) => {
        const mask = attentionMask === undefined ? null : rows(attentionMask)[b];
        const real = row.map((id, t) => (rows(labels)[b][t] === -100 ? id : rows(labels)[b][t]));
        return real.filter((id, t) => (mask === null || mask[t]) && id > 4);
      }),
    );
    expect(whole).toEqual([...ids.subarray(0, 60)]);
    expect(batches.map(({ ids: inputs }) => inputs.shape)).toEqual([[4, 10], [4, 10]]); // prettier-ignore
  });

  it('refuses texts and windows that are too short', () => {
    const make = (length: number, sequenceLength: number) => () =>
      new MaskedTextSource(ids.subarray(0, length), { ...sizes, sequenceLength }, new Generator(1));
    expect(make(7, 10)).toThrow(
      'MaskedTextSource: the text has 7 tokens, too few for a sequence of 10 (8 and two special ones)',
    );
    expect(make(8, 10)).not.toThrow();
    expect(make(100, 2)).toThrow('sequenceLength must be at least 3, as special tokens stand around a text');
    expect(make(100, 2.5)).toThrow(ArgumentError);
  });
});

describe('NextSentenceSource', () => {
  // Document d has the letters of its own; sentence s of it is that letter s + 1 times.
  const documents = Array.from({ length: 6 }, (_, d) =>
    Array.from({ length: 5 }, (_, s) => new Int32Array(s + 1).fill(5 + d)),
  );
  const source = () => new NextSentenceSource(documents, { ...sizes, sequenceLength: 24 }, new Generator(1));

  /** The two texts of each row, with what was hidden put back. */
  function pairs(batch: MaskedBatch) {
    const [inputs, labels, types] = [batch.ids, batch.labels, batch.tokenTypeIds!].map(rows);
    return inputs.map((row, b) => {
      const real = row.map((id, t) => (labels[b][t] === -100 ? id : labels[b][t]));
      const [end, last] = [real.indexOf(3), real.lastIndexOf(3)];
      expect(real[0]).toBe(2);
      expect(types[b]).toEqual(row.map((_, t) => Number(t > end && t <= last)));
      return { first: real.slice(1, end), second: real.slice(end + 1, last) };
    });
  }

  it('follows in half of the pairs, and comes from elsewhere in the others', () => {
    const drawn = source();
    let follows = 0;
    for (let i = 0; i < 250; i++) {
      const batch = drawn.next();
      pairs(batch).forEach(({ first, second }, b) => {
        const related = batch.relationships!.data[b] === 0;
        follows += Number(related);
        expect(first.length).toBeGreaterThan(0);
        expect(second.length).toBeGreaterThan(0);
        expect(first.length + second.length + 3).toBeLessThanOrEqual(24);
        expect(new Set(first).size).toBe(1);
        expect(first[0] === second[0]).toBe(related);
      });
    }
    expect(Math.abs(follows / 1000 - 0.5)).toBeLessThan(0.05); // three standard deviations
  });

  it('goes on from a state, and works on one document', () => {
    const a = source();
    a.next();
    const state = a.state();
    const next = rows(a.next().ids);
    const b = source();
    b.setState(state);
    expect(rows(b.next().ids)).toEqual(next);
    const single = new NextSentenceSource([documents[0]], sizes, new Generator(1));
    for (let i = 0; i < 20; i++) expect(single.next().ids.shape[0]).toBe(4);
    expect(() => new NextSentenceSource([documents[0].slice(0, 2)], sizes, new Generator(1))).toThrow(
      'NextSentenceSource: there must be two pairs of sentences at least',
    );
  });

  it('takes sentences from text', () => {
    expect(splitSentences('One. Two!\nThree\n\n\n"Four?" five.\r\n\r\n')).toEqual([
      ['One.', 'Two!', 'Three'],
      ['"Four?"', 'five.'],
    ]);
  });
});
