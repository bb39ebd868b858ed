/**
 * Operations on each element by itself, with NumPy's broadcasting (native/cpu/elementwise.cpp), and their derivatives.
 * A number as operand does not make the other one a different floating type: `x.mul(2)` keeps the dtype of x; next to
 * an integer tensor a fractional number gives float32, and a whole one that its dtype does not hold is an error, except
 * in comparisons.
 */

import { checkDType, isFloating, type DType } from '../dtype.js';
import { ArgumentError, checkOptions, DTypeError, ShapeError } from '../errors.js';
import * as kernels from '../kernels.js';
import { cast, compact, defineOp, promoted, sumToShape } from '../op.js';
import { defaultGenerator, type Generator } from '../random.js';
import { broadcastShapes, broadcastStrides, formatShape, sameShape, type Shape } from '../shape.js';
import { checkTensor, Tensor } from '../tensor.js';

export { detach } from '../op.js';

// ---------------------------------------------------------------- unary

/** A function of each element. */
type Elementwise = (x: Tensor) => Tensor;
/** The same with the constants of its kernel. */
type Scaled = (x: Tensor, a?: number, b?: number) => Tensor;

interface UnaryRule {
  /** See OpBase; for activations. */
  readonly cheap?: true;
  /** dx from dy, and from x or y, whichever the rule names. */
  readonly from: 'x' | 'y' | 'none';
  readonly rule: (grad: Tensor, value: Tensor, a: number, b: number) => Tensor;
}

interface Constants {
  readonly a: number;
  readonly b: number;
}

/** f(x) by the unary kernel of that name; `a` and `b` are its constants (native/kernels.h). */
function defineUnary(op: kernels.UnaryOp, gradient: UnaryRule, name: string = op): Scaled {
  const run = defineOp<[Tensor], Constants>({
    name,
    ...(gradient.cheap ? { cheap: true } : {}),
    shape: ([x]) => ({ shape: x.shape, dtype: x.dtype }),
    forward(out, [input], { a, b }, tape) {
      const x = compact(input);
      if (gradient.from !== 'none') tape?.save(gradient.from === 'x' ? x : out);
      return kernels.unary(op, x, out, a, b);
    },
    backward: (grad, node, { a, b }) => [gradient.rule(grad, node.saved[0] ?? grad, a, b)],
  });
  return (x, a = 0, b = 0) => run([x], { a, b });
}

/** The same for functions whose results are no integers: integer inputs are widened to float32. */
function defineMath(op: kernels.UnaryOp, from: 'x' | 'y', rule: UnaryRule['rule'], cheap?: true): Scaled {
  const run = defineUnary(op, { from, rule, cheap });
  return (x, a) => {
    checkTensor(op, x);
    return run(widened(x), a);
  };
}

/** A function whose derivative is zero almost everywhere: no gradient passes. */
function defineStep(op: kernels.UnaryOp, boolean = false): Elementwise {
  const run = defineOp<[Tensor]>({
    name: op,
    nonDifferentiable: true,
    shape: ([x]) => ({ shape: x.shape, dtype: boolean ? 'bool' : x.dtype }),
    forward: (out, [x]) => kernels.unary(op, compact(x), out),
  });
  return (x) => run([x], undefined);
}

const widened = (x: Tensor): Tensor => (isFloating(x.dtype) ? x : cast(x, 'float32'));
const countable = (x: Tensor): Tensor => (x.dtype === 'bool' ? cast(x, 'int32') : x);

/** f(x, dy) or f(y, dy) by a kernel that computes a derivative rule in one pass. */
function gradKernel(op: kernels.BinaryOp): UnaryRule['rule'] {
  return (grad, value) => {
    const dx = Tensor.empty(value.shape, value.dtype, op);
    kernels.binary(op, value, value.strides, grad, grad.strides, dx);
    return dx;
  };
}

/** a x + b;  dx = a dy. Products use b = -0, which keeps the sign of zeros. */
const defineAffine = (name: string): Scaled =>
  defineUnary('affine', { from: 'none', rule: (grad, _, a) => scale(grad, a, -0) }, name);
const scale = defineAffine('mul');
const shift = defineAffine('add');
const shiftBack = defineAffine('sub');
const negate = defineAffine('neg');

