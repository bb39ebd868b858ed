/**
 * Adam ("Adam: A Method for Stochastic Optimization", Kingma and Ba, 2015), AdamW ("Decoupled Weight Decay
 * Regularization", Loshchilov and Hutter, 2019) and their AMSGrad variants ("On the Convergence of Adam and Beyond",
 * Reddi et al., 2018), step for step PyTorch's. One native call updates all parameters.
 */

import { checkOptions } from '../../../lib/errors.js';
import * as kernels from '../../../lib/kernels.js';
import type { Shape } from '../../../lib/shape.js';
import {
  checkAtLeastZero,
  checkBetas,
  Optimizer,
  type DueSlot,
  type OptimizerOptions,
  type Parameters,
  type Slot,
} from './optimizer.js';

/** Settings of {@link Adam} and {@link AdamW}; the learning rate is 1e-3 by default. */
export interface AdamOptions extends OptimizerOptions {
  /** Decay of the running means of the gradient and of its square, [0.9, 0.999] by default. */
  readonly betas?: readonly [number, number];
  /** Added to the denominator, 1e-8 by default. */
  readonly eps?: number;
  /** Divide by the greatest mean square so far (AMSGrad). */
  readonly amsgrad?: boolean;
  /** Go up instead of down. */
  readonly maximize?: boolean;
}

/** Settings of {@link AdamW}: `weightDecay` is decoupled, 0.01 by default. */
export type AdamWOptions = AdamOptions;

/** What an update of Adam needs beside the slots. */
interface AdamUpdate {
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly gradScale: number;
  readonly decoupled: boolean;
}

/** Names and shapes of Adam's states. */
export function adamStates({ parameter }: Slot, amsgrad: boolean): Record<string, Shape> {
  const { shape } = parameter;
  return { exp_avg: shape, exp_avg_sq: shape, ...(amsgrad ? { max_exp_avg_sq: shape } : {}) };
}

/** One step of Adam on slots with {@link adamStates}. */
export function adamUpdate(due: readonly DueSlot[], { betas, eps, gradScale, decoupled }: AdamUpdate): void {
  const [beta1, beta2] = betas;
  const tensors = due.map(({ parameter, grad, state, lr, weightDecay, steps }) => ({
    ...{ parameter, grad, lr, weightDecay },
    states: [state.exp_avg, state.exp_avg_sq, state.max_exp_avg_sq ?? null],
    correction1: 1 - beta1 ** steps,
    correction2: 1 - beta2 ** steps,
  }));
  kernels.optimizerStep(tensors, { rule: 'adam', beta1, beta2, eps, gradScale, decoupled });
}

abstract class AdamFamily extends Optimizer {
  readonly #betas: readonly [number, number];
  readonly #eps: number;
  readonly #amsgrad: boolean;
  readonly #decoupled: boolean;

  protected constructor(name: string, params: Parameters, options: AdamOptions, decoupled: boolean) {
    checkOptions(name, options, ['lr', 'betas', 'eps', 'weightDecay', 'amsgrad', 'maximize']);
    const { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, amsgrad = false, maximize } = options;
    const { weightDecay = decoupled ? 0.01 : 0 } = options;
    checkBetas(name, betas);
    checkAtLeastZero(name, { eps });
    const settings = { beta1: betas[0], beta2: betas[1], eps, amsgrad };
    super(params, { name, lr, weightDecay, maximize, settings });
    this.#betas = betas;
    this.#eps = eps;
    this.#amsgrad = amsgrad;
    this.#decoupled = decoupled;
  }

  protected stateShapes(slot: Slot): Record<string, Shape> {
    return adamStates(slot, this.#amsgrad);
  }

  protected update(due: readonly DueSlot[], gradScale: number): void {
    adamUpdate(due, { betas: this.#betas, eps: this.#eps, gradScale, decoupled: this.#decoupled });
  }
}

/**
 * Adam; its `weightDecay` (0 by default) is added to the gradient:
 *
 *     g = g + decay p
 *     m = beta1 m + (1 - beta1) g
 *     v = beta2 v + (1 - beta2) g^2        p = p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
 */
export class Adam extends AdamFamily {
  /** @param params Parameters, or groups of them with settings of their own. */
  constructor(params: Parameters, options: AdamOptions = {}) {
    super('Adam', params, options, false);
  }
}

/**
 * AdamW: Adam, but its `weightDecay` (0.01 by default) takes `lr decay` of every weight away before the step.
 *
 * @example
 * const optimizer = new AdamW(decayGroups(model.parameters(), 0.1), { lr: 3e-4 });
 */
export class AdamW extends AdamFamily {
  /** @param params Parameters, or groups of them with settings of their own; see {@link decayGroups}. */
  constructor(params: Parameters, options: AdamWOptions = {}) {
    super('AdamW', params, options, true);
  }
}
