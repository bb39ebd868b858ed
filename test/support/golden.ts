/** Recorded results in test/golden; see its README for where each came from. */

import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect } from 'vitest';
import type { NestedArray, Tensor } from '../../lib/index.js';

export const repositoryRoot = resolve(import.meta.dirname, '../..');
export const golden = (...path: string[]): string => join(repositoryRoot, 'test', 'golden', ...path);

export function readGolden<T>(...path: string[]): T {
  return JSON.parse(readFileSync(golden(...path), 'utf8')) as T;
}

/** The tensor's elements as numbers, from a tensor or nested arrays. */
export function flat(values: Tensor | NestedArray | ArrayLike<number>): number[] {
  if (typeof values === 'number') return [values];
  if ('toFloat64Array' in values) return Array.from(values.toFloat64Array());
  const list = Array.from(values as ArrayLike<NestedArray>);
  return list.flatMap((v) => (typeof v === 'number' ? [v] : flat(v)));
}

/** Every element within atol + rtol |expected| of what is expected; says which one is not. */
export function expectClose(
  actual: Tensor | NestedArray | ArrayLike<number>,
  expected: Tensor | NestedArray | ArrayLike<number>,
  { atol = 0, rtol = 0 }: { atol?: number; rtol?: number },
  what = 'value',
): void {
  const a = flat(actual);
  const e = flat(expected);
  expect(a.length, `${what}: number of elements`).toBe(e.length);
  let worst = -1;
  let excess = 0;
  for (let i = 0; i < e.length; i++) {
    if (Object.is(a[i], e[i]) || a[i] === e[i]) continue;
    const over = Math.abs(a[i] - e[i]) / (atol + rtol * Math.abs(e[i]));
    if (!(over <= 1) && !(over <= excess)) [worst, excess] = [i, over];
  }
  if (worst >= 0) {
    expect.fail(
      `${what}: element ${worst} is ${a[worst]}, expected ${e[worst]} (${excess.toPrecision(3)} times the tolerance)`,
    );
  }
}
