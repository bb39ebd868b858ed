/**
 * The training loop: draw a batch, forward, backward, clip, update; evaluate and save now and then. Every
 * batch runs in a scope, so nothing has to be freed, and the loop yields to the event loop between batches, so
 * that signals and timers work. A run that was stopped, or killed, goes on from its last save with the same
 * bits as if it never was.
 */

import { EventEmitter } from 'node:events';
import { setImmediate } from 'node:timers/promises';

import { ArgumentError } from '../../lib/errors.js';
import { defaultGenerator, type Generator } from '../../lib/random.js';
import { scope, type Tensor } from '../../lib/tensor.js';
import type { RunIdentity } from '../data/batch-source.js';
import type { Batch } from '../data/tokens.js';
import { AdamW, decayGroups, type Optimizer } from './optimizers/index.js';
import { readTrainingState, type TrainingProgress } from './checkpoint.js';
import { DataParallel } from './data-parallel.js';
import { restoreWeights, WeightAverage } from './ema.js';
import { evaluateLoss } from './evaluation.js';
import { diverged, GradientStep, preparedParameters } from './gradient-step.js';
import { learningRatesOf } from './learning-rate.js';
import { learningOf, type Learning } from './learning.js';
import { RunRecorder } from './recorder.js';
import { differences } from './run-identity.js';
import { batchesOfRun, checkCount } from './run-length.js';
import type { RunLock } from './run-lock.js';
import { RunSaver, type RunState, type SaverOptions } from './run-saver.js';
import type { Schedule } from './schedules.js';
import { SpeedMeter } from './speed.js';
import type {
  SourceTrainerOptions,
  StepEvent,
  TrainerEvents,
  TrainerOptions,
  TrainingResult,
} from './trainer-options.js';

/** Steps over which the training loss is averaged. */
const recentSteps = 100;

/**
 * Trains a model: a language model on token ids, or any model on batches of any kind.
 *
 * @example
 * const trainer = new Trainer({ model, train, validation, batchSize: 12, sequenceLength: 64, steps: 2000 });
 * trainer.on('step', ({ step, loss }) => console.error(step, loss));
 * const { validationLoss } = await trainer.run();
 * @example
 * new Trainer({ model, train: source, objective: { loss: (batch) => ({ loss, weight, tokens }) }, steps: 2000 });
 */
