/**
 * Stochastic gradient descent, with momentum and Nesterov's ("On the importance of initialization and momentum in deep
 * learning", Sutskever et al., 2013), step for step PyTorch's.
 */

import { ArgumentError, checkOptions } from '../../../lib/errors.js';
import * as kernels from '../../../lib/kernels.js';
import type { Shape } from '../../../lib/shape.js';
import {
  checkAtLeastZero,
  Optimizer,
  type DueSlot,
  type OptimizerOptions,
  type Parameters,
  type Slot,
} from './optimizer.js';

/** Settings of {@link SGD}; the learning rate is 1e-3 by default, `weightDecay` is added to the gradient. */
export interface SGDOptions extends OptimizerOptions {
  /** What is kept of the last update, 0 by default. */
  readonly momentum?: number;
  /** What is left out of each gradient but the first, 0 by default. */
  readonly dampening?: number;
  /** Nesterov's momentum: the gradient counts once more. */
  readonly nesterov?: boolean;
  /** Go up instead of down. */
  readonly maximize?: boolean;
}

/**
 * SGD:
 *
 *     g = g + decay p
 *     m = momentum m + (1 - dampening) g    (m = g at first)
 *     p = p - lr m    (with nesterov: p - lr (g + momentum m); without momentum: p - lr g)
 */
export class SGD extends Optimizer {
  readonly #momentum: number;
  readonly #dampening: number;
  readonly #nesterov: boolean;

  /** @param params Parameters, or groups of them with settings of their own. */
  constructor(params: Parameters, options: SGDOptions = {}) {
    checkOptions('SGD', options, ['lr', 'weightDecay', 'momentum', 'dampening', 'nesterov', 'maximize']);
    const { lr = 1e-3, weightDecay = 0, momentum = 0, dampening = 0, nesterov = false, maximize } = options;
    checkAtLeastZero('SGD', { momentum, dampening });
    if (nesterov && (momentum === 0 || dampening !== 0)) {
      throw new ArgumentError('SGD: nesterov needs a momentum and no dampening');
    }
    const settings = { momentum, dampening, nesterov };
    super(params, { name: 'SGD', lr, weightDecay, maximize, settings });
    this.#momentum = momentum;
    this.#dampening = dampening;
    this.#nesterov = nesterov;
  }

  protected stateShapes({ parameter }: Slot): Record<string, Shape> {
    return this.#momentum === 0 ? {} : { momentum_buffer: parameter.shape };
  }

  protected update(due: readonly DueSlot[], gradScale: number): void {
    const tensors = due.map(({ parameter, grad, state, lr, weightDecay, steps }) => ({
      ...{ parameter, grad, lr, weightDecay },
      states: [state.momentum_buffer ?? null],
      correction1: steps === 1 ? 1 : 1 - this.#dampening,
    }));
    kernels.optimizerStep(tensors, {
      ...{ rule: 'sgd', beta1: this.#momentum, nesterov: this.#nesterov, gradScale },
    });
  }
}
