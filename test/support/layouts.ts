/** The same numbers in every way that they can lie in memory. What lies between them is NaN (or a bad id). */

import {
  expand,
  full,
  noGrad,
  pad,
  permute,
  select,
  slice,
  stack,
  type DType,
  type Tensor,
} from '../../lib/index.js';

import { fromNumbers } from './compare.js';

export const layouts = ['contiguous', 'transposed', 'sliced', 'broadcast'] as const;
export type Layout = (typeof layouts)[number];

/** A tensor without history. `broadcast` repeats the first place of the first dimension, so its numbers differ. */
export function inLayout(
  layout: Layout,
  values: ArrayLike<number>,
  shape: readonly number[],
  dtype: DType,
): Tensor {
  return noGrad(() => build(layout, fromNumbers(values, shape, dtype)));
}

function build(layout: Layout, x: Tensor): Tensor {
  const filler = x.dtype === 'int32' ? -12345 : x.dtype === 'bool' ? 1 : NaN;
  if (x.rank === 0 || layout === 'contiguous') return x;
  if (layout === 'broadcast') return expand(slice(x, 0, 0, 1), x.shape);
  if (layout === 'sliced') {
    const padded = pad(x, x.shape.flatMap(() => [1, 2]), filler); // prettier-ignore
    return x.shape.reduce((t, n, d) => slice(t, d, 1, n + 1), padded);
  }
  if (x.rank === 1) {
    const other = full(x.shape, filler, { dtype: x.dtype });
    return select(stack([other, x, other], 1), 1, 1);
  }
  const reversed = x.shape.map((_, d) => x.rank - 1 - d);
  return permute(permute(x, reversed).clone(), reversed);
}