/** -x. */
export const neg = (x: Tensor): Tensor => negate(countable(x), -1, -0);
/** |x|.  dx = sign(x) dy */
export const abs: Elementwise = defineUnary('abs', { from: 'x', rule: (grad, x) => mul(grad, sign(x)) });
/** x².  dx = 2 x dy */
export const square: Elementwise = defineUnary('square', {
  from: 'x',
  rule: (grad, x) => mul(mul(grad, 2), x),
});
/** √x.  dx = dy / (2 y) */
export const sqrt: Elementwise = defineMath('sqrt', 'y', (grad, y) => div(mul(grad, 0.5), y));
/** 1 / √x.  dx = -y³ dy / 2 */
export const rsqrt: Elementwise = defineMath('rsqrt', 'y', (grad, y) =>
  mul(mul(grad, -0.5), mul(y, square(y))),
);
/** 1 / x.  dx = -y² dy */
export const reciprocal: Elementwise = defineMath('reciprocal', 'y', (grad, y) => mul(neg(grad), square(y)));
/** eˣ.  dx = y dy */
export const exp: Elementwise = defineMath('exp', 'y', (grad, y) => mul(grad, y));
/** eˣ - 1, exact near zero.  dx = (y + 1) dy */
export const expm1: Elementwise = defineMath('expm1', 'y', (grad, y) => mul(grad, add(y, 1)));
/** Natural logarithm.  dx = dy / x */
export const log: Elementwise = defineMath('log', 'x', (grad, x) => div(grad, x));
/** log(1 + x), exact near zero.  dx = dy / (1 + x) */
export const log1p: Elementwise = defineMath('log1p', 'x', (grad, x) => div(grad, add(x, 1)));
/** Sine of radians.  dx = cos(x) dy */
export const sin: Elementwise = defineMath('sin', 'x', (grad, x) => mul(grad, cos(x)));
/** Cosine of radians.  dx = -sin(x) dy */
export const cos: Elementwise = defineMath('cos', 'x', (grad, x) => mul(neg(grad), sin(x)));
/** Hyperbolic tangent.  dx = (1 - y²) dy */
export const tanh: Elementwise = defineMath('tanh', 'y', gradKernel('tanhGrad'));
/** 1 / (1 + e⁻ˣ).  dx = y (1 - y) dy */
export const sigmoid: Elementwise = defineMath('sigmoid', 'y', gradKernel('sigmoidGrad'));
/** max(x, 0).  dx = dy except where y <= 0 */
export const relu: Elementwise = defineUnary('relu', { from: 'y', rule: gradKernel('reluGrad') });
/** The error function.  dx = 2 / √π e^(-x²) dy */
export const erf: Elementwise = defineMath('erf', 'x', (grad, x) =>
  mul(grad, mul(exp(neg(square(x))), 2 / Math.sqrt(Math.PI))),
);
/** x · sigmoid(x) (Elfwing et al., 2017), also called Swish.  dx = f'(x) dy */
export const silu: Elementwise = defineMath('silu', 'x', gradKernel('siluGrad'), true);
/** log(1 + eˣ).  dx = sigmoid(x) dy */
export const softplus: Elementwise = defineMath('softplus', 'x', (grad, x) => mul(grad, sigmoid(x)));
/** The greatest integer not above x. No gradient. */
export const floor = defineStep('floor');
/** The least integer not below x. No gradient. */
export const ceil = defineStep('ceil');
/** The nearest integer, halves to the even one. No gradient. */
export const round = defineStep('round');
/** -1, 0 or 1; NaN gives 0. No gradient. */
export const sign = defineStep('sign');
/** bool: x is zero (or false). */
export const logicalNot = defineStep('logicalNot', true);
/** bool: x is NaN. */
export const isNaN = defineStep('isNaN', true);

const leaky: Scaled = defineMath('leakyRelu', 'x', (grad, x, slope) =>
  where(gt(x, 0), grad, mul(grad, slope)),
);

/** x where it is positive, `slope` · x elsewhere (Maas et al., 2013).  dx = dy or slope dy */
export function leakyRelu(x: Tensor, slope = 0.01): Tensor {
  return leaky(x, slope);
}

const geluErf = defineMath('gelu', 'x', gradKernel('geluGrad'), true);
const geluTanh = defineMath('geluTanh', 'x', gradKernel('geluTanhGrad'), true);

/** Options of {@link gelu}. */
export interface GeluOptions {
  /** 'tanh' is GPT-2's approximation; 'none', the default, the exact form. */
  readonly approximate?: 'none' | 'tanh';
}

