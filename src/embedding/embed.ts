/**
 * Sentence embeddings: one vector for each text, of an encoder's vectors for its tokens. Texts are sorted by length and
 * batched by their number of tokens; within a batch they are packed, so no padding is ever computed. Sentence-BERT
 * (Reimers and Gurevych, 2019) is the paper, sentence-transformers the reference.
 */

import { setImmediate } from 'node:timers/promises';

import { ArgumentError, checkOptions, noGrad, scope, type Tensor, tensor } from '../../lib/index.js';
import { type EncoderOptions, type Pooling, poolTokens } from '../models/index.js';
import type { Tokenizer } from '../tokenizers/index.js';

/** What {@link embed} needs of a model. */
export interface TextEncoder {
  readonly contextLength: number;
  /** (B, T) int32 to (B, T, C) */
  forward(ids: Tensor, options?: EncoderOptions): Tensor;
  readonly training: boolean;
  train(mode: boolean): unknown;
}

/** Options of {@link embed}. */
export interface EmbedOptions {
  /** How one vector is made of a text's many; `mean` by default. See {@link sentenceOptions}. */
  readonly pooling?: Pooling;
  /** Scale vectors to length 1, so that their dot products are cosines; true by default. */
  readonly normalize?: boolean;
  /** Cut texts of more than `maxLength` tokens, instead of refusing them; false by default. */
  readonly truncate?: boolean;
  /** Most tokens of a text, special ones included; the model's context by default. */
  readonly maxLength?: number;
  /** Tokens that are computed at once: more take more memory, and hardly less time. 4096 by default. */
  readonly batchTokens?: number;
  /** Aborting it ends the work with its reason. */
  readonly signal?: AbortSignal;
}

const optionNames = ['pooling', 'normalize', 'truncate', 'maxLength', 'batchTokens', 'signal'];

/** A text's tokens and its place in the input. */
interface Item {
  readonly place: number;
  readonly ids: ArrayLike<number>;
}

/**
 * A vector for each text, in the order of the texts. A text's vector does not depend on the others, but for the rounding
 * of float32. The event loop turns between batches.
 *
 * @param texts Texts, or their token ids, with the special tokens that the model wants.
 * @returns (N, C) float32
 * @throws ArgumentError naming the text that is empty or too long, or the option that is out of range.
 * @example
 * const vectors = await embed(model, tokenizer, ['A cat sat.', 'Dogs run.']);
 * const similarity = vectors.matmul(vectors.transpose(0, 1)); // cosines
 */
export async function embed(
  model: TextEncoder,
  tokenizer: Pick<Tokenizer, 'encode'>,
  texts: readonly (string | ArrayLike<number>)[],
  options: EmbedOptions = {},
): Promise<Tensor> {
  const settings = settle(model, options);
  if (texts.length === 0) throw new ArgumentError('embed: there must be a text at least');
  const items = texts.map((text, place) => ({ place, ids: tokensOf(tokenizer, text, place, settings) }));
  const { training } = model;
  if (training) model.train(false);
  let rows: Float32Array | null = null;
  let width = 0;
  try {
    for (const batch of batchesOf(items, settings.batchTokens)) {
      settings.signal?.throwIfAborted();
      noGrad(() =>
        scope(() => {
          const vectors = vectorsOf(model, batch, settings.pooling);
          width = vectors.shape[1];
          rows ??= new Float32Array(items.length * width);
          for (const [i, { place }] of batch.entries()) {
            rows.set(vectors.data.subarray(i * width, (i + 1) * width), place * width);
          }
        }),
      );
      await setImmediate();
    }
  } finally {
    if (training) model.train(true);
  }
  if (settings.normalize) normalizeRows(rows!, width);
  return tensor(rows!, { shape: [items.length, width] });
}

function settle(
  model: TextEncoder,
  options: EmbedOptions,
): Required<Omit<EmbedOptions, 'signal'>> & Pick<EmbedOptions, 'signal'> {
  checkOptions('embed', options, optionNames);
  const { contextLength } = model;
  const { pooling = 'mean', normalize = true, truncate = false } = options;
  const { maxLength = contextLength, batchTokens = 4096, signal } = options;
  if (!['cls', 'mean', 'max'].includes(pooling)) {
    throw new ArgumentError(`embed: pooling must be 'cls', 'mean' or 'max', got '${pooling as string}'`);
  }
  if (!Number.isInteger(maxLength) || maxLength < 1 || maxLength > contextLength) {
    throw new ArgumentError(
      `embed: maxLength must be an integer from 1 to the model's context of ${contextLength}, got ${maxLength}`,
    );
  }
  if (!Number.isInteger(batchTokens) || batchTokens < 1) {
    throw new ArgumentError(`embed: batchTokens must be a positive integer, got ${batchTokens}`);
  }
  return { pooling, normalize, truncate, maxLength, batchTokens, signal };
}

/** The ids of a text. Cutting keeps the last one, which ends the text. */
function tokensOf(
  tokenizer: Pick<Tokenizer, 'encode'>,
  text: string | ArrayLike<number>,
  place: number,
  { truncate, maxLength }: Pick<Required<EmbedOptions>, 'truncate' | 'maxLength'>,
): ArrayLike<number> {
  if (typeof text === 'string' && text.trim() === '') {
    throw new ArgumentError(`embed: text ${place} is empty; leave out texts that say nothing`);
  }
  const ids = typeof text === 'string' ? tokenizer.encode(text) : text;
  if (ids.length === 0) throw new ArgumentError(`embed: text ${place} has no tokens`);
  if (ids.length <= maxLength) return ids;
  if (truncate) return [...Array.from(ids).slice(0, maxLength - 1), ids[ids.length - 1]];
  throw new ArgumentError(
    `embed: text ${place} has ${ids.length} tokens, at most ${maxLength} fit; truncate: true cuts its end`,
  );
}

/** The texts by length, in batches of so many tokens, or of a single longer text. */
function batchesOf(items: readonly Item[], batchTokens: number): Item[][] {
  const sorted = items.toSorted((a, b) => a.ids.length - b.ids.length || a.place - b.place);
  const batches: Item[][] = [];
  let tokens = Infinity;
  for (const item of sorted) {
    tokens += item.ids.length;
    if (tokens > batchTokens) {
      batches.push([]);
      tokens = item.ids.length;
    }
    batches[batches.length - 1].push(item);
  }
  return batches;
}

/** (B, C) */
function vectorsOf(model: TextEncoder, batch: readonly Item[], pooling: Pooling): Tensor {
  const width = batch[batch.length - 1].ids.length; // the longest
  const shape = [batch.length, width];
  const ids = new Int32Array(batch.length * width);
  const mask = new Uint8Array(ids.length);
  batch.forEach((item, row) => {
    ids.set(item.ids, row * width);
    mask.fill(1, row * width, row * width + item.ids.length);
  });
  const attentionMask = tensor(mask, { dtype: 'bool', shape });
  const hidden = model.forward(tensor(ids, { shape }), { attentionMask, skipPadding: true });
  return poolTokens(hidden, pooling, { attentionMask });
}

/** Each row to length 1; a row of zeros stays. */
function normalizeRows(rows: Float32Array, width: number): void {
  for (let start = 0; start < rows.length; start += width) {
    const row = rows.subarray(start, start + width);
    let sum = 0;
    for (const x of row) sum += x * x;
    const scale = 1 / Math.max(Math.sqrt(sum), 1e-12);
    for (let i = 0; i < width; i++) row[i] *= scale;
  }
}
