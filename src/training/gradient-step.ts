/**
 * One step of an optimizer: the gradients of its batches summed by what counts in them, in the precision that was asked for,
 * clipped and applied; or not, where they are not finite.
 */

import { autocast, type HalfType } from '../../lib/autocast.js';
import { backward, type BackwardOptions } from '../../lib/autograd.js';
import { ArgumentError, TrainingError } from '../../lib/errors.js';
import { full } from '../../lib/ops/create.js';
import { recordDraws, replayDraws } from '../../lib/random.js';
import { scope, type Tensor } from '../../lib/tensor.js';
import { clipScale, gradNorm } from './clip.js';
import { firstBadGradient, firstBadResult, firstBadWeight } from './diagnosis.js';
import { LossScaler, type LossScaleOptions, type LossScaleState } from './loss-scale.js';
import { checkRecompute, type Recompute } from '../nn/index.js';
import type { BatchLoss, Objective, Trainable } from './objective.js';
import type { Optimizer } from './optimizers/index.js';

/** What layers compute in while training; weights, their gradients, norms, softmax and losses are float32 in any case. */
export type Precision = 'float32' | 'bf16' | 'fp16';

const halfTypes: Readonly<Record<Precision, HalfType | null>> = {
  float32: null,
  bf16: 'bfloat16',
  fp16: 'float16',
};

/** Settings of {@link GradientStep}. */
export interface GradientStepOptions<B> {
  readonly objective: Objective<B>;
  readonly optimizer: Optimizer;
  /** What is trained, by name. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  /** Greatest global norm; 0 is none. */
  readonly clip: number;
  readonly precision: Precision;
  /** Of fp16. */
  readonly lossScale?: LossScaleOptions;
  /** Whether other processes gather parts of the same sums, so that all must do so in units of 1. */
  readonly divided: boolean;
  /** Steps in a row that may be skipped because they are not finite. */
  readonly maxSkips: number;
}

/** What a step came to. */
export interface StepOutcome {
  /** Mean loss over all that counts. */
  readonly loss: number;
  /** Global norm of the gradients before clipping. */
  readonly norm: number;
  /** The weights were left as they are, because loss or gradients were not finite. */
  readonly skipped: boolean;
}

/** What a run has to save of it. */
export interface GradientStepState {
  readonly skippedInAll: number;
  readonly skippedInRow: number;
  readonly lossScale: LossScaleState | null;
}

export class GradientStep<B> {
  readonly #options: GradientStepOptions<B>;
  readonly #type: HalfType | null;
  readonly #params: readonly Tensor[];
  readonly #scaler: LossScaler | null;
  #skippedInAll = 0;
  #skippedInRow = 0;
  // Of the step that is being gathered:
  #losses = 0;
  /** Sum of the weights, and the first batch's, in units of which gradients are summed: 1 each where all are alike. */
  #weight = 0;
  #unit = 0;
  #badResult: string | null = null;

  /** @throws ArgumentError for a precision that is not known, or settings of a loss scale that is not used. */
  constructor(options: GradientStepOptions<B>) {
    const { precision, lossScale, maxSkips } = options;
    if (!Object.hasOwn(halfTypes, precision)) {
      throw new ArgumentError(
        `Trainer: precision must be float32, bf16 or fp16, got '${precision as string}'`,
      );
    }
    if (lossScale !== undefined && precision !== 'fp16') {
      throw new ArgumentError('Trainer: lossScale is for precision fp16');
    }
    if (!(Number.isSafeInteger(maxSkips) && maxSkips >= 0)) {
      throw new ArgumentError(`Trainer: maxSkips must be an integer of at least 0, got ${maxSkips}`);
    }
    this.#options = options;
    this.#type = halfTypes[precision];
    this.#params = [...options.parameters.values()];
    this.#scaler = precision === 'fp16' ? new LossScaler(lossScale) : null;
  }

  /** What backward starts from at present; null but in fp16. */
  get lossScale(): number | null {
    return this.#scaler?.scale ?? null;
  }

  /** Steps skipped since the start of the run. */
  get skippedSteps(): number {
    return this.#skippedInAll;
  }

