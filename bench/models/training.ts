/** What the training steps of all models share: the update, and their timing; as src/training/trainer.ts does it. */

import { autocast, backward, scope, tensor, type Tensor } from '../../lib/index.js';
import type { GPT } from '../../src/models/index.js';
import { AdamW, clipScale, decayGroups, gradNorm, nextTokenLoss } from '../../src/training/index.js';
import { median, secondsOf, tokenIds } from '../measure.js';
import type { Preset } from './presets.js';

/** A step: forward, backward, clipping to norm 1, AdamW with weight decay on matrices. It answers the loss. */
export function trainingStep(parameters: Tensor[], lr: number, lossOf: () => Tensor): () => number {
  const optimizer = new AdamW(decayGroups(parameters, 0.1), { lr, betas: [0.9, 0.99] });
  return () =>
    scope(() => {
      const loss = lossOf();
      backward(loss);
      optimizer.step({ gradScale: clipScale(gradNorm(parameters), 1) });
      optimizer.zeroGrad();
      return loss.item();
    });
}

/** A step of a GPT, always on the same batch; layers compute in `dtype`, where it is given. */
export function gptStep(model: GPT, { batch: B, time: T, lr }: Preset, dtype?: 'bfloat16'): () => number {
  const ids = tokenIds(B * T + 1, model.config.vocab_size);
  const inputs = tensor(ids.subarray(0, B * T), { dtype: 'int32', shape: [B, T] });
  const targets = tensor(ids.subarray(1), { dtype: 'int32', shape: [B, T] });
  return trainingStep(model.parameters(), lr, () =>
    autocast(dtype ?? null, () => nextTokenLoss(model, inputs, targets)),
  );
}

/** Median seconds of a step, over at least `steps` of them and `seconds`. */
export function secondsPerStep(step: () => number, least: { steps: number; seconds: number }): number {
  const times: number[] = [];
  for (let spent = 0; times.length < least.steps || spent < least.seconds;) {
    const seconds = secondsOf(step);
    times.push(seconds);
    spent += seconds;
  }
  return median(times);
}
