/** Where numbers got lost: the first weight, result of an operation, or gradient that is not finite, in words. */

import { watchResults } from '../../lib/op.js';
import * as kernels from '../../lib/kernels.js';
import { isFloating } from '../../lib/dtype.js';
import { formatShape } from '../../lib/shape.js';
import { scope, type Tensor } from '../../lib/tensor.js';

type Named = ReadonlyMap<string, Tensor>;

function isFinite(t: Tensor): boolean {
  if (!isFloating(t.dtype)) return true;
  const values = t.toFloat64Array();
  return values.every(Number.isFinite);
}

/** The first of the weights that is not finite. */
export function firstBadWeight(parameters: Named): string | null {
  const found = [...parameters].find(([, p]) => !Number.isFinite(kernels.sumSquares([p])) && !isFinite(p));
  return found === undefined ? null : `the weight ${found[0]}`;
}

/** The first of the weights, from the last backwards, whose gradient is not finite: backward comes to it first. */
export function firstBadGradient(parameters: Named): string | null {
  const found = [...parameters].reverse().find(([, { grad }]) => grad !== null && !isFinite(grad));
  return found === undefined ? null : `the gradient of ${found[0]}`;
}

/**
 * The first operation of `body` whose result is not finite though its inputs are. A score of -Infinity hides a key in
 * attention's masks, so results of masks are passed over.
 */
export function firstBadResult(body: () => unknown, parameters: Named): string | null {
  const names = new Map([...parameters].map(([name, p]) => [p, name]));
  let found: string | null = null;
  const watch = (name: string, inputs: readonly (Tensor | null)[], result: Tensor): void => {
    if (found !== null || isFinite(result) || inputs.every((t) => t === null || !t.requiresGrad)) return;
    const weights = inputs.flatMap((t) => (t === null ? [] : (names.get(t) ?? [])));
    found = `the result of ${name} ${formatShape(result.shape)}${weights.length > 0 ? ` with ${weights.join(' and ')}` : ''}`;
  };
  scope(() => watchResults(watch, () => void body()));
  return found;
}
