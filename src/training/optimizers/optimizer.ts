/**
 * What all optimizers have in common: groups of parameters, the learning rate that schedules set, states made with the
 * first gradient, and a state dict with which an update goes on with the same bits. A parameter without a gradient skips a
 * step, and its count of updates with it, as in PyTorch. A subclass names its states and does the update.
 */

import { ArgumentError, checkOptions, DTypeError, StateDictError } from '../../../lib/errors.js';
import * as kernels from '../../../lib/kernels.js';
import { formatShape, sameShape, type Shape } from '../../../lib/shape.js';
import { scope, Tensor } from '../../../lib/tensor.js';

/** Settings that every optimizer has. */
export interface OptimizerOptions {
  /** Learning rate. */
  readonly lr?: number;
  /** Weight decay; the optimizer says whether it is decoupled or added to the gradient (L2). */
  readonly weightDecay?: number;
}

/** Parameters with settings of their own. */
export interface ParameterGroup {
  readonly params: readonly Tensor[];
  /** Learning rate; it keeps its proportion to the optimizer's when that is changed. */
  readonly lr?: number;
  readonly weightDecay?: number;
}

/** What is given to an optimizer: parameters, or groups of them. */
export type Parameters = Iterable<Tensor> | readonly ParameterGroup[];

/** Settings by name, as they are saved with a run. */
export type Settings = Readonly<Record<string, number | string | boolean>>;

/** A parameter and what the optimizer remembers of it. */
export interface Slot {
  readonly parameter: Tensor;
  readonly group: ParameterGroup;
  readonly weightDecay: number;
  /** The group's learning rate divided by the optimizer's. */
  readonly lrFactor: number;
  /** Updates so far, the one that is being made included. */
  steps: number;
  /** States by name, of float32; made with the first gradient. */
  state: Readonly<Record<string, Tensor>> | null;
}

/** A parameter that an update is due for. */
export interface DueSlot extends Slot {
  readonly grad: Tensor;
  readonly lr: number;
  readonly state: Readonly<Record<string, Tensor>>;
}

/** What a subclass tells the base of itself. */
interface Identity {
  /** Name of the class, for messages. */
  readonly name: string;
  readonly lr: number;
  readonly weightDecay: number;
  /** Update upwards instead of downwards. */
  readonly maximize?: boolean;
  /** What fresh states are filled with, 0 by default. */
  readonly initialState?: number;
  /** All settings, for {@link Optimizer.settings}. */
  readonly settings: Settings;
}

export abstract class Optimizer {
  /** Learning rate of the next step; schedules set it. */
  lr: number;
  /** The settings beside learning rates, by name: what has to be the same for a run to go on exactly. */
  readonly settings: Settings;
  readonly #name: string;
  readonly #slots: Slot[];
  readonly #sign: number;
  readonly #initialState: number;

