/**
 * Lion ("Symbolic Discovery of Optimization Algorithms", Chen et al., 2023), step for step the authors' lion_pytorch.py
 * (google/automl): every weight moves by the learning rate, only the direction is learned. One state instead of
 * Adam's two. It wants a learning rate 3 to 10 times smaller than AdamW's and as much more weight decay.
 */

import { checkOptions } from '../../../lib/errors.js';
import * as kernels from '../../../lib/kernels.js';
import type { Shape } from '../../../lib/shape.js';
import {
  checkBetas,
  Optimizer,
  type DueSlot,
  type OptimizerOptions,
  type Parameters,
  type Slot,
} from './optimizer.js';

/** Settings of {@link Lion}; the learning rate is 1e-4 by default, `weightDecay` (0) is decoupled. */
export interface LionOptions extends OptimizerOptions {
  /** Share of the mean in the update, and the mean's own decay, [0.9, 0.99] by default. */
  readonly betas?: readonly [number, number];
}

/**
 * Lion:
 *
 *     p = p (1 - lr decay) - lr sign(beta1 m + (1 - beta1) g)
 *     m = beta2 m + (1 - beta2) g
 */
export class Lion extends Optimizer {
  readonly #betas: readonly [number, number];

  /** @param params Parameters, or groups of them with settings of their own. */
  constructor(params: Parameters, options: LionOptions = {}) {
    checkOptions('Lion', options, ['lr', 'weightDecay', 'betas']);
    const { lr = 1e-4, weightDecay = 0, betas = [0.9, 0.99] } = options;
    checkBetas('Lion', betas);
    super(params, { name: 'Lion', lr, weightDecay, settings: { beta1: betas[0], beta2: betas[1] } });
    this.#betas = betas;
  }

  protected stateShapes({ parameter }: Slot): Record<string, Shape> {
    return { exp_avg: parameter.shape };
  }

  protected update(due: readonly DueSlot[], gradScale: number): void {
    const [beta1, beta2] = this.#betas;
    const tensors = due.map(({ parameter, grad, state, lr, weightDecay }) => ({
      ...{ parameter, grad, lr, weightDecay, states: [state.exp_avg] },
    }));
    kernels.optimizerStep(tensors, { rule: 'lion', beta1, beta2, gradScale, decoupled: true });
  }
}
