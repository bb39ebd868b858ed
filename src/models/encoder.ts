/**
 * What encoders share: the checks of their inputs, what becomes of padding, and the ways to make one vector of a text's
 * many. Texts of unequal length are padded at their ends, and the mask says where; the outputs of tokens do not depend on
 * padding. Those of padding mean nothing, but Hugging Face's models compute them, and so do these; with `skipPadding`
 * they leave it out (packing.ts), which is what everything does here that needs the tokens only.
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
import { type Packing, packingOf } from './packing.js';

/** Arguments of an encoder's `forward` beside the ids. */
export interface EncoderOptions {
  /** (B, T) bool: true where there is a token, false where a shorter text is padded. All true where it is absent. */
  readonly attentionMask?: Tensor;
  /** A list that the attention weights of each layer, (B, H, T, T), are added to: for looking inside. They are kept. */
  readonly attentions?: Tensor[];
  /**
   * Spend no work on padding: its outputs are zeros. Not by default, as Hugging Face's are what attention makes of them.
   * With `attentions` it makes no difference.
   */
  readonly skipPadding?: boolean;
}

/** Arguments of {@link EncoderOptions} and the segments of a pair of texts. */
export interface SegmentedEncoderOptions extends EncoderOptions {
  /** (B, T) int32: 0 for the first text of a pair and 1 for the second. All 0 where it is absent. */
  readonly tokenTypeIds?: Tensor;
}

// What Hugging Face adds to the scores of padding: a row without any token then sees all keys alike, instead of NaN.
const hidden = -3.4028234663852886e38;

/** Names of {@link EncoderOptions}. */
export const encoderOptions = ['attentionMask', 'attentions', 'skipPadding'] as const;

/** The options with padding skipped, for who reads the outputs of some `places` (row · T + column) only, if all are tokens. */
export function onlyReading<O extends EncoderOptions>(options: O, places: Iterable<number>): O {
  const { attentionMask, skipPadding } = options;
  if (skipPadding !== undefined || attentionMask === undefined) return options;
  const tokens = attentionMask.data;
  for (const place of places) if (tokens[place] === 0) return options;
  return { ...options, skipPadding: true };
}

/** The places of the first positions. */
export const firstPlaces = ({ shape: [B, T] }: Tensor): Int32Array =>
  Int32Array.from({ length: B }, (_, row) => row * T);

/** What becomes of a batch's padding; neither where there is none. */
export interface Padding {
  /** Padding is left out. */
  readonly packing: Packing | null;
  /** Padding is kept, and this is added to the scores: (B, 1, 1, T). */
  readonly mask: Tensor | null;
}

/** All are tokens. */
export const noPadding: Padding = { packing: null, mask: null };

/**
 * Checks ids and options and says what becomes of the padding.
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
  known: readonly (keyof SegmentedEncoderOptions)[] = [...encoderOptions, 'tokenTypeIds'],
): Padding {
  checkTensor(model, ids);
  checkOptions(model, options, known);
  if (ids.rank !== 2 || ids.size === 0 || ids.shape[1] > limit) {
    const most = limit === Infinity ? 'T at least 1' : `T from 1 to ${limit}`;
    throw new ShapeError(`${model}: ids must be (B, T) with ${most}, got ${formatShape(ids.shape)}`);
  }
  const { attentionMask: mask, tokenTypeIds, attentions, skipPadding = false } = options;
  if (tokenTypeIds !== undefined) checkLikeIds(model, 'tokenTypeIds', tokenTypeIds, 'int32', ids.shape);
  return mask === undefined
    ? noPadding
    : paddingOf(model, mask, ids.shape, !skipPadding || attentions !== undefined);
}

/** What becomes of the padding that a mask of `shape`, (B, S), says. @param kept Whether it must stay in its places. */
export function paddingOf(model: string, mask: Tensor, shape: readonly number[], kept: boolean): Padding {
  checkLikeIds(model, 'attentionMask', mask, 'bool', shape);
  const tokens = mask.data as Uint8Array;
  if (tokens.every((token) => token !== 0)) return noPadding;
  if (tokens.every((token) => token === 0)) {
    throw new ArgumentError(
      `${model}: attentionMask has no token, all of ${formatShape(shape)} is padding; true marks a token`,
    );
  }
  return kept ? { packing: null, mask: hidingMask(mask) } : { packing: packingOf(mask), mask: null };
}

/** What is added to the scores of keys: (B, 1, 1, S). */
export const hidingMask = (mask: Tensor): Tensor =>
  reshape(where(mask, 0, tensor(hidden)), [mask.shape[0], 1, 1, mask.shape[1]]);

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
