/**
 * Rotary position embedding (Su et al., RoFormer, 2021): each pair of features of a query or key is turned by an angle that
 * grows with its position, so that their product depends on the distance alone. Half rotation, as Hugging Face's
 * checkpoints need it: feature i pairs with i + D / 2. One kernel (native/cpu/rotary.cpp); the gradient is the rotation back.
 */

import { ShapeError } from '../errors.js';
import * as kernels from '../kernels.js';
import { checkFloating, compact, defineOp, detach } from '../op.js';
import { formatShape, sameShape, type Shape } from '../shape.js';
import { checkTensor, Tensor } from '../tensor.js';
import { add, mul, sub } from './elementwise.js';
import { cat, slice, unsqueeze } from './movement.js';

/** Unit stride along the features is all that the kernel asks of a layout. */
const unitRows = (x: Tensor): Tensor => (x.strides[3] === 1 ? x : compact(x));

/** As attention's results: (B, H, T, D) that lies in memory as (B, T, H, D). */
const joinable = ([, h, t, d]: Shape): number[] => [t * h * d, d, h * d, 1];

const rotaryOp = defineOp<[Tensor, Tensor, Tensor]>({
  name: 'rotaryEmbedding',
  shape([x, cosine, sine]) {
    for (const t of [x, cosine, sine]) checkFloating('rotaryEmbedding', t);
    const [batch, , length, size] = x.shape;
    const shapes = `got x ${formatShape(x.shape)}, cos ${formatShape(cosine.shape)}, sin ${formatShape(sine.shape)}`;
    if (x.rank !== 4 || size === 0 || size % 2 !== 0) {
      throw new ShapeError(`rotaryEmbedding: x must be (B, H, T, D) with an even D, ${shapes}`);
    }
    const table = [length, size / 2];
    if (
      !sameShape(cosine.shape, sine.shape) ||
      !(sameShape(cosine.shape, table) || sameShape(cosine.shape, [batch, ...table]))
    ) {
      throw new ShapeError(`rotaryEmbedding: cos and sin must be (T, D / 2) or (B, T, D / 2), ${shapes}`);
    }
    return { shape: x.shape, dtype: x.dtype, strides: joinable(x.shape) };
  },
  forward(out, [x, cosine, sine], _, tape) {
    if (x.dtype !== 'float32' || cosine.dtype !== 'float32' || sine.dtype !== 'float32') return false;
    const [c, s] = [compact(cosine), compact(sine)];
    tape?.save(c, s);
    return kernels.rotary(unitRows(x), c, s, out, false);
  },
  // A rotation's transpose is the rotation by the opposite angle:  dx_i = dy_i cos + dy_{i + D/2} sin.
  backward(grad, node) {
    const [cosine, sine] = node.saved as [Tensor, Tensor];
    const dx = Tensor.empty(grad.shape, 'float32', 'rotaryEmbedding gradient', joinable(grad.shape));
    kernels.rotary(unitRows(grad), cosine, sine, dx, true);
    return [dx, null, null];
  },
  definition([x, cosine, sine]) {
    const half = x.shape[3] / 2;
    const [c, s] = cosine.rank === 2 ? [cosine, sine] : [unsqueeze(cosine, 1), unsqueeze(sine, 1)];
    const [a, b] = [slice(x, -1, 0, half), slice(x, -1, half)];
    return cat([sub(mul(a, c), mul(b, s)), add(mul(b, c), mul(a, s))], -1);
  },
});

/**
 * Turns the pairs (i, i + D / 2) of each position's features: x · cos + rotateHalf(x) · sin in Hugging Face's terms, with
 * tables of half the width, as both halves of theirs are equal.
 *
 * @param x (B, H, T, D), D even; any layout with its features together is read in place
 * @param cosine (T, D / 2), or (B, T, D / 2) where positions differ within the batch; constants
 * @param sine like `cosine`
 * @returns (B, H, T, D), laid out as {@link scaledDotProductAttention} lays its results
 * @throws ShapeError when the shapes do not fit.
 */
export function rotaryEmbedding(x: Tensor, cosine: Tensor, sine: Tensor): Tensor {
  for (const t of [cosine, sine]) checkTensor('rotaryEmbedding', t);
  return rotaryOp([x, detach(cosine), detach(sine)], undefined);
}
