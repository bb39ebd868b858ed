/**
 * How an operation is defined. One object says everything: what it takes and gives (`shape`, where all checking
 * happens), the kernel call (`forward`), the derivative rule (`backward`), and the same thing in simpler operations
 * (`definition`), which runs where the kernel does not serve, gives the gradient where there is no rule, and is the
 * reference in tests. An operation without rule and definition must say that it is not differentiable.
 */

import { autocastType } from './autocast.js';
import { gradientsOf, isGradEnabled, enableGrad, TapeNode, type Gradients } from './autograd.js';
import { isFloating, isHalf, promote, type DType } from './dtype.js';
import { DTypeError } from './errors.js';
import * as kernels from './kernels.js';
import { isSelective, Recipe } from './saved.js';
import { formatShape, sameShape, type Shape } from './shape.js';
import { checkTensor, scope, Tensor } from './tensor.js';

/** Inputs of an operation; null where an optional one is absent. */
export type Inputs = readonly (Tensor | null)[];

/** Shape and dtype of a result. */
export interface OutputSpec {
  readonly shape: Shape;
  readonly dtype: DType;
  /** A dense layout other than row-major, where it spares the next operation a copy. */
  readonly strides?: Shape;
}

interface OpBase<I extends Inputs, O> {
  readonly name: string;
  /** Checks inputs and options and says what comes out. Whatever passes here must not fail later. */
  shape(inputs: I, options: O): OutputSpec;
  /**
   * Fills `out` by kernel calls, saving for `backward` on the tape what it needs (`tape` is null when no gradient is
   * wanted). False when the kernels do not serve this case.
   */
  forward(out: Tensor, inputs: I, options: O, tape: TapeNode | null): boolean;
  /**
   * Costs little beside the memory of its result, which `selectiveCheckpoint` therefore does not keep. With 'with input'
   * only where the input is not kept either.
   */
  readonly cheap?: true | 'with input';
}

/** The gradient of each input, given that of the output. Runs without recording; temporaries are freed after it. */
type BackwardRule<O> = (grad: Tensor, node: TapeNode, options: O) => Gradients;
/** The same operation in simpler ones. */
type Definition<I extends Inputs, O> = (inputs: I, options: O) => Tensor;

/** An operation; see the head of this file. */
export type OpSpec<I extends Inputs, O> = OpBase<I, O> &
  (
    | { readonly backward: BackwardRule<O>; readonly definition?: Definition<I, O> }
    | { readonly backward?: undefined; readonly definition: Definition<I, O> }
    | { readonly backward?: undefined; readonly definition?: undefined; readonly nonDifferentiable: true }
  );

/** Gets the name, the inputs and the result of every operation. */
type Watcher = (name: string, inputs: Inputs, result: Tensor) => void;

let watcher: Watcher | null = null;

/** Runs `body` and shows `watch` what its operations give, in their order; views are left out. */
export function watchResults(watch: Watcher, body: () => void): void {
  watcher = watch;
  try {
    body();
  } finally {
    watcher = null;
  }
}

/** Makes the function that runs an operation. */
export function defineOp<I extends Inputs, O = undefined>(
  spec: OpSpec<I, O>,
): (inputs: I, options: O) => Tensor {
  return (inputs, options) => {
    for (const input of inputs) if (input !== null) checkTensor(spec.name, input);
    const { shape, dtype, strides } = spec.shape(inputs, options);
    const record = isGradEnabled() && !('nonDifferentiable' in spec) && inputs.some((t) => t?.requiresGrad);
    const { backward, definition } = spec;
    const tape =
      record && backward !== undefined
        ? new TapeNode(spec.name, inputs, (grad, node) => backward(grad, node, options))
        : null;
    const out = scope(() => {
      const result = Tensor.empty(shape, dtype, spec.name, strides);
      return spec.forward(result, inputs, options, tape) ? result : null;
    });
    if (out === null) {
      tape?.release(false);
      if (inputs.some((t) => t !== null && isHalf(t.dtype)))
        return throughFloat32(spec, inputs, options, dtype);
      // Simpler ops may meet in a wider dtype than the one declared.
      if (definition !== undefined) return scope(() => cast(definition(inputs, options), dtype));
      const types = inputs.map((t) => t?.dtype ?? 'none').join(', ');
      throw new DTypeError(`${spec.name}: not available for ${types}; convert with to('float32')`);
    }
    if (tape !== null) out.node = tape;
    else if (record && definition !== undefined)
      out.node = definitionNode(spec.name, inputs, options, definition);
    watcher?.(spec.name, inputs, out);
    if (isSelective() && isGradEnabled() && isCheap(spec, inputs))
      out.recipe = recipeOf(spec, inputs, options, out);
    return out;
  };
}

