/**
 * Batches without padding: the tokens of all texts stand side by side, (1, N, C) instead of (B, T, C), and attention is told
 * where each text ends. Everything else in an encoder works on single tokens and notices nothing, so padding costs no
 * work, in training as in inference.
 */

import { cat, indexSelect, reshape, scope, type Tensor, tensor, zeros } from '../../lib/index.js';

/** Where the tokens of a padded batch stand. */
export interface Packing {
  /** B and T of the padded batch. */
  readonly shape: readonly [number, number];
  /** Tokens of each text. */
  readonly lengths: Int32Array;
  /** The place of each token in the padded batch, row · T + column: (N) int32. */
  readonly places: Tensor;
  /** Whether the tokens of every text stand side by side: then distances between them are what they were. */
  readonly contiguous: boolean;
}

/** The packing of a batch. @param mask (B, T) bool, true where there is a token */
export function packingOf(mask: Tensor): Packing {
  const [B, T] = mask.shape;
  const tokens = mask.data as Uint8Array;
  const lengths = new Int32Array(B);
  const places: number[] = [];
  let contiguous = true;
  for (let row = 0; row < B; row++) {
    const first = places.length;
    for (let column = 0; column < T; column++)
      if (tokens[row * T + column] !== 0) places.push(row * T + column);
    const length = (lengths[row] = places.length - first);
    contiguous &&= length === 0 || places[places.length - 1] - places[first] === length - 1;
  }
  return { shape: [B, T], lengths, places: tensor(Int32Array.from(places)), contiguous };
}

/** The column that each token had: (1, N) int32. */
export function columnsOf({ shape: [, T], places }: Packing): Tensor {
  return reshape(tensor(Int32Array.from(places.data, (place) => place % T)), [1, -1]);
}

/** (B, T, ...) without the padding: (1, N, ...) */
export function pack(x: Tensor, { places, shape: [B, T] }: Packing): Tensor {
  const rest = x.shape.slice(2);
  return scope(() =>
    reshape(indexSelect(reshape(x, [B * T, ...rest]), 0, places), [1, places.size, ...rest]),
  );
}

/** (1, N, C) with the padding again: (B, T, C), zeros where there is no token. */
export function unpack(x: Tensor, { places, shape: [B, T] }: Packing): Tensor {
  const [, N, C] = x.shape;
  const rows = new Int32Array(B * T).fill(N); // the row of zeros
  for (let i = 0; i < N; i++) rows[places.data[i]] = i;
  return scope(() => {
    const withZeros = cat([reshape(x, [N, C]), zeros([1, C])]);
    return reshape(indexSelect(withZeros, 0, tensor(rows)), [B, T, C]);
  });
}
