/**
 * Reverse-mode differentiation on a tape. Every operation whose inputs require a gradient leaves a node: the edges to
 * what made its inputs, the values its rule needs, and the rule. Backward walks the nodes from the newest to the
 * oldest, hands each the gradient of its output, adds what it returns to its inputs, and frees what it has used.
 *
 * As in micrograd and PyTorch, a node's gradient is complete when the walk reaches it, because nodes are numbered in
 * the order in which they were made.
 */

import { ArgumentError, AutogradError, checkOptions, DTypeError, ShapeError } from './errors.js';
import * as kernels from './kernels.js';
import { SavedValue } from './saved.js';
import { formatShape, sameShape, type Shape } from './shape.js';
import type { DType } from './dtype.js';
import { checkTensor, scope, Tensor, type GradNode } from './tensor.js';

/** What a backward rule returns: one gradient per input, null or undefined where there is none. */
export type Gradients = readonly (Tensor | null | undefined)[];

/** Where a gradient goes: the node that made the input, the leaf itself, or nowhere. */
type Target = TapeNode | Tensor | null;

let gradEnabled = true;
/** Off while only it is wanted what depends on what: nothing is then kept for backward. */
let keepsValues = true;
let nodesMade = 0;

/** Whether operations are recorded now. */
export const isGradEnabled = (): boolean => gradEnabled;

/**
 * Runs `body` without recording: evaluation, generation, optimizer updates.
 * @throws ArgumentError when `body` is asynchronous: what runs after its first await would be recorded.
 */
export function noGrad<T>(body: () => T): T {
  return withGradMode(false, body);
}

/** Runs `body` with recording on, also inside `noGrad`. */
export function enableGrad<T>(body: () => T): T {
  return withGradMode(true, body);
}

function withGradMode<T>(enabled: boolean, body: () => T): T {
  const before = gradEnabled;
  gradEnabled = enabled;
  try {
    const result = body();
    if (result instanceof Promise) {
      const name = enabled ? 'enableGrad' : 'noGrad';
      throw new ArgumentError(
        `${name}: the body must be synchronous, it returned a promise; use it between awaits`,
      );
    }
    return result;
  } finally {
    gradEnabled = before;
  }
}

/**
 * Runs `body` with recording, but keeps no values: its result says whether it depends on anything that requires a gradient.
 * @returns The result, the nodes made before that it depends on, and the leaves.
 */
export function traceStructure(body: () => Tensor): {
  result: Tensor;
  outside: TapeNode[];
  leaves: Tensor[];
} {
  const first = nodesMade;
  const before = keepsValues;
  keepsValues = false;
  try {
    const result = enableGrad(body);
    const nodes = result.node === null ? [] : reachable(result.node as TapeNode);
    const leaves = [...new Set(nodes.flatMap((node) => [...node.leaves()]))];
    return { result, outside: nodes.filter(({ id }) => id < first), leaves };
  } finally {
    keepsValues = before;
  }
}

type BackwardRule = (grad: Tensor, node: TapeNode) => Gradients;

/** One recorded operation. Rules read `saved` and write gradients through what they return or through `gradInto`. */
export class TapeNode implements GradNode {
  readonly id = nodesMade++;
  /** The gradient of the output, while backward is on its way here. */
  grad: Tensor | null = null;
  #targets: Target[];
  #rule: BackwardRule | null;
  readonly #shapes: Shape[];
  readonly #dtypes: (DType | null)[];
  #saved: (SavedValue | null)[] = [];
  #retained = false;

