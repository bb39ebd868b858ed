import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ArgumentError } from '../../../lib/index.js';
import { permutation } from '../../../src/data/index.js';

const orderOf = (size: number, seed: number, stream = 0): number[] =>
  Array.from({ length: size }, (_, place) => place).map(permutation(size, seed, stream));

/** Pearson's statistic of counts that should all be equal, in standard deviations from its mean. */
function deviation(counts: readonly number[]): number {
  const expected = counts.reduce((a, b) => a + b, 0) / counts.length;
  const chi2 = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  const freedom = counts.length - 1;
  return (chi2 - freedom) / Math.sqrt(2 * freedom);
}

describe('permutation', () => {
  it('has each thing once, whatever the size, seed and stream', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 600 }), fc.maxSafeNat(), fc.nat(), (size, seed, stream) => {
        const order = orderOf(size, seed, stream);
        expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, i) => i));
      }),
    );
  });

  it('gives each of the 120 orders of five things equally often', () => {
    const counts = new Map<string, number>();
    for (let seed = 0; seed < 60_000; seed++) {
      const order = orderOf(5, seed).join('');
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(120);
    expect(Math.abs(deviation([...counts.values()]))).toBeLessThan(4);
  });

  it.each([[40], [64], [97]])('puts each of %d things to each place equally often', (size) => {
    const places = new Array<number>(size * size).fill(0);
    const neighbours = new Array<number>(size * size).fill(0); // of the thing at place 0: which comes next
    for (let seed = 0; seed < 12_000; seed++) {
      const order = orderOf(size, 7, seed);
      order.forEach((thing, place) => places[place * size + thing]++);
      neighbours[order[0] * size + order[1]]++;
    }
    expect(Math.abs(deviation(places))).toBeLessThan(4);
    const pairs = neighbours.filter((_, i) => Math.floor(i / size) !== i % size);
    expect(pairs).toHaveLength(size * (size - 1));
    expect(Math.abs(deviation(pairs))).toBeLessThan(4);
  });

  it('spreads over orders that no array could hold', () => {
    const size = 2 ** 40 + 1;
    const order = permutation(size, 3);
    const bins = new Array<number>(64).fill(0);
    const steps = new Array<number>(64).fill(0);
    const seen = new Set<number>();
    for (let place = 0; place < 20_000; place++) {
      const thing = order(place);
      seen.add(thing);
      bins[Math.floor((thing / size) * 64)]++;
      steps[Math.floor((((order(place + 1) - thing + size) % size) / size) * 64)]++;
    }
    expect(seen.size).toBe(20_000);
    expect(Math.abs(deviation(bins))).toBeLessThan(4);
    expect(Math.abs(deviation(steps))).toBeLessThan(4);
  });

  it('is the same in every release: saved runs go on in it', () => {
    expect(orderOf(10, 42)).toMatchInlineSnapshot(`
      [
        6,
        0,
        8,
        3,
        2,
        1,
        4,
        9,
        5,
        7,
      ]
    `);
    expect(orderOf(10, 42, 1)).toMatchInlineSnapshot(`
      [
        0,
        7,
        6,
        8,
        2,
        4,
        5,
        1,
        9,
        3,
      ]
    `);
    expect([0, 1, 2].map(permutation(2 ** 45, 2 ** 52, 9))).toMatchInlineSnapshot(`
      [
        8480715798065,
        27749885689373,
        33026652485627,
      ]
    `);
  });

  it('refuses what is no size or seed', () => {
    for (const args of [
      [0, 1],
      [1.5, 1],
      [2 ** 49, 1],
      [5, -1],
      [5, 0.5],
      [5, 1, -1],
    ] as const) {
      expect(() => permutation(args[0], args[1], args[2])).toThrow(ArgumentError);
    }
  });
});
