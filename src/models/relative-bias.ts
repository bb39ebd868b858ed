/**
 * T5's relative positions (Raffel et al., 2020, section 2.1): a bias on the scores, learned for each head and each bucket of
 * the distance from query to key. Half of the buckets are for single distances, the others for ranges that grow with the
 * logarithm. The rule is Hugging Face's, in float32 as there, which decides at the bounds of the ranges.
 */

import { indexSelect, type Tensor, tensor, transpose } from '../../lib/index.js';

/** How distances become buckets. */
export interface BucketRule {
  /** Keys after the query have buckets of their own; else they share that of the query itself. */
  readonly bidirectional: boolean;
  readonly buckets: number;
  /** Distances from here on share the last bucket. */
  readonly maxDistance: number;
}

const { fround } = Math;

/** The bucket of a key that stands `distance` after the query. */
export function relativeBucket(
  distance: number,
  { bidirectional, buckets, maxDistance }: BucketRule,
): number {
  const side = bidirectional ? Math.floor(buckets / 2) : buckets;
  const first = bidirectional && distance > 0 ? side : 0;
  const n = bidirectional ? Math.abs(distance) : Math.max(-distance, 0);
  const exact = Math.floor(side / 2);
  if (n < exact) return first + n;
  const share = fround(fround(Math.log(fround(n / exact))) / fround(Math.log(maxDistance / exact)));
  return first + Math.min(exact + Math.trunc(fround(share * (side - exact))), side - 1);
}

/**
 * The bias of `queries` positions, the last of `keys`, over these keys, as `relativeBias` of attention takes it: one number
 * for each distance of the query behind the key.
 *
 * @param table (buckets, H)
 * @returns (H, queries + keys - 1)
 */
export function relativeBias(table: Tensor, queries: number, keys: number, rule: BucketRule): Tensor {
  const buckets = Int32Array.from({ length: queries + keys - 1 }, (_, i) =>
    relativeBucket(queries - 1 - i, rule),
  );
  return transpose(indexSelect(table, 0, tensor(buckets)), 0, 1);
}
