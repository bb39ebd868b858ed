/**
 * T5: a training step, or greedy decoding with the cache through `generate`. From the same weights on both sides, so that
 * the losses of the first three steps, or the tokens, must agree.
 */

import { tensor } from '../../lib/index.js';
import { generate } from '../../src/generation/index.js';
import { seq2seqLoss, T5 } from '../../src/models/index.js';
import { CharTokenizer } from '../../src/tokenizers/index.js';
import { median, readTask, report, tokenIds } from '../measure.js';
import { secondsPerStep, trainingStep } from './training.js';

const task = readTask() as {
  name: string;
  weights: string;
  batch: number;
  /** Tokens of the text that is read, and of the one that is written. */
  source: number;
  target: number;
  train: boolean;
  lr: number;
  seconds: number;
  steps: number;
};
const { batch: B, source: S, target: T } = task;
const model = T5.fromPretrained(task.weights).train(task.train);
const { vocab_size: V } = model.config;
const all = tokenIds(B * (S + T), V);
if (task.train) train();
else await decode();

function train(): void {
  const ids = tensor(all.subarray(0, B * S), { shape: [B, S] });
  const labels = tensor(all.subarray(B * S), { shape: [B, T] });
  const step = trainingStep(model.parameters(), task.lr, () => seq2seqLoss(model, ids, labels));
  const values = [step(), step(), step()];
  report(
    { [task.name]: { seconds: secondsPerStep(step, task), flops: stepFlops(), tokens: B * (S + T) } },
    values,
  );
}

/** Three times that of a forward pass. */
function stepFlops(): number {
  const { d_model: C, d_ff: F, num_layers: layers, num_heads: H, d_kv } = model.config;
  const inner = H * d_kv;
  const self = 4 * C * inner + 2 * C * F;
  const products = S * layers * self + T * layers * (self + 2 * C * inner) + S * layers * 2 * C * inner;
  const scores = layers * 2 * inner * (S * S + T * T + T * S);
  return 3 * B * 2 * (products + scores + T * C * V);
}

/** Ids are all this needs: a character for each. */
async function decode(): Promise<void> {
  const characters = Array.from({ length: V }, (_, id) => String.fromCodePoint(0x10000 + id));
  const tokenizer = new CharTokenizer(characters);
  const texts = Array.from({ length: B }, (_, row) => all.subarray(row * S, (row + 1) * S));
  const options = { maxNewTokens: T + 1, temperature: 0, eosTokenId: null };
  const run = async () => {
    const generation = generate(model, tokenizer, texts, options);
    await generation.texts();
    return generation;
  };
  const { sequences } = await run();
  const times: number[] = [];
  for (let i = 0; i < task.steps; i++) times.push((await run()).decodeSeconds);
  const seconds = median(times);
  report({ [task.name]: { seconds, tokens: B * T } }, Array.from(sequences[0].tokens.slice(0, 16)));
}
