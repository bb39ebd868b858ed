/** What PyTorch's optimizers and clipping did, as `optim.json` has it (all of it in ../shared, a part in test/golden). */

import { expect } from 'vitest';

import { tensor, type Tensor } from '../../lib/index.js';
import { clipGradNorm, gradNorm, type Optimizer } from '../../src/training/index.js';
import { expectClose } from './golden.js';

export interface Recorded {
  readonly shape: number[];
  readonly data: number[];
}

export interface RecordedSteps {
  readonly init: Recorded[];
  readonly grads: Recorded[][];
  readonly params_after_each_step: Recorded[][];
  readonly lr: number[];
}

export interface RecordedClip {
  readonly max_norm: number;
  readonly grads: Recorded[];
  readonly total_norm: number;
  readonly clipped: Recorded[];
}

export const toTensor = ({ data, shape }: Recorded): Tensor => tensor(new Float32Array(data), { shape });

export function parameter(recorded: Recorded): Tensor {
  const t = toTensor(recorded);
  t.requiresGrad = true;
  return t;
}

/** Expects the optimizer to make the recorded updates, to 1e-6; answers it with its parameters. */
export function expectSteps<T extends Optimizer>(
  { init, grads, params_after_each_step: expected, lr }: RecordedSteps,
  make: (params: Tensor[]) => T,
): { params: Tensor[]; optimizer: T } {
  const params = init.map(parameter);
  const optimizer = make(params);
  expect(grads).toHaveLength(12);
  grads.forEach((step, i) => {
    step.forEach((grad, j) => (params[j].grad = toTensor(grad)));
    optimizer.lr = lr[i];
    optimizer.step();
    params.forEach((p, j) =>
      expectClose(p, expected[i][j].data, { atol: 1e-6 }, `step ${i}, parameter ${j}`),
    );
  });
  return { params, optimizer };
}

/** Expects the recorded norm and gradients of clipping, to 1e-6, whatever parameters there are that have no gradient. */
export function expectClip({ max_norm, grads, total_norm, clipped }: RecordedClip): void {
  const params = grads.map((grad) => {
    const p = parameter({ shape: grad.shape, data: grad.data.map(() => 0) });
    p.grad = toTensor(grad);
    return p;
  });
  params.push(parameter({ shape: [1], data: [1] }));
  expect(gradNorm(params)).toBeCloseTo(total_norm, 6);
  expect(clipGradNorm(params, max_norm)).toBeCloseTo(total_norm, 6);
  clipped.forEach((expected, i) => expectClose(params[i].grad!, expected.data, { atol: 1e-6 }));
}
