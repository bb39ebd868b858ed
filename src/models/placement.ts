/**
 * Where the tokens of a forward pass stand: their positions, and which keys they may see. Prompts of unequal length are
 * padded at the left, so that every row's next token is the last; padding takes no position and is seen by nobody
 * (`attention_mask` of Hugging Face). Shared by all decoders.
 */

import {
  arange,
  DTypeError,
  formatShape,
  ne,
  ones,
  reshape,
  sameShape,
  ShapeError,
  tensor,
  type Tensor,
  tril,
  triu,
  where,
} from '../../lib/index.js';
import { checkTensor } from '../../lib/tensor.js';
import type { KVCache } from './cache.js';

/** Arguments of a decoder's `forward` and `hidden` beside the ids. */
export interface DecoderOptions {
  /** What came before: the ids are then the positions that follow it, and are added to it. */
  readonly cache?: KVCache;
  /** Compute the logits of the last position only. */
  readonly lastOnly?: boolean;
  /**
   * (B, S) bool, S counting the cached positions and the ids: true where there is a token, false where a shorter text is
   * padded at its left. Outputs of padding mean nothing.
   */
  readonly attentionMask?: Tensor;
}

/** See the head of this file. */
export interface Placement {
  /** int32: (T), or (B, T) where rows are padded. */
  readonly positions: Tensor;
  /** The least position, and one more than the greatest. */
  readonly start: number;
  readonly end: number;
  /** Added to the scores: (B, 1, 1, S) of 0 and -Infinity where rows are padded, else null. */
  readonly padding: Tensor | null;
}

/**
 * Places the ids after what the cache holds.
 *
 * @param limit Longest sequence of the model.
 * @throws ShapeError when ids or mask have the wrong shape or are too long; DTypeError for a mask that is not bool.
 */
export function placeTokens(
  model: string,
  ids: Tensor,
  { cache, attentionMask }: DecoderOptions,
  limit: number,
): Placement {
  const past = cache?.length ?? 0;
  const end = past + (ids.shape[1] ?? 0);
  if (ids.rank !== 2 || end === past || end > limit) {
    throw new ShapeError(
      `${model}: ids must be (B, T) with T from 1 to ${limit - past}, got ${formatShape(ids.shape)}` +
        (past > 0 ? ` after ${past} cached positions` : ''),
    );
  }
  const mask = attentionMask === undefined ? null : checkMask(model, attentionMask, [ids.shape[0], end]);
  const tokens = mask?.data as Uint8Array | undefined;
  if (mask === null || tokens === undefined || tokens.every((token) => token !== 0)) {
    return { positions: arange(past, end, 1, { dtype: 'int32' }), start: past, end, padding: null };
  }
  const [batch, length] = ids.shape;
  const positions = paddedPositions(tokens, batch, length);
  return {
    positions: tensor(positions, { shape: [batch, length] }),
    start: positions.reduce((a, b) => Math.min(a, b)),
    end: positions.reduce((a, b) => Math.max(a, b)) + 1,
    padding: reshape(where(mask, 0, tensor(-Infinity)), [batch, 1, 1, end]),
  };
}

function checkMask(model: string, mask: Tensor, shape: readonly number[]): Tensor {
  checkTensor(model, mask);
  if (mask.dtype !== 'bool') {
    throw new DTypeError(`${model}: attentionMask must be bool, got ${mask.dtype}; compare it: mask.ne(0)`);
  }
  if (!sameShape(mask.shape, shape)) {
    throw new ShapeError(
      `${model}: attentionMask must be (B, S) ${formatShape(shape)}, cached positions included, got ${formatShape(mask.shape)}`,
    );
  }
  return mask;
}

/** For the last `length` columns: how many tokens stand before, 0 for padding. */
function paddedPositions(tokens: Uint8Array, batch: number, length: number): Int32Array {
  const columns = tokens.length / batch;
  const positions = new Int32Array(batch * length);
  for (let row = 0, at = 0; row < batch; row++) {
    for (let column = 0, seen = 0; column < columns; column++) {
      seen += tokens[row * columns + column];
      if (column >= columns - length) positions[at++] = Math.max(seen - 1, 0);
    }
  }
  return positions;
}

/**
 * The causal mask as data, (T, S) of 0 and -Infinity, for `queries` that follow `keys - queries` earlier positions: query i
 * sees its own key and those before it, at most `window` (null: all).
 */
export function causalMask(queries: number, keys: number, window: number | null): Tensor {
  const all = ones([queries, keys]);
  const past = tril(all, keys - queries);
  const near = window === null ? past : triu(past, keys - queries - window + 1);
  return where(ne(near, 0), 0, tensor(-Infinity));
}
