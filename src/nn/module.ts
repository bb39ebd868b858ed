/**
 * The base of layers and models: a plain object whose own properties, in their order, are its parameters (tensors, also
 * frozen ones, whose `requiresGrad` is false), its sub-modules, and arrays of sub-modules; a tensor that is no weight
 * belongs in a private `#field`. Names are the property paths, `h.0.attn.c_attn.weight`, so a model that uses a
 * checkpoint's names loads it by a strict copy. No registration, no decorators, no proxies.
 */

import {
  ArgumentError,
  checkOptions,
  copy_,
  formatShape,
  noGrad,
  sameShape,
  StateDictError,
  Tensor,
  to,
} from '../../lib/index.js';
import { checkRecompute, type Recompute } from './recompute.js';

/** Options of {@link Module.loadStateDict}. */
export interface LoadOptions {
  /** Fail on missing and unexpected names (the default); otherwise load what fits. Wrong shapes always fail. */
  readonly strict?: boolean;
  /**
   * Make the given tensors the parameters instead of copying their numbers: nothing is allocated, and each keeps its dtype.
   * They belong to the module from then on. Optimizers that were made before still hold the old parameters.
   */
  readonly assign?: boolean;
}

/** What loading found beside the tensors it copied. */
export interface LoadResult {
  readonly missing: string[];
  readonly unexpected: string[];
}

export abstract class Module {
  /** Whether dropout is on. Set by {@link train} and {@link eval}. */
  training = true;
  /** What training computes twice to save memory. Set by {@link setRecompute}. */
  recompute: Recompute = 'off';

  /** Sub-modules with the names of the properties that hold them. */
  *children(): Generator<[string, Module]> {
    for (const [name, value] of Object.entries(this)) {
      if (value instanceof Module) yield [name, value];
      else if (Array.isArray(value)) {
        for (const [i, item] of value.entries()) if (item instanceof Module) yield [`${name}.${i}`, item];
      }
    }
  }

  /** Every parameter with its path, in the order of the properties. A tensor held twice is given once. */
  namedParameters(): [string, Tensor][] {
    const found = new Map<Tensor, string>();
    collect(this, '', found);
    return Array.from(found, ([tensor, name]) => [name, tensor]);
  }

  parameters(): Tensor[] {
    return this.namedParameters().map(([, tensor]) => tensor);
  }

  /** Number of weights, tied ones counted once. */
  numParameters(): number {
    return this.parameters().reduce((n, p) => n + p.size, 0);
  }

  /** The parameters by name; the tensors themselves, not copies. */
  stateDict(): Map<string, Tensor> {
    return new Map(this.namedParameters());
  }

  /**
   * Copies tensors into the parameters of the same names, converting dtypes, or with `assign` puts them in their places.
   *
   * @throws StateDictError naming what is missing, unexpected or of the wrong shape; nothing is loaded then.
   */
  loadStateDict(state: ReadonlyMap<string, Tensor>, options: LoadOptions = {}): LoadResult {
    checkOptions('loadStateDict', options, ['strict', 'assign']);
    const { strict = true, assign = false } = options;
    const own = this.stateDict();
    const missing = [...own.keys()].filter((name) => !state.has(name));
    const unexpected = [...state.keys()].filter((name) => !own.has(name));
    const wrong = [...own].filter(
      ([name, p]) => state.has(name) && !sameShape(state.get(name)!.shape, p.shape),
    );
    if (wrong.length > 0 || (strict && missing.length + unexpected.length > 0)) {
      const problems = [
        list(missing, 'missing', (name) => `${name} ${formatShape(own.get(name)!.shape)}`),
        list(unexpected, 'unexpected', (name) => `${name} ${formatShape(state.get(name)!.shape)}`),
        list(wrong, 'of wrong shape', ([name, p]) => {
          return `${name}: file ${formatShape(state.get(name)!.shape)}, model ${formatShape(p.shape)}`;
        }),
      ];
      throw new StateDictError(
        `loadStateDict(${this.constructor.name}): ${problems.filter((text) => text !== '').join(', ')}`,
      );
    }
    const pairs = [...own].flatMap(([name, p]): [Tensor, Tensor][] => {
      const source = state.get(name);
      return source === undefined ? [] : [[p, source]];
    });
    if (assign) this.#replace(new Map(pairs));
    else noGrad(() => pairs.forEach(([parameter, source]) => copy_(parameter, source)));
    return { missing, unexpected };
  }

  /**
   * Keeps the matrices and tables (two dimensions or more) of this module and all below it in `dtype` from now on: half
   * types take half the memory, and decoding, which reads every weight for every token, half the time. Vectors (norms,
   * biases) and activations stay float32. For inference: AdamW trains float32 weights only.
   *
   * @throws ArgumentError for another dtype.
   */
  convertWeights(dtype: 'float32' | 'float16' | 'bfloat16'): this {
    if (!['float32', 'float16', 'bfloat16'].includes(dtype)) {
      throw new ArgumentError(`convertWeights: must be 'float32', 'float16' or 'bfloat16', got '${dtype}'`);
    }
    const others = this.parameters().filter((p) => p.rank >= 2 && p.dtype !== dtype);
    this.#replace(new Map(others.map((p) => [p, noGrad(() => to(p, dtype))])));
    return this;
  }

  /** Puts other tensors in the places of parameters, wherever they are held, and gives these back. */
  #replace(replacements: ReadonlyMap<Tensor, Tensor>): void {
    const visit = (module: Module): void => {
      for (const [name, value] of Object.entries(module)) {
        const fresh = value instanceof Tensor ? replacements.get(value) : undefined;
        if (fresh !== undefined) Object.assign(module, { [name]: fresh });
      }
      for (const [, child] of module.children()) visit(child);
    };
    visit(this);
    for (const [old, fresh] of replacements) {
      if (fresh === old) continue;
      fresh.keep().requiresGrad = old.requiresGrad;
      old.dispose();
    }
  }

  /** Switches this module and all below it to training (dropout on) or evaluation. */
  train(mode = true): this {
    this.training = mode;
    for (const [, child] of this.children()) child.train(mode);
    return this;
  }

  /**
   * Chooses what a training step of this module and all below it computes a second time in backward instead of keeping it;
   * see {@link Recompute}. Gradients are the same to the last bit.
   *
   * @throws ArgumentError for another choice.
   */
  setRecompute(choice: Recompute): this {
    checkRecompute(choice);
    const visit = (module: Module): void => {
      module.recompute = choice;
      for (const [, child] of module.children()) visit(child);
    };
    visit(this);
    return this;
  }

  /** Switches to evaluation: dropout off. */
  eval(): this {
    return this.train(false);
  }
}

function collect(module: Module, prefix: string, found: Map<Tensor, string>): void {
  for (const [name, value] of Object.entries(module)) {
    if (value instanceof Tensor && !found.has(value)) found.set(value, prefix + name);
    else if (value instanceof Module) collect(value, `${prefix}${name}.`, found);
    else if (Array.isArray(value)) {
      value.forEach((item, i) => {
        if (item instanceof Module) collect(item, `${prefix}${name}.${i}.`, found);
      });
    }
  }
}

/** `2 missing (a [3], b [4])`, at most three spelled out; empty for none. */
function list<T>(items: readonly T[], what: string, describe: (item: T) => string): string {
  if (items.length === 0) return '';
  const shown = items.slice(0, 3).map(describe).join(', ');
  return `${items.length} ${what} (${shown}${items.length > 3 ? ', ...' : ''})`;
}