/**
 * Gaussian error linear unit (Hendrycks and Gimpel, 2016): x Φ(x), or
 * 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))) with `approximate: 'tanh'`.
 */
export function gelu(x: Tensor, options: GeluOptions = {}): Tensor {
  checkOptions('gelu', options, ['approximate']);
  const { approximate = 'none' } = options;
  if (approximate !== 'none' && approximate !== 'tanh') {
    throw new ArgumentError(`gelu: approximate must be 'none' or 'tanh', got '${String(approximate)}'`);
  }
  return approximate === 'tanh' ? geluTanh(x) : geluErf(x);
}

// dx = dy where min <= x <= max
const clampOp: Scaled = defineUnary('clamp', {
  from: 'x',
  rule: (grad, x, least, greatest) => where(logicalAnd(ge(x, least), le(x, greatest)), grad, 0),
});

/** x limited to [min, max]; either may be infinite. NaN stays, and a bound of NaN gives NaN, as in PyTorch. */
export function clamp(x: Tensor, min = -Infinity, max = Infinity): Tensor {
  checkTensor('clamp', x);
  const fits = (bound: number): boolean => Math.abs(bound) === Infinity || Number.isInteger(bound);
  if (isFloating(x.dtype)) return clampOp(x, min, max);
  if (!fits(min) || !fits(max)) return clampOp(cast(x, 'float32'), min, max);
  return clampOp(countable(x), Math.max(min, -(2 ** 31)), Math.min(max, 2 ** 31 - 1));
}

// ---------------------------------------------------------------- binary

type Operand = Tensor | number;
type Combined = (a: Tensor, b: Tensor) => Tensor;

/** A number as a tensor without dimensions. */
function constant(value: number, dtype: DType): Tensor {
  const out = Tensor.empty([], dtype, 'constant');
  kernels.fill(out, value);
  return out;
}

/** Whether an integer dtype (bool: 0 and 1) holds a number. */
function holds(dtype: DType, value: number): boolean {
  if (dtype === 'int32') return (value | 0) === value;
  return Number.isInteger(value) && value >= 0 && value <= (dtype === 'uint8' ? 255 : 1);
}

function misfit(name: string, value: number, dtype: DType): ArgumentError {
  const wider = !Number.isInteger(value) ? 'float32' : holds('int32', value) ? 'int32' : 'float64';
  return new ArgumentError(
    `${name}: a number next to ${dtype} must fit into it, got ${value}; convert the tensor with to('${wider}')`,
  );
}

/** The dtype in which a tensor meets a number. */
function meet(dtype: DType, value: number, name: string): DType {
  if (isFloating(dtype)) return dtype;
  if (!Number.isInteger(value)) return 'float32';
  const whole = dtype === 'bool' ? 'int32' : dtype;
  if (!holds(whole, value)) throw misfit(name, value, dtype);
  return whole;
}

/** The same for comparisons, which any two numbers have: float64 holds every int32 beside what int32 does not hold. */
function meetToCompare(dtype: DType, value: number): DType {
  if (isFloating(dtype) || !Number.isInteger(value)) return isFloating(dtype) ? dtype : 'float32';
  const whole = dtype === 'bool' ? 'int32' : dtype;
  return holds(whole, value) ? whole : 'float64';
}

/** The same for quotients, which are no integers. */
function meetToDivide(dtype: DType): DType {
  return isFloating(dtype) ? dtype : 'float32';
}

/** Both operands as tensors of one dtype. */
function operands(name: string, a: Operand, b: Operand, meeting: typeof meet = meet): [Tensor, Tensor] {
  if (typeof a !== 'number') checkTensor(name, a);
  if (typeof b !== 'number') checkTensor(name, b);
  if (typeof a === 'number') {
    if (typeof b === 'number') return [constant(a, 'float32'), constant(b, 'float32')];
    const dtype = meeting(b.dtype, a, name);
    return [constant(a, dtype), cast(b, dtype)];
  }
  if (typeof b === 'number') {
    const dtype = meeting(a.dtype, b, name);
    return [cast(a, dtype), constant(b, dtype)];
  }
  return a.dtype === b.dtype ? [a, b] : promoted(name, a, b);
}

interface BinaryRule {
  readonly saves: 'inputs' | 'none';
  /** The gradients of a and b before they are summed over broadcast dimensions. */
  readonly rule: (
    grad: Tensor,
    needs: (i: number) => boolean,
    a: Tensor,
    b: Tensor,
  ) => readonly [Tensor | null, Tensor | null];
}

