/**
 * Adafactor ("Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", Shazeer and Stern, 2018), step for step
 * PyTorch's: the mean squares of a matrix's gradient are kept as those of its rows and of its columns, so that the
 * state is next to nothing. Steps are relative to the size of the weights, and no update is larger than it should be.
 */

import { ArgumentError, checkOptions } from '../../../lib/errors.js';
import * as kernels from '../../../lib/kernels.js';
import { add_, clamp, copy_, mean, mul, noGrad, rsqrt, square, type Tensor } from '../../../lib/index.js';
import type { Shape } from '../../../lib/shape.js';
import { scope } from '../../../lib/tensor.js';
import {
  checkAtLeastZero,
  Optimizer,
  scaleInPlace,
  type DueSlot,
  type OptimizerOptions,
  type Parameters,
  type Slot,
} from './optimizer.js';

/** Settings of {@link Adafactor}; the learning rate is 1e-2 by default, `weightDecay` (0) is decoupled. */
export interface AdafactorOptions extends OptimizerOptions {
  /** The mean squares of step t forget t^beta2Decay of what they were; -0.8 by default. */
  readonly beta2Decay?: number;
  /** The least mean square, and the least size of the weights that a step is relative to; [2^-23, 1e-3] by default. */
  readonly eps?: readonly [number, number];
  /** The greatest root mean square of an update before it is scaled, 1 by default. */
  readonly d?: number;
  /** Go up instead of down. */
  readonly maximize?: boolean;
}

/** Adafactor. The update of a parameter needs memory for two of its size, which the next one uses again. */
export class Adafactor extends Optimizer {
  readonly #beta2Decay: number;
  readonly #eps: readonly [number, number];
  readonly #d: number;

  /** @param params Parameters, or groups of them with settings of their own. */
  constructor(params: Parameters, options: AdafactorOptions = {}) {
    checkOptions('Adafactor', options, ['lr', 'weightDecay', 'beta2Decay', 'eps', 'd', 'maximize']);
    const { lr = 1e-2, weightDecay = 0, beta2Decay = -0.8, eps = [2 ** -23, 1e-3], d = 1 } = options;
    if (!(beta2Decay <= 0 && beta2Decay > -Infinity)) {
      throw new ArgumentError(`Adafactor: beta2Decay must be 0 or less, got ${beta2Decay}`);
    }
    const given: number = eps.length;
    if (given !== 2) throw new ArgumentError(`Adafactor: eps must be two numbers, got ${given}`);
    for (const e of eps) checkAtLeastZero('Adafactor', { eps: e });
    if (!(d >= 1 && d < Infinity)) throw new ArgumentError(`Adafactor: d must be 1 or more, got ${d}`);
    const settings = { beta2Decay, eps1: eps[0], eps2: eps[1], d };
    super(params, { name: 'Adafactor', lr, weightDecay, maximize: options.maximize, settings });
    this.#beta2Decay = beta2Decay;
    this.#eps = eps;
    this.#d = d;
  }

  protected stateShapes({ parameter: { rank, shape } }: Slot): Record<string, Shape> {
    if (rank < 2) return { variance: shape };
    const row = shape.with(-1, 1);
    return { row_var: row, col_var: shape.with(-2, 1) };
  }

  protected update(due: readonly DueSlot[], gradScale: number): void {
    noGrad(() => {
      for (const slot of due) scope(() => this.#updateOne(slot, gradScale));
    });
  }

  #updateOne({ parameter, grad, state, lr, weightDecay, steps }: DueSlot, gradScale: number): void {
    const share = steps ** this.#beta2Decay;
    const size = Math.max(this.#eps[1], rootMeanSquare(parameter));
    const rate = size * Math.min(lr, 1 / Math.sqrt(steps));
    if (weightDecay > 0) scaleInPlace(parameter, 1 - lr * weightDecay);
    const g = mul(grad, gradScale);
    const estimate = this.#meanSquares(state, square(g), share);
    const update = mul(rsqrt(clamp(estimate, this.#eps[0] ** 2, Infinity)), g);
    const excess = Math.max(1, rootMeanSquare(update) / this.#d);
    add_(parameter, scaleInPlace(update, -rate / excess));
  }

  /** The estimate of every number's mean square, after the squares of this step have been taken in. */
  #meanSquares(state: DueSlot['state'], squares: Tensor, share: number): Tensor {
    const { variance, row_var, col_var } = state;
    if (variance !== undefined) return lerp(variance, squares, share);
    lerp(row_var, mean(squares, -1, { keepdim: true }), share);
    lerp(col_var, mean(squares, -2, { keepdim: true }), share);
    const whole = clamp(mean(row_var, -2, { keepdim: true }), this.#eps[0], Infinity);
    return mul(row_var.div(whole), col_var);
  }
}

/** Moves `mean` by a share of the way to `value`; gives it. */
function lerp(mean: Tensor, value: Tensor, share: number): Tensor {
  return copy_(mean, mul(mean, 1 - share).add(mul(value, share)));
}

const rootMeanSquare = (x: Tensor): number =>
  x.size === 0 ? 0 : Math.sqrt(kernels.sumSquares([x]) / x.size);
