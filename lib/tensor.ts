/**
 * The tensor: a view (shape, strides, offset) of a storage, and its place in the autograd graph. Operations live in
 * lib/ops and are attached as methods by lib/methods.ts; this file holds what a tensor is and how long it lives.
 *
 * Scopes: tensors made inside `scope(() => ...)` give their memory back when it ends, except what is returned or kept.
 */

import { dtypes, isHalf, type DType, type TypedArray } from './dtype.js';
import { ArgumentError, DisposedError, DTypeError, ShapeError } from './errors.js';
import { formatTensor } from './format.js';
import { decodeHalf } from './half.js';
import * as kernels from './kernels.js';
import { contiguousStrides, formatShape, isContiguous, sameShape, sizeOf, type Shape } from './shape.js';
import { Storage } from './storage.js';

/** A recorded operation; see lib/autograd.ts. */
export interface GradNode {
  readonly name: string;
}

/** How a tensor can be computed again; see lib/saved.ts. */
export interface Recomputation {
  release(): void;
}

/** Numbers nested to a tensor's depth; a plain number for zero dimensions. */
export type NestedArray = number | NestedArray[];

/** What `data` gave out, and the storage that must not be reused while somebody holds it. */
const dataOwners = new WeakMap<TypedArray, Storage>();

/** Tensors made in the innermost open scope, or null outside any. */
let scoped: Tensor[] | null = null;

export class Tensor {
  readonly shape: Shape;
  /** Elements between neighbours along each dimension. */
  readonly strides: Shape;
  /** Index of the first element in `memory`. */
  readonly offset: number;
  readonly dtype: DType;
  /** Number of elements. */
  readonly size: number;
  /** The operation that made this tensor, when a gradient flows through it. */
  node: GradNode | null = null;
  /** @internal How to compute it again, where nobody need keep it for backward. */
  recipe: Recomputation | null = null;
  /** Name of the operation that made this tensor, for messages. */
  readonly origin: string;
  #storage: Storage | null;
  #grad: Tensor | null = null;
  #leafGrad = false;
  #kept = false;

  /** @internal Use `tensor`, `zeros`, ... A tensor of `shape` over `storage`, which gains a user. */
  constructor(storage: Storage, shape: Shape, strides: Shape, offset: number, origin: string) {
    this.#storage = storage;
    storage.users++;
    this.shape = shape;
    this.strides = strides;
    this.offset = offset;
    this.dtype = storage.dtype;
    this.size = sizeOf(shape);
    this.origin = origin;
    if (scoped !== null) scoped.push(this);
    else storage.watch();
  }

  /** @internal An uninitialised tensor, contiguous unless another dense layout is given. */
  static empty(
    shape: Shape,
    dtype: DType,
    origin: string,
    strides: Shape = contiguousStrides(shape),
  ): Tensor {
    return new Tensor(Storage.allocate(dtype, sizeOf(shape)), shape, strides, 0, origin);
  }

  /** @internal A shape without memory, for a parameter that a checkpoint's tensor will replace. Kernels refuse it. */
  static withoutMemory(shape: Shape): Tensor {
    const storage = Storage.over('float32', new Float32Array(0));
    return new Tensor(storage, shape, contiguousStrides(shape), 0, 'withoutInit');
  }

  /** @internal Another view of this tensor's storage. */
  view(shape: Shape, strides: Shape, offset: number, origin: string): Tensor {
    return new Tensor(this.storage, shape, strides, offset, origin);
  }

  get storage(): Storage {
    if (this.#storage === null) {
      throw new DisposedError(
        `tensor ${formatShape(this.shape)} made by ${this.origin} was disposed; ` +
          'return it from its scope or keep() it to use it afterwards',
      );
    }
    return this.#storage;
  }

  /** @internal The typed array the elements lie in, from `offset` on, by `strides`; see `data`. */
  get memory(): TypedArray {
    return this.storage.data;
  }

  /** Number of dimensions. */
  get rank(): number {
    return this.shape.length;
  }

  get isContiguous(): boolean {
    return isContiguous(this.shape, this.strides);
  }

  get disposed(): boolean {
    return this.#storage === null;
  }

  /** Whether backward computes a gradient for, or through, this tensor. */
  get requiresGrad(): boolean {
    return this.#leafGrad || this.node !== null;
  }

  set requiresGrad(value: boolean) {
    if (this.node !== null) {
      throw new ArgumentError(
        `requiresGrad: only leaf tensors can change it, this one was made by ${this.origin}; use detach()`,
      );
    }
    if (value && !dtypes[this.dtype].floating) {
      throw new DTypeError(`requiresGrad: only floating tensors have gradients, this one is ${this.dtype}`);
    }
    this.#leafGrad = value;
  }

  /** The gradient that backward left here (leaf tensors that require one), or null. Of this shape and dtype, contiguous. */
  get grad(): Tensor | null {
    return this.#grad;
  }

  set grad(value: Tensor | null) {
    if (
      value !== null &&
      !(sameShape(value.shape, this.shape) && value.dtype === this.dtype && value.isContiguous)
    ) {
      const layout = value.isContiguous ? '' : ' that is not contiguous';
      throw new ShapeError(
        `grad: must be a contiguous ${this.dtype} ${formatShape(this.shape)} like its tensor, ` +
          `got ${value.dtype} ${formatShape(value.shape)}${layout}; convert it with to() and contiguous()`,
      );
    }
    this.#grad = value;
  }

  /** A leaf is a tensor that no recorded operation made: its gradient stays in `grad`. */
  get isLeaf(): boolean {
    return this.node === null;
  }

