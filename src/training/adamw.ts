/**
 * AdamW: Adam with decoupled weight decay ("Decoupled Weight Decay Regularization", Loshchilov and Hutter,
 * 2019), step for step PyTorch's. One native call updates all parameters: it reads each, its gradient and both
 * moments once.
 */

import { ArgumentError, checkOptions, DTypeError, StateDictError } from '../../lib/errors.js';
import * as kernels from '../../lib/kernels.js';
import { formatShape, sameShape } from '../../lib/shape.js';
import { Tensor } from '../../lib/tensor.js';

/** Settings of {@link AdamW}. */
export interface AdamWOptions {
  /** Learning rate, 1e-3 by default. */
  readonly lr?: number;
  /** Decay of the running means of the gradient and of its square, [0.9, 0.999] by default. */
  readonly betas?: readonly [number, number];
  /** Added to the denominator, 1e-8 by default. */
  readonly eps?: number;
  /** Part of a weight, times the learning rate, that is taken away at every step, 0.01 by default. */
  readonly weightDecay?: number;
}

/** Parameters with settings of their own. */
export interface ParameterGroup {
  readonly params: readonly Tensor[];
  /** Learning rate; it keeps its proportion to the optimizer's when that is changed. */
  readonly lr?: number;
  readonly weightDecay?: number;
}

/** A parameter and what the optimizer remembers of it. */
interface Slot {
  readonly parameter: Tensor;
  readonly weightDecay: number;
  /** The group's learning rate divided by the optimizer's. */
  readonly lrFactor: number;
  /** Updates so far: a parameter without gradient skips a step, and its count with it, as in PyTorch. */
  steps: number;
  /** Running means of the gradient and of its square; made with the first gradient. */
  moments: { readonly m: Tensor; readonly v: Tensor } | null;
}

export class AdamW {
  /** Learning rate of the next step; schedules set it. */
  lr: number;
  readonly #slots: Slot[];
  readonly #betas: readonly [number, number];
  readonly #eps: number;

  /**
   * @param params Parameters, or groups of them with settings of their own; see {@link decayGroups}.
   * @throws ArgumentError for settings out of range; DTypeError for parameters that are not float32.
   */
  constructor(params: Iterable<Tensor> | readonly ParameterGroup[], options: AdamWOptions = {}) {
    checkOptions('AdamW', options, ['lr', 'betas', 'eps', 'weightDecay']);
    const { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0.01 } = options;
    checkAtLeastZero('lr', lr);
    checkAtLeastZero('eps', eps);
    const given: number = betas.length;
    if (given !== 2) throw new ArgumentError(`AdamW: betas must be two numbers, got ${given}`);
    for (const beta of betas) {
      if (!(beta >= 0 && beta < 1))
        throw new ArgumentError(`AdamW: betas must be from 0 to below 1, got ${beta}`);
    }
    this.lr = lr;
    this.#betas = betas;
    this.#eps = eps;
    this.#slots = asGroups([...params]).flatMap((group) => {
      const { params: members, lr: groupLr = lr, weightDecay: groupDecay = weightDecay } = group;
      checkAtLeastZero('lr', groupLr);
      checkAtLeastZero('weightDecay', groupDecay);
      if (groupLr !== lr && lr === 0)
        throw new ArgumentError(
          'AdamW: a group cannot have an lr of its own when the lr is 0, as it keeps its proportion to it',
        );
      const lrFactor = groupLr === lr ? 1 : groupLr / lr;
      return members.map((parameter) => {
        checkParameter(parameter);
        return { parameter, weightDecay: groupDecay, lrFactor, steps: 0, moments: null };
      });
    });
    if (new Set(this.#slots.map(({ parameter }) => parameter)).size < this.#slots.length) {
      throw new ArgumentError('AdamW: a parameter was given twice');
    }
  }

  /**
   * Updates every parameter that has a gradient:
   *
   *     m = beta1 m + (1 - beta1) g          p = p (1 - lr decay)
   *     v = beta2 v + (1 - beta2) g^2        p = p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
   *
   * @param options.gradScale What the gradients are multiplied by first (clipping, an average over batches).
   */
  step(options: { readonly gradScale?: number } = {}): void {
    const [beta1, beta2] = this.#betas;
    const tensors: kernels.AdamWTensor[] = [];
    for (const slot of this.#slots) {
      const { parameter, weightDecay, lrFactor } = slot;
      const { grad } = parameter;
      if (grad === null) continue;
      slot.steps++;
      const { m, v } = (slot.moments ??= newMoments(parameter));
      const biasCorrection1 = 1 - beta1 ** slot.steps;
      const biasCorrection2 = 1 - beta2 ** slot.steps;
      const lr = this.lr * lrFactor;
      tensors.push({ parameter, grad, m, v, lr, weightDecay, biasCorrection1, biasCorrection2 });
      parameter.storage.version++;
    }
    kernels.adamw(tensors, { beta1, beta2, eps: this.#eps, gradScale: options.gradScale ?? 1 });
  }

  /** Drops the gradients; their memory serves the next step. */
  zeroGrad(): void {
    for (const { parameter } of this.#slots) {
      parameter.grad?.dispose();
      parameter.grad = null;
    }
  }

  /**
   * What has to be saved to go on later: `step` (updates of each parameter), and `0.exp_avg`, `0.exp_avg_sq`,
   * ... (the moments of the parameters in their order). The tensors themselves, not copies.
   */
  stateDict(): Map<string, Tensor> {
    const steps = Tensor.empty([this.#slots.length], 'int32', 'AdamW');
    const state = new Map<string, Tensor>([['step', steps]]);
    this.#slots.forEach(({ moments, steps: count }, i) => {
      steps.memory[i] = count;
      if (moments === null) return;
      state.set(`${i}.exp_avg`, moments.m);
      state.set(`${i}.exp_avg_sq`, moments.v);
    });
    return state;
  }

  /**
   * Goes on from a saved state; its numbers are copied.
   * @throws StateDictError when it does not fit the parameters; nothing is changed then.
   */
  loadStateDict(state: ReadonlyMap<string, Tensor>): void {
    const steps = state.get('step');
    if (steps?.dtype !== 'int32' || !sameShape(steps.shape, [this.#slots.length])) {
      const found = steps === undefined ? 'nothing' : `${steps.dtype} ${formatShape(steps.shape)}`;
      throw new StateDictError(
        `AdamW: the state must count the updates of ${this.#slots.length} parameters in 'step', it has ${found}`,
      );
    }
    const counts = steps.data;
    const sources = this.#slots.map(({ parameter }, i) => {
      if (counts[i] === 0) return null;
      const moment = (name: string): Tensor => {
        const tensor = state.get(name);
        if (tensor?.dtype === 'float32' && sameShape(tensor.shape, parameter.shape)) return tensor;
        const found = tensor === undefined ? 'is missing' : `is ${tensor.dtype} ${formatShape(tensor.shape)}`;
        throw new StateDictError(
          `AdamW: ${name} must be float32 ${formatShape(parameter.shape)}, it ${found}`,
        );
      };
      return { m: moment(`${i}.exp_avg`), v: moment(`${i}.exp_avg_sq`) };
    });
    this.#slots.forEach((slot, i) => {
      slot.steps = counts[i];
      const source = sources[i];
      if (source === null) {
        slot.moments = null;
        return;
      }
      slot.moments ??= newMoments(slot.parameter);
      kernels.copy(source.m, slot.moments.m);
      kernels.copy(source.v, slot.moments.v);
    });
  }
}

