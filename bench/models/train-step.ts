/**
 * A training step: forward, backward, clipping to norm 1, AdamW with weight decay on matrices. Always the same batch,
 * from the same weights on both sides, so that the losses of the first three steps must agree.
 */

import { backward, scope, setFloat32MatmulPrecision, tensor } from '../../lib/index.js';
import { GPT } from '../../src/models/index.js';
import { AdamW, clipScale, decayGroups, gradNorm, nextTokenLoss } from '../../src/training/index.js';
import { median, readTask, report, secondsOf, tokenIds } from '../measure.js';
import { stepFlops, type Preset } from './presets.js';

const task = readTask() as Preset & {
  name: string;
  weights?: string;
  seconds: number;
  steps: number;
  dtype?: 'bfloat16';
};
if (task.dtype === 'bfloat16') setFloat32MatmulPrecision('medium');
const { batch: B, time: T } = task;
const model = task.weights === undefined ? new GPT(task.config) : GPT.fromPretrained(task.weights);
const parameters = model.parameters();
const optimizer = new AdamW(decayGroups(parameters, 0.1), { lr: task.lr, betas: [0.9, 0.99] });
const ids = tokenIds(B * T + 1, model.config.vocab_size);
const inputs = tensor(ids.subarray(0, B * T), { dtype: 'int32', shape: [B, T] });
const targets = tensor(ids.subarray(1), { dtype: 'int32', shape: [B, T] });

/** As src/training/trainer.ts does it. */
function step(): number {
  return scope(() => {
    const loss = nextTokenLoss(model, inputs, targets);
    backward(loss);
    optimizer.step({ gradScale: clipScale(gradNorm(parameters), 1) });
    optimizer.zeroGrad();
    return loss.item();
  });
}

const values = [step(), step(), step()];
const times: number[] = [];
for (let spent = 0; times.length < task.steps || spent < task.seconds;) {
  const seconds = secondsOf(step);
  times.push(seconds);
  spent += seconds;
}
report({ [task.name]: { seconds: median(times), flops: stepFlops(task), tokens: B * T } }, values);
