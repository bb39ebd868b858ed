/** Softmax and its logarithm along one dimension. The kernels work on the last one; others are moved there. */

import { ShapeError } from '../errors.js';
import * as kernels from '../kernels.js';
import { checkFloating, compact, defineOp, detach, fromHalf } from '../op.js';
import { formatShape, normalizeDim } from '../shape.js';
import { Tensor } from '../tensor.js';
import { div, exp, log, sub } from './elementwise.js';
import { transpose } from './movement.js';
import { amax, sum } from './reduce.js';

const softmaxOp = defineOp<[Tensor], { log: boolean }>({
  name: 'softmax',
  shape([x]) {
    checkFloating('softmax', x);
    return { shape: x.shape, dtype: x.dtype };
  },
  forward(y, [x], options, tape) {
    if (x.dtype !== 'float32') return false;
    tape?.save(y);
    const cols = x.shape[x.rank - 1];
    return kernels.softmax(compact(x), y, x.size / cols, cols, options.log);
  },
  // softmax: dx = y (dy - Σ dy y);  log-softmax: dx = dy - exp(y) Σ dy
  backward(grad, node, options) {
    const [y] = node.saved as [Tensor];
    const dx = Tensor.empty(y.shape, y.dtype, 'softmax gradient');
    const cols = y.shape[y.rank - 1];
    kernels.softmaxGrad(y, compact(grad), dx, y.size / cols, cols, options.log);
    return [dx];
  },
  definition([x], options) {
    const shifted = sub(x, detach(amax(x, -1, { keepdim: true })));
    const exponentials = exp(shifted);
    const total = sum(exponentials, -1, { keepdim: true });
    return options.log ? sub(shifted, log(total)) : div(exponentials, total);
  },
});

function along(name: string, input: Tensor, dim: number, log: boolean): Tensor {
  const x = fromHalf(input);
  const d = normalizeDim(name, dim, x.rank);
  if (x.shape[d] === 0) throw new ShapeError(`${name}: dimension ${dim} of ${formatShape(x.shape)} is empty`);
  const last = x.rank - 1;
  if (d === last) return softmaxOp([x], { log });
  return transpose(softmaxOp([transpose(x, d, last)], { log }), d, last);
}

/** exp(x) / Σ exp(x) along `dim`, computed without overflow. A slice of only -Infinity gives NaN, as in PyTorch. */
export function softmax(x: Tensor, dim = -1): Tensor {
  return along('softmax', x, dim, false);
}

/** The logarithm of {@link softmax}, exact also where the softmax itself underflows. */
export function logSoftmax(x: Tensor, dim = -1): Tensor {
  return along('logSoftmax', x, dim, true);
}
