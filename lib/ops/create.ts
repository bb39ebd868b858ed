/** New tensors: from numbers, constant, counting, random. */

import { checkDType, isFloating, isHalf, type DType, type TypedArray } from '../dtype.js';
import { ArgumentError, checkOptions, DTypeError, ShapeError } from '../errors.js';
import * as kernels from '../kernels.js';
import { cast } from '../op.js';
import { defaultGenerator, type Generator } from '../random.js';
import { checkShape, formatShape, sizeOf, type Shape } from '../shape.js';
import { noGrad } from '../autograd.js';
import { scope, Tensor } from '../tensor.js';
import { add, floor, mul } from './elementwise.js';

/** Options of all functions that make tensors. */
export interface CreateOptions {
  /** Element type; float32 unless the function says otherwise. */
  readonly dtype?: DType;
  /** Whether backward computes a gradient for it. */
  readonly requiresGrad?: boolean;
}

/** Options of {@link tensor}. */
export interface TensorOptions extends CreateOptions {
  /** Shape of what a typed array holds; one dimension by default. */
  readonly shape?: Shape;
}

/** Numbers or booleans nested to any depth. */
export type Nested = number | boolean | readonly Nested[];

/** Arrays whose elements {@link tensor} takes over. */
export type NumericArray = TypedArray | Int8Array | Int16Array | Uint32Array;

const creation = ['dtype', 'requiresGrad'] as const;

/** The options of a call, checked. */
function checked(name: string, options: CreateOptions, known: readonly string[] = creation): DType {
  checkOptions(name, options, known);
  const { dtype = 'float32' } = options;
  checkDType(name, dtype);
  return dtype;
}

function finish(out: Tensor, { requiresGrad }: CreateOptions): Tensor {
  if (requiresGrad) out.requiresGrad = true;
  return out;
}

const isTyped = (data: unknown): data is NumericArray =>
  ArrayBuffer.isView(data) &&
  !(data instanceof DataView || data instanceof BigInt64Array || data instanceof BigUint64Array);

/** The dtype that a typed array's elements have of themselves. */
function nativeDType(data: NumericArray): DType {
  if (data instanceof Float64Array) return 'float64';
  if (data instanceof Uint8Array) return 'uint8';
  return data instanceof Float32Array ? 'float32' : 'int32';
}

/**
 * A tensor of the given numbers, which are copied. Nested arrays give float32, booleans bool; a typed array keeps its
 * type (integers other than Uint8Array become int32).
 *
 * @param data A number, nested arrays of equal lengths, or a typed array (see `shape`). A Uint16Array with dtype
 *   float16 or bfloat16 is taken as bits.
 * @throws ShapeError when the arrays are ragged or the shape does not fit; ArgumentError when an element of a Uint32Array
 *   does not fit into int32.
 * @example
 * tensor([[1, 2], [3, 4]]);
 * tensor(new Int32Array(6), { shape: [2, 3] });
 */
export function tensor(data: Nested | NumericArray, options: TensorOptions = {}): Tensor {
  const dtype = checked('tensor', options, [...creation, 'shape']);
  const wanted = options.dtype === undefined ? undefined : dtype;
  if (isTyped(data)) return finish(fromTyped(data, options.shape ?? [data.length], wanted), options);
  const shape: number[] = [];
  for (let inner = data; Array.isArray(inner); inner = (inner as Nested[])[0]) {
    shape.push(inner.length);
    if (inner.length === 0) break;
  }
  checkShape('tensor', shape);
  const flat = new Float64Array(sizeOf(shape));
  let next = 0;
  let booleans = flat.length > 0;
  const visit = (value: Nested, depth: number): void => {
    if (depth < shape.length) {
      if (!Array.isArray(value) || value.length !== shape[depth]) throw ragged(shape, value, depth);
      for (const item of value as readonly Nested[]) visit(item, depth + 1);
      return;
    }
    if (typeof value !== 'number' && typeof value !== 'boolean') throw ragged(shape, value, depth);
    booleans &&= typeof value === 'boolean';
    flat[next++] = Number(value);
  };
  visit(data, 0);
  if (options.shape !== undefined) {
    throw new ArgumentError('tensor: nested arrays have their shape already; shape is for typed arrays');
  }
  return finish(fromTyped(flat, shape, wanted ?? (booleans ? 'bool' : 'float32')), options);
}

