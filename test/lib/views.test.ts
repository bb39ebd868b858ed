/** Chains of views against the same steps on nested arrays, on random shapes. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { arange, scope, type Tensor } from '../../lib/index.js';

/** A tensor on plain numbers: its elements in row-major order. */
interface Plain {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** The tensor of `shape` whose element at an index is that of x at `source(index)`. */
function build(x: Plain, shape: readonly number[], source: (index: number[]) => number[]): Plain {
  const data = Array.from({ length: sizeOf(shape) }, (_, flat) => {
    const index: number[] = [];
    let rest = flat;
    for (let d = shape.length - 1; d >= 0; d--) {
      index.unshift(rest % shape[d]);
      rest = Math.floor(rest / shape[d]);
    }
    return x.data[source(index).reduce((at, i, d) => at * x.shape[d] + i, 0)];
  });
  return { shape, data };
}

type Step = (x: Tensor, plain: Plain, random: (n: number) => number) => readonly [Tensor, Plain];

const steps: readonly Step[] = [
  (x, plain, random) => {
    const [a, b] = [random(x.rank), random(x.rank)];
    const swap = (s: readonly number[]): number[] => s.map((v, d) => (d === a ? s[b] : d === b ? s[a] : v));
    return [x.transpose(a, b), build(plain, swap(plain.shape), swap)];
  },
  (x, plain, random) => {
    const dim = random(x.rank);
    const start = random(x.shape[dim] + 1);
    const end = start + random(x.shape[dim] - start + 1);
    const shape = plain.shape.map((n, d) => (d === dim ? end - start : n));
    const source = (index: number[]): number[] => index.map((i, d) => (d === dim ? i + start : i));
    return [x.slice(dim, start, end), build(plain, shape, source)];
  },
  (x, plain, random) => {
    // merge a dimension with the next, or cut one in two
    const dim = random(x.rank);
    const n = x.shape[dim];
    const shape = [...plain.shape];
    if (random(2) === 0 && dim + 1 < x.rank) shape.splice(dim, 2, n * shape[dim + 1]);
    else if (n > 0 && n % 2 === 0 && x.rank < 6) shape.splice(dim, 1, 2, n / 2);
    else if (x.rank < 6) shape.splice(dim, 0, 1);
    return [x.reshape(shape), { shape, data: plain.data }];
  },
  (x, plain, random) => {
    if (x.rank >= 6) return [x, plain];
    const repeats = 1 + random(3);
    const shape = [repeats, ...plain.shape];
    return [x.expand(shape), build(plain, shape, (index) => index.slice(1))];
  },
];

describe('views', () => {
  it('chained in any way show the right elements', () => {
    const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 4 });
    const choices = fc.array(fc.tuple(fc.nat(steps.length - 1), fc.nat(1000), fc.nat(1000)), {
      maxLength: 8,
    });
    fc.assert(
      fc.property(shapes, choices, (shape, chosen) =>
        scope(() => {
          const size = sizeOf(shape);
          let x = arange(size).reshape(shape);
          let plain: Plain = { shape, data: Array.from({ length: size }, (_, i) => i) };
          for (const [kind, ...seeds] of chosen) {
            let next = 0;
            [x, plain] = steps[kind](x, plain, (n) => seeds[next++ % 2] % Math.max(1, n));
          }
          expect(x.shape).toEqual(plain.shape);
          expect(Array.from(x.toFloat64Array())).toEqual(plain.data);
          expect(Array.from(x.clone().data)).toEqual(plain.data);
          expect(x.sum().item()).toBe(plain.data.reduce((a, b) => a + b, 0));
        }),
      ),
      { numRuns: 400, seed: 1 },
    );
  });
});