/**
 * The usual groups of a transformer, as in nanoGPT: weight decay for matrices and embeddings (two dimensions
 * or more), none for biases and norms.
 */
export function decayGroups(params: Iterable<Tensor>, weightDecay: number): ParameterGroup[] {
  const all = [...params];
  return [
    { params: all.filter((p) => p.rank >= 2), weightDecay },
    { params: all.filter((p) => p.rank < 2), weightDecay: 0 },
  ];
}

function asGroups(params: (Tensor | ParameterGroup)[]): ParameterGroup[] {
  const tensors = params.filter((item) => item instanceof Tensor);
  if (tensors.length === params.length) return [{ params: tensors }];
  return params.map((group) => {
    if (group instanceof Tensor) throw new ArgumentError('AdamW: give either parameters or groups, not both');
    checkOptions('AdamW group', group, ['params', 'lr', 'weightDecay']);
    return group;
  });
}

function newMoments(parameter: Tensor): { m: Tensor; v: Tensor } {
  const zeros = (): Tensor => {
    const moment = Tensor.empty(parameter.shape, 'float32', 'AdamW').keep();
    kernels.fill(moment, 0);
    return moment;
  };
  return { m: zeros(), v: zeros() };
}

function checkParameter(parameter: Tensor): void {
  if (parameter.dtype !== 'float32' || !parameter.isContiguous) {
    throw new DTypeError(
      `AdamW: parameters must be contiguous float32 tensors, got ${parameter.dtype} ` +
        `${formatShape(parameter.shape)}; load the model with dtype 'float32'`,
    );
  }
  if (!parameter.requiresGrad || !parameter.isLeaf) {
    throw new ArgumentError(
      `AdamW: a tensor ${formatShape(parameter.shape)} is not a leaf that requires a gradient; leave out frozen parameters`,
    );
  }
}

function checkAtLeastZero(name: string, value: number): void {
  if (!(value >= 0 && value < Infinity))
    throw new ArgumentError(`AdamW: ${name} must be 0 or more, got ${value}`);
}