function ragged(shape: Shape, value: unknown, depth: number): ShapeError | ArgumentError {
  if (Array.isArray(value) || depth < shape.length) {
    const found = Array.isArray(value) ? `an array of ${value.length}` : String(value);
    const expected = depth < shape.length ? `an array of ${shape[depth]}` : 'a number';
    return new ShapeError(
      `tensor: nested arrays must have equal lengths, got ${found} where ${expected} should be`,
    );
  }
  return new ArgumentError(`tensor: elements must be numbers or booleans, got ${String(value)}`);
}

function fromTyped(data: NumericArray | Float64Array, shape: Shape, wanted: DType | undefined): Tensor {
  checkShape('tensor', shape);
  if (sizeOf(shape) !== data.length) {
    throw new ShapeError(
      `tensor: shape ${formatShape(shape)} has ${sizeOf(shape)} elements, the data has ${data.length}`,
    );
  }
  const large =
    data instanceof Uint32Array && wanted === undefined ? data.findIndex((x) => x >= 2 ** 31) : -1;
  if (large >= 0) {
    throw new ArgumentError(
      `tensor: an element of a Uint32Array must fit into int32, got ${data[large]} at position ${large}; ` +
        "give it the dtype 'float64'",
    );
  }
  const bits = data instanceof Uint16Array && wanted !== undefined && isHalf(wanted);
  const source = bits ? wanted : nativeDType(data);
  return written('tensor', shape, source, wanted ?? source, (memory) => memory.set(data));
}

/** A tensor whose numbers `write` puts into memory: in their final dtype where assigning converts to it, else as `source`. */
function written(
  name: string,
  shape: Shape,
  source: DType,
  dtype: DType,
  write: (memory: TypedArray) => void,
): Tensor {
  return scope(() => {
    // Numbers reach int32 as JavaScript converts them (modulo 2^32), floating types through the copy kernel.
    const plain = !isHalf(dtype) && dtype !== 'bool';
    const made = Tensor.empty([...shape], plain ? dtype : source, name);
    write(made.memory);
    return noGrad(() => cast(made, dtype));
  });
}

/** A tensor with every element `value`. */
export function full(shape: Shape, value: number, options: CreateOptions = {}): Tensor {
  return filled('full', shape, value, options);
}

function filled(name: string, shape: Shape, value: number, options: CreateOptions): Tensor {
  const dtype = checked(name, options);
  checkShape(name, shape);
  const out = Tensor.empty([...shape], dtype, name);
  kernels.fill(out, value);
  return finish(out, options);
}

/** A tensor of zeros. */
export function zeros(shape: Shape, options: CreateOptions = {}): Tensor {
  return filled('zeros', shape, 0, options);
}

/** A tensor of ones. */
export function ones(shape: Shape, options: CreateOptions = {}): Tensor {
  return filled('ones', shape, 1, options);
}

/** Zeros in the shape and dtype of x. */
export function zerosLike(x: Tensor, options: CreateOptions = {}): Tensor {
  return filled('zerosLike', x.shape, 0, { dtype: x.dtype, ...options });
}

/** Ones in the shape and dtype of x. */
export function onesLike(x: Tensor, options: CreateOptions = {}): Tensor {
  return filled('onesLike', x.shape, 1, { dtype: x.dtype, ...options });
}

/** The numbers from 0 up to `end`, which is left out. See the general form. */
export function arange(end: number, options?: CreateOptions): Tensor;
/**
 * The numbers `start`, `start + step`, ... up to `end`, which is left out. int32 when all three are integers, as in
 * PyTorch, else float32.
 * @throws ArgumentError when `step` does not lead to `end`, or the numbers do not fit into the dtype.
 */
