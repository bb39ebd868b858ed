/**
 * The gate of the SwiGLU feed-forward layer (Shazeer, "GLU Variants Improve Transformer", 2020), which Llama and its kin
 * have in place of an activation. One kernel forward and one backward (native/cpu/swiglu.cpp).
 */

import { isHalf } from '../dtype.js';
import { ShapeError } from '../errors.js';
import * as kernels from '../kernels.js';
import { cast, checkFloating, compact, defineOp, promoted, widen } from '../op.js';
import { formatShape, sameShape } from '../shape.js';
import { Tensor } from '../tensor.js';
import { mul, silu } from './elementwise.js';

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
    const wide = Tensor.empty(y.shape, 'float32', 'swiglu');
    return kernels.swiglu(widen(g), widen(u), wide) && kernels.copy(wide, y);
  },
  // With s = sigmoid(gate):  dgate = dy up s (1 + gate (1 - s)),  dup = dy gate s.
  backward(grad, node) {
    const [gate, up] = node.saved as [Tensor, Tensor];
    const dgate = Tensor.empty(gate.shape, 'float32', 'swiglu gradient');
    const dup = Tensor.empty(gate.shape, 'float32', 'swiglu gradient');
    kernels.swigluGrad(widen(gate), widen(up), widen(compact(grad)), dgate, dup);
    return [cast(dgate, gate.dtype), cast(dup, up.dtype)];
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
