/**
 * Low-rank adaptation ("LoRA: Low-Rank Adaptation of Large Language Models", Hu et al., 2021): the model's weights stay as
 * they are, and beside each chosen layer y = W x a pair of thin matrices learns what to add, y + (alpha / rank) B A x. About
 * one weight in a hundred is trained, so that gradients and the optimizer's states are next to nothing; the sum is one
 * matrix again (`merge`) and then costs nothing to use. Names and defaults are those of Hugging Face's PEFT.
 */

import {
  add,
  ArgumentError,
  checkOptions,
  copy_,
  defaultGenerator,
  dropout,
  type Generator,
  matmul,
  mul,
  noGrad,
  rand,
  scope,
  sub,
  type Tensor,
  to,
  transpose,
  zeros,
} from '../../lib/index.js';
import { Conv1D, Linear } from './layers.js';
import { Module } from './module.js';

/** Settings of {@link Lora}. */
export interface LoraOptions {
  /** Columns of A and rows of B, 8 by default. */
  readonly rank?: number;
  /** What is added is multiplied by alpha / rank; twice the rank by default. */
  readonly alpha?: number;
  /**
   * Which layers are adapted: the last parts of their names, as `['c_attn']` or `['q_proj', 'v_proj']`; 'all', the default,
   * is every matrix of the model's blocks.
   */
  readonly targets?: 'all' | readonly string[];
  /** Dropout before A, 0 by default. */
  readonly dropout?: number;
  /** Modules that are trained whole beside the adapters, by their names: a new head, `['classifier']`. */
  readonly modulesToSave?: readonly string[];
  /** The stream of A's random weights and of dropout. */
  readonly generator?: Generator;
}

const optionNames = ['rank', 'alpha', 'targets', 'dropout', 'modulesToSave', 'generator'];

type Adapted = Linear | Conv1D;

/** The pair of matrices beside one layer. */
class LoraAdapter extends Module {
  /** [rank, in] */
  readonly lora_A: Linear;
  /** [out, rank] */
  readonly lora_B: Linear;

  constructor(
    layer: Adapted,
    readonly scale: number,
    private readonly options: { rank: number; dropout: number; generator: Generator },
  ) {
    super();
    const { rank, generator } = options;
    const [inputs, outputs] = layer instanceof Linear ? layer.weight.shape.toReversed() : layer.weight.shape;
    this.lora_A = withWeight(uniform([rank, inputs], generator));
    this.lora_B = withWeight(zeros([outputs, rank])); // so that the model begins as it was
  }

  /** What is added to the layer's result. @param x (..., in) @returns (..., out) */
  forward(x: Tensor, training: boolean): Tensor {
    const { dropout: p, generator } = this.options;
    const kept = training && p > 0 ? dropout(x, p, { generator }) : x;
    return this.lora_B.forward(mul(this.lora_A.forward(kept), this.scale));
  }

  /** What is added to the layer's weight, in its layout. */
  delta(layer: Adapted): Tensor {
    const product = mul(matmul(this.lora_B.weight, this.lora_A.weight), this.scale); // (out, in)
    return layer instanceof Linear ? product : transpose(product, 0, 1);
  }
}

function withWeight(weight: Tensor): Linear {
  const layer = new Linear(1, 1, { bias: false });
  weight.keep().requiresGrad = true;
  layer.weight.dispose();
  Object.assign(layer, { weight });
  return layer;
}

/** PyTorch's initial weights of a linear layer, which A has in PEFT: uniform within 1 / sqrt(in). */
function uniform(shape: readonly [number, number], generator: Generator): Tensor {
  const bound = 1 / Math.sqrt(shape[1]);
  return scope(() => sub(mul(rand(shape, { generator }), 2 * bound), bound));
}

/**
 * The adapters of a model. While they are attached, the model's layers use them, and of its own weights only those of
 * `modulesToSave` are trained.
 *
 * @example
 * const lora = new Lora(model, { rank: 8 });
 * const optimizer = new AdamW(lora.parameters(), { lr: 2e-4 });
 * // ... train ...
 * lora.merge();
 */
export class Lora {
  /** The settings, complete; `targets` are the last parts of the names. */
  readonly options: Required<Omit<LoraOptions, 'generator' | 'targets'>> & {
    readonly targets: readonly string[];
  };
  readonly #model: Module;
  readonly #layers: ReadonlyMap<string, Adapted>;
  readonly #adapters = new Map<string, LoraAdapter>();
  #attached = true;

