/**
 * Where the time of a training step goes: every native kernel is timed as it is called, and what remains is JavaScript,
 * the timing of each call among it. The step is that of train-step.ts, which checks what it computes.
 */

import { native } from '../../lib/native.js';
import { GPT } from '../../src/models/index.js';
import { readTask, report, secondsOf, type Measurement } from '../measure.js';
import { stepFlops, type Preset } from './presets.js';
import { gptStep } from './training.js';

const task = readTask() as Preset & { name: string; steps: number; dtype?: 'bfloat16' };

/** Kernels by what they are for; those that are named nowhere are the others. */
const groups = {
  products: ['gemm'],
  attention: ['attention', 'attentionGrad'],
  norms: ['layerNorm', 'layerNormGrad', 'rmsNorm', 'rmsNormGrad'],
  'activations, sums': ['unary', 'binary', 'swiglu', 'swigluGrad'],
  loss: ['crossEntropy', 'crossEntropyGrad'],
  'gradient norm, AdamW': ['sumSquares', 'optimizerStep'],
} as const;
const groupOf = (kernel: string): string =>
  Object.entries(groups).find(([, kernels]) => (kernels as readonly string[]).includes(kernel))?.[0] ??
  'other kernels';

/** Seconds of each group in the steps that are measured. */
const spent = new Map([...Object.keys(groups), 'other kernels'].map((name) => [name, 0]));
let productFlops = 0;

type Kernel = (...args: unknown[]) => unknown;

/** Arithmetic of a product whose sizes have been written: batch, m, n, k come first. */
const gemmFlops = (): number => 2 * native.params[0] * native.params[1] * native.params[2] * native.params[3];

const kernels = native as unknown as Record<string, Kernel>;
for (const [name, kernel] of Object.entries(kernels)) {
  if (typeof kernel !== 'function') continue;
  const group = groupOf(name);
  kernels[name] = (...args) => {
    if (name === 'gemm') productFlops += gemmFlops();
    let answer: unknown;
    const seconds = secondsOf(() => (answer = kernel(...args)));
    spent.set(group, spent.get(group)! + seconds);
    return answer;
  };
}

const step = gptStep(new GPT(task.config), task, task.dtype);
for (let i = 0; i < 3; i++) step();
for (const name of spent.keys()) spent.set(name, 0);
productFlops = 0;
const seconds = secondsOf(() => {
  for (let i = 0; i < task.steps; i++) step();
});

const results: Record<string, Measurement> = {};
function add(name: string, all: number, flops?: number): void {
  results[`${task.name}: ${name}`] = { seconds: all / task.steps, ...(flops !== undefined && { flops }) };
}
add('step', seconds, stepFlops(task));
for (const [name, all] of spent) add(name, all, name === 'products' ? productFlops / task.steps : undefined);
add('JavaScript', seconds - [...spent.values()].reduce((a, b) => a + b, 0));
report(results);
