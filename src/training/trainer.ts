/**
 * The training loop: draw a batch, forward, backward, clip, update; evaluate and save now and then. Every
 * step runs in one scope, so nothing has to be freed, and the loop yields to the event loop between steps, so
 * that signals and timers work. A run that was stopped, or killed, goes on from its last save with the same
 * bits as if it never was.
 */

import { EventEmitter } from 'node:events';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';

import { backward, noGrad } from '../../lib/autograd.js';
import { ArgumentError, checkOptions, TrainingError } from '../../lib/errors.js';
import { defaultGenerator, Generator } from '../../lib/random.js';
import { scope, type Tensor } from '../../lib/tensor.js';
import { BatchSampler, sequentialBatches } from '../data/tokens.js';
import type { Tokenizer } from '../tokenizers/tokenizer.js';
import { AdamW, decayGroups } from './adamw.js';
import {
  keepSnapshot,
  readTrainingState,
  saveRun,
  type Savable,
  type TrainingProgress,
} from './checkpoint.js';
import { clipScale, gradNorm } from './clip.js';
import { nextTokenLoss, type TrainableModel } from './loss.js';
import { cosineSchedule, type Schedule } from './schedules.js';

/** Settings of a {@link Trainer}. */
export interface TrainerOptions {
  readonly model: TrainableModel & Partial<Savable>;
  /** Ids to train on. */
  readonly train: Int32Array;
  /** Ids to evaluate on; without any there are no evaluations. */
  readonly validation?: Int32Array;
  /** Windows per batch. */
  readonly batchSize: number;
  /** Tokens per window. */
  readonly sequenceLength: number;
  /** Batches whose gradients make one step, 1 by default. */
  readonly gradAccumSteps?: number;
  /** Optimizer steps of the whole run; this or `epochs`. */
  readonly steps?: number;
  /**
   * Passes over the training ids, a fraction too; when its batches do not divide into steps, the last step
   * has fewer.
   */
  readonly epochs?: number;
  /** The highest learning rate, 1e-3 by default. */
  readonly lr?: number;
  /** The last learning rate, a tenth of `lr` by default. */
  readonly minLr?: number;
  /** Steps of warm-up; a twentieth of the run, at most 100, by default. */
  readonly warmup?: number;
  /** Learning rates instead of warm-up and cosine from `lr`, `minLr` and `warmup`. */
  readonly schedule?: Schedule;
  /** Weight decay of matrices and embeddings, 0.1 by default. */
  readonly weightDecay?: number;
  /** AdamW's, [0.9, 0.99] by default. */
  readonly betas?: readonly [number, number];
  /** Greatest global norm of the gradients, 1 by default; 0 switches clipping off. */
  readonly clip?: number;
  /** Seed of the batches, 0 by default. */
  readonly seed?: number;
  /**
   * The stream that the model's dropout draws from, the default one by default; saved and restored with the
   * run.
   */
  readonly generator?: Generator;
  /** Steps between evaluations, 250 by default; 0 switches them off. There is one at the end as well. */
  readonly evalInterval?: number;
  /** Windows per batch of an evaluation, `batchSize` by default. */
  readonly evalBatchSize?: number;
  /** Where to save; without it nothing is saved. */
  readonly folder?: string;
  /** Saved with the model. */
  readonly tokenizer?: Tokenizer;
  /** Steps between saves, 0 by default: only at the end, when it is stopped, and the best. */
  readonly saveInterval?: number;
  /** How many saves of `saveInterval` to keep as `checkpoint-<step>` folders, 2 by default. */
  readonly keep?: number;
  /** Notes to save with the run. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Stops the run: the step is finished and saved. */
  readonly signal?: AbortSignal;
}

/** After each step. */
export interface StepEvent {
  /** Steps done, from 1. */
  readonly step: number;
  /** Steps of the whole run. */
  readonly steps: number;
  /** Mean loss over the step's tokens. */
  readonly loss: number;
  readonly lr: number;
  /** Global norm of the gradients before clipping. */
  readonly gradNorm: number;
  /** Tokens learned from since the start of the run. */
  readonly tokens: number;
  /** Speed of training over about the last second. */
  readonly tokensPerSecond: number;
}