  /**
   * Attaches fresh adapters, which change nothing yet, and freezes the model's weights.
   *
   * @throws ArgumentError for settings out of range, for targets that no layer is called by, and when the model has adapters.
   */
  constructor(model: Module, options: LoraOptions = {}) {
    checkOptions('Lora', options, optionNames);
    const { rank = 8, alpha = 2 * rank, dropout: p = 0, modulesToSave = [] } = options;
    const { generator = defaultGenerator } = options;
    if (!(Number.isInteger(rank) && rank > 0)) {
      throw new ArgumentError(`Lora: rank must be a positive integer, got ${rank}`);
    }
    if (!(alpha > 0 && alpha < Infinity))
      throw new ArgumentError(`Lora: alpha must be positive, got ${alpha}`);
    if (!(p >= 0 && p < 1)) throw new ArgumentError(`Lora: dropout must be at least 0 and below 1, got ${p}`);
    const { targets, layers } = chooseLayers(model, options.targets ?? 'all', modulesToSave);
    this.#model = model;
    this.#layers = layers;
    this.options = { rank, alpha, targets, dropout: p, modulesToSave };
    for (const [name, layer] of layers) {
      if (layer.adapter !== null)
        throw new ArgumentError(`Lora: ${name} has an adapter already; merge or detach it first`);
      if (rank > Math.min(...layer.weight.shape)) {
        const size = layer.weight.shape.join(', ');
        throw new ArgumentError(`Lora: rank ${rank} is more than the matrix ${name} [${size}] has`);
      }
    }
    for (const [name, layer] of layers) {
      layer.adapter = new LoraAdapter(layer, alpha / rank, { rank, dropout: p, generator });
      this.#adapters.set(name, layer.adapter as LoraAdapter);
    }
    for (const [name, p] of model.namedParameters()) p.requiresGrad = isIn(name, modulesToSave);
  }

  /** What is trained, by name: `h.0.attn.c_attn.lora_A.weight`, and all of `modulesToSave`. The tensors themselves. */
  stateDict(): Map<string, Tensor> {
    const dict = new Map<string, Tensor>();
    for (const [name, adapter] of this.#adapters) {
      for (const [part, tensor] of adapter.namedParameters()) dict.set(`${name}.${part}`, tensor);
    }
    for (const [name, tensor] of this.#model.namedParameters()) {
      if (isIn(name, this.options.modulesToSave)) dict.set(name, tensor);
    }
    return dict;
  }

  /** What is trained. */
  parameters(): Tensor[] {
    return [...this.stateDict().values()];
  }

  /** Number of weights that are trained. */
  numParameters(): number {
    return this.parameters().reduce((n, p) => n + p.size, 0);
  }

  /** Whether every adapted layer is GPT-2's Conv1D, whose weights are [in, out]; null where there are both kinds. */
  get transposed(): boolean | null {
    const kinds = new Set([...this.#layers.values()].map((layer) => layer instanceof Conv1D));
    return kinds.size === 1 ? [...kinds][0] : null;
  }

  /**
   * Adds the adapters to the weights, W + (alpha / rank) B A, in float32, rounded to the weight's type at the end, and
   * detaches them: the model is then an ordinary one that computes the same, and all its weights can be trained again.
   */
  merge(): void {
    this.#checkAttached('merge');
    noGrad(() => {
      for (const [name, layer] of this.#layers) {
        scope(() =>
          copy_(layer.weight, add(to(layer.weight, 'float32'), this.#adapters.get(name)!.delta(layer))),
        );
      }
    });
    this.detach();
  }

  /** Takes the adapters off: the model is as it was before. */
  detach(): void {
    this.#checkAttached('detach');
    for (const layer of this.#layers.values()) layer.adapter = null;
    for (const p of this.#model.parameters()) p.requiresGrad = true;
    this.#attached = false;
  }

  #checkAttached(what: string): void {
    if (!this.#attached) throw new ArgumentError(`Lora.${what}: the adapters are no longer in the model`);
  }
}

/** Whether a parameter lies in one of the modules. */
const isIn = (name: string, modules: readonly string[]): boolean =>
  modules.some((module) => name.startsWith(`${module}.`) || name.includes(`.${module}.`));

/** Every layer that can be adapted, by its path. */
function* layersOf(module: Module, prefix = ''): Iterable<[string, Adapted]> {
  for (const [name, child] of module.children()) {
    if (child instanceof Linear || child instanceof Conv1D) yield [prefix + name, child];
    else yield* layersOf(child, `${prefix}${name}.`);
  }
}

const lastPart = (name: string): string => name.slice(name.lastIndexOf('.') + 1);

function chooseLayers(
  model: Module,
  wanted: 'all' | readonly string[],
  whole: readonly string[],
): { targets: string[]; layers: Map<string, Adapted> } {
  const all = [...layersOf(model)].filter(([name]) => !isIn(`${name}.`, whole));
  // 'all': those of the numbered blocks; an output head or a pooler is none.
  const inBlocks = all.filter(([name]) => /(^|\.)\d+\./.test(name)).map(([name]) => lastPart(name));
  const targets = [...new Set(wanted === 'all' ? inBlocks : wanted)];
  const matches = (name: string, target: string): boolean => name === target || name.endsWith(`.${target}`);
  const unknown = targets.find((target) => !all.some(([name]) => matches(name, target)));
  if (unknown !== undefined) {
    const names = [...new Set(all.map(([name]) => lastPart(name)))].join(', ');
    throw new ArgumentError(`Lora: no layer is called '${unknown}'; the model has ${names}`);
  }
  const layers = new Map(all.filter(([name]) => targets.some((target) => matches(name, target))));
  if (layers.size === 0) throw new ArgumentError('Lora: there is no layer to adapt; name targets');
  return { targets, layers };
}
