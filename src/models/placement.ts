/**
 * Where the tokens of a forward pass stand: their positions, and which keys they may see. Prompts of unequal length are
 * padded at the left, so that every row's next token is the last; padding takes no position and is seen by nobody
 * (`attention_mask` of Hugging Face). Shared by all decoders.
 */

import {
  arange,
  ArgumentError,
  type AttentionOptions,
  DTypeError,
  IndexError,
  formatShape,
  logicalOr,
  lt,
  ne,
  ones,
  reshape,
  sameShape,
  scope,
  ShapeError,
  slice,
  tensor,
  type Tensor,
  tril,
  triu,
  where,
} from '../../lib/index.js';
import { checkOptions } from '../../lib/errors.js';
import { checkTensor } from '../../lib/tensor.js';
import type { KVCache } from './cache.js';

/** Arguments of a decoder's `forward` and `hidden` beside the ids. */
export interface DecoderOptions {
  /** What came before: the ids are then the positions that follow it, and are added to it. */
  readonly cache?: KVCache;
  /** Compute the logits of the last position only. */
  readonly lastOnly?: boolean;
  /**
   * bool, S counting the cached positions and the ids. (B, S): true where there is a token, false where a shorter text is
   * padded at its left; outputs of padding mean nothing. (B or 1, 1, T, S): true where a query may see a key, in place of
   * the causal rule and the model's window, for a prefix that sees itself whole, say; see {@link causalMask}.
   */
  readonly attentionMask?: Tensor;
  /**
   * (B, T) int32: the column at which the document of each token begins, for documents that are packed side by side. Tokens
   * see their own document only, and positions count from its beginning, so each has the outputs it has alone. Not with a
   * cache or an attentionMask.
   */
  readonly documentStarts?: Tensor;
}

/** See the head of this file. */
export interface Placement {
  /** int32: (T), (B, T) where rows are padded, or (1, B · T) where documents are kept apart. */
  readonly positions: Tensor;
  /** The least position, and one more than the greatest. */
  readonly start: number;
  readonly end: number;
  /** Cached positions and the ids together, S; of documents, the tokens of the longest. */
  readonly columns: number;
  /** Added to the scores: 0 and -Infinity, (B, 1, 1, S) for padding, or (B, 1, T, S); null where nothing is to hide. */
  readonly mask: Tensor | null;
  /**
   * The lengths of the documents that stand side by side; null where every row is one. The model then takes all rows as one,
   * (1, B · T), and attention keeps the documents apart.
   */
  readonly documents: Int32Array | null;
  /** Whether attention hides later keys, and those before the window, by itself. */
  readonly causal: boolean;
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
  { cache, attentionMask, documentStarts }: DecoderOptions,
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
  const [batch, length] = ids.shape;
  const placed = { start: past, end, columns: end, mask: null, documents: null, causal: true };
  const inOrder = (): Tensor => arange(past, end, 1, { dtype: 'int32' });
  if (documentStarts !== undefined) {
    if (cache !== undefined || attentionMask !== undefined) {
      throw new ArgumentError(`${model}: documentStarts do not go together with a cache or an attentionMask`);
    }
    const documents = documentLengths(model, documentStarts, [batch, length]);
    const longest = documents.reduce((a, b) => Math.max(a, b));
    return { ...placed, positions: countedAnew(documents), end: longest, columns: longest, documents };
  }
  if (attentionMask === undefined) return { ...placed, positions: inOrder() };
  checkMask(model, attentionMask, [batch, length, end]);
  if (attentionMask.rank === 4) {
    return { ...placed, positions: inOrder(), mask: asScores(attentionMask), causal: false };
  }
  const tokens = attentionMask.data as Uint8Array;
  if (tokens.every((token) => token !== 0)) return { ...placed, positions: inOrder() };
  const positions = paddedPositions(tokens, batch, length);
  return {
    ...placed,
    positions: tensor(positions, { shape: [batch, length] }),
    start: positions.reduce((a, b) => Math.min(a, b)),
    end: positions.reduce((a, b) => Math.max(a, b)) + 1,
    mask: reshape(asScores(attentionMask), [batch, 1, 1, end]),
  };
}

/** What is added to the scores for a mask that is true where a key may be seen. */
export const asScores = (mask: Tensor): Tensor => where(mask, 0, tensor(-Infinity));