/** After each evaluation. */
export interface EvaluationEvent {
  readonly step: number;
  /** Mean loss over all tokens of the validation part. */
  readonly loss: number;
  readonly perplexity: number;
  /** Mean loss of the last steps (at most 100). */
  readonly trainLoss: number;
  /** Whether it is the least so far. */
  readonly best: boolean;
  readonly seconds: number;
}

/** After each save. */
export interface CheckpointEvent {
  readonly step: number;
  readonly kind: 'last' | 'best' | 'snapshot';
  readonly folder: string;
}

/** What a run came to. */
export interface TrainingResult {
  /** Steps done since the start of the run. */
  readonly steps: number;
  /** Whether the signal stopped it before its end. */
  readonly stopped: boolean;
  /** Mean loss of the last steps (at most 100); NaN when there were none. */
  readonly trainLoss: number;
  /** Loss of the last evaluation, if there was one. */
  readonly validationLoss: number | null;
  /** The best evaluation, if there was one. */
  readonly best: { readonly step: number; readonly loss: number } | null;
  /** Tokens learned from since the start of the run. */
  readonly tokens: number;
  /** Speed since {@link Trainer.run} was called, evaluations and saves apart. */
  readonly tokensPerSecond: number;
  /** Seconds since {@link Trainer.run} was called, all in all. */
  readonly seconds: number;
}

/** The trainer's events and what their listeners get. */
export interface TrainerEvents {
  step: [StepEvent];
  evaluation: [EvaluationEvent];
  checkpoint: [CheckpointEvent];
  done: [TrainingResult];
}

/** Steps over which the training loss is averaged. */
const recentSteps = 100;

const optionNames = [
  'model', 'train', 'validation', 'batchSize', 'sequenceLength', 'gradAccumSteps', 'steps', 'epochs', 'lr', 'minLr',
  'warmup', 'schedule', 'weightDecay', 'betas', 'clip', 'seed', 'generator', 'evalInterval', 'evalBatchSize', 'folder',
  'tokenizer', 'saveInterval', 'keep', 'settings', 'signal',
]; // prettier-ignore

/**
 * Trains a model on token ids.
 *
 * @example
 * const trainer = new Trainer({ model, train, validation, batchSize: 12, sequenceLength: 64, steps: 2000 });
 * trainer.on('step', ({ step, loss }) => console.error(step, loss));
 * const { validationLoss } = await trainer.run();
 */
export class Trainer extends EventEmitter<TrainerEvents> {
  /** Steps of the whole run. */
  readonly steps: number;
  readonly #options: TrainerOptions;
  readonly #model: TrainerOptions['model'];
  readonly #params: Tensor[];
  readonly #optimizer: AdamW;
  readonly #schedule: Schedule;
  readonly #sampler: BatchSampler;
  readonly #generator: Generator;
  readonly #accumulation: number;
  /** Batches of the whole run. */
  readonly #batches: number;
  /** What has to be the same for a resumed run to go on exactly. */
  readonly #identity: Readonly<Record<string, number>>;
  readonly #clip: number;
  readonly #evalInterval: number;
  readonly #saveInterval: number;
  readonly #keep: number;
  #step = 0;
  #tokens = 0;
  /** Milliseconds of training. */
  #time = 0;
  #recentLosses: number[] = [];
  #evaluation: TrainingProgress['evaluation'] = null;
  #best: TrainingProgress['best'] = null;
  #savedStep = -1;
  #running = false;
  /** Tokens and time at the beginning of the window over which the speed is measured. */
  #speed = { tokens: 0, time: 0, perSecond: 0 };