const isCheap = ({ cheap }: { cheap?: true | 'with input' }, inputs: Inputs): boolean =>
  cheap === true || (cheap === 'with input' && inputs.some((t) => t !== null && t.recipe !== null));

function recipeOf<I extends Inputs, O>(
  spec: OpSpec<I, O>,
  inputs: I,
  options: O,
  { shape, strides, dtype }: Tensor,
): Recipe {
  return new Recipe(spec.name, inputs, (again) => {
    const out = Tensor.empty(shape, dtype, spec.name, strides);
    spec.forward(out, again as unknown as I, options, null);
    return out;
  });
}

/** A node whose rule differentiates the definition: it runs again under the tape, on detached inputs. */
function definitionNode<I extends Inputs, O>(
  name: string,
  inputs: I,
  options: O,
  definition: Definition<I, O>,
): TapeNode {
  const node: TapeNode = new TapeNode(name, inputs, (grad) =>
    enableGrad<Gradients>(() => {
      const leaves = node.saved.map((t, i) => {
        const leaf = t === null ? null : detach(t);
        if (leaf !== null && node.needs(i)) leaf.requiresGrad = true;
        return leaf;
      });
      const wanted = leaves.filter((t) => t?.requiresGrad) as Tensor[];
      const gradients = gradientsOf(definition(leaves as unknown as I, options), wanted, grad);
      return leaves.map((t) => (t?.requiresGrad ? gradients[wanted.indexOf(t)] : null));
    }),
  );
  node.save(...inputs);
  return node;
}

/** Half inputs of a kernel that takes none: widened, computed, rounded once at the end. Gradients follow the casts. */
function throughFloat32<I extends Inputs, O>(
  spec: OpSpec<I, O>,
  inputs: I,
  options: O,
  dtype: DType,
): Tensor {
  return scope(() => {
    const wide = inputs.map((t) => (t !== null && isHalf(t.dtype) ? cast(t, 'float32') : t));
    const out = defineOp(spec)(wide as unknown as I, options);
    return isHalf(dtype) ? cast(out, dtype) : out;
  });
}

/** A view operation: no memory of its own, gradient by `backward`. */
export interface ViewSpec<O> {
  readonly name: string;
  /** Checks and gives shape, strides and offset of the view. */
  view(x: Tensor, options: O): { shape: Shape; strides: Shape; offset: number };
  readonly backward: BackwardRule<O>;
}

/** Makes the function that runs a view operation. */
export function defineView<O = undefined>(spec: ViewSpec<O>): (x: Tensor, options: O) => Tensor {
  return (x, options) => {
    const { shape, strides, offset } = spec.view(x, options);
    const out = x.view(shape, strides, offset, spec.name);
    if (isGradEnabled() && x.requiresGrad) {
      out.node = new TapeNode(spec.name, [x], (grad, node) => spec.backward(grad, node, options));
    }
    return out;
  };
}

const castOp = defineOp<[Tensor], { dtype: DType }>({
  name: 'to',
  shape: ([x], { dtype }) => ({ shape: x.shape, dtype }),
  cheap: 'with input',
  forward: (out, [x]) => kernels.copy(x, out),
  backward: (grad, node) => [cast(grad, node.inputDType(0))],
});

/**
 * The tensor in another dtype (round to nearest even; float to integer truncates); itself when it has it already. No
 * gradient passes through integers.
 */