  state(): GradientStepState {
    const [skippedInAll, skippedInRow] = [this.#skippedInAll, this.#skippedInRow];
    return { skippedInAll, skippedInRow, lossScale: this.#scaler?.state() ?? null };
  }

  setState({ skippedInAll, skippedInRow, lossScale }: GradientStepState): void {
    [this.#skippedInAll, this.#skippedInRow] = [skippedInAll, skippedInRow];
    if (lossScale !== null) this.#scaler?.setState(lossScale);
  }

  /** Adds the gradients of one batch to the step's; gives its tokens. To be called in a scope that the batch is made in. */
  add(batch: B, onLeaf?: BackwardOptions['onLeaf']): number {
    const { objective, parameters, maxSkips } = this.#options;
    const forward = (): BatchLoss => autocast(this.#type, () => objective.loss(batch));
    const [{ loss, weight, tokens }, draws] = recordDraws(forward);
    if (weight === 0) return tokens; // nothing in it counts
    this.#unit ||= this.#options.divided ? 1 : weight;
    const value = loss.item();
    this.#losses += value * weight;
    this.#weight += weight;
    if (!Number.isFinite(value) && this.#skippedInRow >= maxSkips) {
      this.#badResult ??= replayDraws(draws, () => firstBadResult(forward, parameters));
    }
    const start = (weight / this.#unit) * (this.#scaler?.scale ?? 1);
    backward(loss, start === 1 ? undefined : full(loss.shape, start), onLeaf === undefined ? {} : { onLeaf });
    return tokens;
  }

  /** The sum of the losses by weight, and the weights, of the step's batches so far; processes add theirs. */
  get sums(): { readonly losses: number; readonly weight: number } {
    return { losses: this.#losses, weight: this.#weight };
  }

  set sums({ losses, weight }: { readonly losses: number; readonly weight: number }) {
    [this.#losses, this.#weight, this.#unit] = [losses, weight, 1];
  }

  /**
   * Updates the weights by the gradient of the mean loss over the batches added since the last call.
   *
   * @throws TrainingError when too many steps in a row were not finite, saying where that began.
   */
  apply(lr: number): StepOutcome {
    const { optimizer, clip } = this.#options;
    const loss = this.#losses / this.#weight;
    const scale = this.#unit / this.#weight / (this.#scaler?.scale ?? 1);
    const norm = scope(() => gradNorm(this.#params)) * scale;
    const skipped = !Number.isFinite(norm) || !Number.isFinite(loss);
    if (!skipped) {
      optimizer.lr = lr;
      optimizer.step({ gradScale: scale * (clip > 0 ? clipScale(norm, clip) : 1) });
    }
    this.#count(skipped, loss, norm);
    optimizer.zeroGrad();
    [this.#losses, this.#weight, this.#unit] = [0, 0, 0];
    return { loss, norm, skipped };
  }

  /** Keeps count of the steps that were skipped, and gives up where there are too many. */
  #count(skipped: boolean, loss: number, norm: number): void {
    const overflow = skipped && Number.isFinite(loss) && (this.#scaler?.scale ?? 0) > 1;
    this.#scaler?.update(skipped);
    if (skipped) this.#skippedInAll++;
    if (overflow) return; // the scale was too large, nothing is wrong
    this.#skippedInRow = skipped ? this.#skippedInRow + 1 : 0;
    if (this.#skippedInRow <= this.#options.maxSkips) return;
    const { parameters } = this.#options;
    const where = firstBadWeight(parameters) ?? this.#badResult ?? firstBadGradient(parameters);
    throw diverged(
      `the loss is ${loss} and the norm of the gradients ${norm}, not finite for ${this.#skippedInRow} ` +
        `step${this.#skippedInRow === 1 ? '' : 's in a row'}` +
        (where === null ? '' : `; first ${where}`),
    );
  }
}

/** Chooses what a model computes again, and gives what is trained of it, by name; frozen weights stay as they are. */
export function preparedParameters(model: Trainable, recompute: Recompute): Map<string, Tensor> {
  checkRecompute(recompute);
  if (recompute !== 'off' && model.setRecompute === undefined) {
    throw new ArgumentError(
      'Trainer: a model without setRecompute computes nothing again; leave out recompute',
    );
  }
  model.setRecompute?.(recompute);
  const named = model.namedParameters?.() ?? model.parameters().map((p, i) => [`parameter ${i}`, p] as const);
  return new Map(named.filter(([, p]) => p.requiresGrad));
}

/** The error of a run whose numbers got lost; every cause of that has the same remedies. */
export const diverged = (finding: string): TrainingError =>
  new TrainingError(
    `training: ${finding}; lower the learning rate, warm up for longer, or clip the gradients`,
  );
