/**
 * Matrix products. All of them end in one native call (gemm.ts): no transpose is ever copied, and a weight's gradient
 * is summed straight into place.
 */

import { isGradEnabled, type TapeNode } from '../autograd.js';
import { autocastType } from '../autocast.js';
import { isHalf } from '../dtype.js';
import { ArgumentError, checkOptions, ShapeError } from '../errors.js';
import { type ActivationName, gemmSettings } from '../kernels.js';
import { cast, checkFloating, compact, defineOp, promoted, sumToShape, toHalf } from '../op.js';
import { broadcastShapes, formatShape, sameShape, sizeOf, type Shape } from '../shape.js';
import { checkTensor, Tensor } from '../tensor.js';
import { add, gelu, relu, silu } from './elementwise.js';
import { multiplyInto, transposed } from './gemm.js';
import { reshape, transpose } from './movement.js';

export type { ActivationName };

/** How exactly products of float32 matrices are computed; see {@link setFloat32MatmulPrecision}. */
export type MatmulPrecision = 'highest' | 'medium';

/**
 * Chooses how products of float32 matrices are computed, forward and backward, from now on (as in PyTorch).
 *
 * 'highest', the default: in float32. 'medium': where the processor multiplies bfloat16 faster, both matrices are rounded
 * to bfloat16 (8 bits of precision) on their way into the kernel and the products are summed in float32; elsewhere in
 * float32. Tensors stay float32 either way. Products of at most 8 rows (16 without AMX) are bound by memory and
 * never rounded. The products within attention are rounded with AMX only, from 9 queries on.
 *
 * @throws ArgumentError for another word.
 */
export function setFloat32MatmulPrecision(precision: MatmulPrecision): void {
  if (precision !== 'highest' && precision !== 'medium') {
    throw new ArgumentError(
      `setFloat32MatmulPrecision: must be 'highest' or 'medium', got '${String(precision)}'`,
    );
  }
  gemmSettings.roundsToBf16 = precision === 'medium';
}

/** The precision in use. */
export function getFloat32MatmulPrecision(): MatmulPrecision {
  return gemmSettings.roundsToBf16 ? 'medium' : 'highest';
}

