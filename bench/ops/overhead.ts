/**
 * What an operation costs that has nothing to compute, tensors of [2, 2] in a scope of their own, and what it costs to
 * import the package in a fresh process, beyond the start of Node.
 */

import { spawnSync } from 'node:child_process';

import { add, matmul, scope, tensor, type Tensor } from '../../lib/index.js';
import { median, readTask, relativeError, report, secondsOf, secondsPerCall } from '../measure.js';
import type { Measurement } from '../measure.js';

const task = readTask() as { samples: number; starts: number };
const rows = [
  [1, 2],
  [3, 4],
];
const [a, b] = [tensor(rows), tensor(rows)];
const learned = tensor(rows, { requiresGrad: true });
const results: Record<string, Measurement> = {};

function measure(name: string, op: () => Tensor, expected: readonly number[]): void {
  const call = (): void => scope(() => void op());
  for (let i = 0; i < 200_000; i++) call(); // the compilers of JavaScript engines take their time
  const error = relativeError(
    scope(() => op().toFloat64Array()),
    expected,
  );
  results[name] = { seconds: secondsPerCall([call], task.samples), error };
}

measure('add [2, 2]', () => add(a, b), [2, 4, 6, 8]);
measure('matmul [2, 2]', () => matmul(a, b), [7, 10, 15, 22]);
measure('add [2, 2], recorded', () => add(a, learned), [2, 4, 6, 8]);

const library = JSON.stringify(new URL('../../src/index.js', import.meta.url).href);
const start = (source: string): number =>
  secondsOf(() => {
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', source], {
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(stderr);
  });
const beyond = Array.from({ length: task.starts }, () => -start('') + start(`import ${library};`));
results.import = { seconds: median(beyond) };
report(results);
