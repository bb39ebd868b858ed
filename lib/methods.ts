/**
 * Which operations are also methods of Tensor: the tensor becomes the first argument, `x.add(y)` is `add(x, y)`. To
 * make an operation a method, add its name to the lists below; what makes tensors is a static (`Tensor.zeros`).
 * Importing this file attaches them all.
 */

import { backward, type BackwardOptions } from './autograd.js';
import { scaledDotProductAttention } from './ops/attention.js';
import {
  arange,
  eye,
  full,
  ones,
  onesLike,
  rand,
  randint,
  randn,
  tensor,
  zeros,
  zerosLike,
} from './ops/create.js';
import * as elementwise from './ops/elementwise.js';
import * as inPlace from './ops/in-place.js';
import { gather, indexSelect, scatterAdd } from './ops/indexing.js';
import { crossEntropy, linearCrossEntropy } from './ops/loss.js';
import { linear, matmul } from './ops/matmul.js';
import * as movement from './ops/movement.js';
import { layerNorm, rmsNorm } from './ops/norm.js';
import { rotaryEmbedding } from './ops/rotary.js';
import * as reduce from './ops/reduce.js';
import { logSoftmax, softmax } from './ops/softmax.js';
import { swiglu } from './ops/swiglu.js';
import { Tensor } from './tensor.js';

// prettier-ignore
const {
  abs, add, ceil, clamp, clone, contiguous, cos, detach, div, dropout, eq, erf, exp, expm1, floor, ge, gelu, gt, isNaN,
  le, leakyRelu, log, log1p, logicalAnd, logicalNot, logicalOr, lt, maskedFill, maximum, minimum, mul, ne, neg, pow,
  reciprocal, relu, round, rsqrt, sigmoid, sign, silu, sin, softplus, sqrt, square, sub, tanh, to,
} = elementwise;
const { amax, amin, argmax, argmin, cumsum, logsumexp, mean, prod, sort, std, sum, topk, variance } = reduce;
// prettier-ignore
const {
  expand, flatten, pad, permute, repeatInterleave, reshape, roll, select, slice, split, squeeze, transpose, tril, triu,
  unsqueeze,
} = movement;
const { add_, copy_, fill_, zero_ } = inPlace;

// prettier-ignore
const methods = {
  // elementwise
  abs, add, ceil, clamp, cos, div, dropout, eq, erf, exp, expm1, floor, ge, gelu, gt, isNaN, le, leakyRelu, log, log1p,
  logicalAnd, logicalNot, logicalOr, lt, maskedFill, maximum, minimum, mul, ne, neg, pow, reciprocal, relu, round, rsqrt,
  sigmoid, sign, silu, sin, softplus, sqrt, square, sub, tanh,
  // copies
  clone, contiguous, detach, to,
  // reductions and order
  amax, amin, argmax, argmin, cumsum, logsumexp, mean, prod, sort, std, sum, topk, variance,
  // movement
  expand, flatten, pad, permute, repeatInterleave, reshape, roll, select, slice, split, squeeze, transpose, tril, triu,
  unsqueeze,
  // ids
  gather, indexSelect, scatterAdd,
  // in place
  add_, copy_, fill_, zero_,
  // products, norms, softmax, losses
  crossEntropy, layerNorm, linear, linearCrossEntropy, logSoftmax, matmul, rmsNorm, rotaryEmbedding,
  scaledDotProductAttention, softmax, swiglu,
};

const statics = { arange, eye, full, ones, onesLike, rand, randint, randn, tensor, zeros, zerosLike };

/** An operation as a method: without its first argument. */
type Method<F> = F extends (x: Tensor, ...rest: infer Rest) => infer Result
  ? (...rest: Rest) => Result
  : never;
/** The operations attached to Tensor. */
type Methods = { [Name in keyof typeof methods]: Method<(typeof methods)[Name]> };

declare module './tensor.js' {
  interface Tensor extends Methods {
    /**
     * Adds the gradient of this tensor with respect to every leaf below it to the leaf's `grad`.
     * See the function `backward`.
     */
    backward(grad?: Tensor, options?: BackwardOptions): void;
  }
  namespace Tensor {
    export { arange, eye, full, ones, onesLike, rand, randint, randn, tensor, zeros, zerosLike };
  }
}

function attach(name: string, operation: (x: Tensor, ...rest: never[]) => unknown): void {
  Object.defineProperty(Tensor.prototype, name, {
    configurable: true,
    writable: true,
    value(this: Tensor, ...rest: never[]) {
      return operation(this, ...rest);
    },
  });
}

for (const [name, operation] of Object.entries(methods)) attach(name, operation);
attach('backward', backward);
Object.assign(Tensor, statics);
