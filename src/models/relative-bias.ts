/**
 * T5's relative positions (Raffel et al., 2020, section 2.1): a bias on the scores, learned for each head and each bucket of
 * the distance from query to key. Half of the buckets are for single distances, the others for ranges that grow with the
 * logarithm. The rule is Hugging Face's, in float32 as there, which decides at the bounds of the ranges.
 */

import { indexSelect, reshape, type Tensor, tensor, transpose } from '../../lib/index.js';

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
 * The bias of `queries` positions, the last of `keys`, over these keys.
 *
 * @param table (buckets, H)
 * @returns (1, H, queries, keys)
 */
export function relativeBias(table: Tensor, queries: number, keys: number, rule: BucketRule): Tensor {
  // Of each distance once: from the last query to the first key, up to the first query to the last key.
  const byDistance = Int32Array.from({ length: keys + queries - 1 }, (_, i) =>
    relativeBucket(i + 1 - keys, rule),
  );
  const buckets = new Int32Array(queries * keys);
  for (let i = 0; i < queries; i++) {
    buckets.set(byDistance.subarray(queries - 1 - i, queries - 1 - i + keys), i * keys);
  }
  const bias = indexSelect(transpose(table, 0, 1), 1, tensor(buckets)); // (H, queries · keys)
  return reshape(bias, [1, table.shape[1], queries, keys]);
}
