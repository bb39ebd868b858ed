/**
 * Dynamic loss scaling ("Mixed Precision Training", Micikevicius et al., 2018), step for step PyTorch's GradScaler: gradients
 * in float16 would vanish below 6e-8, so backward starts from a large number instead of 1, and they are divided by it in
 * float32. Where one overflows, the step is skipped and the scale halved; after some good steps it is doubled.
 */

import { ArgumentError, checkOptions } from '../../lib/errors.js';

/** Settings of {@link LossScaler}. */
export interface LossScaleOptions {
  /** The first scale, 65536 by default. */
  readonly initial?: number;
  /** Good steps in a row after which it is doubled, 2000 by default. */
  readonly growthInterval?: number;
}

/** Where a scaler stands; saved with a run. */
export interface LossScaleState {
  readonly scale: number;
  /** Good steps since the scale last changed. */
  readonly good: number;
}

export class LossScaler {
  #scale: number;
  #good = 0;
  readonly #growthInterval: number;

  constructor(options: LossScaleOptions = {}) {
    checkOptions('LossScaler', options, ['initial', 'growthInterval']);
    const { initial = 65536, growthInterval = 2000 } = options;
    if (!(initial > 0 && initial < Infinity)) {
      throw new ArgumentError(`LossScaler: initial must be positive, got ${initial}`);
    }
    if (!(Number.isSafeInteger(growthInterval) && growthInterval > 0)) {
      throw new ArgumentError(`LossScaler: growthInterval must be a positive integer, got ${growthInterval}`);
    }
    this.#scale = initial;
    this.#growthInterval = growthInterval;
  }

  /** What the loss's gradient is to be multiplied by, and all gradients divided by. */
  get scale(): number {
    return this.#scale;
  }

  /** Takes note of a step. @param overflow Whether a gradient was not finite, so that the step was skipped. */
  update(overflow: boolean): void {
    this.#good = overflow ? 0 : this.#good + 1;
    if (overflow) this.#scale /= 2;
    if (this.#good < this.#growthInterval) return;
    this.#good = 0;
    if (this.#scale * 2 < Infinity) this.#scale *= 2;
  }

  state(): LossScaleState {
    return { scale: this.#scale, good: this.#good };
  }

  setState({ scale, good }: LossScaleState): void {
    this.#scale = scale;
    this.#good = good;
  }
}
