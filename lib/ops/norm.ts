/**
 * Normalization over the last dimension: LayerNorm (Ba et al., 2016) and RMSNorm (Zhang and Sennrich, 2019).
 * Each is one fused kernel forward and one backward (native/cpu/norm.cpp); the definition says the same in simple ops.
 */

import { ShapeError } from '../errors.js';
import * as kernels from '../kernels.js';
import { checkFloating, compact, defineOp } from '../op.js';
import { formatShape } from '../shape.js';
import { Tensor } from '../tensor.js';
import { add, mul, rsqrt, square, sub } from './elementwise.js';
import { mean } from './reduce.js';

/** Rows and columns of x seen as a matrix over its last dimension; checks weight and bias against it. */
function rowsOf(name: string, x: Tensor, ...vectors: (Tensor | null)[]): { rows: number; cols: number } {
  checkFloating(name, x);
  const cols = x.shape[x.rank - 1];
  if (x.rank === 0 || cols === 0) {
    throw new ShapeError(`${name}: needs a last dimension to normalize over, got ${formatShape(x.shape)}`);
  }
  for (const v of vectors) {
    if (v !== null && (v.rank !== 1 || v.shape[0] !== cols)) {
      throw new ShapeError(
        `${name}: weight and bias must match the last dimension, got x ${formatShape(x.shape)} and ${formatShape(v.shape)}`,
      );
    }
  }
  return { rows: x.size / cols, cols };
}

const allFloat32 = (...tensors: (Tensor | null)[]): boolean =>
  tensors.every((t) => t === null || t.dtype === 'float32');

const layerNormOp = defineOp<[Tensor, Tensor | null, Tensor | null], { eps: number }>({
  name: 'layerNorm',
  cheap: true,
  shape([x, weight, bias]) {
    rowsOf('layerNorm', x, weight, bias);
    return { shape: x.shape, dtype: x.dtype };
  },
  forward(y, [input, weight, bias], { eps }, tape) {
    if (!allFloat32(input, weight, bias)) return false;
    const { rows, cols } = rowsOf('layerNorm', input);
    const x = compact(input);
    const mu = Tensor.empty([rows], 'float32', 'layerNorm');
    const rstd = Tensor.empty([rows], 'float32', 'layerNorm');
    tape?.save(x, weight, mu, rstd);
    return kernels.layerNorm(
      x,
      weight && compact(weight),
      bias && compact(bias),
      y,
      mu,
      rstd,
      rows,
      cols,
      eps,
    );
  },
  // With x̂ = (x - μ) / σ and g = dy · weight:  dx = (g - mean(g) - x̂ mean(g x̂)) / σ,
  // dweight = Σ_rows dy x̂,  dbias = Σ_rows dy.
  backward(grad, node) {
    const [x, weight, mu, rstd] = node.saved as [Tensor, Tensor | null, Tensor, Tensor];
    const { rows, cols } = rowsOf('layerNorm', x);
    const dx = Tensor.empty(x.shape, 'float32', 'layerNorm gradient');
    const dweight = node.needs(1) ? Tensor.empty([cols], 'float32', 'layerNorm gradient') : null;
    const dbias = node.needs(2) ? Tensor.empty([cols], 'float32', 'layerNorm gradient') : null;
    const scale = weight && compact(weight);
    kernels.layerNormGrad(x, scale, mu, rstd, compact(grad), dx, dweight, dbias, rows, cols, false);
    return [dx, dweight, dbias];
  },
  definition([x, weight, bias], { eps }) {
    const centered = sub(x, mean(x, -1, { keepdim: true }));
    const variance = mean(square(centered), -1, { keepdim: true });
    const normed = mul(centered, rsqrt(add(variance, eps)));
    const scaled = weight === null ? normed : mul(normed, weight);
    return bias === null ? scaled : add(scaled, bias);
  },
});

/**
 * Layer normalization over the last dimension: (x - mean) / sqrt(variance + eps) · weight + bias, with the biased
 * variance.
 *
 * @param x (..., C)
 * @param weight [C] or null
 * @param bias [C] or null
 * @throws ShapeError when weight or bias are not [C].
 */
export function layerNorm(
  x: Tensor,
  weight: Tensor | null = null,
  bias: Tensor | null = null,
  eps = 1e-5,
): Tensor {
  return layerNormOp([x, weight, bias], { eps });
}

const rmsNormOp = defineOp<[Tensor, Tensor | null], { eps: number }>({
  name: 'rmsNorm',
  cheap: true,
  shape([x, weight]) {
    rowsOf('rmsNorm', x, weight);
    return { shape: x.shape, dtype: x.dtype };
  },
  forward(y, [input, weight], { eps }, tape) {
    if (!allFloat32(input, weight)) return false;
    const { rows, cols } = rowsOf('rmsNorm', input);
    const x = compact(input);
    const rstd = Tensor.empty([rows], 'float32', 'rmsNorm');
    tape?.save(x, weight, rstd);
    return kernels.rmsNorm(x, weight && compact(weight), y, rstd, rows, cols, eps);
  },
  // With r = 1 / rms, x̂ = x r and g = dy · weight:  dx = r (g - x̂ mean(g x̂)),  dweight = Σ_rows dy x̂.
  backward(grad, node) {
    const [x, weight, rstd] = node.saved as [Tensor, Tensor | null, Tensor];
    const { rows, cols } = rowsOf('rmsNorm', x);
    const dx = Tensor.empty(x.shape, 'float32', 'rmsNorm gradient');
    const dweight = node.needs(1) ? Tensor.empty([cols], 'float32', 'rmsNorm gradient') : null;
    kernels.rmsNormGrad(x, weight && compact(weight), rstd, compact(grad), dx, dweight, rows, cols, false);
    return [dx, dweight];
  },
  definition([x, weight], { eps }) {
    const normed = mul(x, rsqrt(add(mean(square(x), -1, { keepdim: true }), eps)));
    return weight === null ? normed : mul(normed, weight);
  },
});

/**
 * Root-mean-square normalization over the last dimension: x / sqrt(mean(x²) + eps) · weight.
 *
 * @param x (..., C)
 * @param weight [C] or null
 * @throws ShapeError when weight is not [C].
 */
export function rmsNorm(x: Tensor, weight: Tensor | null = null, eps = 1e-6): Tensor {
  return rmsNormOp([x, weight], { eps });
}
