/**
 * BERT: a forward pass over a batch without padding, or a training step that predicts every seventh token. From the same
 * weights on both sides, so that the hidden states, or the losses of the first three steps, must agree.
 */

import { noGrad, scope, tensor } from '../../lib/index.js';
import { BertForMaskedLM, maskedTokenLoss } from '../../src/models/index.js';
import { readTask, report, secondsPerCall, tokenIds } from '../measure.js';
import { secondsPerStep, trainingStep } from './training.js';

const task = readTask() as {
  name: string;
  weights: string;
  batch: number;
  time: number;
  train: boolean;
  lr: number;
  seconds: number;
  steps: number;
};
const { batch: B, time: T } = task;
const model = BertForMaskedLM.fromPretrained(task.weights).train(task.train);
const { vocab_size: V, hidden_size: C, intermediate_size: I, num_hidden_layers: layers } = model.config;
const all = tokenIds(2 * B * T, V);
const ids = tensor(all.subarray(0, B * T), { dtype: 'int32', shape: [B, T] });
const forwardFlops = B * T * layers * (2 * (4 * C * C + 2 * C * I) + 4 * T * C);

if (task.train) {
  const labels = tensor(
    all.subarray(B * T).map((id, i) => (i % 7 === 0 ? id : -100)),
    { shape: [B, T] },
  );
  const step = trainingStep(model.parameters(), task.lr, () => maskedTokenLoss(model, ids, labels));
  const values = [step(), step(), step()];
  const head = Math.ceil((B * T) / 7) * 2 * (C * C + V * C);
  report(
    { [task.name]: { seconds: secondsPerStep(step, task), flops: 3 * (forwardFlops + head), tokens: B * T } },
    values,
  );
} else {
  const forward = () => noGrad(() => scope(() => model.hidden(ids)));
  const hidden = forward();
  const values = Array.from(hidden.data.subarray((B * T - 1) * C, (B * T - 1) * C + 8), Number);
  const seconds = secondsPerCall([() => forward().dispose()], task.steps);
  report({ [task.name]: { seconds, flops: forwardFlops, tokens: B * T } }, values);
}
