/**
 * When a run is saved, and what: the folder's lock, the save before the first step, the regular ones and their
 * snapshots, the best model, and that best/ and the run's state agree after a kill. How a save is written is checkpoint.ts.
 */

import { FileError } from '../../lib/errors.js';
import * as kernels from '../../lib/kernels.js';
import { scope, type Tensor } from '../../lib/tensor.js';
import type { Tokenizer } from '../tokenizers/tokenizer.js';
import {
  checkFree,
  keepSnapshot,
  readBest,
  readTrainingProgress,
  removeEarlierRun,
  saveBest,
  saveRun,
  type Evaluation,
  type Savable,
  type TrainingProgress,
} from './checkpoint.js';
import { diverged } from './gradient-step.js';
import type { Trainable } from './objective.js';
import { writeChecksums } from './recovery.js';
import { lockRun, type RunLock } from './run-lock.js';
import type { CheckpointEvent } from './trainer-options.js';

/** What a run has come to so far. */
export interface RunState {
  /** Optimizer steps done. */
  step: number;
  /** Tokens learned from. */
  tokens: number;
  /** Milliseconds of training. */
  time: number;
  /** Losses of the last steps, oldest first. */
  recentLosses: number[];
  evaluation: Evaluation | null;
  best: Evaluation | null;
}

/** Where and how often a {@link RunSaver} saves; see TrainerOptions. */
export interface SaverOptions {
  readonly model: Pick<Trainable, 'parameters'> & Partial<Savable>;
  readonly tokenizer: Tokenizer | undefined;
  readonly folder: string | undefined;
  readonly lock: RunLock | undefined;
  readonly saveInterval: number;
  readonly keep: number;
  /** What is saved beside the model. */
  readonly state: () => {
    readonly progress: TrainingProgress;
    readonly tensors: ReadonlyMap<string, Tensor>;
  };
  /** Told of each save. */
  readonly report: (event: CheckpointEvent) => void;
}

/** Saves one run. */
export class RunSaver {
  readonly #options: SaverOptions;
  readonly #state: RunState;
  /** What the last save holds. */
  #saved: Pick<RunState, 'step' | 'evaluation'> | null = null;

  /** @param state Where the run stands; `best` is changed where best/ holds a better model. */
  constructor(options: SaverOptions, state: RunState) {
    this.#options = options;
    this.#state = state;
  }

  /** The folder holds the run as it is now. */
  resumed(): void {
    const { step, evaluation } = this.#state;
    this.#saved = { step, evaluation };
  }

  /** Locks the folder, makes sure that nothing of another run is in it, and saves the run before its first step. */
  takeFolder(): RunLock | undefined {
    const { folder, lock } = this.#options;
    if (folder === undefined) return undefined;
    const taken = lock === undefined ? lockRun(folder) : undefined;
    try {
      if (this.#saved === null) checkFree(folder);
      else if (readTrainingProgress(folder).step !== this.#saved.step) {
        throw new FileError(folder, 'the run in it went on meanwhile; resume it again');
      }
      if (this.#state.step > 0) this.#settleBest(folder);
      else {
        this.#save(folder);
        removeEarlierRun(folder);
      }
    } catch (error) {
      taken?.[Symbol.dispose]();
      throw error;
    }
    return taken;
  }

  /**
   * Saves where the intervals, the end or a best evaluation ask for it.
   *
   * @param last Whether the run ends here.
   * @param best Whether this step's evaluation is the least so far.
   */
  saveIfDue(last: boolean, best: boolean): void {
    const { folder, saveInterval, keep } = this.#options;
    const { step, evaluation } = this.#state;
    if (last) this.#checkWeights();
    const regular = saveInterval > 0 && step > 0 && step % saveInterval === 0;
    if (folder === undefined || !(last || regular || best)) return;
    if (this.#saved?.step === step && this.#saved.evaluation === evaluation) return;
    const again = this.#saved?.step === step; // only the evaluation is new
    this.#save(folder);
    if (best) this.#saveBest(folder); // after the run's state, see #settleBest
    if (!regular || keep === 0 || again) return;
    this.#options.report({ step, kind: 'snapshot', folder: keepSnapshot(folder, step, keep) });
  }

  /**
   * Makes best/ and the state of a resumed run agree: where a kill came between their saves, the weights are still those
   * of the best evaluation; where an earlier state was put back, best/ may hold a better model, which stays.
   */
  #settleBest(folder: string): void {
    const kept = readBest(folder);
    const { step, best } = this.#state;
    if (kept !== null && (best === null || kept.loss < best.loss)) this.#state.best = kept;
    else if (best?.step === step && kept?.step !== step) this.#saveBest(folder);
  }

  #save(folder: string): void {
    this.#checkWeights();
    const { model, tokenizer, state, report } = this.#options;
    scope(() => saveRun(folder, model as Savable, tokenizer, state(), writeChecksums));
    this.resumed();
    report({ step: this.#state.step, kind: 'last', folder });
  }

  #saveBest(folder: string): void {
    const { model, tokenizer, report } = this.#options;
    const best = saveBest(folder, model as Savable, tokenizer, this.#state.best!);
    report({ step: this.#state.step, kind: 'best', folder: best });
  }

  /** Throws TrainingError when a weight is not a finite number, so that such a model is never saved. */
  #checkWeights(): void {
    const weights = this.#options.model.parameters().filter((p) => p.isContiguous);
    if (Number.isFinite(kernels.sumSquares(weights))) return;
    throw diverged(`after step ${this.#state.step} some weights are not finite`);
  }
}
