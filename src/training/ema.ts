/**
 * An exponential moving average of the weights ("Acceleration of Stochastic Approximation by Averaging", Polyak and Juditsky,
 * 1992): it is evaluated and saved in place of the weights, which jump about while the learning rate is high. The first
 * steps count less, as in TensorFlow and Diffusers, so that short runs do not remember their beginning.
 */

import { ArgumentError, StateDictError } from '../../lib/errors.js';
import * as kernels from '../../lib/kernels.js';
import { formatShape, sameShape } from '../../lib/shape.js';
import { scope, Tensor } from '../../lib/tensor.js';

/** The average of a model's weights. */
export class WeightAverage {
  readonly #parameters: readonly Tensor[];
  readonly #averages: readonly Tensor[];
  readonly #decay: number;
  #swapped = false;

  /**
   * Begins with the weights as they are.
   * @param decay What is kept of the average at each step, from 0 to below 1.
   */
  constructor(parameters: readonly Tensor[], decay: number) {
    if (!(decay >= 0 && decay < 1)) {
      throw new ArgumentError(`Trainer: ema must be from 0 to below 1, got ${decay}`);
    }
    this.#parameters = parameters;
    this.#decay = decay;
    this.#averages = parameters.map((p) => copyOf(p).keep());
  }

  /** Whether the model holds the average now. */
  get isSwapped(): boolean {
    return this.#swapped;
  }

  /**
   * average = d average + (1 - d) weights, with d = min(decay, (1 + step) / (10 + step)).
   * @param step Steps done, this one included.
   */
  update(step: number): void {
    const decay = Math.min(this.#decay, (1 + step) / (10 + step));
    // One pass over all: a step of SGD on the average by the weights, whose decay of -1 leaves d of it.
    const tensors = this.#averages.map((average, i) => ({
      ...{ parameter: average, grad: this.#parameters[i], states: [], lr: decay - 1, weightDecay: -1 },
    }));
    kernels.optimizerStep(tensors, { rule: 'sgd', gradScale: 1, decoupled: true });
    for (const average of this.#averages) average.storage.changed();
  }

  /** Exchanges the weights and their average in the model; once more to undo it. */
  swap(): void {
    this.#swapped = !this.#swapped;
    scope(() => {
      this.#parameters.forEach((parameter, i) =>
        scope(() => {
          const weights = copyOf(parameter);
          kernels.copy(this.#averages[i], parameter);
          kernels.copy(weights, this.#averages[i]);
          parameter.storage.changed();
          this.#averages[i].storage.changed();
        }),
      );
    });
  }

  /** Runs `body` on the model with the average in place of the weights. */
  during<T>(body: () => T): T {
    if (this.#swapped) return body();
    this.swap();
    try {
      return body();
    } finally {
      this.swap();
    }
  }

  /** The weights by `weights.<index>`, for the state of a run whose saved model is their average; not copies. */
  stateDict(): Map<string, Tensor> {
    const weights = this.#swapped ? this.#averages : this.#parameters;
    return new Map(weights.map((p, i) => [nameOf(i), p]));
  }

  /** Takes the average from the model, which then gets its weights back ({@link restoreWeights}). */
  takeFromModel(): void {
    this.#parameters.forEach((parameter, i) => {
      kernels.copy(parameter, this.#averages[i]);
      this.#averages[i].storage.changed();
    });
  }
}

const nameOf = (i: number): string => `weights.${i}`;

/**
 * Puts the weights of a saved state into the model, and takes them out of the state; where there are none, the saved model
 * was no average.
 * @throws StateDictError when they do not fit; nothing is changed then.
 */
export function restoreWeights(state: Map<string, Tensor>, parameters: readonly Tensor[]): void {
  if (![...state.keys()].some((name) => name.startsWith('weights.'))) return;
  const weights = parameters.map(({ shape }, i) => {
    const saved = state.get(nameOf(i));
    if (saved?.dtype === 'float32' && sameShape(saved.shape, shape)) return saved;
    const found = saved === undefined ? 'is missing' : `is ${saved.dtype} ${formatShape(saved.shape)}`;
    throw new StateDictError(`Trainer: ${nameOf(i)} must be float32 ${formatShape(shape)}, it ${found}`);
  });
  weights.forEach((saved, i) => {
    kernels.copy(saved, parameters[i]);
    parameters[i].storage.changed();
    state.delete(nameOf(i));
    saved.dispose();
  });
}

function copyOf(x: Tensor): Tensor {
  const copy = Tensor.empty(x.shape, x.dtype, 'ema');
  kernels.copy(x, copy);
  return copy;
}
