import { describe, expect, it } from 'vitest';

import {
  ArgumentError,
  defaultGenerator,
  dropout,
  Generator,
  getThreads,
  manualSeed,
  ones,
  rand,
  randint,
  randn,
  setThreads,
} from '../../lib/index.js';
import { philox } from '../../lib/random.js';
import { bits } from '../support/compare.js';

describe('Philox', () => {
  it('is Random123 4x32-10', () => {
    // kat_vectors of Random123: counter and key zero
    expect(philox(0, 0).map((w) => w.toString(16))).toEqual(['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']);
  });

  it('is the same in TypeScript and in the kernels', () => {
    for (const seed of [0, 1, 2 ** 32 + 17, 2 ** 53 - 1]) {
      for (const skip of [0, 1, 3, 64, 4 * 2 ** 32 - 5]) {
        const [kernel, script] = [new Generator(seed), new Generator(seed)];
        kernel.setState({ seed, offset: skip });
        script.setState({ seed, offset: skip });
        const drawn = rand([131], { generator: kernel });
        const expected = Array.from({ length: 131 }, () => (script.nextUint32() >>> 8) / 2 ** 24);
        expect(drawn.toArray()).toEqual(expected);
        expect(kernel.state()).toEqual(script.state());
      }
    }
  });

  it('goes on where it stopped', () => {
    const whole = rand([100], { generator: new Generator(5) }).toArray();
    const generator = new Generator(5);
    const first = rand([37], { generator }).toArray() as number[];
    const state = generator.state();
    const resumed = new Generator(0);
    resumed.setState(state);
    expect([...first, ...(rand([63], { generator: resumed }).toArray() as number[])]).toEqual(whole);
  });

  it('gives the same numbers on one thread and on two', () => {
    const draw = (threads: number): Buffer[] => {
      setThreads(threads);
      const generator = new Generator(11);
      return [
        randn([100_003], { generator }),
        rand([100_003], { generator }),
        dropout(ones([100_003]), 0.5, { generator }),
      ].map(bits);
    };
    const threads = getThreads();
    try {
      const [one, two] = [draw(1), draw(2)];
      one.forEach((b, i) => expect(b.equals(two[i])).toBe(true));
    } finally {
      setThreads(threads);
    }
  });
});

describe('distributions', () => {
  const generator = new Generator(42);
  const moments = (x: Float64Array): [number, number] => {
    const mean = x.reduce((a, b) => a + b, 0) / x.length;
    return [mean, x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length];
  };

  it('are uniform', () => {
    const x = rand([100_000], { generator }).toFloat64Array();
    const [mean, variance] = moments(x);
    expect(mean).toBeCloseTo(0.5, 2);
    expect(variance).toBeCloseTo(1 / 12, 3);
    expect(x.every((v) => v >= 0 && v < 1)).toBe(true);
  });

  it('are normal', () => {
    const x = randn([100_000], { generator, mean: 3, std: 2 }).toFloat64Array();
    const [mean, variance] = moments(x);
    expect(Math.abs(mean - 3)).toBeLessThan(0.03);
    expect(Math.abs(variance - 4)).toBeLessThan(0.08);
    const within = x.filter((v) => Math.abs(v - 3) < 2).length / x.length;
    expect(within).toBeCloseTo(0.6827, 2);
  });

  it('are integers in their range', () => {
    const x = randint(-2, 3, [10_000], { generator });
    expect(x.dtype).toBe('int32');
    const counts = new Map<number, number>();
    for (const v of x.toFloat64Array()) counts.set(v, (counts.get(v) ?? 0) + 1);
    expect([...counts.keys()].sort((a, b) => a - b)).toEqual([-2, -1, 0, 1, 2]);
    for (const n of counts.values()) expect(Math.abs(n - 2000)).toBeLessThan(200);
    const wide = randint(-(2 ** 31), 2 ** 31, [1000], { generator }).toFloat64Array();
    expect(Math.max(...wide)).toBeGreaterThan(2 ** 30);
    expect(Math.min(...wide)).toBeLessThan(-(2 ** 30));
  });

  it('drop as often as asked, and scale the rest', () => {
    const y = dropout(ones([100_000]), 0.25, { generator }).toFloat64Array();
    const kept = y.filter((v) => v !== 0);
    expect(kept.every((v) => Math.abs(v - 4 / 3) < 1e-6)).toBe(true);
    expect(kept.length / y.length).toBeCloseTo(0.75, 2);
    expect(dropout(ones([10]), 1, { generator }).toArray()).toEqual(Array(10).fill(0));
  });

  it('come in every floating dtype', () => {
    for (const dtype of ['float64', 'float16', 'bfloat16'] as const) {
      expect(randn([3], { generator, dtype }).dtype).toBe(dtype);
    }
  });
});

describe('the default stream', () => {
  it('starts again at a seed', () => {
    manualSeed(7);
    const first = randn([5]).toArray();
    const other = randn([5]).toArray();
    manualSeed(7);
    expect(randn([5]).toArray()).toEqual(first);
    expect(other).not.toEqual(first);
    expect(defaultGenerator.state()).toEqual({ seed: 7, offset: 5 });
  });

  it('takes whole seeds only', () => {
    for (const seed of [-1, 1.5, NaN, 2 ** 53]) {
      expect(() => manualSeed(seed)).toThrow(ArgumentError);
      expect(() => manualSeed(seed)).toThrow(`seed: must be an integer from 0 to 2^53 - 1, got ${seed}`);
    }
  });
});

describe('numbers for scripts', () => {
  it('are uniform', () => {
    const generator = new Generator(3);
    const x = Array.from({ length: 20_000 }, () => generator.nextFloat());
    expect(x.reduce((a, b) => a + b) / x.length).toBeCloseTo(0.5, 2);
    const counts = [0, 0, 0];
    for (let i = 0; i < 3000; i++) counts[generator.nextInt(3)]++;
    for (const n of counts) expect(Math.abs(n - 1000)).toBeLessThan(120);
  });
});
