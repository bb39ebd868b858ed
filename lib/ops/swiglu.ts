/**
 * The gate of the SwiGLU feed-forward layer (Shazeer, "GLU Variants Improve Transformer", 2020), which Llama and its kin
 * have in place of an activation. One kernel forward and one backward (native/cpu/swiglu.cpp).
 */

import { isHalf } from '../dtype.js';
import { ShapeError } from '../errors.js';
import * as kernels from '../kernels.js';
import { checkFloating, compact, defineOp, promoted, widen } from '../op.js';
import { formatShape, sameShape } from '../shape.js';
import { scope, Tensor } from '../tensor.js';
import { mul, silu } from './elementwise.js';

/** Numbers that half types are widened at a time: in the second-level cache, and never a buffer of the whole. */
const chunk = 2 ** 15;

/** Calls `body` on corresponding pieces of contiguous tensors of one size. */
function inChunks(tensors: readonly Tensor[], body: (pieces: Tensor[]) => boolean): boolean {
  const { size } = tensors[0];
  for (let first = 0; first < size; first += chunk) {
    const count = Math.min(chunk, size - first);
    const pieces = tensors.map((t) => t.view([count], [1], t.offset + first, t.origin));
    if (!scope(() => body(pieces))) return false;
  }
  return true;
}

const swigluOp = defineOp<[Tensor, Tensor]>({
  name: 'swiglu',
  cheap: true,
  shape([gate, up]) {
    checkFloating('swiglu', gate);
    checkFloating('swiglu', up);
    if (!sameShape(gate.shape, up.shape)) {
      throw new ShapeError(
        `swiglu: gate and up must have the same shape, got ${formatShape(gate.shape)} and ${formatShape(up.shape)}`,
      );
    }
    return { shape: gate.shape, dtype: gate.dtype };
  },
  forward(y, [gate, up], _, tape) {
    if (gate.dtype === 'float64') return false;
    const [g, u] = [compact(gate), compact(up)];
    tape?.save(g, u);
    if (!isHalf(y.dtype)) return kernels.swiglu(g, u, y);
    return inChunks([g, u, y], ([a, b, out]) => {
      const wide = Tensor.empty(out.shape, 'float32', 'swiglu');
      return kernels.swiglu(widen(a), widen(b), wide) && kernels.copy(wide, out);
    });
  },
  // With s = sigmoid(gate):  dgate = dy up s (1 + gate (1 - s)),  dup = dy gate s.
  backward(grad, node) {
    const [gate, up] = node.saved as [Tensor, Tensor];
    const dy = compact(grad);
    const [dgate, dup] = [gate, up].map((x) => Tensor.empty(x.shape, x.dtype, 'swiglu gradient'));
    if (!isHalf(gate.dtype)) {
      kernels.swigluGrad(gate, up, dy, dgate, dup);
      return [dgate, dup];
    }
    inChunks([gate, up, dy, dgate, dup], ([a, b, d, da, db]) => {
      const [wideA, wideB] = [a, b].map((x) => Tensor.empty(x.shape, 'float32', 'swiglu gradient'));
      kernels.swigluGrad(widen(a), widen(b), widen(d), wideA, wideB);
      return kernels.copy(wideA, da) && kernels.copy(wideB, db);
    });
    return [dgate, dup];
  },
  definition: ([gate, up]) => mul(silu(gate), up),
});

/**
 * silu(gate) · up, element by element.
 *
 * @param gate (..., C)
 * @param up (..., C)
 * @throws ShapeError when the shapes differ.
 */
export function swiglu(gate: Tensor, up: Tensor): Tensor {
  return swigluOp(promoted('swiglu', gate, up), undefined);
}
