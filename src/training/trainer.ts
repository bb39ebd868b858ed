/**
 * The training loop: draw a batch, forward, backward, clip, update; evaluate and save now and then. Every
 * batch runs in a scope, so nothing has to be freed, and the loop yields to the event loop between batches, so
 * that signals and timers work. A run that was stopped, or killed, goes on from its last save with the same
 * bits as if it never was.
 */

import { EventEmitter } from 'node:events';
import { setImmediate } from 'node:timers/promises';

import { backward, noGrad } from '../../lib/autograd.js';
import { ArgumentError, checkOptions, FileError, TrainingError } from '../../lib/errors.js';
import * as kernels from '../../lib/kernels.js';
import { defaultGenerator, Generator } from '../../lib/random.js';
import { scope, type Tensor } from '../../lib/tensor.js';
import { BatchSampler, sequentialBatches } from '../data/tokens.js';
import type { Tokenizer } from '../tokenizers/tokenizer.js';
import { AdamW, decayGroups } from './adamw.js';
import {
  checkFree,
  keepSnapshot,
  readBest,
  readTrainingProgress,
  readTrainingState,
  removeEarlierRun,
  saveBest,
  saveRun,
  type Evaluation,
  type Savable,
  type TrainingProgress,
} from './checkpoint.js';
import { clipScale, gradNorm } from './clip.js';
import { nextTokenLoss, type TrainableModel } from './loss.js';
import { lockRun, type RunLock } from './run-lock.js';
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
   * The length of the run in passes over the training ids, a fraction too: it takes as many batches as these would (its
   * own are drawn at random). When they do not divide into steps, the last step has fewer.
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
  /**
   * Where to save; without it nothing is saved. The run locks the folder, saves itself before its first step, and refuses
   * a folder with an unfinished run (see {@link Trainer.resume}) or a model from elsewhere; a finished run is replaced.
   */
  readonly folder?: string;
  /** The folder's lock ({@link lockRun}), where the caller has taken it already; the run takes it otherwise. */
  readonly lock?: RunLock;
  /** Saved with the model. */
  readonly tokenizer?: Tokenizer;
  /**
   * Steps between saves; those between evaluations (250 where these are off) by default. There is a save at the
   * beginning, at the end, when the run is stopped, and with each best evaluation as well; with 0 only these.
   */
  readonly saveInterval?: number;
  /**
   * How many saves of `saveInterval` to keep as `checkpoint-<step>` folders; 2 by default where `saveInterval` is given,
   * else none.
   */
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
  /** Whether the signal stopped it before its end (the last evaluation is a part of it). */
  readonly stopped: boolean;
  /** Mean loss of the last steps (at most 100); NaN when there were none. */
  readonly trainLoss: number;
  /** Loss of the last evaluation, if there was one. */
  readonly validationLoss: number | null;
  /** The best evaluation, if there was one. */
  readonly best: Evaluation | null;
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
  'lock', 'tokenizer', 'saveInterval', 'keep', 'settings', 'signal',
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
  #evaluation: Evaluation | null = null;
  #best: Evaluation | null = null;
  /** What the last save holds. */
  #saved: { readonly step: number; readonly evaluation: Evaluation | null } | null = null;
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
    this.#clip = options.clip ?? 1;
    if (!(this.#clip >= 0)) throw new ArgumentError(`Trainer: clip must be 0 or more, got ${this.#clip}`);
    this.#evalInterval = count('evalInterval', options.evalInterval ?? 250, 0);
    this.#saveInterval = count('saveInterval', options.saveInterval ?? (this.#evalInterval || 250), 0);
    this.#keep = count('keep', options.keep ?? (options.saveInterval === undefined ? 0 : 2), 0);
    count('evalBatchSize', options.evalBatchSize ?? batchSize, 1);
    checkValidation(validation?.length ?? 0, this.#evalInterval);
    if (options.folder !== undefined && model.savePretrained === undefined) {
      throw new ArgumentError('Trainer: a model without savePretrained cannot be saved; leave out folder');
    }
    const { lr = 1e-3, weightDecay = 0.1, betas = [0.9, 0.99] } = options;
    const { minLr = lr / 10, warmup = Math.min(100, Math.floor(this.steps / 20)) } = options;
    this.#schedule = options.schedule ?? cosineSchedule({ lr, minLr, warmup, total: this.steps });
    this.#identity = {
      batchSize,
      sequenceLength,
      gradAccumSteps: this.#accumulation,
      steps: this.steps,
      trainTokens: train.length,
      trainHash: hash(train),
      ...(options.schedule === undefined ? { lr, minLr, warmup } : {}),
      ...{ weightDecay, beta1: betas[0], beta2: betas[1], clip: this.#clip },
    };
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
   * @throws FileError when there is no saved run in the folder; StateDictError when it is another model's; ArgumentError
   * when it has done more steps than this trainer's run has.
   */
  resume(): string[] {
    const { folder } = this.#options;
    if (folder === undefined) throw new ArgumentError('Trainer: resume needs a folder');
    if (this.#running || this.#step > 0) throw new ArgumentError('Trainer: resume must come before run');
    const { progress, optimizer } = readTrainingState(folder);
    if (progress.step > this.steps) {
      throw new ArgumentError(
        `Trainer: the run in ${folder} is at step ${progress.step} already, it cannot go on to step ${this.steps}; ` +
          'give it more steps',
      );
    }
    this.#optimizer.loadStateDict(optimizer);
    for (const tensor of optimizer.values()) tensor.dispose();
    this.#sampler.setState(progress.sampler);
    this.#generator.setState(progress.generator);
    this.#step = progress.step;
    this.#tokens = progress.tokens;
    this.#time = progress.seconds * 1000;
    this.#recentLosses = [...progress.recentLosses];
    this.#evaluation = progress.evaluation;
    this.#best = progress.best;
    this.#saved = { step: progress.step, evaluation: progress.evaluation };
    return differences(progress.run, this.#identity);
  }

  /**
   * Trains to the end, or until the signal stops it.
   *
   * @throws TrainingError when the loss, the gradients or the weights are no longer finite; what was saved before stays.
   * FileError when saving fails, or the folder is another run's.
   */
  async run(): Promise<TrainingResult> {
    if (this.#running) throw new ArgumentError('Trainer: it is running already');
    this.#running = true;
    const start = { clock: performance.now(), tokens: this.#tokens, time: this.#time };
    this.#speed = { tokens: this.#tokens, time: this.#time, perSecond: 0 };
    let lock: RunLock | undefined;
    try {
      lock = this.#takeFolder();
      this.#model.train(true);
      for (;;) {
        const best = this.#evaluationIsDue() && (await this.#evaluate());
        const last = this.#step >= this.steps || this.#stopped;
        this.#saveIfDue(last, best);
        if (last) break;
        this.emit('step', await this.#trainStep());
        await setImmediate(); // signals, timers and other work get their turn
      }
    } finally {
      lock?.[Symbol.dispose]();
      this.#running = false;
      this.#model.train(false);
    }
    const time = (this.#time - start.time) / 1000;
    const result: TrainingResult = {
      steps: this.#step,
      stopped: this.#step < this.steps || this.#evaluationIsDue(),
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

  /** Locks the folder, makes sure that nothing of another run is in it, and saves the run before its first step. */
  #takeFolder(): RunLock | undefined {
    const { folder, lock } = this.#options;
    if (folder === undefined) return undefined;
    const taken = lock === undefined ? lockRun(folder) : undefined;
    try {
      if (this.#saved === null) checkFree(folder);
      else if (readTrainingProgress(folder).step !== this.#saved.step) {
        throw new FileError(folder, 'the run in it went on meanwhile; resume it again');
      }
      if (this.#step > 0) this.#settleBest(folder);
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
   * Makes best/ and the state of a resumed run agree: where a kill came between their saves, the weights are still those
   * of the best evaluation; where an earlier state was put back, best/ may hold a better model, which stays.
   */
  #settleBest(folder: string): void {
    const kept = readBest(folder);
    if (kept !== null && (this.#best === null || kept.loss < this.#best.loss)) this.#best = kept;
    else if (this.#best?.step === this.#step && kept?.step !== this.#step) this.#saveBest(folder);
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
    return batchesOfEpochs(epochs!, train.length, batchSize * sequenceLength);
  }

  async #trainStep(): Promise<StepEvent> {
    const begin = performance.now();
    const lr = this.#schedule(this.#step);
    if (!(lr >= 0 && lr < Infinity)) {
      throw new ArgumentError(
        `Trainer: the schedule must give 0 or more, it gave ${lr} for step ${this.#step}`,
      );
    }
    const batches = Math.min(this.#accumulation, this.#batches - this.#step * this.#accumulation);
    let sum = 0;
    for (let i = 0; i < batches; i++) {
      if (i > 0) await setImmediate();
      sum += scope(() => this.#accumulate());
    }
    const loss = sum / batches;
    const norm = scope(() => this.#update(lr, sum, batches));
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
      throw diverged(
        `at step ${this.#step + 1} the loss is ${lossSum / batches} and the norm of the gradients ${norm}`,
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
   * The loss over the whole validation part; answers whether it is the least so far. When the signal comes it is left
   * undone, to be done on resuming.
   */
  async #evaluate(): Promise<boolean> {
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
        if (this.#stopped) return false;
      }
    } finally {
      this.#model.train(true);
    }
    const loss = sum / tokens;
    if (!Number.isFinite(loss)) throw diverged(`the validation loss after step ${this.#step} is ${loss}`);
    const best = this.#best === null || loss < this.#best.loss;
    this.#evaluation = { step: this.#step, loss };
    if (best) this.#best = this.#evaluation;
    const seconds = (performance.now() - begin) / 1000;
    const trainLoss = mean(this.#recentLosses);
    this.emit('evaluation', { step: this.#step, loss, perplexity: Math.exp(loss), trainLoss, best, seconds });
    return best;
  }

  /** @param best Whether this step's evaluation is the least so far. */
  #saveIfDue(last: boolean, best: boolean): void {
    const { folder } = this.#options;
    if (last) this.#checkWeights();
    const regular = this.#saveInterval > 0 && this.#step > 0 && this.#step % this.#saveInterval === 0;
    if (folder === undefined || !(last || regular || best)) return;
    if (this.#saved?.step === this.#step && this.#saved.evaluation === this.#evaluation) return;
    const again = this.#saved?.step === this.#step; // only the evaluation is new
    this.#save(folder);
    if (best) this.#saveBest(folder); // after the run's state, see #settleBest
    if (!regular || this.#keep === 0 || again) return;
    const snapshot = keepSnapshot(folder, this.#step, this.#keep);
    this.emit('checkpoint', { step: this.#step, kind: 'snapshot', folder: snapshot });
  }

  #save(folder: string): void {
    this.#checkWeights();
    scope(() => {
      const training = { progress: this.#progress(), optimizer: this.#optimizer.stateDict() };
      saveRun(folder, this.#model as Savable, this.#options.tokenizer, training);
    });
    this.#saved = { step: this.#step, evaluation: this.#evaluation };
    this.emit('checkpoint', { step: this.#step, kind: 'last', folder });
  }

  #saveBest(folder: string): void {
    const best = saveBest(folder, this.#model as Savable, this.#options.tokenizer, this.#best!);
    this.emit('checkpoint', { step: this.#step, kind: 'best', folder: best });
  }

  /** Throws TrainingError when a weight is not a finite number, so that such a model is never saved. */
  #checkWeights(): void {
    const weights = this.#model.parameters().filter((p) => p.isContiguous);
    if (Number.isFinite(kernels.sumSquares(weights))) return;
    throw diverged(`after step ${this.#step} some weights are not finite`);
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

/** The error of a run whose numbers got lost; every cause of that has the same remedies. */
const diverged = (finding: string): TrainingError =>
  new TrainingError(
    `training: ${finding}; lower the learning rate, warm up for longer, or clip the gradients`,
  );

/** What makes a run go on otherwise than the saved one would have. */
function differences(
  saved: Readonly<Record<string, number>>,
  now: Readonly<Record<string, number>>,
): string[] {
  const { trainHash: oldText, trainTokens: oldCount, ...old } = saved;
  const { trainHash: newText, trainTokens: newCount, ...settings } = now;
  const names = [...new Set([...Object.keys(settings), ...Object.keys(old)])];
  const found = names
    .filter((name) => old[name] !== settings[name])
    .map((name) => `${name}: ${old[name] ?? 'not set'}, now ${settings[name] ?? 'not set'}`);
  if (oldCount !== newCount) found.push(`the training text: ${oldCount} tokens, now ${newCount}`);
  else if (oldText !== newText) found.push('the training text: it has changed since');
  return found;
}

/**
 * Batches of a run whose length is given in passes over the tokens.
 * @throws ArgumentError when they are more than can be counted.
 */
export function batchesOfEpochs(epochs: number, tokens: number, tokensPerBatch: number): number {
  const batches = Math.ceil((epochs * tokens) / tokensPerBatch);
  if (Number.isSafeInteger(batches)) return batches;
  throw new ArgumentError(`Trainer: epochs must not make more than 2^53 batches, got ${epochs}`);
}

/** Throws ArgumentError when the validation part is too short for the evaluations that are asked for. */
export function checkValidation(tokens: number, evalInterval: number): void {
  if (tokens !== 1 || evalInterval === 0) return;
  throw new ArgumentError(
    'Trainer: the validation part is one token, too short to evaluate on; use a longer text, a greater part, ' +
      'or no evaluation (evalInterval 0)',
  );
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
