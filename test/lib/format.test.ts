/** The text of tensors against PyTorch's (test/golden/print.json). */

import { inspect } from 'node:util';

import { describe, expect, it } from 'vitest';

import { permute, select, tensor, type DType } from '../../lib/index.js';
import { fromNumbers } from '../support/compare.js';
import { readGolden } from '../support/golden.js';

interface Printed {
  readonly shape: number[];
  readonly dtype: DType;
  readonly values: (number | string)[];
  readonly requiresGrad?: boolean;
  readonly text: string;
}

/** PyTorch's words in ours. */
const translated = (text: string): string =>
  text
    .replace(/True/g, 'true')
    .replace(/False/g, 'false')
    .replace('requires_grad', 'requiresGrad')
    .replace('torch.', '')
    .replace(/size=\((.*?),?\)/, 'size=[$1]');

describe('toString', () => {
  it.each(
    readGolden<Printed[]>('print.json').map(
      (c, i) => [`${i}: ${c.dtype} [${c.shape.join(', ')}]`, c] as const,
    ),
  )('prints %s like PyTorch', (_, { shape, dtype, values, requiresGrad, text }) => {
    const t = fromNumbers(
      values.map((x) => (typeof x === 'number' ? x : Number(x.replace('inf', 'Infinity')))),
      shape,
      dtype,
    );
    t.requiresGrad = requiresGrad ?? false;
    expect(t.toString()).toBe(translated(text));
  });

  it('reads any layout', () => {
    const x = tensor([[1, 2, 3], [4, 5, 6]]); // prettier-ignore
    expect(String(permute(x, [1, 0]))).toBe('tensor([[1., 4.],\n        [2., 5.],\n        [3., 6.]])');
    expect(String(select(x, 1, 1))).toBe('tensor([2., 5.])');
  });

  it('names the operation that a gradient flows through', () => {
    expect(String(tensor([1, 2], { requiresGrad: true }).mul(2))).toBe('tensor([2., 4.], gradFn=<mul>)');
  });

  it('is what the console shows', () => {
    const x = tensor([1.5]);
    expect(inspect(x)).toBe('tensor([1.5000])');
    x.dispose();
    expect(inspect(x)).toBe('Tensor(disposed, made by tensor)');
  });
});
