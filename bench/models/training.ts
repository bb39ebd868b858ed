/** What the training steps of all models share: the update, and their timing; as src/training/trainer.ts does it. */

import { backward, scope, type Tensor } from '../../lib/index.js';
import { AdamW, clipScale, decayGroups, gradNorm } from '../../src/training/index.js';
import { median, secondsOf } from '../measure.js';

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
