/**
 * Gradient clipping by the global norm ("On the difficulty of training RNNs", Pascanu et al., 2013), as
 * PyTorch does it.
 */

import { ArgumentError, TrainingError } from '../../lib/errors.js';
import * as kernels from '../../lib/kernels.js';
import type { Tensor } from '../../lib/tensor.js';

/**
 * The Euclidean norm of all gradients together, summed in double precision; parameters without gradient count
 * 0.
 */
export function gradNorm(params: Iterable<Tensor>): number {
  const grads: Tensor[] = [];
  for (const { grad } of params) if (grad !== null) grads.push(grad);
  return Math.sqrt(kernels.sumSquares(grads));
}

/** What gradients of this norm have to be multiplied by so that it is at most `maxNorm`. */
export const clipScale = (norm: number, maxNorm: number): number => Math.min(1, maxNorm / (norm + 1e-6));

/**
 * Scales the gradients in place so that their global norm is at most `maxNorm`.
 *
 * @returns The norm before.
 * @throws TrainingError when the norm is infinite or not a number; the gradients are untouched then.
 */
export function clipGradNorm(params: Iterable<Tensor>, maxNorm: number): number {
  if (!(maxNorm > 0)) throw new ArgumentError(`clipGradNorm: maxNorm must be positive, got ${maxNorm}`);
  const all = [...params];
  const norm = gradNorm(all);
  if (!Number.isFinite(norm)) {
    throw new TrainingError(`clipGradNorm: the norm of the gradients is ${norm}; lower the learning rate`);
  }
  const scale = clipScale(norm, maxNorm);
  if (scale === 1) return norm;
  for (const { grad } of all) {
    if (grad === null) continue;
    kernels.unary('affine', grad, grad, scale, 0);
    grad.storage.changed();
  }
  return norm;
}
