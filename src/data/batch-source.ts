/**
 * Where a training run gets its batches from: any order of any data, as long as it can be left and taken up again. What a
 * source is of (`identity`) and the place in it (`state`) are saved with the run.
 */

import { ArgumentError } from '../../lib/errors.js';
import type { StreamState } from '../../lib/random.js';

/** What JSON can hold. */
export type JsonValue =
  null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/**
 * What has to be the same for a resumed run to go on exactly as it would have: sizes and settings by name, with
 * `trainTokens` or `trainExamples` and `trainHash` for its data.
 */
export type RunIdentity = Readonly<Record<string, number | string | boolean>>;

/** What a run learns from: batches in a seeded order; the place in it is part of the checkpoint. */
export interface BatchSource<B> {
  /** The next batch; there is always one more. Its tensors belong to the caller's scope. */
  next(): B;
  /** The place in the order, such that {@link setState} goes on there. */
  state(): JsonValue;
  /** @throws ArgumentError when the state is none of such a source. */
  setState(state: JsonValue): void;
  readonly identity: RunIdentity;
  /** Batches in one pass over the data; not a whole number where the last one would not be full. */
  readonly length: number;
}

/** The state of a random stream; throws ArgumentError when it is none. */
export function streamState(where: string, state: JsonValue): StreamState {
  const { seed, offset } = (state ?? {}) as Partial<StreamState>;
  if ([seed, offset].every((n) => Number.isSafeInteger(n) && n! >= 0))
    return { seed: seed!, offset: offset! };
  throw new ArgumentError(
    `${where}: the state must have the seed and offset of a random stream, got ${JSON.stringify(state)}; was it saved by a run on other data?`,
  );
}

/** FNV-1a over the ids: tells two texts apart. */
export function hashIds(ids: Int32Array, start = 0x811c9dc5): number {
  let h = start;
  for (let i = 0; i < ids.length; i++) h = Math.imul(h ^ ids[i], 0x01000193);
  return h >>> 0;
}
