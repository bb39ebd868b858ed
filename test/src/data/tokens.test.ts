import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ArgumentError, Generator } from '../../../lib/index.js';
import { BatchSampler, sequentialBatches, splitTokens } from '../../../src/data/index.js';

const range = (n: number): Int32Array => Int32Array.from({ length: n }, (_, i) => i);

describe('splitTokens', () => {
  it('cuts off the last part', () => {
    const { train, validation } = splitTokens(range(1_115_394), 0.1);
    expect([train.length, validation.length, validation[0]]).toEqual([1_003_854, 111_540, 1_003_854]);
    expect(splitTokens(range(5), 0).validation.length).toBe(0);
  });

  it('refuses parts that are none', () => {
    for (const fraction of [-0.1, 1, NaN])
      expect(() => splitTokens(range(5), fraction)).toThrow(ArgumentError);
  });
});

describe('BatchSampler', () => {
  const options = { batchSize: 4, sequenceLength: 8 };

  it('gives windows and what follows them, from the first place to the last', () => {
    const sampler = new BatchSampler(range(11), options, new Generator(1));
    const starts = new Set<number>();
    for (let i = 0; i < 20; i++) {
      const { inputs, targets } = sampler.next();
      expect([inputs.dtype, inputs.shape, targets.shape]).toEqual(['int32', [4, 8], [4, 8]]);
      const x = inputs.toArray() as number[][];
      const y = targets.toArray() as number[][];
      x.forEach((row, b) => {
        starts.add(row[0]);
        row.forEach((id, t) => {
          expect(id).toBe(row[0] + t);
          expect(y[b][t]).toBe(id + 1);
        });
      });
    }
    expect([...starts].sort()).toEqual([0, 1, 2]);
  });

  it('repeats itself with the same seed and goes on from a state', () => {
    const make = (seed: number) => new BatchSampler(range(1000), options, new Generator(seed));
    const [a, b, other] = [make(7), make(7), make(8)];
    expect(a.next().inputs.toArray()).toEqual(b.next().inputs.toArray());
    expect(a.next().inputs.toArray()).not.toEqual(other.next().inputs.toArray());
    const state = JSON.parse(JSON.stringify(a.state())) as ReturnType<typeof a.state>;
    const next = a.next().inputs.toArray();
    other.setState(state);
    expect(other.next().inputs.toArray()).toEqual(next);
  });

  it('refuses texts that are too short, and sizes that are none', () => {
    const make = (n: number, o = options) => new BatchSampler(range(n), o, new Generator(1));
    expect(() => make(8)).toThrow(
      'the text has 8 tokens to train on, too few for a sequence of 8 (at least 9 are needed)',
    );
    expect(() => make(0)).toThrow(ArgumentError);
    expect(make(9).next().inputs.size).toBe(32);
    expect(() => make(9, { batchSize: 0, sequenceLength: 8 })).toThrow(
      'batchSize: must be a positive integer, got 0',
    );
    expect(() => make(9, { batchSize: 1, sequenceLength: 1.5 })).toThrow(
      'sequenceLength: must be a positive integer',
    );
    expect(() => make(9, { batchSize: 5e9, sequenceLength: 1 })).toThrow(
      'BatchSampler: a batch of 5000000000 sequences of 1 has more than 2147483647 tokens',
    );
  });
});

describe('sequentialBatches', () => {
  it('predicts every token but the first exactly once', () => {
    fc.assert(
      fc.property(
        fc.nat(60),
        fc.integer({ min: 1, max: 7 }),
        fc.integer({ min: 1, max: 9 }),
        (n, batchSize, sequenceLength) => {
          const seen: number[] = [];
          for (const { inputs, targets } of sequentialBatches(range(n), { batchSize, sequenceLength })) {
            expect(inputs.shape[0]).toBeLessThanOrEqual(batchSize);
            expect(inputs.shape[1]).toBeLessThanOrEqual(sequenceLength);
            expect([...targets.data].map((id) => id - 1)).toEqual([...inputs.data]);
            seen.push(...targets.data);
          }
          expect(seen).toEqual([...range(n).subarray(1)]);
        },
      ),
    );
  });
});