export class Trainer<B = Batch> extends EventEmitter<TrainerEvents> {
  /** Steps of the whole run. */
  readonly steps: number;
  readonly #options: TrainerOptions | SourceTrainerOptions<B>;
  readonly #learning: Learning<B>;
  readonly #model: SourceTrainerOptions<B>['model'];
  readonly #params: Tensor[];
  readonly #optimizer: Optimizer;
  readonly #schedule: Schedule;
  /** The weights' moving average, where one is kept. */
  readonly #average: WeightAverage | null;
  readonly #generator: Generator;
  /** What this process does with others, where there are any. */
  readonly #parallel: DataParallel | null;
  /** Whether the processes have agreed to stop. */
  #agreedToStop = false;
  readonly #accumulation: number;
  /** Batches of the whole run. */
  readonly #batches: number;
  readonly #identity: RunIdentity;
  readonly #update: GradientStep<B>;
  readonly #evalInterval: number;
  readonly #saver: RunSaver;
  readonly #recorder: RunRecorder;
  readonly #state: RunState = {
    step: 0,
    tokens: 0,
    time: 0,
    recentLosses: [],
    evaluation: null,
    best: null,
  };
  #running = false;
  #speed = new SpeedMeter(0, 0);

  /**
   * @throws ArgumentError naming the option that is out of range, or the part of the data that is too short.
   */
  constructor(options: TrainerOptions | SourceTrainerOptions<B>) {
    super();
    this.#learning = learningOf(options);
    const { source } = this.#learning;
    const { model } = options;
    this.#options = options;
    this.#model = model;
    this.#generator = options.generator ?? defaultGenerator;
    this.#accumulation = checkCount('gradAccumSteps', options.gradAccumSteps ?? 1, 1);
    this.#batches = batchesOfRun(options, source.length, this.#accumulation);
    this.steps = Math.ceil(this.#batches / this.#accumulation);
    const { clip = 1, precision = 'float32', recompute = 'off', lossScale, maxSkips = 3 } = options;
    if (!(clip >= 0)) throw new ArgumentError(`Trainer: clip must be 0 or more, got ${clip}`);
    this.#evalInterval = checkCount('evalInterval', options.evalInterval ?? 250, 0);
    const saveInterval = checkCount('saveInterval', options.saveInterval ?? (this.#evalInterval || 250), 0);
    const keep = checkCount('keep', options.keep ?? 2, 0);
    if (options.folder !== undefined && model.savePretrained === undefined) {
      throw new ArgumentError('Trainer: a model without savePretrained cannot be saved; leave out folder');
    }
    if (options.optimizer !== undefined && options.betas !== undefined) {
      throw new ArgumentError("Trainer: betas are the default optimizer's; give the optimizer its own");
    }
    const { weightDecay = 0.1, betas = [0.9, 0.99] } = options;
    const { lr, schedule, identity: rates } = learningRatesOf(options, this.steps);
    this.#schedule = schedule;
    const parameters = preparedParameters(model, recompute);
    this.#params = [...parameters.values()];
    const { processes } = options;
    this.#parallel =
      processes === undefined || processes.size === 1 ? null : new DataParallel(processes, this.#params);
    this.#average = options.ema === undefined ? null : new WeightAverage(this.#params, options.ema);
    const groups = decayGroups(this.#params, weightDecay);
    this.#optimizer = options.optimizer?.(groups, lr) ?? new AdamW(groups, { lr, betas, weightDecay });
    this.#update = new GradientStep({
      ...{ objective: this.#learning.objective, optimizer: this.#optimizer, parameters },
      ...{ clip, precision, lossScale, maxSkips, divided: this.#parallel !== null },
    });
    this.#identity = {
      ...source.identity,
      gradAccumSteps: this.#accumulation,
      steps: this.steps,
      ...rates,
      ...this.#optimizer.settings,
      ...{ weightDecay, clip, precision, ...(options.ema === undefined ? {} : { ema: options.ema }) },
    };
    const { tokenizer, lock } = options;
    const folder = this.#writes ? options.folder : undefined;
    this.#recorder = new RunRecorder(
      { folder, ...(this.#writes ? { sample: options.sample, sampleInterval: options.sampleInterval } : {}) },
      { metrics: (record) => this.emit('metrics', record), sample: (event) => this.emit('sample', event) },
    );
    this.#saver = new RunSaver(
      {
        ...{ model: this.#savedModel(), tokenizer, folder, lock, saveInterval, keep },
        state: () => {
          this.#recorder.sync();
          return { progress: this.#progress(), tensors: this.#tensors() };
        },
        report: (event) => this.emit('checkpoint', event),
      },
      this.#state,
    );
  }

  /** Steps done. */
  get step(): number {
    return this.#state.step;
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
    if (this.#running || this.#state.step > 0)
      throw new ArgumentError('Trainer: resume must come before run');
    const { progress, tensors } = readTrainingState(folder);
    if (progress.step > this.steps) {
      throw new ArgumentError(
        `Trainer: the run in ${folder} is at step ${progress.step} already, it cannot go on to step ${this.steps}; ` +
          'give it more steps',
      );
    }
    this.#average?.takeFromModel();
    restoreWeights(tensors, this.#params);
    this.#optimizer.loadStateDict(tensors);
    for (const tensor of tensors.values()) tensor.dispose();
    this.#learning.source.setState(progress.sampler);
    this.#generator.setState(progress.generator);
    if (progress.steps !== undefined) this.#update.setState(progress.steps);
    const { step, tokens, seconds, recentLosses, evaluation, best } = progress;
    const time = seconds * 1000;
    Object.assign(this.#state, {
      ...{ step, tokens, time, evaluation, best, recentLosses: [...recentLosses] },
    });
    this.#saver.resumed();
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
    const start = { clock: performance.now(), tokens: this.#state.tokens, time: this.#state.time };
    this.#speed = new SpeedMeter(this.#state.tokens, this.#state.time);
    let lock: RunLock | undefined;
    try {
      lock = this.#saver.takeFolder();
      this.#recorder.open(this.#state);
      if (this.#average?.isSwapped) this.#average.swap(); // after an earlier call
      this.#model.train(true);
      this.#agreedToStop = false;
      await this.#parallel?.begin(this.#generator);
      for (;;) {
        const best = this.#evaluationIsDue() && (await this.#evaluate());
        const last = this.#state.step >= this.steps || this.#stopped;
        if (last) await this.#parallel?.check();
        if (this.#stopped) await setImmediate(); // whoever has enough of it is heard before the save
        this.#saver.saveIfDue(last, best);
        if (last) break;
        const event = await this.#trainStep();
        this.#recorder.step(event);
        this.emit('step', event);
        if (!this.#stopped) await this.#recorder.sampleIfDue(event.step, this.#model, this.#average);
        await setImmediate(); // signals, timers and other work get their turn
      }
    } finally {
      this.#recorder.close();
      lock?.[Symbol.dispose]();
      this.#running = false;
      this.#model.train(false);
      if (this.#average?.isSwapped === false) this.#average.swap();
    }
    const time = (this.#state.time - start.time) / 1000;
    const result: TrainingResult = {
      steps: this.#state.step,
      stopped: this.#state.step < this.steps || this.#evaluationIsDue(),
      trainLoss: mean(this.#state.recentLosses),
      validationLoss: this.#state.evaluation?.loss ?? null,
      best: this.#state.best,
      tokens: this.#state.tokens,
      tokensPerSecond: time > 0 ? (this.#state.tokens - start.tokens) / time : 0,
      seconds: (performance.now() - start.clock) / 1000,
    };
    this.emit('done', result);
    return result;
  }

  get #stopped(): boolean {
    return this.#parallel === null ? this.#isAsked : this.#agreedToStop;
  }

  /** Whether the signal has come to this process. */
  get #isAsked(): boolean {
    return this.#options.signal?.aborted ?? false;
  }

  /** Whether this process is the one that saves. */
  get #writes(): boolean {
    return this.#parallel === null || this.#parallel.group.rank === 0;
  }

  async #trainStep(): Promise<StepEvent> {
    const begin = performance.now();
    const lr = this.#schedule(this.#state.step);
    if (!(lr >= 0 && lr < Infinity)) {
      throw new ArgumentError(
        `Trainer: the schedule must give 0 or more, it gave ${lr} for step ${this.#state.step}`,
      );
    }
    const batches = Math.min(this.#accumulation, this.#batches - this.#state.step * this.#accumulation);
    const read = await this.#gather(batches);
    const { loss, norm, skipped } = this.#update.apply(lr);
    this.#state.step++;
    if (!skipped) this.#average?.update(this.#state.step);
    this.#state.tokens += read;
    this.#state.time += performance.now() - begin;
    if (Number.isFinite(loss)) this.#state.recentLosses.push(loss);
    if (this.#state.recentLosses.length > recentSteps) this.#state.recentLosses.shift();
    return {
      step: this.#state.step,
      steps: this.steps,
      loss,
      lr,
      gradNorm: norm,
      ...{ skipped, skippedSteps: this.#update.skippedSteps, lossScale: this.#update.lossScale },
      tokens: this.#state.tokens,
      tokensPerSecond: this.#speed.measure(this.#state.tokens, this.#state.time),
    };
  }

  /** Adds up the gradients of the step's batches; gives their tokens. */
  async #gather(batches: number): Promise<number> {
    const { source } = this.#learning;
    const parallel = this.#parallel;
    const mine = Array.from({ length: batches }, (_, i) => i).filter((i) => parallel?.isMine(i) ?? true);
    let read = 0;
    for (let i = 0; i < batches; i++) {
      if (i > 0) await setImmediate();
      if (!mine.includes(i)) {
        scope(() => void source.next()); // another process's
        continue;
      }
      const onLeaf = i === mine.at(-1) ? parallel?.onLeaf : undefined;
      read += scope(() => this.#update.add(source.next(), onLeaf));
    }
    if (parallel === null) return read;
    const { losses, weight } = this.#update.sums;
    const sums = await parallel.finish([losses, weight, read, this.#isAsked ? 1 : 0]);
    this.#update.sums = { losses: sums[0], weight: sums[1] };
    this.#agreedToStop = sums[3] > 0;
    return sums[2];
  }

  #evaluationIsDue(): boolean {
    if (this.#evalInterval === 0 || this.#learning.validation === null) return false;
    if (this.#state.step === 0 || this.#state.evaluation?.step === this.#state.step) return false;
    return this.#state.step % this.#evalInterval === 0 || this.#state.step >= this.steps;
  }

  /**
   * The loss over the whole validation part; answers whether it is the least so far. When the signal comes it is left
   * undone, to be done on resuming.
   */
  async #evaluate(): Promise<boolean> {
    const begin = performance.now();
    const { objective, validation } = this.#learning;
    this.#average?.swap();
    const { processes } = this.#options;
    const loss = await evaluateLoss(
      this.#model,
      objective,
      validation!,
      () => this.#stopped,
      processes,
    ).finally(() => this.#average?.swap());
    if (loss === null) return false;
    if (!Number.isFinite(loss))
      throw diverged(`the validation loss after step ${this.#state.step} is ${loss}`);
    const best = this.#state.best === null || loss < this.#state.best.loss;
    this.#state.evaluation = { step: this.#state.step, loss };
    if (best) this.#state.best = this.#state.evaluation;
    const seconds = (performance.now() - begin) / 1000;
    const trainLoss = mean(this.#state.recentLosses);
    const { step } = this.#state;
    const event = { step, loss, perplexity: Math.exp(loss), trainLoss, best, seconds };
    this.#recorder.evaluation(event);
    this.emit('evaluation', event);
    return best;
  }

  /** The model as it is saved: with the average of its weights, where there is one. */
  #savedModel(): SaverOptions['model'] {
    const average = this.#average;
    const model = this.#model;
    if (average === null) return model;
    return {
      parameters: () => model.parameters(),
      savePretrained: (folder) => average.during(() => model.savePretrained!(folder)),
    };
  }

  /** The tensors of the state: the optimizer's, and the weights where the model is saved with their average. */
  #tensors(): Map<string, Tensor> {
    return new Map([...this.#optimizer.stateDict(), ...(this.#average?.stateDict() ?? [])]);
  }

  #progress(): TrainingProgress {
    const { time, ...state } = this.#state;
    return {
      ...state,
      seconds: time / 1000,
      sampler: this.#learning.source.state(),
      generator: this.#generator.state(),
      steps: this.#update.state(),
      run: this.#identity,
      settings: this.#options.settings ?? {},
    };
  }
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
