/** Notices a model that learns its texts by heart: the validation loss rises while the training loss falls. */

import type { EvaluationEvent } from '../training/index.js';
import { formatLoss } from './format.js';

/** Evaluations in a row, each worse than the one before, until it is said. */
const patience = 3;

type Seen = Pick<EvaluationEvent, 'step' | 'loss' | 'trainLoss' | 'best'>;

/** Sees a run's evaluations. */
export class OverfittingWatch {
  #best: Seen | null = null;
  #last = Infinity;
  /** How many of the last evaluations were each worse than the one before. */
  #rising = 0;
  #said = false;

  /** What to say after an evaluation; null mostly, and once only in a run. */
  add(event: Seen): string | null {
    if (event.best) this.#best = event;
    this.#rising = event.loss > this.#last ? this.#rising + 1 : 0;
    this.#last = event.loss;
    const best = this.#best;
    if (this.#said || best === null || this.#rising < patience || event.trainLoss >= best.trainLoss)
      return null;
    this.#said = true;
    return (
      `the validation loss rises since step ${best.step} (${formatLoss(best.loss)}, now ${formatLoss(event.loss)}) while the ` +
      `training loss falls (${formatLoss(best.trainLoss)}, now ${formatLoss(event.trainLoss)}): the model learns its texts by ` +
      'heart; best/ holds the best one; more text, --dropout, a smaller model or fewer steps help'
    );
  }
}
