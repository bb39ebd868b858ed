/** Comparing encoders with what record-encoders.py and others recorded of Hugging Face's. */

import { expect } from 'vitest';
import { type Module, type Tensor, tensor } from '../../src/index.js';
import { expectClose } from './golden.js';

/** Float32 results printed with eight digits. */
export const tolerance = { atol: 2e-4, rtol: 2e-4 };

export const int32 = (ids: number[] | number[][]): Tensor => tensor(ids, { dtype: 'int32' });
export const bool = (mask: number[][]): Tensor => tensor(mask, { dtype: 'bool' });

export interface Inputs {
  input_ids: number[][];
  attention_mask: number[][];
  token_type_ids?: number[][];
}

/** The options of a forward pass. */
export const optionsOf = ({
  attention_mask,
  token_type_ids,
}: Inputs): { attentionMask: Tensor; tokenTypeIds?: Tensor } => ({
  attentionMask: bool(attention_mask),
  ...(token_type_ids && { tokenTypeIds: int32(token_type_ids) }),
});

/** A parameter's gradient as it is recorded. */
export interface RecordedGradient {
  norm: number;
  sum?: number;
  first4: number[];
}

/**
 * Compares the gradient of every parameter.
 *
 * @param padRows Tables whose row `pad` PyTorch leaves without a gradient.
 */
export function expectGradients(
  model: Module,
  recorded: Record<string, RecordedGradient>,
  { padRows = /^$/, pad = 0 }: { padRows?: RegExp; pad?: number } = {},
): void {
  const parameters = model.stateDict();
  expect(Object.keys(recorded).sort()).toEqual([...parameters.keys()].sort());
  for (const [name, { norm, sum, first4 }] of Object.entries(recorded)) {
    const p = parameters.get(name)!;
    const grad = p.grad!.toFloat64Array();
    if (padRows.test(name)) grad.fill(0, pad * p.shape[1], (pad + 1) * p.shape[1]);
    expectClose([Math.hypot(...grad)], [norm], tolerance, `${name}: norm of the gradient`);
    if (sum !== undefined) {
      const atol = 2e-4 * Math.max(1, norm);
      expectClose([grad.reduce((a, b) => a + b, 0)], [sum], { atol, rtol: 2e-4 }, `${name}: sum`);
    }
    expectClose(grad.slice(0, 4), first4, tolerance, `${name}: gradient`);
  }
}