  constructor(
    readonly name: string,
    inputs: readonly (Tensor | null)[],
    rule: BackwardRule,
  ) {
    this.#rule = rule;
    this.#targets = inputs.map((t) =>
      t === null || !t.requiresGrad ? null : ((t.node as TapeNode | null) ?? t),
    );
    this.#shapes = inputs.map((t) => t?.shape ?? []);
    this.#dtypes = inputs.map((t) => t?.dtype ?? null);
  }

  /** Whether input `i` wants a gradient. */
  needs(i: number): boolean {
    return this.#targets[i] !== null;
  }

  inputShape(i: number): Shape {
    return this.#shapes[i];
  }

  inputDType(i: number): DType {
    return this.#dtypes[i]!;
  }

  /** Keeps tensors for the rule until backward has run. */
  save(...tensors: (Tensor | null)[]): void {
    if (!keepsValues) return;
    for (const t of tensors) this.#saved.push(t && new SavedValue(t));
  }

  /** The saved tensors, checked to be what they were. */
  get saved(): (Tensor | null)[] {
    if (this.#rule === null) this.#refuseFreed();
    return this.#saved.map((value) => value && value.get(this.name));
  }

  /**
   * The buffer in which the gradient of input `i` is gathered, for rules that add into place. When `accumulate` is
   * false its contents are undefined and must all be written. Of the input's shape, contiguous.
   */
  gradInto(i: number): { tensor: Tensor; accumulate: boolean } {
    const target = this.#targets[i];
    if (target === null) throw new AutogradError(`${this.name}: input ${i} wants no gradient`);
    const present = target.grad;
    if (present !== null) return { tensor: ownGradient(target, present), accumulate: true };
    const tensor = Tensor.empty(this.#shapes[i], this.#dtypes[i]!, `${this.name} gradient`).keep();
    target.grad = tensor;
    return { tensor, accumulate: false };
  }

  /** The gradient that has arrived at input `i` already, to be added to; null where there is none. */
  gradOf(i: number): Tensor | null {
    const target = this.#targets[i];
    return target === null || target.grad === null ? null : ownGradient(target, target.grad);
  }

  #refuseFreed(): never {
    throw new AutogradError(
      `backward: the graph was already freed at ${this.name}; pass { retainGraph: true } to walk it twice`,
    );
  }

  /** Whether the rule may write its result over a saved tensor: nobody else uses it, now or later. */
  mayOverwrite(saved: Tensor): boolean {
    if (this.#retained || saved.storage.users > 1 || !saved.storage.pooled) return false;
    saved.storage.forget();
    return true;
  }

  /**
   * A saved tensor as the rule's own, to change and to return: itself where it may be overwritten (it is then no longer
   * saved), else a copy.
   */
  take(i: number): Tensor {
    const saved = this.saved[i]!;
    if (this.mayOverwrite(saved)) {
      const own = saved.view(saved.shape, saved.strides, saved.offset, saved.origin);
      this.#saved[i]!.dispose();
      this.#saved[i] = null;
      return own;
    }
    const own = Tensor.empty(saved.shape, saved.dtype, saved.origin);
    kernels.copy(saved, own);
    return own;
  }

  /** Runs the rule on the gradient that has arrived and sends its results on. */
  run(retainGraph: boolean): void {
    const grad = this.grad;
    const rule = this.#rule;
    if (grad === null) return;
    if (rule === null) this.#refuseFreed();
    this.#retained = retainGraph;
    scope(() => {
      const gradients = rule(grad, this);
      for (let i = 0; i < gradients.length; i++) {
        const g = gradients[i];
        const target = this.#targets[i];
        if (g === null || g === undefined || target === null) continue;
        if (!sameShape(g.shape, this.#shapes[i])) {
          throw new ShapeError(
            `${this.name}: the rule gave input ${i} a gradient of ${formatShape(g.shape)}, it is ${formatShape(this.#shapes[i])}`,
          );
        }
        if (g.dtype !== this.#dtypes[i]) {
          throw new DTypeError(
            `${this.name}: the rule gave input ${i} a gradient of ${g.dtype}, it is ${this.#dtypes[i]}`,
          );
        }
        addGradient(target, g, g !== grad);
      }
    });
  }

  /**
   * Lets go of the gradient and, unless the graph is retained, of all else: saved values, the rule (its closure holds
   * the inputs) and the nodes below. A result that somebody keeps, such as a loss, then holds nothing but itself.
   */
  release(retainGraph: boolean): void {
    this.grad?.dispose();
    this.grad = null;
    if (retainGraph) return;
    for (const t of this.#saved) t?.dispose();
    this.#saved = [];
    this.#targets = [];
    this.#rule = null;
  }

  /** The nodes that made the inputs. */
  *parents(): Iterable<TapeNode> {
    for (const target of this.#targets) if (target instanceof TapeNode) yield target;
  }

  /** The inputs that no operation made. */
  *leaves(): Iterable<Tensor> {
    for (const target of this.#targets) if (target instanceof Tensor) yield target;
  }
}

/**
 * Adds `g` to what has arrived at `target`. A fresh gradient is taken as it is; one that somebody else holds too (a
 * rule may pass `grad` on, or return one tensor for two inputs) is copied for a leaf, and shared by a node until it is
 * written to.
 */
function addGradient(target: TapeNode | Tensor, g: Tensor, fresh: boolean): void {
  const leaf = target instanceof Tensor;
  if (target.grad !== null) {
    accumulate(g, ownGradient(target, target.grad));
  } else if (fresh && !g.kept && g.storage.users === 1 && (!leaf || g.isContiguous)) {
    target.grad = g.keep();
  } else {
    target.grad = leaf ? copied(g) : g.view(g.shape, g.strides, g.offset, g.origin).keep();
  }
}

function copied(g: Tensor): Tensor {
  const own = Tensor.empty(g.shape, g.dtype, g.origin).keep();
  kernels.copy(g, own);
  return own;
}

/** destination += source, of one shape and dtype; also where the copy kernel does not add. Of bool it is the logical or. */
export function accumulate(source: Tensor, destination: Tensor): void {
  if (kernels.copy(source, destination, true)) return;
  const sum = Tensor.empty(destination.shape, destination.dtype, 'add');
  const op = destination.dtype === 'bool' ? 'logicalOr' : 'add';
  kernels.binary(op, destination, destination.strides, source, source.strides, sum);
  kernels.copy(sum, destination);
}

/**
 * The target's gradient as contiguous memory that may be added to. A leaf's always is: views of it are the caller's, and
 * see what is added.
 */
function ownGradient(target: TapeNode | Tensor, present: Tensor): Tensor {
  if (target instanceof Tensor || (present.storage.users === 1 && present.isContiguous)) {
    present.storage.changed();
    return present;
  }
  const own = copied(present);
  present.dispose();
  target.grad = own;
  return own;
}

/** Options of {@link backward}. */
export interface BackwardOptions {
  /** Keep the saved values, so that backward can run over the same graph again. */
  readonly retainGraph?: boolean;
  /** Told of each leaf once its gradient is complete, while the walk goes on. */
  readonly onLeaf?: (leaf: Tensor) => void;
}

/**
 * Computes the gradient of `root` with respect to every leaf that requires one and adds it to the leaf's `grad`.
 *
 * @param root The tensor to differentiate; one element, unless `grad` is given.
 * @param grad The gradient of the result with respect to `root`, of its shape; 1 by default.
 * @throws AutogradError when nothing below `root` requires a gradient or the graph was already freed; ShapeError or
 *   DTypeError when `grad` is not like `root`.
 */
export function backward(root: Tensor, grad?: Tensor, options: BackwardOptions = {}): void {
  checkTensor('backward', root);
  if (grad !== undefined) checkTensor('backward', grad);
  checkOptions('backward', options, ['retainGraph', 'onLeaf']);
  if (!keepsValues) {
    throw new AutogradError('backward: a function under checkpoint cannot call it; call it on the result');
  }
  if (!root.requiresGrad) {
    throw new AutogradError(
      'backward: the tensor does not depend on anything that requires a gradient; ' +
        'set requiresGrad on a leaf, and do not compute it inside noGrad',
    );
  }
  if (grad !== undefined && !sameShape(grad.shape, root.shape)) {
    throw new ShapeError(
      `backward: the gradient must have the shape of the tensor, got ${formatShape(grad.shape)} for ${formatShape(root.shape)}`,
    );
  }
  if (grad !== undefined && grad.dtype !== root.dtype) {
    throw new DTypeError(
      `backward: the gradient must have the dtype of the tensor, got ${grad.dtype} for ${root.dtype}; convert it with to()`,
    );
  }
  if (grad === undefined && root.size !== 1) {
    throw new AutogradError(
      `backward: only a tensor of one element has an implicit gradient, got ${formatShape(root.shape)}; pass one, or sum first`,
    );
  }
  noGrad(() =>
    scope(() => {
      const seed = grad ?? Tensor.empty(root.shape, root.dtype, 'backward');
      if (grad === undefined) kernels.fill(seed, 1);
      addGradient((root.node as TapeNode | null) ?? root, seed, false);
      const { onLeaf } = options;
      if (root.node === null) {
        onLeaf?.(root);
        return;
      }
      const order = reachable(root.node as TapeNode);
      const retainGraph = options.retainGraph ?? false;
      const lastOf = onLeaf === undefined ? undefined : lastUses(order);
      try {
        for (const node of order) {
          node.run(retainGraph);
          node.release(retainGraph);
          lastOf?.get(node)?.forEach((leaf) => onLeaf!(leaf));
        }
      } finally {
        for (const node of order) node.release(true);
      }
    }),
  );
}

/** All nodes from `root` down, newest first. */
function reachable(root: TapeNode): TapeNode[] {
  const seen = new Set<TapeNode>([root]);
  for (const node of seen) for (const parent of node.parents()) seen.add(parent);
  return [...seen].sort((a, b) => b.id - a.id);
}

/** For each node the leaves whose gradients are complete once it has run. */
function lastUses(order: readonly TapeNode[]): Map<TapeNode, Tensor[]> {
  const last = new Map<Tensor, number>();
  order.forEach((node, i) => {
    for (const leaf of node.leaves()) last.set(leaf, i);
  });
  const found = new Map<TapeNode, Tensor[]>();
  for (const [leaf, i] of last) {
    const node = order[i];
    found.set(node, [...(found.get(node) ?? []), leaf]);
  }
  return found;
}

/**
 * The gradients of `root` with respect to `inputs`, returned instead of stored. Inputs that `root` does not depend on
 * get null.
 */
export function gradientsOf(root: Tensor, inputs: readonly Tensor[], grad?: Tensor): (Tensor | null)[] {
  const before = inputs.map((t) => t.grad);
  for (const t of inputs) t.grad = null;
  try {
    backward(root, grad);
    return inputs.map((t) => (t.grad === null ? null : released(t.grad)));
  } finally {
    inputs.forEach((t, i) => (t.grad = before[i]));
  }
}

/** A kept tensor as one that its scope looks after again. */
export function released(t: Tensor): Tensor {
  const owned = t.view(t.shape, t.strides, t.offset, t.origin);
  t.dispose();
  return owned;
}
