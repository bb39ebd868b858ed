/**
 * Muon ("Muon: An optimizer for hidden layers in neural networks", Jordan et al., 2024): momentum whose matrix is
 * replaced by the nearest orthogonal one, which five Newton-Schulz iterations (matrix products alone) come near. Step for
 * step PyTorch's, but in float32 where that rounds to bfloat16. Whatever is no hidden matrix, AdamW updates: vectors,
 * and the embeddings and output head, which the caller names.
 */

import { ArgumentError, checkOptions } from '../../../lib/errors.js';
import * as kernels from '../../../lib/kernels.js';
import { add, add_, matmul, mul, noGrad, transpose } from '../../../lib/index.js';
import type { Shape } from '../../../lib/shape.js';
import { scope, type Tensor } from '../../../lib/tensor.js';
import { adamStates, adamUpdate } from './adam.js';
import {
  checkAtLeastZero,
  checkBetas,
  checkDecay,
  Optimizer,
  scaleInPlace,
  type DueSlot,
  type OptimizerOptions,
  type Parameters,
  type Slot,
} from './optimizer.js';

/** Settings of {@link Muon}; the learning rate is 1e-3 by default, `weightDecay` (0.1) is decoupled. */
export interface MuonOptions extends OptimizerOptions {
  /** What is kept of the last momentum, 0.95 by default. */
  readonly momentum?: number;
  /** Nesterov's momentum, true by default. */
  readonly nesterov?: boolean;
  /** Newton-Schulz iterations, 5 by default. */
  readonly iterations?: number;
  /**
   * How the learning rate of a matrix (rows, cols) follows from its shape: times sqrt(max(1, rows / cols))
   * ('original', the default), or times 0.2 sqrt(max(rows, cols)) ('matchRmsAdamW': updates as large as AdamW's,
   * so that both can have one learning rate).
   */
  readonly adjustLr?: 'original' | 'matchRmsAdamW';
  /** Matrices that AdamW updates: embeddings and the output head. */
  readonly adamw?: Iterable<Tensor>;
  /** AdamW's, [0.9, 0.999] by default. */
  readonly betas?: readonly [number, number];
  /** AdamW's, 1e-8 by default. */
  readonly eps?: number;
}

const optionNames = [
  'lr', 'weightDecay', 'momentum', 'nesterov', 'iterations', 'adjustLr', 'adamw', 'betas', 'eps',
]; // prettier-ignore

/** Muon for matrices, AdamW for the rest. */
export class Muon extends Optimizer {
  readonly #options: Required<Pick<MuonOptions, 'momentum' | 'nesterov' | 'iterations' | 'adjustLr'>>;
  readonly #adam: { readonly betas: readonly [number, number]; readonly eps: number };
  readonly #others: ReadonlySet<Tensor>;

  /** @param params Parameters, or groups of them with settings of their own. */
  constructor(params: Parameters, options: MuonOptions = {}) {
    checkOptions('Muon', options, optionNames);
    const { lr = 1e-3, weightDecay = 0.1, momentum = 0.95, nesterov = true, iterations = 5 } = options;
    const { adjustLr = 'original', betas = [0.9, 0.999], eps = 1e-8 } = options;
    checkDecay('Muon', { momentum });
    checkAtLeastZero('Muon', { eps });
    checkBetas('Muon', betas);
    if (!(Number.isInteger(iterations) && iterations >= 1 && iterations < 100)) {
      throw new ArgumentError(`Muon: iterations must be a whole number from 1 to 99, got ${iterations}`);
    }
    if (!['original', 'matchRmsAdamW'].includes(adjustLr)) {
      throw new ArgumentError(`Muon: adjustLr must be 'original' or 'matchRmsAdamW', got '${adjustLr}'`);
    }
    const own = { momentum, nesterov, iterations, adjustLr };
    const settings = { ...own, beta1: betas[0], beta2: betas[1], eps };
    super(params, { name: 'Muon', lr, weightDecay, settings });
    this.#options = own;
    this.#adam = { betas, eps };
    this.#others = new Set(options.adamw);
  }

  protected stateShapes(slot: Slot): Record<string, Shape> {
    return this.#isMatrix(slot) ? { momentum_buffer: slot.parameter.shape } : adamStates(slot, false);
  }

  protected update(due: readonly DueSlot[], gradScale: number): void {
    const matrices = due.filter((slot) => this.#isMatrix(slot));
    const others = due.filter((slot) => !this.#isMatrix(slot));
    noGrad(() => {
      for (const slot of matrices) scope(() => this.#updateMatrix(slot, gradScale));
    });
    adamUpdate(others, { ...this.#adam, gradScale, decoupled: true });
  }

  #isMatrix({ parameter }: Slot): boolean {
    return parameter.rank === 2 && !this.#others.has(parameter);
  }

  #updateMatrix({ parameter, grad, state, lr, weightDecay }: DueSlot, gradScale: number): void {
    const { momentum, nesterov, iterations, adjustLr } = this.#options;
    const buffer = state.momentum_buffer;
    const g = mul(grad, (1 - momentum) * gradScale);
    add_(scaleInPlace(buffer, momentum), g);
    // g has the factor 1 - momentum already.
    const direction = nesterov ? add_(g, mul(buffer, momentum)) : buffer;
    const [rows, cols] = parameter.shape;
    const adjusted =
      adjustLr === 'original' ? Math.sqrt(Math.max(1, rows / cols)) : 0.2 * Math.sqrt(Math.max(rows, cols));
    scaleInPlace(parameter, 1 - lr * weightDecay);
    add_(parameter, mul(orthogonalized(direction, iterations), -lr * adjusted));
  }
}

/** Coefficients of the quintic iteration, whose slope at zero is as steep as it may be (Jordan et al., 2024). */
const [a, b, c] = [3.4445, -4.775, 2.0315];

/** U S' Vᵀ for a matrix U S Vᵀ, with every singular value near 1 (0.7 to 1.2). */
function orthogonalized(matrix: Tensor, iterations: number): Tensor {
  const tall = matrix.shape[0] > matrix.shape[1];
  const norm = Math.max(1e-7, Math.sqrt(kernels.sumSquares([matrix])));
  let x = mul(tall ? transpose(matrix, 0, 1) : matrix, 1 / norm);
  for (let i = 0; i < iterations; i++) {
    x = scope(() => {
      const gram = matmul(x, transpose(x, 0, 1));
      const update = add(mul(gram, b), mul(matmul(gram, gram), c));
      return add(mul(x, a), matmul(update, x));
    });
  }
  return tall ? transpose(x, 0, 1) : x;
}