export function cast(x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype) return x;
  return castOp([isFloating(dtype) || !x.requiresGrad ? x : detach(x)], { dtype });
}

/** What {@link toHalf} has made of tensors, and the version of their numbers. */
const halves = new WeakMap<Tensor, { readonly half: Tensor; readonly version: number }>();

/**
 * x in the half type of the autocast that it is in, where it is float32. Layers that share their input share its half, too,
 * but send their gradients back one by one, to be summed in float32.
 */
export function toHalf(x: Tensor): Tensor {
  const type = autocastType();
  if (type === null || x.dtype !== 'float32') return x;
  const known = halves.get(x);
  if (known?.version !== x.storage.version || known.half.disposed || known.half.dtype !== type) {
    const half = cast(x, type);
    halves.set(x, { half, version: x.storage.version });
    return half;
  }
  const { half } = known;
  const shared = half.view(half.shape, half.strides, half.offset, 'to');
  if (half.recipe !== null) shared.recipe = (half.recipe as Recipe).retain();
  if (isGradEnabled() && x.requiresGrad) {
    shared.node = new TapeNode('to', [x], (grad) => [cast(grad, 'float32')]);
  }
  return shared;
}

/** x in float32, where it is of a half type in an autocast: for losses and softmax. */
export function fromHalf(x: Tensor): Tensor {
  return autocastType() !== null && isHalf(x.dtype) ? cast(x, 'float32') : x;
}

/** x in float32 where it is of a half type, of the same layout. For kernels that take float32 only: records nothing. */
export function widen(x: Tensor, strides: Shape = x.strides): Tensor {
  if (!isHalf(x.dtype)) return x;
  const out = Tensor.empty(x.shape, 'float32', 'widen', strides);
  kernels.copy(x, out);
  return out;
}

/** The same values outside the graph, sharing memory. */
export function detach(x: Tensor): Tensor {
  return x.view(x.shape, x.strides, x.offset, 'detach');
}

/** x itself when it is contiguous, else a packed copy. For kernels: records nothing. */
export function compact(x: Tensor): Tensor {
  if (x.isContiguous) return x;
  const out = Tensor.empty(x.shape, x.dtype, 'compact');
  kernels.copy(x, out);
  return out;
}

/** Sums a gradient over the dimensions along which its input was broadcast. The one place where this happens. */
export function sumToShape(grad: Tensor, shape: Shape): Tensor {
  if (sameShape(grad.shape, shape)) return grad;
  const lead = grad.rank - shape.length;
  let current = grad;
  // Leading dimensions collapse in one reduction, stretched ones one by one.
  if (lead > 0) current = reduceSum(current, 0, lead, grad.shape.slice(lead));
  for (let d = 0; d < shape.length; d++) {
    if (shape[d] === 1 && current.shape[d] !== 1) {
      current = reduceSum(
        current,
        d,
        d + 1,
        current.shape.map((s, i) => (i === d ? 1 : s)),
      );
    }
  }
  return current;
}

function reduceSum(x: Tensor, first: number, last: number, shape: Shape): Tensor {
  const out = Tensor.empty(shape, x.dtype, 'sum');
  const product = (from: number, to: number): number => x.shape.slice(from, to).reduce((a, b) => a * b, 1);
  kernels.reduce('sum', compact(x), out, product(0, first), product(first, last), product(last, x.rank));
  return out;
}

/** The inputs of an operation brought to the dtype in which they meet. */
export function promoted(name: string, a: Tensor, b: Tensor): [Tensor, Tensor] {
  checkTensor(name, a);
  checkTensor(name, b);
  const dtype = promote(a.dtype, b.dtype);
  return [cast(a, dtype), cast(b, dtype)];
}

/** Throws DTypeError unless x is floating (or one of `dtypes`). */
export function checkFloating(name: string, x: Tensor): void {
  checkTensor(name, x);
  if (x.dtype === 'int32' || x.dtype === 'uint8' || x.dtype === 'bool') {
    throw new DTypeError(
      `${name}: needs a floating tensor, got ${x.dtype} ${formatShape(x.shape)}; convert with to('float32')`,
    );
  }
}
