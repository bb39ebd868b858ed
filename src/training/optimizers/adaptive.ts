/**
 * Adagrad ("Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", Duchi et al., 2011) and
 * RMSprop ("Neural Networks for Machine Learning", lecture 6, Hinton, 2012; centered: Graves, 2013), step for step
 * PyTorch's.
 */

import { checkOptions } from '../../../lib/errors.js';
import * as kernels from '../../../lib/kernels.js';
import type { Shape } from '../../../lib/shape.js';
import {
  checkAtLeastZero,
  checkDecay,
  Optimizer,
  type DueSlot,
  type OptimizerOptions,
  type Parameters,
  type Slot,
} from './optimizer.js';

/** Settings of {@link Adagrad}; the learning rate is 1e-2 by default, `weightDecay` is added to the gradient. */
export interface AdagradOptions extends OptimizerOptions {
  /** The learning rate of step t is lr / (1 + (t - 1) lrDecay); 0 by default. */
  readonly lrDecay?: number;
  /** What the sums of squares begin with, 0 by default. */
  readonly initialAccumulatorValue?: number;
  /** Added to the denominator, 1e-10 by default. */
  readonly eps?: number;
  /** Go up instead of down. */
  readonly maximize?: boolean;
}

/** Adagrad: `s = s + g^2`, `p = p - lr g / (sqrt(s) + eps)`. */
export class Adagrad extends Optimizer {
  readonly #lrDecay: number;
  readonly #eps: number;

  /** @param params Parameters, or groups of them with settings of their own. */
  constructor(params: Parameters, options: AdagradOptions = {}) {
    const known = ['lr', 'weightDecay', 'lrDecay', 'initialAccumulatorValue', 'eps', 'maximize'];
    checkOptions('Adagrad', options, known);
    const { lr = 1e-2, weightDecay = 0, lrDecay = 0, initialAccumulatorValue = 0, eps = 1e-10 } = options;
    const settings = { lrDecay, initialAccumulatorValue, eps };
    checkAtLeastZero('Adagrad', settings);
    const { maximize } = options;
    super(params, {
      ...{ name: 'Adagrad', lr, weightDecay, maximize, settings, initialState: initialAccumulatorValue },
    });
    this.#lrDecay = lrDecay;
    this.#eps = eps;
  }

  protected stateShapes({ parameter }: Slot): Record<string, Shape> {
    return { sum: parameter.shape };
  }

  protected update(due: readonly DueSlot[], gradScale: number): void {
    const tensors = due.map(({ parameter, grad, state, lr, weightDecay, steps }) => ({
      ...{ parameter, grad, weightDecay, states: [state.sum] },
      lr: lr / (1 + (steps - 1) * this.#lrDecay),
    }));
    kernels.optimizerStep(tensors, { rule: 'adagrad', eps: this.#eps, gradScale });
  }
}

/** Settings of {@link RMSprop}; the learning rate is 1e-2 by default, `weightDecay` is added to the gradient. */
export interface RMSpropOptions extends OptimizerOptions {
  /** Decay of the running mean of the squared gradient, 0.99 by default. */
  readonly alpha?: number;
  /** Added to the denominator, 1e-8 by default. */
  readonly eps?: number;
  /** What is kept of the last update, 0 by default. */
  readonly momentum?: number;
  /** Divide by the gradient's variance instead of its square. */
  readonly centered?: boolean;
  /** Go up instead of down. */
  readonly maximize?: boolean;
}

/** RMSprop: `v = alpha v + (1 - alpha) g^2`, `p = p - lr g / (sqrt(v) + eps)`. */
export class RMSprop extends Optimizer {
  readonly #alpha: number;
  readonly #eps: number;
  readonly #momentum: number;
  readonly #centered: boolean;

  /** @param params Parameters, or groups of them with settings of their own. */
  constructor(params: Parameters, options: RMSpropOptions = {}) {
    const known = ['lr', 'weightDecay', 'alpha', 'eps', 'momentum', 'centered', 'maximize'];
    checkOptions('RMSprop', options, known);
    const { lr = 1e-2, weightDecay = 0, alpha = 0.99, eps = 1e-8, momentum = 0, centered = false } = options;
    checkDecay('RMSprop', { alpha });
    checkAtLeastZero('RMSprop', { eps, momentum });
    const settings = { alpha, eps, momentum, centered };
    super(params, { name: 'RMSprop', lr, weightDecay, maximize: options.maximize, settings });
    this.#alpha = alpha;
    this.#eps = eps;
    this.#momentum = momentum;
    this.#centered = centered;
  }

  protected stateShapes({ parameter: { shape } }: Slot): Record<string, Shape> {
    return {
      square_avg: shape,
      ...(this.#momentum > 0 ? { momentum_buffer: shape } : {}),
      ...(this.#centered ? { grad_avg: shape } : {}),
    };
  }

  protected update(due: readonly DueSlot[], gradScale: number): void {
    const tensors = due.map(({ parameter, grad, state, lr, weightDecay }) => ({
      ...{ parameter, grad, lr, weightDecay },
      states: [state.square_avg, state.momentum_buffer ?? null, state.grad_avg ?? null],
    }));
    kernels.optimizerStep(tensors, {
      ...{ rule: 'rmsprop', beta1: this.#momentum, beta2: this.#alpha, eps: this.#eps, gradScale },
    });
  }
}
