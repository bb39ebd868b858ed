/**
 * Mixed precision ("Mixed Precision Training", Micikevicius et al., 2018): inside `autocast` the products of layers take and
 * give a half type, and what lies between two of them (activations, attention's inputs) is kept in it, which halves the
 * memory. Weights, their gradients, normalizations, softmax, residual sums and losses stay float32.
 */

import { ArgumentError } from './errors.js';
import { gemmSettings } from './kernels.js';

/** What {@link autocast} computes in. */
export type HalfType = 'bfloat16' | 'float16';

let halfType: HalfType | null = null;

/** The half type of the innermost `autocast`, or null outside. */
export const autocastType = (): HalfType | null => halfType;

/**
 * Runs `body`, the forward pass and the loss, with layers in a half type; null leaves all in float32. Backward follows by
 * itself. bfloat16 has the range of float32 and 8 bits of precision; float16 has 11 bits, and numbers below 6e-8 become 0 in
 * it, so that its losses have to be scaled (`LossScaler`).
 *
 * @throws ArgumentError for another type.
 * @example
 * const loss = autocast('bfloat16', () => crossEntropy(model.forward(ids), targets));
 * backward(loss);
 */
export function autocast<T>(type: HalfType | null, body: () => T): T {
  if (type !== null && type !== 'bfloat16' && type !== 'float16') {
    throw new ArgumentError(`autocast: must be 'bfloat16', 'float16' or null, got '${String(type)}'`);
  }
  const [before, rounds] = [halfType, gemmSettings.roundsToBf16];
  halfType = type;
  // Products that stay float32, such as the output head's, are rounded to bfloat16 on their way where that is faster.
  gemmSettings.roundsToBf16 = rounds || type === 'bfloat16';
  try {
    const result = body();
    if (result instanceof Promise) {
      throw new ArgumentError('autocast: the body must be synchronous, it returned a promise');
    }
    return result;
  } finally {
    halfType = before;
    gemmSettings.roundsToBf16 = rounds;
  }
}