function runBinary(op: kernels.BinaryOp, out: Tensor, a: Tensor, b: Tensor): boolean {
  const read = (x: Tensor): Shape =>
    sameShape(x.shape, out.shape) ? x.strides : broadcastStrides(x.shape, x.strides, out.shape);
  return kernels.binary(op, a, read(a), b, read(b), out);
}

/** f(a, b) by the binary kernel of that name. Both inputs have one dtype. */
function defineBinary(op: kernels.BinaryOp, gradient: BinaryRule): Combined {
  const run = defineOp<[Tensor, Tensor]>({
    name: op,
    shape: ([a, b]) => ({ shape: broadcast(op, a.shape, b.shape), dtype: a.dtype }),
    forward(out, [a, b], _, tape) {
      if (gradient.saves === 'inputs') tape?.save(a, b);
      return runBinary(op, out, a, b);
    },
    backward(grad, node) {
      const [a, b] = gradient.saves === 'inputs' ? (node.saved as [Tensor, Tensor]) : [grad, grad];
      return gradient
        .rule(grad, (i) => node.needs(i), a, b)
        .map((g, i) => (g !== null && node.needs(i) ? sumToShape(g, node.inputShape(i)) : null));
    },
  });
  return (a, b) => run([a, b], undefined);
}

const broadcast = (name: string, a: Shape, b: Shape): Shape =>
  sameShape(a, b) ? a : broadcastShapes(name, a, b);

// da = dy, db = dy
const addOp: Combined = defineBinary('add', { saves: 'none', rule: (grad) => [grad, grad] });
// da = dy, db = -dy
const subOp: Combined = defineBinary('sub', {
  saves: 'none',
  rule: (grad, needs) => [grad, needs(1) ? neg(grad) : null],
});
// da = b dy, db = a dy
const mulOp: Combined = defineBinary('mul', {
  saves: 'inputs',
  rule: (grad, needs, a, b) => [needs(0) ? mul(grad, b) : null, needs(1) ? mul(grad, a) : null],
});
// da = dy / b, db = -dy a / b²
const divOp: Combined = defineBinary('div', {
  saves: 'inputs',
  rule(grad, needs, a, b) {
    const da = div(grad, b);
    return [da, needs(1) ? neg(mul(da, div(a, b))) : null];
  },
});
// da = b a^(b-1) dy (0 where b = 0), db = y log(a) dy (0 where a = 0 <= b)
const powOp: Combined = defineBinary('pow', {
  saves: 'inputs',
  rule: (grad, needs, a, b) => [
    needs(0) ? maskedFill(mul(mul(grad, b), pow(a, sub(b, 1))), eq(b, 0), 0) : null,
    needs(1) ? maskedFill(mul(mul(grad, pow(a, b)), log(a)), logicalAnd(eq(a, 0), ge(b, 0)), 0) : null,
  ],
});
/** The whole gradient goes to the chosen operand, half to each where they are equal. */
const extreme = (grad: Tensor, a: Tensor, b: Tensor, loses: Tensor): Tensor =>
  where(loses, 0, where(eq(a, b), mul(grad, 0.5), grad));
const maximumOp: Combined = defineBinary('maximum', {
  saves: 'inputs',
  rule: (grad, _, a, b) => [extreme(grad, a, b, lt(a, b)), extreme(grad, a, b, gt(a, b))],
});
const minimumOp: Combined = defineBinary('minimum', {
  saves: 'inputs',
  rule: (grad, _, a, b) => [extreme(grad, a, b, gt(a, b)), extreme(grad, a, b, lt(a, b))],
});

/** Arithmetic counts true as 1. */
function numeric(name: string, a: Operand, b: Operand): [Tensor, Tensor] {
  const [x, y] = operands(name, a, b);
  return x.dtype === 'bool' ? [cast(x, 'int32'), cast(y, 'int32')] : [x, y];
}

/** a + b, broadcast. */
export function add(a: Operand, b: Operand): Tensor {
  if (typeof b === 'number' && typeof a !== 'number') return shift(cast(a, meet(a.dtype, b, 'add')), 1, b);
  if (typeof a === 'number' && typeof b !== 'number') return add(b, a);
  return addOp(...numeric('add', a, b));
}

