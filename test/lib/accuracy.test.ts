/** float32 functions over their whole range: the error in units of the last place of the correctly rounded result. */

import { describe, expect, it } from 'vitest';

import * as ts from '../../lib/index.js';
import { tensor, type Tensor } from '../../lib/index.js';

/** Numbers of every size between 2^least and 2^greatest, both signs unless `positive`. */
function everySize(least: number, greatest: number, positive = false): Float32Array {
  const count = 20_011;
  return Float32Array.from({ length: count }, (_, i) => {
    const size = 2 ** (least + ((greatest - least) * i) / (count - 1));
    return positive || i % 2 === 0 ? size : -size;
  });
}

const evenly = (low: number, high: number): Float32Array =>
  Float32Array.from({ length: 20_011 }, (_, i) => low + ((high - low) * i) / 20_010);

/** Distance between neighbouring float32 numbers at |x|. */
const spacing = (x: number): number => 2 ** (Math.max(Math.floor(Math.log2(Math.abs(x))), -126) - 23);

type Row = readonly [
  name: string,
  run: (x: Tensor) => Tensor,
  exact: (x: number) => number,
  points: Float32Array,
  ulps: number,
];

const rows: readonly Row[] = [
  ['sqrt', ts.sqrt, Math.sqrt, everySize(-126, 127, true), 0.5],
  ['rsqrt', ts.rsqrt, (x) => 1 / Math.sqrt(x), everySize(-126, 127, true), 1.5],
  ['reciprocal', ts.reciprocal, (x) => 1 / x, everySize(-125, 125), 0.5],
  ['exp', ts.exp, Math.exp, evenly(-86, 88), 1.5],
  ['exp near 0', ts.exp, Math.exp, everySize(-126, 0), 1.5],
  ['expm1', ts.expm1, Math.expm1, evenly(-30, 88), 2],
  ['expm1 near 0', ts.expm1, Math.expm1, everySize(-126, 0), 2],
  ['log', ts.log, Math.log, everySize(-126, 127, true), 1.5],
  ['log near 1', ts.log, Math.log, evenly(0.5, 2), 2],
  ['log1p', ts.log1p, Math.log1p, evenly(-0.99, 100), 2],
  ['log1p near 0', ts.log1p, Math.log1p, everySize(-126, -1), 2],
  ['sin', ts.sin, Math.sin, evenly(-3, 3), 2],
  ['tanh', ts.tanh, Math.tanh, evenly(-12, 12), 3],
  ['tanh near 0', ts.tanh, Math.tanh, everySize(-126, 0), 3],
  ['sigmoid', ts.sigmoid, (x) => 1 / (1 + Math.exp(-x)), evenly(-80, 80), 3],
  ['softplus', ts.softplus, (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))), evenly(-80, 80), 3],
  ['silu', ts.silu, (x) => x / (1 + Math.exp(-x)), evenly(-80, 80), 4],
];

describe('float32', () => {
  it.each(rows)('%s', (_, run, exact, points, ulps) => {
    const y = run(tensor(points)).data;
    let worst = 0;
    let at = NaN;
    points.forEach((x, i) => {
      const expected = exact(x);
      const error = Math.abs(y[i] - expected) / spacing(expected);
      if (!(error <= worst)) [worst, at] = [error, x];
    });
    expect(worst, `at ${at}`).toBeLessThanOrEqual(ulps + 0.01);
  });

  it('limits are reached without overflow', () => {
    const values = (x: Tensor): number[] => Array.from(x.toFloat64Array());
    const far = tensor([-1e30, -200, -104, 200, 1e30]);
    expect(values(far.exp())).toEqual([0, 0, expect.closeTo(0), Infinity, Infinity]);
    expect(values(far.tanh())).toEqual([-1, -1, -1, 1, 1]);
    expect(values(far.sigmoid())).toEqual([0, expect.closeTo(0), expect.closeTo(0), 1, 1]);
    expect(values(far.erf())).toEqual([-1, -1, -1, 1, 1]);
    expect(values(far.gelu()).map((v) => v + 0)).toEqual([0, 0, 0, 200, Math.fround(1e30)]);
    expect(values(far.gelu({ approximate: 'tanh' })).map((v) => v + 0)).toEqual([
      0,
      0,
      0,
      200,
      Math.fround(1e30),
    ]);
    expect(values(far.silu()).map((v) => v + 0)).toEqual([
      0,
      expect.closeTo(0),
      expect.closeTo(0),
      200,
      Math.fround(1e30),
    ]);
    expect(values(far.softplus())).toEqual([0, expect.closeTo(0), expect.closeTo(0), 200, Math.fround(1e30)]);
  });
});