function checkMask(model: string, mask: Tensor, [B, T, S]: readonly [number, number, number]): void {
  checkTensor(model, mask);
  if (mask.dtype !== 'bool') {
    throw new DTypeError(`${model}: attentionMask must be bool, got ${mask.dtype}; compare it: mask.ne(0)`);
  }
  const shapes = [[B, S], [B, 1, T, S], [1, 1, T, S]]; // prettier-ignore
  if (!shapes.some((shape) => sameShape(mask.shape, shape))) {
    throw new ShapeError(
      `${model}: attentionMask must be (B, S) ${formatShape([B, S])} or (B, 1, T, S) ${formatShape([B, 1, T, S])}, ` +
        `cached positions included, got ${formatShape(mask.shape)}`,
    );
  }
}

/** The lengths of the documents, row by row. */
function documentLengths(model: string, starts: Tensor, shape: readonly number[]): Int32Array {
  checkTensor(model, starts);
  if (starts.dtype !== 'int32' || !sameShape(starts.shape, shape)) {
    throw new ShapeError(
      `${model}: documentStarts must be (B, T) ${formatShape(shape)} of int32, got ${starts.dtype} ${formatShape(starts.shape)}`,
    );
  }
  const columns = starts.data;
  const lengths: number[] = [];
  for (let i = 0; i < columns.length; i++) {
    const column = i % shape[1];
    if (columns[i] === column) lengths.push(1);
    else if (column > 0 && columns[i] === columns[i - 1]) lengths[lengths.length - 1]++;
    else {
      throw new IndexError(
        `${model}: documentStarts must be that of the token before or the token's own column, got ${columns[i]} at column ` +
          `${column} of row ${Math.floor(i / shape[1])}`,
      );
    }
  }
  return Int32Array.from(lengths);
}

/** Positions from 0 in each document: (1, N) int32. */
function countedAnew(lengths: Int32Array): Tensor {
  const positions = new Int32Array(lengths.reduce((a, b) => a + b));
  let at = 0;
  for (const length of lengths) for (let i = 0; i < length; i++) positions[at++] = i;
  return tensor(positions, { shape: [1, positions.length] });
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
 * The options of attention that hide keys, for the keys that it is given: the last ones, where a cache has let go of the
 * others.
 *
 * @param window How many keys a query sees; null for all.
 */
export function visibility(
  { mask, documents, causal }: Pick<Placement, 'mask' | 'documents' | 'causal'>,
  keys: Tensor,
  window: number | null,
): Pick<AttentionOptions, 'causal' | 'window' | 'mask' | 'queryLengths' | 'keyLengths'> {
  const hidesColumns = mask !== null && documents === null && mask.shape[3] > keys.shape[2];
  return {
    causal,
    window: causal ? (window ?? 0) : 0,
    mask: hidesColumns ? slice(mask, 3, mask.shape[3] - keys.shape[2]) : mask,
    queryLengths: documents,
    keyLengths: documents,
  };
}

/** The ids (B, T) as one row of documents, (1, B · T), where these are kept apart. */
export const inOneRow = (ids: Tensor, { documents }: Pick<Placement, 'documents'>): Tensor =>
  documents === null ? ids : reshape(ids, [1, -1]);

/** What came of them, in rows again: (B, T, C). */
export const inRows = (x: Tensor, ids: Tensor, { documents }: Pick<Placement, 'documents'>): Tensor =>
  documents === null ? x : reshape(x, [...ids.shape, -1]);

/** Options of {@link causalMask}. */
export interface CausalMaskOptions {
  /** A query sees its own key and those before it, together at most this many; null, the default, means all. */
  readonly window?: number | null;
  /** The first keys, which every query sees, also earlier ones; 0 by default. */
  readonly prefix?: number;
}

/**
 * A causal mask as data, (T, S) bool, true where a query may see a key, for T queries that follow S - T earlier positions.
 *
 * @example
 * const mask = causalMask(8, 8, { prefix: 3 }).reshape([1, 1, 8, 8]);
 * const logits = model.forward(ids, { attentionMask: mask });
 */
export function causalMask(queries: number, keys: number, options: CausalMaskOptions = {}): Tensor {
  checkOptions('causalMask', options, ['window', 'prefix']);
  const { window = null, prefix = 0 } = options;
  for (const [name, value] of Object.entries({ queries, keys, window: window ?? 1, prefix })) {
    if (!Number.isInteger(value) || value < 0 || (name === 'window' && value === 0)) {
      throw new ArgumentError(`causalMask: ${name} must be a whole number of positions, got ${value}`);
    }
  }
  return scope(() => {
    const past = tril(ones([queries, keys]), keys - queries);
    const near = window === null ? past : triu(past, keys - queries - window + 1);
    return logicalOr(ne(near, 0), lt(arange(0, keys), prefix));
  });
}
