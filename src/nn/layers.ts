/** The layers that models are made of. Each holds its parameters under the names that checkpoints use. */

import {
  activate,
  add,
  ArgumentError,
  defaultGenerator,
  dropout,
  embedding,
  type Generator,
  layerNorm,
  linear,
  type LinearOptions,
  ones,
  randn,
  rmsNorm,
  scope,
  Tensor,
  to,
  zeros,
} from '../../lib/index.js';
import { Module } from './module.js';

/** Options of layers with random initial weights. */
export interface InitOptions {
  /** Standard deviation of the normal distribution, 0.02 by default (GPT-2's). */
  readonly std?: number;
  /** The stream the weights are drawn from. */
  readonly generator?: Generator;
  /** Whether there is a bias, true by default. */
  readonly bias?: boolean;
}

/** Weights in the files of the checkpoint that the module being built is for; null outside {@link withoutInit}. */
let waiting: number | null = null;

/**
 * Builds a module whose parameters have shapes but no memory, for a checkpoint whose tensors then take their places
 * (`loadStateDict` with `assign`).
 *
 * @param fileWeights How many weights the checkpoint has.
 */
export function withoutInit<T>(fileWeights: number, build: () => T): T {
  waiting = fileWeights;
  try {
    return build();
  } finally {
    waiting = null;
  }
}

/** How many weights wait for the module that is being built, or null where it gets its own. */
export const weightsWaiting = (): number | null => waiting;

function parameter(shape: readonly number[], init: (shape: readonly number[]) => Tensor): Tensor {
  const p = waiting === null ? init(shape) : Tensor.withoutMemory(shape);
  p.requiresGrad = true;
  return p;
}

function randomWeight(
  shape: readonly number[],
  { std = 0.02, generator = defaultGenerator }: InitOptions,
): Tensor {
  return parameter(shape, () => randn(shape, { std, generator }));
}

/** What is added to a layer's result, (..., in) to (..., out); see lora.ts. */
export interface Adapter {
  forward(x: Tensor, training: boolean): Tensor;
}

/** What a layer makes of its result while it is in a near cache; see {@link LinearOptions}. */
export type Finish = Pick<LinearOptions, 'activation' | 'residual'>;

/** A layer y = f(x) that an adapter may stand beside. It is none of the layer's own parameters. */
abstract class Adaptable extends Module {
  #adapter: Adapter | null = null;

  /** @internal */
  get adapter(): Adapter | null {
    return this.#adapter;
  }

  set adapter(adapter: Adapter | null) {
    this.#adapter = adapter;
  }

  /** The layer's result with what the adapter adds, then finished. */
  protected adapted(layer: (finish: Finish) => Tensor, x: Tensor, finish: Finish): Tensor {
    const adapter = this.#adapter;
    if (adapter === null) return layer(finish);
    const { activation = null, residual = null } = finish;
    return scope(() => {
      const y = layer({ residual: adapter.forward(x, this.training) });
      const active = activation === null ? y : activate(y, activation);
      return residual === null ? active : add(residual, active);
    });
  }
}

/** y = x Wᵀ + b with W [out, in]. */
export class Linear extends Adaptable {
  readonly weight: Tensor;
  readonly bias: Tensor | null;

  constructor(inputs: number, outputs: number, options: InitOptions = {}) {
    super();
    this.weight = randomWeight([outputs, inputs], options);
    this.bias = (options.bias ?? true) ? parameter([outputs], zeros) : null;
  }

  /** @param x (..., in) @param finish activation(x Wᵀ + b) + residual @returns (..., out) */
  forward(x: Tensor, finish: Finish = {}): Tensor {
    return this.adapted((own) => linear(x, this.weight, this.bias, own), x, finish);
  }
}

/** y = x W + b with W [in, out]: the layout of GPT-2's checkpoints, which call this layer Conv1D. */
export class Conv1D extends Adaptable {
  readonly weight: Tensor;
  readonly bias: Tensor | null;

  constructor(inputs: number, outputs: number, options: InitOptions = {}) {
    super();
    this.weight = randomWeight([inputs, outputs], options);
    this.bias = (options.bias ?? true) ? parameter([outputs], zeros) : null;
  }

  /** @param x (..., in) @param finish activation(x W + b) + residual @returns (..., out) */
  forward(x: Tensor, finish: Finish = {}): Tensor {
    return this.adapted((own) => linear(x, this.weight, this.bias, { ...own, transposed: true }), x, finish);
  }
}

/** A row of the table for each id. */
export class Embedding extends Module {
  readonly weight: Tensor;

  constructor(rows: number, size: number, options: InitOptions = {}) {
    super();
    this.weight = randomWeight([rows, size], options);
  }

  /** @param ids (...) int32 @returns (..., size), float32 also where the table is kept in a half type */
  forward(ids: Tensor): Tensor {
    return to(embedding(ids, this.weight), 'float32');
  }
}

/** Layer normalization over the last dimension. */
export class LayerNorm extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor | null;

  constructor(
    size: number,
    readonly eps = 1e-5,
    options: { bias?: boolean } = {},
  ) {
    super();
    this.weight = parameter([size], ones);
    this.bias = (options.bias ?? true) ? parameter([size], zeros) : null;
  }

  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight, this.bias, this.eps);
  }
}

/** Root-mean-square normalization over the last dimension. */
export class RMSNorm extends Module {
  readonly weight: Tensor;

  constructor(
    size: number,
    readonly eps = 1e-6,
  ) {
    super();
    this.weight = parameter([size], ones);
  }

  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.weight, this.eps);
  }
}

/** Zeroes each element with probability p while training, and scales the others by 1 / (1 - p). */
export class Dropout extends Module {
  constructor(
    readonly p: number,
    private readonly generator: Generator = defaultGenerator,
  ) {
    super();
    if (!(p >= 0 && p < 1)) throw new ArgumentError(`Dropout: p must be at least 0 and below 1, got ${p}`);
  }

  forward(x: Tensor): Tensor {
    return this.training && this.p > 0 ? dropout(x, this.p, { generator: this.generator }) : x;
  }

  /**
   * residual + dropout(layer): where nothing is dropped the layer adds the residual itself.
   *
   * @param layer The layer's result, with what it is given added.
   */
  addTo(residual: Tensor, layer: (finish: Finish) => Tensor): Tensor {
    const drops = this.training && this.p > 0;
    return drops ? add(residual, this.forward(layer({}))) : layer({ residual });
  }
}
