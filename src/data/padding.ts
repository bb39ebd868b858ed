/** Rows of unequal length as one batch: filled up at their ends to the longest, with a mask that says where tokens are. */

import { ArgumentError } from '../../lib/errors.js';
import { tensor } from '../../lib/ops/create.js';
import type { Tensor } from '../../lib/tensor.js';

/** A batch of texts. */
export interface PaddedIds {
  /** (B, T) int32 */
  readonly ids: Tensor;
  /** (B, T) bool, false for padding; absent where nothing is padded. */
  readonly attentionMask?: Tensor;
}

/**
 * Ids of texts as a batch as long as the longest.
 *
 * @param padId What stands in the padding.
 * @throws ArgumentError for no rows, and naming a row without any id.
 * @example
 * const { ids, attentionMask } = padIds(texts.map((text) => tokenizer.encode(text)), tokenizer.padId!);
 */
export function padIds(rows: readonly Int32Array[], padId: number): PaddedIds {
  const empty = rows.findIndex((row) => row.length === 0);
  if (empty >= 0) throw new ArgumentError(`padIds: row ${empty} has no token; leave out empty texts`);
  const ids = padRows(rows, padId);
  const [B, T] = ids.shape;
  if (rows.every((row) => row.length === T)) return { ids };
  const mask = new Uint8Array(B * T);
  rows.forEach((row, b) => mask.fill(1, b * T, b * T + row.length));
  return { ids, attentionMask: tensor(mask, { dtype: 'bool', shape: [B, T] }) };
}

/** Rows of integers as one tensor (B, T), the shorter ones filled up: segments with 0, labels with -100. */
export function padRows(rows: readonly Int32Array[], filling: number): Tensor {
  if (rows.length === 0) throw new ArgumentError('padRows: a batch needs one row at least, got none');
  const width = Math.max(...rows.map((row) => row.length));
  const filled = new Int32Array(rows.length * width).fill(filling);
  rows.forEach((row, b) => filled.set(row, b * width));
  return tensor(filled, { shape: [rows.length, width] });
}