  /**
   * The elements in row-major order: a view of the tensor's own memory when it is contiguous, else a copy. float16 and
   * bfloat16 give their 16 bits. A view is valid until the tensor is disposed, also when only the view is held then (but
   * not when only something made from it is: its own subarrays, its buffer); copy what must live longer. A weight whose memory
   * was handed out once is never kept packed, since it could change unseen ({@link setPackedWeightsLimit}).
   */
  get data(): TypedArray {
    const view = this.elementsToRead();
    if (this.isContiguous) {
      this.storage.expose();
      dataOwners.set(view, this.storage);
    }
    return view;
  }

  /** @internal As `data`, for reading at once. */
  elementsToRead(): TypedArray {
    if (this.isContiguous) return this.memory.subarray(this.offset, this.offset + this.size);
    return scope(() => {
      const compact = Tensor.empty(this.shape, this.dtype, 'data');
      kernels.copy(this, compact);
      return compact.memory.slice(0, this.size);
    });
  }

  /** The elements in row-major order as numbers in a fresh array; half types are widened, bool gives 0 and 1. */
  toFloat64Array(): Float64Array {
    const data = this.elementsToRead();
    if (!isHalf(this.dtype)) return Float64Array.from(data);
    const decode = decodeHalf(this.dtype);
    return Float64Array.from(data, decode);
  }

  /** Nested arrays of numbers (or of booleans' 0 and 1); a plain number for a tensor without dimensions. */
  toArray(): NestedArray {
    const flat = this.toFloat64Array();
    let next = 0;
    const build = (dim: number): NestedArray => {
      if (dim === this.rank) return flat[next++];
      return Array.from({ length: this.shape[dim] }, () => build(dim + 1));
    };
    return build(0);
  }

  /** The value of a tensor of one element. */
  item(): number {
    if (this.size !== 1) {
      throw new ShapeError(`item: the tensor must have one element, got ${formatShape(this.shape)}`);
    }
    const value = this.memory[this.offset];
    return isHalf(this.dtype) ? decodeHalf(this.dtype)(value) : value;
  }

  /** Text like PyTorch's: values rounded to four digits, long dimensions cut. */
  toString(): string {
    return formatTensor(this);
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.disposed ? `Tensor(disposed, made by ${this.origin})` : this.toString();
  }

  /** Gives the memory back (once the last view of it does) and lets go of the graph. Using it afterwards throws. */
  dispose(): void {
    const storage = this.#storage;
    if (storage === null) return;
    this.#storage = null;
    this.node = null;
    this.recipe?.release();
    this.recipe = null;
    storage.release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Takes the tensor out of its scopes: it lives until it is disposed or garbage. */
  keep(): this {
    this.#kept = true;
    return this;
  }

  /** @internal Whether a scope's end leaves the tensor alone. */
  get kept(): boolean {
    return this.#kept;
  }
}

/** Throws ArgumentError unless x is a tensor: callers without types pass arrays and numbers. */
export function checkTensor(name: string, x: unknown): asserts x is Tensor {
  if (x instanceof Tensor) return;
  const kind = Array.isArray(x) ? 'an array' : x === undefined ? 'nothing' : typeof x;
  throw new ArgumentError(`${name}: needs a tensor, got ${kind}; make one with tensor(...)`);
}

/**
 * Runs `body` and gives back the memory of all tensors made in it, except those that it returns (alone, or to any depth
 * in arrays, plain objects and Maps) or that were kept. Values that backward still needs stay until backward has run. The training
 * step, each generation step and each evaluation step open a scope themselves.
 *
 * @example
 * const norm = scope(() => x.mul(x).sum().sqrt()); // the square and the sum are gone
 */
export function scope<T>(body: () => T): T {
  const outer = scoped;
  const mine: Tensor[] = [];
  scoped = mine;
  let result: T;
  try {
    result = body();
    if (result instanceof Promise) {
      throw new ArgumentError(
        'scope: the body must be synchronous, it returned a promise; keep() tensors instead',
      );
    }
  } catch (error) {
    scoped = outer;
    closeScope(mine, null, outer);
    throw error;
  }
  scoped = outer;
  if (mine.length > 0) closeScope(mine, result, outer);
  return result;
}

/** Storages that outlived the scopes they were made in and are waiting for the outermost one to end. */
let survivors: Storage[] = [];

function closeScope(mine: Tensor[], result: unknown, outer: Tensor[] | null): void {
  const returned = reachableFrom(result);
  for (const t of mine) {
    if (t.disposed) continue;
    if (!t.kept && outer !== null && returned.has(t)) {
      outer.push(t);
      continue;
    }
    const { storage } = t;
    if (!t.kept && !returned.has(t)) t.dispose();
    if (storage.users > 0) survivors.push(storage);
  }
  if (outer !== null) return;
  // From here on nobody but the garbage collector can tell when they end.
  for (const storage of survivors) if (storage.users > 0) storage.watch();
  survivors = [];
}

/** `result` and, where it is an array, a Map or a plain object, all objects that it holds, to any depth. */
function reachableFrom(result: unknown): Set<unknown> {
  const found = new Set<unknown>();
  if (typeof result !== 'object' || result === null) return found;
  found.add(result);
  if (result instanceof Tensor) return found;
  for (const value of found as Set<object>) {
    if (value instanceof Tensor) continue;
    const list = Array.isArray(value) || value instanceof Map;
    const items: Iterable<unknown> = list ? value.values() : isPlain(value) ? Object.values(value) : [];
    for (const item of items) if (typeof item === 'object' && item !== null) found.add(item);
  }
  return found;
}

/** Whether an object is made by braces. */
export function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