  /**
   * @throws ArgumentError naming the option that is out of range, or the part of the data that is too short.
   */
  constructor(options: TrainerOptions) {
    super();
    checkOptions('Trainer', options, optionNames);
    const { model, train, batchSize, sequenceLength, validation, seed = 0 } = options;
    this.#options = options;
    this.#model = model;
    this.#generator = options.generator ?? defaultGenerator;
    this.#sampler = new BatchSampler(train, { batchSize, sequenceLength }, new Generator(seed));
    this.#accumulation = count('gradAccumSteps', options.gradAccumSteps ?? 1, 1);
    this.#batches = this.#batchesOfRun();
    this.steps = Math.ceil(this.#batches / this.#accumulation);
    this.#identity = {
      batchSize,
      sequenceLength,
      gradAccumSteps: this.#accumulation,
      steps: this.steps,
      seed,
      trainTokens: train.length,
      trainHash: hash(train),
    };
    this.#clip = options.clip ?? 1;
    if (!(this.#clip >= 0)) throw new ArgumentError(`Trainer: clip must be 0 or more, got ${this.#clip}`);
    this.#evalInterval = count('evalInterval', options.evalInterval ?? 250, 0);
    this.#saveInterval = count('saveInterval', options.saveInterval ?? 0, 0);
    this.#keep = count('keep', options.keep ?? 2, 0);
    count('evalBatchSize', options.evalBatchSize ?? batchSize, 1);
    if (validation?.length === 1 && this.#evalInterval > 0) {
      throw new ArgumentError(
        'Trainer: the validation part is one token, too short to evaluate on; use a longer text, a greater part, ' +
          'or no evaluation (evalInterval 0)',
      );
    }
    if (options.folder !== undefined && model.savePretrained === undefined) {
      throw new ArgumentError('Trainer: a model without savePretrained cannot be saved; leave out folder');
    }
    const { lr = 1e-3, weightDecay = 0.1, betas = [0.9, 0.99] } = options;
    const { minLr = lr / 10, warmup = Math.min(100, Math.floor(this.steps / 20)) } = options;
    this.#schedule = options.schedule ?? cosineSchedule({ lr, minLr, warmup, total: this.steps });
    this.#params = model.parameters().filter((p) => p.requiresGrad); // frozen weights stay as they are
    this.#optimizer = new AdamW(decayGroups(this.#params, weightDecay), { lr, betas, weightDecay });
  }

  /** Steps done. */
  get step(): number {
    return this.#step;
  }

  /**
   * Continues the run saved in `folder`. The model must hold the weights saved there
   * (`GPT.fromPretrained(folder)`); optimizer, random streams, counts and losses are restored here. Learning
   * rates and the length of the run are this trainer's.
   *
   * @returns What differs from the saved run and makes it go on otherwise than it would have: `batchSize: 12,
   * now 16`.
   * @throws FileError when there is no saved run in the folder; StateDictError when it is another model's.
   */
  resume(): string[] {
    const { folder } = this.#options;
    if (folder === undefined) throw new ArgumentError('Trainer: resume needs a folder');
    if (this.#running || this.#step > 0) throw new ArgumentError('Trainer: resume must come before run');
    const { progress, optimizer } = readTrainingState(folder);
    this.#optimizer.loadStateDict(optimizer);
    for (const tensor of optimizer.values()) tensor.dispose();
    this.#sampler.setState(progress.sampler);
    this.#generator.setState(progress.generator);
    this.#step = this.#savedStep = progress.step;
    this.#tokens = progress.tokens;
    this.#time = progress.seconds * 1000;
    this.#recentLosses = [...progress.recentLosses];
    this.#evaluation = progress.evaluation;
    this.#best = progress.best;
    return Object.entries(this.#identity)
      .filter(([key, value]) => value !== progress.run[key])
      .map(([key, value]) => `${key}: ${progress.run[key]}, now ${value}`);
  }

  /**
   * Trains to the end, or until the signal stops it.
   *
   * @throws TrainingError when the loss or the gradients are no longer finite; what was saved before stays.
   * FileError when saving fails.
   */
  async run(): Promise<TrainingResult> {
    if (this.#running) throw new ArgumentError('Trainer: it is running already');
    this.#running = true;
    const start = { clock: performance.now(), tokens: this.#tokens, time: this.#time };
    this.#speed = { tokens: this.#tokens, time: this.#time, perSecond: 0 };
    try {
      this.#model.train(true);
      for (;;) {
        if (this.#evaluationIsDue()) await this.#evaluate();
        const last = this.#step >= this.steps || this.#stopped;
        this.#saveIfDue(last);
        if (last) break;
        this.emit('step', this.#trainStep());
        await setImmediate(); // signals, timers and other work get their turn
      }
    } finally {
      this.#running = false;
      this.#model.train(false);
    }
    const time = (this.#time - start.time) / 1000;
    const result: TrainingResult = {
      steps: this.#step,
      stopped: this.#step < this.steps,
      trainLoss: mean(this.#recentLosses),
      validationLoss: this.#evaluation?.loss ?? null,
      best: this.#best,
      tokens: this.#tokens,
      tokensPerSecond: time > 0 ? (this.#tokens - start.tokens) / time : 0,
      seconds: (performance.now() - start.clock) / 1000,
    };
    this.emit('done', result);
    return result;
  }

  get #stopped(): boolean {
    return this.#options.signal?.aborted ?? false;
  }

  #batchesOfRun(): number {
    const { steps, epochs, train, batchSize, sequenceLength } = this.#options;
    if ((steps === undefined) === (epochs === undefined)) {
      throw new ArgumentError('Trainer: give either steps or epochs');
    }
    if (steps !== undefined) return count('steps', steps, 1) * this.#accumulation;
    if (!(epochs! > 0 && epochs! < Infinity)) {
      throw new ArgumentError(`Trainer: epochs must be positive, got ${epochs}`);
    }
    return Math.ceil((epochs! * train.length) / (batchSize * sequenceLength));
  }

  #trainStep(): StepEvent {
    const begin = performance.now();
    const lr = this.#schedule(this.#step);
    const batches = Math.min(this.#accumulation, this.#batches - this.#step * this.#accumulation);
    const { loss, norm } = scope(() => {
      let sum = 0;
      for (let i = 0; i < batches; i++) sum += scope(() => this.#accumulate());
      return { loss: sum / batches, norm: this.#update(lr, sum, batches) };
    });
    this.#step++;
    this.#tokens += batches * this.#options.batchSize * this.#options.sequenceLength;
    this.#time += performance.now() - begin;
    this.#recentLosses.push(loss);
    if (this.#recentLosses.length > recentSteps) this.#recentLosses.shift();
    return {
      step: this.#step,
      steps: this.steps,
      loss,
      lr,
      gradNorm: norm,
      tokens: this.#tokens,
      tokensPerSecond: this.#currentSpeed(),
    };
  }

  /** Adds the gradients of one batch; gives its loss. */
  #accumulate(): number {
    const { inputs, targets } = this.#sampler.next();
    const loss = nextTokenLoss(this.#model, inputs, targets);
    backward(loss);
    return loss.item();
  }

  /** Updates the weights by the mean gradient of `batches` batches; gives its norm. */
  #update(lr: number, lossSum: number, batches: number): number {
    const norm = gradNorm(this.#params) / batches;
    if (!Number.isFinite(norm) || !Number.isFinite(lossSum)) {
      throw new TrainingError(
        `training: at step ${this.#step + 1} the loss is ${lossSum / batches} and the norm of the gradients ${norm}; ` +
          'lower the learning rate, warm up for longer, or clip the gradients',
      );
    }
    const scale = this.#clip > 0 ? clipScale(norm, this.#clip) : 1;
    this.#optimizer.lr = lr;
    this.#optimizer.step({ gradScale: scale / batches });
    this.#optimizer.zeroGrad();
    return norm;
  }

  /** Tokens per second, over windows of a second. */
  #currentSpeed(): number {
    const { tokens, time, perSecond } = this.#speed;
    const elapsed = this.#time - time;
    if (perSecond > 0 && elapsed < 1000) return perSecond;
    const now = (1000 * (this.#tokens - tokens)) / Math.max(elapsed, 1e-3);
    // The first second is measured from its beginning on, so that there is a speed from the first step on.
    if (elapsed < 1000) return now;
    this.#speed = { tokens: this.#tokens, time: this.#time, perSecond: now };
    return now;
  }

  #evaluationIsDue(): boolean {
    const { validation } = this.#options;
    if (this.#evalInterval === 0 || validation === undefined || validation.length === 0) return false;
    if (this.#step === 0 || this.#evaluation?.step === this.#step) return false;
    return this.#step % this.#evalInterval === 0 || this.#step >= this.steps;
  }

  /**
   * The loss over the whole validation part. When the signal comes it is left undone, to be done on resuming.
   */
  async #evaluate(): Promise<void> {
    const begin = performance.now();
    const {
      validation = new Int32Array(0),
      sequenceLength,
      batchSize,
      evalBatchSize = batchSize,
    } = this.#options;
    let sum = 0;
    let tokens = 0;
    this.#model.train(false);
    try {
      // Batches are made here, between the scopes of the passes over them.
      const sizes = { batchSize: evalBatchSize, sequenceLength };
      for (const { inputs, targets } of sequentialBatches(validation, sizes)) {
        const loss = scope(() => noGrad(() => nextTokenLoss(this.#model, inputs, targets).item()));
        sum += loss * inputs.size;
        tokens += inputs.size;
        inputs.dispose();
        targets.dispose();
        await setImmediate();
        if (this.#stopped) return;
      }
    } finally {
      this.#model.train(true);
    }
    const loss = sum / tokens;
    const best = this.#best === null || loss < this.#best.loss;
    this.#evaluation = { step: this.#step, loss };
    if (best) {
      this.#best = this.#evaluation;
      this.#saveBest();
    }
    const seconds = (performance.now() - begin) / 1000;
    const trainLoss = mean(this.#recentLosses);
    this.emit('evaluation', { step: this.#step, loss, perplexity: Math.exp(loss), trainLoss, best, seconds });
  }

  #saveBest(): void {
    const { folder, tokenizer } = this.#options;
    if (folder === undefined) return;
    const best = join(folder, 'best');
    saveRun(best, this.#model as Savable, tokenizer);
    this.emit('checkpoint', { step: this.#step, kind: 'best', folder: best });
  }

  #saveIfDue(last: boolean): void {
    const { folder, tokenizer } = this.#options;
    const regular = this.#saveInterval > 0 && this.#step > 0 && this.#step % this.#saveInterval === 0;
    if (folder === undefined || this.#savedStep === this.#step || !(last || regular)) return;
    scope(() => {
      const training = { progress: this.#progress(), optimizer: this.#optimizer.stateDict() };
      saveRun(folder, this.#model as Savable, tokenizer, training);
    });
    this.#savedStep = this.#step;
    this.emit('checkpoint', { step: this.#step, kind: 'last', folder });
    if (!regular || this.#keep === 0) return;
    const snapshot = keepSnapshot(folder, this.#step, this.#keep);
    this.emit('checkpoint', { step: this.#step, kind: 'snapshot', folder: snapshot });
  }

  #progress(): TrainingProgress {
    return {
      step: this.#step,
      tokens: this.#tokens,
      seconds: this.#time / 1000,
      recentLosses: this.#recentLosses,
      evaluation: this.#evaluation,
      best: this.#best,
      sampler: this.#sampler.state(),
      generator: this.#generator.state(),
      run: this.#identity,
      settings: this.#options.settings ?? {},
    };
  }
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** FNV-1a over the ids: tells two texts apart. */
function hash(ids: Int32Array): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < ids.length; i++) h = Math.imul(h ^ ids[i], 0x01000193);
  return h >>> 0;
}

function count(name: string, value: number, least: number): number {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new ArgumentError(`Trainer: ${name} must be an integer of at least ${least}, got ${value}`);
  }
  return value;
}
