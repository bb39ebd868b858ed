/**
 * What encoders share: the checks of their inputs, padding as a mask over the scores, and the ways to make one vector of a
 * text's many. Texts of unequal length are padded at their ends, and the mask says where; the outputs of tokens do not
 * depend on padding, the outputs of padding mean nothing.
 */

import {
  amax,
  ArgumentError,
  div,
  DTypeError,
  formatShape,
  mul,
  reshape,
  sameShape,
  select,
  ShapeError,
  sum,
  type Tensor,
  tensor,
  to,
  where,
} from '../../lib/index.js';
import { checkOptions } from '../../lib/errors.js';
import { checkTensor } from '../../lib/tensor.js';
import type { Recompute } from '../nn/index.js';

/** Arguments of an encoder's `forward` beside the ids. */
export interface EncoderOptions {
  /** (B, T) bool: true where there is a token, false where a shorter text is padded. All true where it is absent. */
  readonly attentionMask?: Tensor;
  /** A list that the attention weights of each layer, (B, H, T, T), are added to: for looking inside. They are kept. */
  readonly attentions?: Tensor[];
}

/** Arguments of {@link EncoderOptions} and the segments of a pair of texts. */
export interface SegmentedEncoderOptions extends EncoderOptions {
  /** (B, T) int32: 0 for the first text of a pair and 1 for the second. All 0 where it is absent. */
  readonly tokenTypeIds?: Tensor;
}

// What Hugging Face adds to the scores of padding: a row without any token then sees all keys alike, instead of NaN.
const hidden = -3.4028234663852886e38;

/**
 * Checks ids and options and gives what is added to the scores: (B, 1, 1, T), or null where nothing is padded.
 *
 * @param limit Longest sequence of the model.
 * @param known The options that the model has.
 * @throws ShapeError, DTypeError; ArgumentError where there is no token at all.
 */
export function encoderPadding(
  model: string,
  ids: Tensor,
  options: SegmentedEncoderOptions,
  limit: number,
  known: readonly (keyof SegmentedEncoderOptions)[] = ['attentionMask', 'attentions', 'tokenTypeIds'],
): Tensor | null {
  checkTensor(model, ids);
  checkOptions(model, options, known);
  if (ids.rank !== 2 || ids.size === 0 || ids.shape[1] > limit) {
    const most = limit === Infinity ? 'T at least 1' : `T from 1 to ${limit}`;
    throw new ShapeError(`${model}: ids must be (B, T) with ${most}, got ${formatShape(ids.shape)}`);
  }
  const { attentionMask: mask, tokenTypeIds } = options;
  if (tokenTypeIds !== undefined) checkLikeIds(model, 'tokenTypeIds', tokenTypeIds, 'int32', ids.shape);
  return mask === undefined ? null : paddingOf(model, mask, ids.shape);
}

/** What is added to the scores of keys under a mask of `shape`, (B, S): (B, 1, 1, S), or null where nothing is padded. */
export function paddingOf(model: string, mask: Tensor, shape: readonly number[]): Tensor | null {
  checkLikeIds(model, 'attentionMask', mask, 'bool', shape);
  const tokens = mask.data as Uint8Array;
  if (tokens.every((token) => token !== 0)) return null;
  if (tokens.every((token) => token === 0)) {
    throw new ArgumentError(
      `${model}: attentionMask has no token, all of ${formatShape(shape)} is padding; true marks a token`,
    );
  }
  return reshape(where(mask, 0, tensor(hidden)), [shape[0], 1, 1, shape[1]]);
}

function checkLikeIds(
  model: string,
  name: string,
  given: Tensor,
  dtype: 'int32' | 'bool',
  shape: readonly number[],
): void {
  checkTensor(model, given);
  if (given.dtype !== dtype) {
    const remedy = dtype === 'bool' ? '; compare it: mask.ne(0)' : '';
    throw new DTypeError(`${model}: ${name} must be ${dtype}, got ${given.dtype}${remedy}`);
  }
  if (!sameShape(given.shape, shape)) {
    throw new ShapeError(
      `${model}: ${name} must be ${formatShape(shape)} as the ids, got ${formatShape(given.shape)}`,
    );
  }
}

/** How {@link poolTokens} makes one vector of many. */
export type Pooling = 'cls' | 'mean' | 'max';

/**
 * One vector for each text: that of its first position (`cls`), or the mean or maximum over its tokens.
 *
 * @param hidden (B, T, C), what an encoder gives
 * @param options.attentionMask (B, T) bool, as the encoder had it
 * @returns (B, C)
 * @throws ArgumentError for a row without a token.
 * @example
 * const sentences = poolTokens(model.forward(ids, { attentionMask }), 'mean', { attentionMask });
 */
export function poolTokens(
  hidden: Tensor,
  pooling: Pooling,
  options: { attentionMask?: Tensor } = {},
): Tensor {
  checkOptions('poolTokens', options, ['attentionMask']);
  checkTensor('poolTokens', hidden);
  if (hidden.rank !== 3 || hidden.shape[1] === 0) {
    throw new ShapeError(
      `poolTokens: hidden must be (B, T, C) with T at least 1, got ${formatShape(hidden.shape)}`,
    );
  }
  const [B, T] = hidden.shape;
  const { attentionMask = null } = options;
  if (attentionMask !== null) checkRows(attentionMask, [B, T]);
  const mask = attentionMask && reshape(attentionMask, [B, T, 1]);
  switch (pooling) {
    case 'cls':
      return select(hidden, 1, 0);
    case 'max':
      return amax(mask === null ? hidden : where(mask, hidden, -Infinity), 1);
    case 'mean': {
      if (mask === null) return mul(sum(hidden, 1), 1 / T);
      // `where`, not a product: the outputs of padding may be anything.
      return div(sum(where(mask, hidden, 0), 1), sum(to(mask, 'float32'), 1));
    }
    default:
      throw new ArgumentError(`poolTokens: pooling must be 'cls', 'mean' or 'max', got '${String(pooling)}'`);
  }
}

function checkRows(mask: Tensor, [B, T]: readonly number[]): void {
  checkLikeIds('poolTokens', 'attentionMask', mask, 'bool', [B, T]);
  const tokens = mask.data as Uint8Array;
  for (let row = 0; row < B; row++) {
    if (tokens.subarray(row * T, (row + 1) * T).every((token) => token === 0)) {
      throw new ArgumentError(`poolTokens: row ${row} has no token, only padding`);
    }
  }
}

/** How to run layers whose attention weights may be wanted: they are listed once, so nothing is then run twice. */
export function once(
  module: { readonly recompute: Recompute },
  context: { readonly attentions?: Tensor[]; readonly crossAttentions?: Tensor[] },
): { readonly recompute: Recompute } {
  const listed = context.attentions !== undefined || context.crossAttentions !== undefined;
  return listed ? { recompute: 'off' } : module;
}