/** a - b, broadcast. */
export function sub(a: Operand, b: Operand): Tensor {
  if (typeof b === 'number' && typeof a !== 'number')
    return shiftBack(cast(a, meet(a.dtype, b, 'sub')), 1, -b);
  if (typeof a === 'number' && typeof b !== 'number')
    return shiftBack(cast(b, meet(b.dtype, a, 'sub')), -1, a);
  return subOp(...numeric('sub', a, b));
}

/** a · b, broadcast. */
export function mul(a: Operand, b: Operand): Tensor {
  if (typeof b === 'number' && typeof a !== 'number') return scale(cast(a, meet(a.dtype, b, 'mul')), b, -0);
  if (typeof a === 'number' && typeof b !== 'number') return mul(b, a);
  return mulOp(...numeric('mul', a, b));
}

/** a / b, broadcast. Of integers too it is the true quotient, in float32. */
export function div(a: Operand, b: Operand): Tensor {
  const [x, y] = operands('div', a, b, meetToDivide);
  return divOp(widened(x), widened(y));
}

// dx = c x^(c-1) dy
const powerOp: Scaled = defineUnary('pow', {
  from: 'x',
  rule: (grad, x, c) => (c === 0 ? mul(grad, 0) : mul(mul(grad, c), pow(x, c - 1))),
});

/** a to the power of b, broadcast. Of integers it is an integer, computed in float64. */
export function pow(a: Operand, b: Operand): Tensor {
  if (typeof b === 'number' && typeof a !== 'number') {
    if (isFloating(a.dtype)) return powerOp(a, b);
    if (!Number.isInteger(b)) return powerOp(widened(a), b);
  }
  const [x, y] = numeric('pow', a, b);
  if (isFloating(x.dtype)) return powOp(x, y);
  return cast(powOp(cast(x, 'float64'), cast(y, 'float64')), x.dtype);
}

/** The greater of a and b, broadcast; NaN if either is. At ties each operand gets half of the gradient. */
export function maximum(a: Operand, b: Operand): Tensor {
  return maximumOp(...operands('maximum', a, b));
}

/** The lesser of a and b, broadcast; NaN if either is. At ties each operand gets half of the gradient. */
export function minimum(a: Operand, b: Operand): Tensor {
  return minimumOp(...operands('minimum', a, b));
}

/** A comparison: bool, without gradient. */
function defineComparison(op: kernels.BinaryOp): (a: Operand, b: Operand) => Tensor {
  const run = defineOp<[Tensor, Tensor]>({
    name: op,
    nonDifferentiable: true,
    shape: ([a, b]) => ({ shape: broadcast(op, a.shape, b.shape), dtype: 'bool' }),
    forward: (out, [a, b]) => runBinary(op, out, a, b),
  });
  return (a, b) => run(operands(op, a, b, meetToCompare), undefined);
}

/** bool: a = b, broadcast. */
export const eq = defineComparison('eq');
/** bool: a ≠ b, broadcast. */
export const ne = defineComparison('ne');
/** bool: a < b, broadcast. */
export const lt = defineComparison('lt');
/** bool: a ≤ b, broadcast. */
export const le = defineComparison('le');
/** bool: a > b, broadcast. */
export const gt = defineComparison('gt');
/** bool: a ≥ b, broadcast. */
export const ge = defineComparison('ge');

const truth = (x: Tensor): Tensor => (x.dtype === 'bool' ? x : ne(x, 0));
const both = defineComparison('logicalAnd');
const either = defineComparison('logicalOr');

/** bool: a and b are both non-zero (or true), broadcast. */
export function logicalAnd(a: Tensor, b: Tensor): Tensor {
  return both(truth(a), truth(b));
}

/** bool: a or b is non-zero (or true), broadcast. */
export function logicalOr(a: Tensor, b: Tensor): Tensor {
  return either(truth(a), truth(b));
}

// ---------------------------------------------------------------- choosing

const whereOp = defineOp<[Tensor, Tensor, Tensor]>({
  name: 'where',
  shape: ([condition, a, b]) => ({
    shape: broadcast('where', broadcast('where', condition.shape, a.shape), b.shape),
    dtype: a.dtype,
  }),
  forward(out, [condition, a, b], _, tape) {
    tape?.save(condition);
    const read = (x: Tensor): Shape => broadcastStrides(x.shape, x.strides, out.shape);
    return kernels.where(condition, read(condition), a, read(a), b, read(b), out);
  },
  // da = dy where the condition holds, db = dy elsewhere
  backward(grad, node) {
    const condition = node.saved[0]!;
    const pick = (i: number, a: Operand, b: Operand): Tensor | null =>
      node.needs(i) ? sumToShape(where(condition, a, b), node.inputShape(i)) : null;
    return [null, pick(1, grad, 0), pick(2, 0, grad)];
  },
});

