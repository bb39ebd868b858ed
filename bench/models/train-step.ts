/**
 * A training step: forward, backward, clipping to norm 1, AdamW with weight decay on matrices. Always the same batch,
 * from the same weights on both sides, so that the losses of the first three steps must agree.
 */

import { memory, resetPeakMemory } from '../../lib/index.js';
import { estimateMemory, gptSizes } from '../../src/cli/memory-plan.js';
import { GPT } from '../../src/models/index.js';
import type { Recompute } from '../../src/nn/index.js';
import { readTask, report } from '../measure.js';
import { stepFlops, type Preset } from './presets.js';
import { gptStep, secondsPerStep } from './training.js';

const task = readTask() as Preset & {
  name: string;
  weights?: string;
  seconds: number;
  steps: number;
  dtype?: 'bfloat16';
  /** Where it is given, the reported error is that of the predicted memory. */
  recompute?: Recompute;
};
const { batch: B, time: T } = task;
const model = task.weights === undefined ? new GPT(task.config) : GPT.fromPretrained(task.weights);
if (task.recompute !== undefined) model.setRecompute(task.recompute);
const step = gptStep(model, task, task.dtype);

/** How far the dry run's memory is from the tensors of a step, weights and moments among them. */
function predictionError(): number {
  const precision = task.dtype === undefined ? 'float32' : 'bf16';
  const settings = { recompute: task.recompute, precision } as const;
  const estimate = Object.values(estimateMemory(gptSizes(model.config), B * T, settings));
  return Math.abs(estimate.reduce((a, b) => a + b, 0) / memory().peakBytes - 1);
}

const values = [step()];
resetPeakMemory();
values.push(step(), step());
const seconds = secondsPerStep(step, task);
const error = task.recompute === undefined ? {} : { error: predictionError() };
report({ [task.name]: { seconds, flops: stepFlops(task), tokens: B * T, ...error } }, values);
