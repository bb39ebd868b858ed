/**
 * What a training step computes twice to save memory: how the layers of a model are run under the checkpoints of
 * lib/ops/checkpoint.ts. Figures: docs/training.md.
 */

import {
  ArgumentError,
  checkpoint,
  isGradEnabled,
  scope,
  selectiveCheckpoint,
  type Tensor,
} from '../../lib/index.js';

/**
 * `off`: nothing. `every:N`: N layers at a time keep their input only, and are run again in backward; the last ones, which
 * backward comes to first, keep everything. `selective`: all layers keep their matrix products, and normalizations and
 * activations are computed again.
 */
export type Recompute = 'off' | 'selective' | `every:${number}`;

/** Layers that keep one input together; 0 without checkpoints. */
export function segmentLength(choice: Recompute): number {
  return choice.startsWith('every:') ? Number(choice.slice(6)) : 0;
}

/** @throws ArgumentError for a text that is no {@link Recompute}. */
export function checkRecompute(choice: string): asserts choice is Recompute {
  if (choice === 'off' || choice === 'selective' || /^every:[1-9]\d{0,3}$/.test(choice)) return;
  throw new ArgumentError(
    `recompute: must be 'off', 'selective' or 'every:N' with a number of layers, got '${choice}'`,
  );
}

/**
 * Runs layers one after another, as the module's `recompute` says.
 *
 * @param context What all layers get, its tensors in plain objects and arrays.
 */
export function runLayers<L, C>(
  { recompute }: { readonly recompute: Recompute },
  layers: readonly L[],
  x: Tensor,
  context: C,
  forward: (layer: L, x: Tensor, context: C, index: number) => Tensor,
): Tensor {
  const run = (y: Tensor, shared: C, first: number, last: number): Tensor => {
    for (let i = first; i < last; i++) y = forward(layers[i], y, shared, i);
    return y;
  };
  if (recompute === 'off' || !isGradEnabled()) return run(x, context, 0, layers.length);
  if (recompute === 'selective') return selectiveCheckpoint(() => run(x, context, 0, layers.length));
  const step = segmentLength(recompute);
  for (let first = 0; first < layers.length; first += step) {
    const last = Math.min(first + step, layers.length);
    const segment = (y: Tensor, shared: C): Tensor => run(y, shared, first, last);
    x = last < layers.length ? checkpoint(segment, x, context) : scope(() => segment(x, context));
  }
  return x;
}
