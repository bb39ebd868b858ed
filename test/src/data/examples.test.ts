import { describe, expect, it } from 'vitest';

import { Generator, type Tensor } from '../../../lib/index.js';
import {
  classBatches,
  encodeClassExamples,
  encodeSeq2SeqExamples,
  exampleBatches,
  ExampleSource,
  padIds,
  seq2seqBatches,
} from '../../../src/data/index.js';
import { wordPieces, wordsWithSentinels } from '../../support/word-tokenizers.js';

const rows = (t: Tensor | undefined): unknown => t?.toArray();

/** Texts of 1 to 40 tokens, each with its number in front. */
const lengths = Array.from({ length: 1000 }, (_, i) => 1 + ((i * 37) % 40));
const options = {
  batchSize: 8,
  lengthOf: (i: number) => lengths[i],
  idsOf: (i: number) => Int32Array.of(i),
  collate: (batch: readonly number[]) => [...batch],
};
const make = (seed = 1) => new ExampleSource([...lengths.keys()], options, new Generator(seed));

describe('ExampleSource', () => {
  it('takes every example once in a pass, in another order each time', () => {
    const source = make();
    const passes = [0, 1].map(() => Array.from({ length: source.length }, () => source.next()));
    for (const pass of passes) {
      expect(pass.flat().sort((a, b) => a - b)).toEqual([...lengths.keys()]);
    }
    expect(passes[0]).not.toEqual(passes[1]);
    expect(source.length).toBe(125);
  });

  it('puts texts of about the same length together, in batches of random lengths', () => {
    const source = make();
    let [tokens, places] = [0, 0];
    const firsts: number[] = [];
    for (let i = 0; i < source.length; i++) {
      const sizes = source.next().map((example) => lengths[example]);
      tokens += sizes.reduce((a, b) => a + b);
      places += sizes.length * Math.max(...sizes);
      firsts.push(sizes[0]);
    }
    expect(tokens / places).toBeGreaterThan(0.95); // 0.53 at random
    expect(firsts).not.toEqual([...firsts].sort((a, b) => a - b));
  });

  it('goes on from a state, also at the end of a pass', () => {
    for (const done of [0, 7, 125, 130]) {
      const [a, b] = [make(), make(5)];
      for (let i = 0; i < done; i++) a.next();
      b.setState(JSON.parse(JSON.stringify(a.state())) as ReturnType<typeof a.state>);
      for (let i = 0; i < 130; i++) expect(b.next()).toEqual(a.next());
    }
    expect(() => make().setState({ seed: 1, offset: 0 })).toThrow(
      'ExampleSource: the state must have done, from 0 to 125 batches, got {"seed":1,"offset":0}',
    );
    expect(make().identity).toEqual({
      batchSize: 8,
      trainExamples: 1000,
      trainHash: make(2).identity.trainHash,
    });
  });

  it('refuses to be empty', () => {
    expect(() => new ExampleSource([], options, new Generator(1))).toThrow(
      'there must be one example at least',
    );
  });
});

describe('batches', () => {
  const bert = wordPieces(['good', 'bad', 'day']);
  const label = (text: string, pair?: string) => ({
    text,
    ...(pair === undefined ? {} : { pair }),
    label: 'x',
    place: '',
  });

  it('of classes are padded to the longest, with a mask and segments', () => {
    const examples = encodeClassExamples(bert, [label('good day'), label('bad')], [1, 0], 16);
    const [batch] = exampleBatches(examples, classBatches(2, 0));
    expect(rows(batch.ids)).toEqual([[2, 6, 3, 0], [2, 5, 7, 3]]); // prettier-ignore
    expect(rows(batch.attentionMask)).toEqual([[1, 1, 1, 0], [1, 1, 1, 1]]); // prettier-ignore
    expect(batch.tokenTypeIds).toBeUndefined();
    expect(rows(batch.labels)).toEqual([0, 1]);
    const pairs = encodeClassExamples(bert, [label('good', 'bad day')], [0], 5);
    const [cut] = exampleBatches(pairs, classBatches(1, 0));
    expect(rows(cut.ids)).toEqual([[2, 5, 3, 6, 3]]);
    expect(rows(cut.tokenTypeIds)).toEqual([[0, 0, 0, 1, 1]]);
    expect(exampleBatches(pairs, classBatches(1, 0, { segments: false }))[0].tokenTypeIds).toBeUndefined();
  });

  it('of pairs are padded by -100 where they are written', () => {
    const t5 = wordsWithSentinels(['a', 'b', 'c'], 2);
    const pairs = [{ source: 'a b c', target: 'c' }, { source: 'a', target: 'b b' }]; // prettier-ignore
    const [batch] = exampleBatches(encodeSeq2SeqExamples(t5, pairs, 9), seq2seqBatches(2, 0));
    expect(rows(batch.ids)).toEqual([[3, 1, 0, 0], [3, 4, 5, 1]]); // prettier-ignore
    expect(rows(batch.labels)).toEqual([[4, 4, 1], [5, 1, -100]]); // prettier-ignore
    const [[short]] = [encodeSeq2SeqExamples(t5, pairs, 2)];
    expect([...short.ids]).toEqual([3, 1]); // cut before </s>
  });

  it('have no mask where nothing is padded, and refuse empty texts', () => {
    expect(padIds([Int32Array.of(1, 2), Int32Array.of(3, 4)], 0).attentionMask).toBeUndefined();
    expect(() => padIds([Int32Array.of(1), new Int32Array(0)], 0)).toThrow('padIds: row 1 has no token');
    expect(() => padIds([], 0)).toThrow('a batch needs one row at least, got none');
  });
});