export function arange(start: number, end: number | undefined, options?: CreateOptions): Tensor;
export function arange(start: number, end?: number, step?: number, options?: CreateOptions): Tensor;
export function arange(first: number, ...rest: (number | CreateOptions | undefined)[]): Tensor {
  const options = rest.find((r): r is CreateOptions => typeof r === 'object') ?? {};
  const [second, step = 1] = rest.filter((r): r is number | undefined => typeof r !== 'object');
  const [start, end] = second === undefined ? [0, first] : [first, second];
  const integers = Number.isInteger(start) && Number.isInteger(end) && Number.isInteger(step);
  const dtype = checked('arange', { dtype: integers ? 'int32' : 'float32', ...options });
  const count = Math.ceil((end - start) / step);
  if (!Number.isFinite(count) || step === 0 || count < 0) {
    throw new ArgumentError(`arange: step must lead from start to end, got ${start} to ${end} by ${step}`);
  }
  checkShape('arange', [count]);
  const last = start + Math.max(0, count - 1) * step;
  const [least, most] = dtype === 'uint8' ? [0, 255] : [-(2 ** 31), 2 ** 31 - 1];
  if (
    (dtype === 'int32' || dtype === 'uint8') &&
    count > 0 &&
    !(Math.min(start, last) >= least && Math.max(start, last) <= most)
  ) {
    throw new ArgumentError(
      `arange: numbers of ${dtype} must lie in [${least}, ${most}], got ${start} to ${last}; give it the dtype 'float64'`,
    );
  }
  const out = written('arange', [count], 'float64', dtype, (memory) => {
    for (let i = 0; i < count; i++) memory[i] = start + i * step;
  });
  return finish(out, options);
}

/** The identity matrix of n rows. */
export function eye(n: number, options: CreateOptions = {}): Tensor {
  const dtype = checked('eye', options);
  checkShape('eye', [n, n]);
  const out = written('eye', [n, n], 'float64', dtype, (memory) => {
    memory.fill(0, 0, n * n);
    for (let i = 0; i < n; i++) memory[i * n + i] = 1;
  });
  return finish(out, options);
}

/** Options of the random tensors. */
export interface RandomOptions extends CreateOptions {
  /** The stream of random numbers; the default one when absent. */
  readonly generator?: Generator;
}

const randomOptions = [...creation, 'generator'] as const;

/** `draw` into a float32 tensor of `shape`, then in the wanted dtype. */
function drawn(
  name: string,
  shape: Shape,
  options: RandomOptions,
  draw: (out: Tensor, seed: number, offset: number) => void,
): Tensor {
  const dtype = checked(name, options, [...randomOptions, 'mean', 'std']);
  checkShape(name, shape);
  if (!isFloating(dtype))
    throw new DTypeError(`${name}: draws floating numbers, got dtype ${dtype}; use randint`);
  const { generator = defaultGenerator } = options;
  const out = scope(() => {
    const numbers = Tensor.empty([...shape], 'float32', name);
    draw(numbers, generator.seed, generator.reserve(numbers.size));
    return cast(numbers, dtype);
  });
  return finish(out, options);
}

/** Uniform random numbers in [0, 1). */
export function rand(shape: Shape, options: RandomOptions = {}): Tensor {
  checkOptions('rand', options, randomOptions);
  return drawn('rand', shape, options, (out, seed, offset) => kernels.randomUniform(out, seed, offset, 0, 1));
}

/** Options of {@link randn}. */
export interface NormalOptions extends RandomOptions {
  /** 0 by default. */
  readonly mean?: number;
  /** Standard deviation, 1 by default. */
  readonly std?: number;
}

/** Normally distributed random numbers. */
export function randn(shape: Shape, options: NormalOptions = {}): Tensor {
  const { mean = 0, std = 1 } = options;
  if (!(std >= 0)) throw new ArgumentError(`randn: std must not be negative, got ${std}`);
  return drawn('randn', shape, options, (out, seed, offset) =>
    kernels.randomNormal(out, seed, offset, mean, std),
  );
}

/** Uniform random integers in [low, high), int32 unless `dtype` says otherwise. */
export function randint(low: number, high: number, shape: Shape, options: RandomOptions = {}): Tensor {
  const dtype = checked('randint', { dtype: 'int32', ...options }, randomOptions);
  if (
    !Number.isInteger(low) ||
    !Number.isInteger(high) ||
    low >= high ||
    low < -(2 ** 31) ||
    high > 2 ** 31
  ) {
    throw new ArgumentError(
      `randint: low and high must be 32-bit integers with low below high, got ${low} and ${high}`,
    );
  }
  const { generator } = options;
  const out = scope(() => {
    // Two draws of 24 bits: 48 bits make the ranges' bias invisible.
    const coarse = rand(shape, { dtype: 'float64', generator });
    const fine = mul(rand(shape, { dtype: 'float64', generator }), 2 ** -24);
    return cast(add(floor(mul(add(coarse, fine), high - low)), low), dtype);
  });
  return finish(out, options);
}
