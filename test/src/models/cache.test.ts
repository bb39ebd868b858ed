/** The key/value cache: what it gives back, how its memory grows, windows, changing rows. */

import { describe, expect, it } from 'vitest';

import {
  ArgumentError,
  KVCache,
  Llama,
  memory,
  MemoryError,
  noGrad,
  scope,
  slice,
  tensor,
  type Tensor,
} from '../../../src/index.js';
import { expectClose, golden, readGolden } from '../../support/golden.js';

/** Position p of row b holds 100 b + p in every place. */
function positions(batch: number, from: number, to: number, sign = 1): Tensor {
  const length = to - from;
  const values = Float32Array.from({ length: batch * 2 * length * 3 }, (_, i) => {
    const place = Math.floor(i / 3);
    return sign * (100 * Math.floor(place / (2 * length)) + from + (place % length));
  });
  return tensor(values, { shape: [batch, 2, length, 3] });
}

const sizes = { layers: 1, batch: 2, heads: 2, capacity: 1000, headSize: 3 };

/** Appends positions up to each of `ends` and answers what row `row` sees in the end. */
function seen(cache: KVCache, ends: readonly number[], row = 0): number[] {
  return scope(() => {
    let keys = tensor(0);
    for (const end of ends) {
      const from = cache.length;
      const [k, v] = cache.layers[0].append(
        positions(cache.batch, from, end),
        positions(cache.batch, from, end, -1),
      );
      expectClose(v.neg(), k, {});
      keys = k;
    }
    return Array.from(keys.contiguous().data.subarray(0), Number).filter(
      (_, i, all) => i % 3 === 0 && Math.floor(i / (all.length / (2 * cache.batch))) === 2 * row,
    );
  });
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

describe('KVCache', () => {
  it('gives back all positions, in its growing memory', () => {
    const before = memory().liveBytes;
    const cache = new KVCache(sizes);
    expect(memory().liveBytes).toBe(before);
    expect(seen(cache, [5, 6, 7, 31])).toEqual(range(0, 31));
    const small = memory().liveBytes - before;
    expect(small).toBeLessThan(64 * 2 * 2 * 2 * 3 * 4 * 2);
    expect(seen(cache, range(32, 501), 1)).toEqual(range(100, 600));
    expect(cache.length).toBe(500);
    cache.dispose();
    expect(memory().liveBytes).toBe(before);
  });

  it('with a window gives only what the new positions see, in bounded memory', () => {
    const before = memory().liveBytes;
    const cache = new KVCache({ ...sizes, windows: [10] });
    expect(seen(cache, [4])).toEqual(range(0, 4));
    expect(seen(cache, [30])).toEqual(range(0, 30));
    expect(seen(cache, [31])).toEqual(range(21, 31));
    for (let end = 32; end <= 600; end++) {
      expect(seen(cache, [end])).toEqual(range(end - 10, end));
      if (end % 97 === 0) expect(seen(cache, [(end += 15)])).toEqual(range(end - 24, end));
    }
    expect(memory().liveBytes - before).toBeLessThan(80 * 2 * 2 * 2 * 3 * 4 * 2);
    cache.dispose();
  });

  it('changes rows: in place from a position on, or to another number of rows', () => {
    const cache = new KVCache({ ...sizes, batch: 3 });
    seen(cache, [6]);
    cache.reorder([2, 0, 0], 4);
    // Before position 4 the rows are taken as equal and stay.
    expect(seen(cache, [7], 0)).toEqual([0, 1, 2, 3, 204, 205, 6]);
    expect(seen(cache, [8], 1)).toEqual([100, 101, 102, 103, 4, 5, 106, 107]);
    cache.reorder([1]);
    expect(cache.batch).toBe(1);
    expect(seen(cache, [9])).toEqual([100, 101, 102, 103, 4, 5, 106, 107, 8]);
    cache.reorder([0, 0, 0, 0]);
    expect(seen(cache, [10], 3)).toEqual([100, 101, 102, 103, 4, 5, 106, 107, 8, 309]);
    cache.clear();
    expect(cache.length).toBe(0);
    cache.reorder([3, 1]);
    expect(seen(cache, [2], 1)).toEqual([100, 101]);
    cache.dispose();
  });

  it('refuses what does not fit', () => {
    using cache = new KVCache({ ...sizes, capacity: 4 });
    expect(() => seen(cache, [5])).toThrow(ArgumentError);
    expect(() => seen(cache, [5])).toThrow('KVCache: 5 positions do not fit a cache of 4');
    for (const rows of [[], [2], [-1]]) expect(() => cache.reorder(rows)).toThrow(ArgumentError);
    expect(() => cache.reorder([0, 7])).toThrow('KVCache.reorder: rows must lie from 0 to 1, got 7');
    expect(() => cache.reorder([])).toThrow('got none');
    using huge = new KVCache({ ...sizes, layers: 1000, heads: 2, capacity: 10 ** 9 });
    seen(huge, [1]);
    expect(() => huge.reorder(new Int32Array(10 ** 6))).toThrow(MemoryError);
    expect(() => huge.reorder(new Int32Array(10 ** 6))).toThrow(
      /KVCache: keys and values .* this machine has/,
    );
  });

  it.each(['hf-mistral', 'hf-qwen2'])('with windows gives what recomputation gives: %s', (name) => {
    const model = Llama.fromPretrained(golden(name)).eval();
    const { input_ids } = readGolden<{ input_ids: number[][] }>(name, 'expected.json');
    const ids = (rows: number[][]): Tensor => tensor(rows, { dtype: 'int32' });
    const [long, short] = [input_ids[0], input_ids[1].slice(5)];
    const rows = [long, [0, 0, 0, 0, 0, ...short]];
    const mask = rows.map((row, r) => row.map((_, i) => r === 0 || i >= 5));
    const whole = noGrad(() => model.forward(ids(rows), { attentionMask: tensor(mask) }));
    using cache = model.newCache(2);
    for (const [from, to] of [
      [0, 9],
      [9, 10],
      [10, 11],
      [11, 13],
      ...range(13, long.length).map((i) => [i, i + 1]),
    ]) {
      const logits = noGrad(() =>
        model.forward(ids(rows.map((row) => row.slice(from, to))), {
          cache,
          attentionMask: tensor(mask.map((row) => row.slice(0, to))),
          lastOnly: true,
        }),
      );
      expectClose(logits, slice(whole, 1, to - 1, to), { atol: 1e-5, rtol: 1e-5 }, `position ${to}`);
    }
  });
});