const matmulOp = defineOp<[Tensor, Tensor]>({
  name: 'matmul',
  shape([a, b]) {
    checkFloating('matmul', a);
    const m = a.shape[a.rank - 2];
    const k = a.shape[a.rank - 1];
    const n = b.shape[b.rank - 1];
    if (k !== b.shape[b.rank - 2]) throw innerMismatch(a.shape, b.shape);
    if (a.rank === 2 && b.rank === 2) return { shape: [m, n], dtype: a.dtype };
    const batch = broadcastShapes('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2));
    return { shape: [...batch, m, n], dtype: a.dtype };
  },
  forward(out, [a, b], _, tape) {
    tape?.save(a, b);
    return multiplyInto(out, a, b);
  },
  // C = A B:  dA = dC Bᵀ,  dB = Aᵀ dC, summed over the dimensions that were broadcast.
  backward(grad, node) {
    const [a, b] = node.saved as [Tensor, Tensor];
    return [
      node.needs(0) ? gradientOf(grad, transposed(b), a.shape) : null,
      node.needs(1) ? gradientOf(transposed(a), grad, b.shape) : null,
    ];
  },
});

function gradientOf(a: Tensor, b: Tensor, shape: Shape): Tensor {
  const batch = broadcastShapes('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2));
  const out = Tensor.empty([...batch, ...shape.slice(-2)], a.dtype, 'matmul gradient');
  multiplyInto(out, a, b);
  return sumToShape(out, shape);
}

const innerMismatch = (a: Shape, b: Shape): ShapeError =>
  new ShapeError(
    `matmul: inner dimensions must match, got a ${formatShape(a)} and b ${formatShape(b)} ` +
      `(${a[a.length - 1]} and ${b.length > 1 ? b[b.length - 2] : b[0]})`,
  );

/**
 * Matrix product with PyTorch's rules: (..., m, k) times (..., k, n) with broadcast batch dimensions; a vector counts as
 * a row on the left and as a column on the right, and its dimension is dropped from the result.
 *
 * @throws ShapeError when the inner or the batch dimensions do not fit.
 * @example
 * matmul(tensor([[1, 2], [3, 4]]), tensor([1, 1])); // tensor([3., 7.])
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  checkTensor('matmul', a);
  checkTensor('matmul', b);
  if (a.rank === 0 || b.rank === 0) {
    throw new ShapeError(
      `matmul: needs at least one dimension each, got a ${formatShape(a.shape)} and b ${formatShape(b.shape)}; use mul`,
    );
  }
  const [x, y] = promoted('matmul', a, b);
  const rows = x.rank === 1 ? reshape(x, [1, x.size]) : x;
  const columns = y.rank === 1 ? reshape(y, [y.size, 1]) : y;
  if (rows.shape[rows.rank - 1] !== columns.shape[columns.rank - 2]) throw innerMismatch(a.shape, b.shape);
  // A plain matrix on the right makes one tall product of the whole batch.
  if (columns.rank === 2 && rows.rank > 2 && y.rank > 1) return linear(x, y, null, { transposed: true });
  const out = matmulOp([rows, columns], undefined);
  if (x.rank > 1 && y.rank > 1) return out;
  const shape = [...out.shape];
  if (y.rank === 1) shape.pop();
  if (x.rank === 1) shape.splice(shape.length - (y.rank === 1 ? 1 : 2), 1);
  return reshape(out, shape);
}

/** Options of {@link linear}. */
export interface LinearOptions {
  /** The weight is [in, out], as GPT-2's "Conv1D" layers store it, instead of [out, in]. */
  readonly transposed?: boolean;
  /** Applied to x Wᵀ + b, see {@link activate}. */
  readonly activation?: ActivationName | null;
  /** Added to that, of the result's shape. */
  readonly residual?: Tensor | null;
}

const activations: Record<ActivationName, (x: Tensor) => Tensor> = {
  gelu: (x) => gelu(x),
  geluTanh: (x) => gelu(x, { approximate: 'tanh' }),
  relu,
  silu,
};

/**
 * The activation of that name.
 *
 * @throws ArgumentError for another name.
 */
export function activate(x: Tensor, activation: ActivationName): Tensor {
  checkActivation('activate', activation);
  return activations[activation](x);
}

function checkActivation(name: string, activation: string): void {
  if (Object.hasOwn(activations, activation)) return;
  const known = Object.keys(activations).join(', ');
  throw new ArgumentError(`${name}: activation must be one of ${known}, got '${activation}'`);
}

/** The weight as the (in, out) matrix that x is multiplied by. */
const inOut = (weight: Tensor, isTransposed: boolean): Tensor => (isTransposed ? weight : transposed(weight));

const asMatrix = (x: Tensor): Tensor => {
  const packed = compact(x);
  const cols = x.shape[x.rank - 1];
  const rows = sizeOf(x.shape.slice(0, -1));
  return packed.view([rows, cols], [cols, 1], packed.offset, 'linear');
};

interface LinearSettings {
  readonly transposed: boolean;
  /** Only where no gradient is wanted, which takes the numbers before it. */
  readonly activation: ActivationName | null;
}

/** The residual has the result's shape and type. */
const linearOp = defineOp<[Tensor, Tensor, Tensor | null, Tensor | null], LinearSettings>({
  name: 'linear',
  shape([x, weight, bias], options) {
    checkFloating('linear', x);
    const [inputs, outputs] = inOut(weight, options.transposed).shape;
    if (x.rank === 0 || x.shape[x.rank - 1] !== inputs) {
      throw new ShapeError(
        `linear: the last dimension of x must be the weight's input size, got x ${formatShape(x.shape)} and ` +
          `weight ${formatShape(weight.shape)} (${options.transposed ? '[in, out]' : '[out, in]'})`,
      );
    }
    if (bias !== null) checkFloating('linear', bias);
    if (bias !== null && (bias.rank !== 1 || bias.shape[0] !== outputs)) {
      throw new ShapeError(`linear: bias must be [${outputs}], got ${formatShape(bias.shape)}`);
    }
    return { shape: [...x.shape.slice(0, -1), outputs], dtype: x.dtype };
  },
  forward(out, [x, weight, bias, residual], { transposed, activation }, tape) {
    if (bias !== null && bias.dtype !== 'float32') return false;
    tape?.save(tape.needs(1) ? x : null, tape.needs(0) ? weight : null);
    if (tape?.needs(1)) weight.storage.forget(); // backward needs the memory, and the weight will change
    return multiplyInto(asMatrix(out), asMatrix(x), inOut(weight, transposed), {
      bias: bias && compact(bias),
      activation,
      residual: residual && asMatrix(residual),
      isWeight: tape === null,
    });
  },
  // y = x W + b + r:  dx = dy Wᵀ,  dW = xᵀ dy,  db = Σ_rows dy,  dr = dy
  backward(grad, node, options) {
    const [x, weight] = node.saved;
    const dy = asMatrix(grad);
    return [
      weight && inputGradient(dy, inOut(weight, options.transposed), node.inputShape(0)),
      x && weightGradient(node, asMatrix(x), dy, options.transposed),
      node.needs(2) ? sumToShape(cast(dy, node.inputDType(2)), [dy.shape[1]]) : null,
      node.needs(3) ? grad : null,
    ];
  },
  definition([x, weight, bias, residual], { transposed: isTransposed, activation }) {
    const product = matmulOp(
      [
        reshape(x, [sizeOf(x.shape.slice(0, -1)), x.shape[x.rank - 1]]),
        isTransposed ? weight : transpose(weight, 0, 1),
      ],
      undefined,
    );
    const y = reshape(product, [...x.shape.slice(0, -1), product.shape[1]]);
    return finish(bias === null ? y : add(y, bias), activation, residual);
  },
});

function finish(y: Tensor, activation: ActivationName | null, residual: Tensor | null): Tensor {
  const active = activation === null ? y : activations[activation](y);
  return residual === null ? active : add(residual, active);
}

function inputGradient(dy: Tensor, weight: Tensor, shape: Shape): Tensor {
  const dx = Tensor.empty(shape, dy.dtype, 'linear gradient');
  multiplyInto(asMatrix(dx), dy, transposed(weight));
  return dx;
}

/** Written or added into the weight's gradient, in the weight's own layout. */
function weightGradient(node: TapeNode, x: Tensor, dy: Tensor, isTransposed: boolean): null {
  const { tensor, accumulate } = node.gradInto(1);
  const beta = accumulate ? 1 : 0;
  if (isTransposed) multiplyInto(tensor, transposed(x), dy, { beta });
  else multiplyInto(tensor, transposed(dy), x, { beta });
  return null;
}

/**
 * y = x Wᵀ + b, or x W + b when the weight is stored `transposed`; with the options of {@link LinearOptions}
 * activation(x Wᵀ + b) + residual, finished while y is in a near cache where no gradient needs what is between. A float32 x
 * times a weight of a half type gives float32, and reads half the memory: decoding is bound by that.
 *
 * @param x (..., in)
 * @param weight [out, in], or [in, out] when `transposed`
 * @param bias [out] or null
 * @returns (..., out)
 * @throws ShapeError when the sizes do not fit.
 */
export function linear(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: LinearOptions = {},
): Tensor {
  checkOptions('linear', options, ['transposed', 'activation', 'residual']);
  checkTensor('linear', weight);
  if (weight.rank !== 2) {
    throw new ShapeError(`linear: weight must have two dimensions, got ${formatShape(weight.shape)}`);
  }
  checkTensor('linear', x);
  const [a, w] = operands(x, weight);
  const b = bias !== null && (a.dtype !== w.dtype || isHalf(bias.dtype)) ? cast(bias, 'float32') : bias;
  const { transposed: isTransposed = false, activation = null, residual = null } = options;
  if (activation !== null) checkActivation('linear', activation);
  if (residual !== null) checkResidual(residual, [...a.shape.slice(0, -1), w.shape[isTransposed ? 1 : 0]]);
  const records = isGradEnabled() && [a, w, b].some((t) => t?.requiresGrad);
  const fusesActivation = activation === null || !records;
  const fusesResidual = fusesActivation && residual !== null && residual.dtype === a.dtype;
  const y = linearOp([a, w, b, fusesResidual ? residual : null], {
    transposed: isTransposed,
    activation: fusesActivation ? activation : null,
  });
  return finish(y, fusesActivation ? null : activation, fusesResidual ? null : residual);
}

function checkResidual(residual: Tensor, shape: Shape): void {
  checkTensor('linear', residual);
  if (!sameShape(residual.shape, shape)) {
    throw new ShapeError(
      `linear: residual must have the result's shape ${formatShape(shape)}, got ${formatShape(residual.shape)}`,
    );
  }
}

/**
 * What is multiplied. Beside a float32 x a weight of a half type stays as it is: the kernel widens it while it reads. In an
 * autocast x takes the half type, and a float32 weight is rounded where the kernel packs it.
 */
function operands(x: Tensor, weight: Tensor): [Tensor, Tensor] {
  const a = toHalf(x);
  const mixed = a.dtype === 'float32' ? isHalf(weight.dtype) : isHalf(a.dtype) && autocastType() !== null;
  const stays = mixed && (a.dtype === 'float32' || weight.dtype === 'float32');
  return stays ? [a, weight] : promoted('linear', a, weight);
}