  /**
   * @throws ArgumentError for settings out of range and parameters given twice; DTypeError for parameters that are not
   * float32.
   */
  protected constructor(params: Parameters, identity: Identity) {
    const { name, lr, weightDecay, maximize = false, settings } = identity;
    checkAtLeastZero(name, { lr, weightDecay });
    this.#name = name;
    this.lr = lr;
    this.settings = { optimizer: name, weightDecay, ...settings, ...(maximize ? { maximize } : {}) };
    this.#sign = maximize ? -1 : 1;
    this.#initialState = identity.initialState ?? 0;
    this.#slots = asGroups(name, [...params]).flatMap((group) => {
      const { params: members, lr: groupLr = lr, weightDecay: groupDecay = weightDecay } = group;
      checkAtLeastZero(name, { lr: groupLr, weightDecay: groupDecay });
      if (groupLr !== lr && lr === 0)
        throw new ArgumentError(
          `${name}: a group cannot have an lr of its own when the lr is 0, as it keeps its proportion to it`,
        );
      const lrFactor = groupLr === lr ? 1 : groupLr / lr;
      return members.map((parameter) => {
        checkParameter(name, parameter);
        return { parameter, group, weightDecay: groupDecay, lrFactor, steps: 0, state: null };
      });
    });
    if (new Set(this.#slots.map(({ parameter }) => parameter)).size < this.#slots.length) {
      throw new ArgumentError(`${name}: a parameter was given twice`);
    }
  }

  /** Names and shapes of a parameter's states. */
  protected abstract stateShapes(slot: Slot): Readonly<Record<string, Shape>>;

  /** Updates the parameters; runs in a scope. The gradients are to be multiplied by `gradScale` first. */
  protected abstract update(due: readonly DueSlot[], gradScale: number): void;

  /**
   * Updates every parameter that has a gradient.
   * @param options.gradScale What the gradients are multiplied by first (clipping, an average over batches).
   */
  step(options: { readonly gradScale?: number } = {}): void {
    const due: DueSlot[] = [];
    for (const slot of this.#slots) {
      const { parameter, lrFactor } = slot;
      const { grad } = parameter;
      if (grad === null) continue;
      slot.steps++;
      const state = (slot.state ??= this.#newState(slot));
      due.push({ ...slot, grad, state, lr: this.lr * lrFactor });
    }
    try {
      scope(() => this.update(due, this.#sign * (options.gradScale ?? 1)));
    } finally {
      for (const { parameter, state } of due) {
        parameter.storage.changed();
        for (const tensor of Object.values(state)) tensor.storage.changed();
      }
    }
  }

  /** Drops the gradients; their memory serves the next step. */
  zeroGrad(): void {
    for (const { parameter } of this.#slots) {
      parameter.grad?.dispose();
      parameter.grad = null;
    }
  }

  /**
   * What has to be saved to go on later: `step` (updates of each parameter), and the states of the parameters in their
   * order under PyTorch's names, `0.exp_avg`, ... The tensors themselves, not copies.
   */
  stateDict(): Map<string, Tensor> {
    const steps = Tensor.empty([this.#slots.length], 'int32', this.#name);
    const dict = new Map<string, Tensor>([['step', steps]]);
    this.#slots.forEach(({ state, steps: count }, i) => {
      steps.memory[i] = count;
      for (const [name, tensor] of Object.entries(state ?? {})) dict.set(`${i}.${name}`, tensor);
    });
    return dict;
  }

  /**
   * Goes on from a saved state; its numbers are copied.
   * @throws StateDictError when it does not fit the parameters; nothing is changed then.
   */
  loadStateDict(dict: ReadonlyMap<string, Tensor>): void {
    const steps = dict.get('step');
    if (steps?.dtype !== 'int32' || !sameShape(steps.shape, [this.#slots.length])) {
      const found = steps === undefined ? 'nothing' : `${steps.dtype} ${formatShape(steps.shape)}`;
      throw new StateDictError(
        `${this.#name}: the state must count the updates of ${this.#slots.length} parameters in 'step', it has ${found}`,
      );
    }
    const counts = steps.data;
    const known = new Set(['step']);
    const sources = this.#slots.map((slot, i) => {
      if (counts[i] === 0) return null;
      return Object.entries(this.stateShapes(slot)).map(([name, shape]) => {
        known.add(`${i}.${name}`);
        return [name, this.#found(dict, `${i}.${name}`, shape)] as const;
      });
    });
    const foreign = [...dict.keys()].find((name) => !known.has(name));
    if (foreign !== undefined) {
      throw new StateDictError(`${this.#name}: keeps no ${foreign}; the state is another optimizer's`);
    }
    this.#slots.forEach((slot, i) => {
      slot.steps = counts[i];
      const source = sources[i];
      if (source === null) {
        slot.state = null;
        return;
      }
      const state = (slot.state ??= this.#newState(slot));
      for (const [name, tensor] of source) {
        kernels.copy(tensor, state[name]);
        state[name].storage.changed();
      }
    });
  }

  #found(dict: ReadonlyMap<string, Tensor>, name: string, shape: Shape): Tensor {
    const tensor = dict.get(name);
    if (tensor?.dtype === 'float32' && sameShape(tensor.shape, shape)) return tensor;
    const found = tensor === undefined ? 'is missing' : `is ${tensor.dtype} ${formatShape(tensor.shape)}`;
    throw new StateDictError(`${this.#name}: ${name} must be float32 ${formatShape(shape)}, it ${found}`);
  }

  #newState(slot: Slot): Record<string, Tensor> {
    const made = Object.entries(this.stateShapes(slot)).map(([name, shape]) => {
      const tensor = Tensor.empty(shape, 'float32', this.#name).keep();
      kernels.fill(tensor, this.#initialState);
      return [name, tensor] as const;
    });
    return Object.fromEntries(made);
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

/** x = factor x, for a contiguous x; gives it. */
export function scaleInPlace(x: Tensor, factor: number): Tensor {
  kernels.unary('affine', x, x, factor, 0);
  x.storage.changed();
  return x;
}

/** Throws ArgumentError unless each of the named numbers is finite and not negative. */
export function checkAtLeastZero(optimizer: string, numbers: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(numbers)) {
    if (value >= 0 && value < Infinity) continue;
    throw new ArgumentError(`${optimizer}: ${name} must be 0 or more, got ${value}`);
  }
}

/** Throws ArgumentError unless each of the named numbers is a decay: from 0 to below 1. */
export function checkDecay(optimizer: string, numbers: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(numbers)) {
    if (value >= 0 && value < 1) continue;
    throw new ArgumentError(`${optimizer}: ${name} must be from 0 to below 1, got ${value}`);
  }
}

/** Throws ArgumentError unless these are two decays. */
export function checkBetas(optimizer: string, betas: readonly number[]): void {
  if (betas.length !== 2)
    throw new ArgumentError(`${optimizer}: betas must be two numbers, got ${betas.length}`);
  for (const beta of betas) checkDecay(optimizer, { betas: beta });
}

function asGroups(name: string, params: (Tensor | ParameterGroup)[]): ParameterGroup[] {
  const tensors = params.filter((item) => item instanceof Tensor);
  if (tensors.length === params.length) return [{ params: tensors }];
  return params.map((group) => {
    if (group instanceof Tensor)
      throw new ArgumentError(`${name}: give either parameters or groups, not both`);
    checkOptions(`${name} group`, group, ['params', 'lr', 'weightDecay']);
    return group;
  });
}

function checkParameter(name: string, parameter: Tensor): void {
  if (parameter.dtype !== 'float32' || !parameter.isContiguous) {
    throw new DTypeError(
      `${name}: parameters must be contiguous float32 tensors, got ${parameter.dtype} ` +
        `${formatShape(parameter.shape)}; load the model with dtype 'float32'`,
    );
  }
  if (!parameter.requiresGrad || !parameter.isLeaf) {
    throw new ArgumentError(
      `${name}: a tensor ${formatShape(parameter.shape)} is not a leaf that requires a gradient; leave out frozen parameters`,
    );
  }
}
