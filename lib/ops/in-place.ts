/**
 * Operations that write into an existing tensor, named with a trailing underscore as in PyTorch. They are not recorded,
 * so they refuse tensors that take part in a recording; values that backward still needs are protected by the
 * storage's version count.
 */

import { accumulate, isGradEnabled } from '../autograd.js';
import { ArgumentError, AutogradError, ShapeError } from '../errors.js';
import * as kernels from '../kernels.js';
import { cast, detach } from '../op.js';
import { broadcastShapes, formatShape, sameShape } from '../shape.js';
import { checkTensor, scope, Tensor } from '../tensor.js';
import { clone } from './elementwise.js';
import { expand } from './movement.js';

/** Runs `write` on x unless a gradient would be lost or elements of x share a place, and counts the change. */
function change(name: string, x: Tensor, source: Tensor | null, write: () => void): Tensor {
  checkTensor(name, x);
  if (x.size > 0 && x.strides.some((step, d) => step === 0 && x.shape[d] > 1)) {
    throw new ArgumentError(
      `${name}: elements of an expanded tensor ${formatShape(x.shape)} share their memory; write to its clone()`,
    );
  }
  if (isGradEnabled() && (x.requiresGrad || source?.requiresGrad)) {
    const [which, other] = x.requiresGrad ? ['the tensor', x] : ['the source', source!];
    throw new AutogradError(
      `${name}: cannot be recorded, but ${which} ${formatShape(other.shape)} requires a gradient; wrap it in noGrad or detach()`,
    );
  }
  scope(write);
  x.storage.changed();
  return x;
}

/** The source in the shape of x, out of the way of what is written. */
function fitted(name: string, x: Tensor, source: Tensor): Tensor {
  checkTensor(name, source);
  if (!sameShape(broadcastShapes(name, x.shape, source.shape), x.shape)) {
    throw new ShapeError(
      `${name}: the source must broadcast to the tensor, got source ${formatShape(source.shape)} for ${formatShape(x.shape)}`,
    );
  }
  const plain = detach(source);
  return expand(source.storage === x.storage ? clone(plain) : plain, x.shape);
}

/** Overwrites x with `source`, broadcast and converted. Returns x. */
export function copy_(x: Tensor, source: Tensor): Tensor {
  return change('copy_', x, source, () => kernels.copy(fitted('copy_', x, source), x));
}

/** Sets every element of x. Returns x. */
export function fill_(x: Tensor, value: number): Tensor {
  return change('fill_', x, null, () => {
    if (x.isContiguous) return kernels.fill(x, value);
    const one = Tensor.empty([], x.dtype, 'fill_');
    kernels.fill(one, value);
    return kernels.copy(expand(one, x.shape), x);
  });
}

/** Sets every element of x to zero. Returns x. */
export function zero_(x: Tensor): Tensor {
  return fill_(x, 0);
}

/** Adds `source`, broadcast and converted, to x. Returns x. */
export function add_(x: Tensor, source: Tensor): Tensor {
  return change('add_', x, source, () => accumulate(cast(fitted('add_', x, source), x.dtype), x));
}