/** a where the bool `condition` holds, b elsewhere; all three broadcast. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  if (condition.dtype !== 'bool') {
    throw new DTypeError(
      `where: the condition must be bool, got ${condition.dtype}; compare it: condition.ne(0)`,
    );
  }
  return whereOp([condition, ...operands('where', a, b)], undefined);
}

/** x with `value` where the bool `mask`, broadcast to the shape of x, holds. */
export function maskedFill(x: Tensor, mask: Tensor, value: number): Tensor {
  if (mask.dtype !== 'bool') {
    throw new DTypeError(`maskedFill: the mask must be bool, got ${mask.dtype}; compare it: mask.ne(0)`);
  }
  if (!sameShape(broadcast('maskedFill', mask.shape, x.shape), x.shape)) {
    throw new ShapeError(
      `maskedFill: the mask must broadcast to the tensor, got mask ${formatShape(mask.shape)} and x ${formatShape(x.shape)}`,
    );
  }
  if (!isFloating(x.dtype) && !holds(x.dtype, value)) throw misfit('maskedFill', value, x.dtype);
  return whereOp([mask, constant(value, x.dtype), x], undefined);
}

// ---------------------------------------------------------------- dropout

interface DropoutSettings {
  readonly p: number;
  readonly seed: number;
  readonly offset: number;
}

const dropoutOp: (inputs: [Tensor], settings: DropoutSettings) => Tensor = defineOp<
  [Tensor],
  DropoutSettings
>({
  name: 'dropout',
  shape: ([x]) => ({ shape: x.shape, dtype: x.dtype }),
  forward(out, [x], { p, seed, offset }) {
    if (x.dtype !== 'float32') return false;
    return kernels.dropout(compact(x), out, p, seed, offset);
  },
  // The mask again, from the same random numbers: dx = dy / (1 - p) where x was kept.
  backward: (grad, _, options) => [dropoutOp([grad], options)],
  definition([x], { p, seed, offset }) {
    const random = Tensor.empty(x.shape, 'float32', 'dropout');
    kernels.randomUniform(random, seed, offset, 0, 1);
    return where(ge(random, p), mul(x, 1 / (1 - p)), 0);
  },
});

/** Dropout with the random numbers from position `offset` of the stream of `seed`. */
export function dropoutAt(x: Tensor, p: number, seed: number, offset: number): Tensor {
  return dropoutOp([x], { p, seed, offset });
}

/** Options of {@link dropout}. */
export interface DropoutOptions {
  /** The stream of random numbers; the default one when absent. */
  readonly generator?: Generator;
}

/**
 * Zeroes each element with probability `p` and scales the others by 1 / (1 - p) (Srivastava et al., 2014).
 * With p = 0 it is x itself.
 */
export function dropout(x: Tensor, p = 0.5, options: DropoutOptions = {}): Tensor {
  checkOptions('dropout', options, ['generator']);
  if (!(p >= 0 && p <= 1)) throw new ArgumentError(`dropout: p must lie in [0, 1], got ${p}`);
  if (p === 0) return x;
  const { generator = defaultGenerator } = options;
  return dropoutAt(widened(x), p, generator.seed, generator.reserve(x.size));
}

// ---------------------------------------------------------------- copies

const cloneOp = defineOp<[Tensor]>({
  name: 'clone',
  shape: ([x]) => ({ shape: x.shape, dtype: x.dtype }),
  forward: (out, [x]) => kernels.copy(x, out),
  backward: (grad) => [grad],
});

/** A packed copy with memory of its own. The gradient flows through. */
export function clone(x: Tensor): Tensor {
  return cloneOp([x], undefined);
}

/** x itself when its elements lie packed in row-major order, else a copy where they do. */
export function contiguous(x: Tensor): Tensor {
  return x.isContiguous ? x : clone(x);
}

/**
 * x in another dtype, or itself when it has it: round to nearest even; floating to integer truncates; bool is x ≠ 0.
 */
export function to(x: Tensor, dtype: DType): Tensor {
  checkDType('to', dtype);
  return cast(x, dtype);
}
