/** What a training run is given, what it reports while it goes on, and what it comes to; the loop is trainer.ts. */

import type { ProcessGroup } from '../../lib/process-group.js';
import type { Generator } from '../../lib/random.js';
import type { BatchSource } from '../data/batch-source.js';
import type { Tokenizer } from '../tokenizers/tokenizer.js';
import type { Recompute } from '../nn/index.js';
import type { Evaluation, Savable } from './checkpoint.js';
import type { Precision } from './gradient-step.js';
import type { LossScaleOptions } from './loss-scale.js';
import type { TrainableModel } from './loss.js';
import type { MetricsRecord } from './metrics-records.js';
import type { Objective, Trainable } from './objective.js';
import type { Optimizer, ParameterGroup } from './optimizers/index.js';
import type { RunLock } from './run-lock.js';
import type { NamedSchedule, Schedule } from './schedules.js';

/** Settings of a Trainer for language models: it learns to predict the next token of windows of token ids. */
export interface TrainerOptions extends RunOptions {
  readonly model: TrainableModel & Partial<Savable>;
  /** Ids to train on. */
  readonly train: Int32Array;
  /** Ids to evaluate on; without any there are no evaluations. */
  readonly validation?: Int32Array;
  /** Windows per batch. */
  readonly batchSize: number;
  /** Tokens per window. */
  readonly sequenceLength: number;
  /** Windows per batch of an evaluation, `batchSize` by default. */
  readonly evalBatchSize?: number;
  /** Seed of the batches, 0 by default. */
  readonly seed?: number;
}

/** Settings of a Trainer for any model, on batches of any kind. */
export interface SourceTrainerOptions<B> extends RunOptions {
  readonly model: Trainable & Partial<Savable>;
  /** What to learn from. */
  readonly train: BatchSource<B>;
  /** What to minimize. */
  readonly objective: Objective<B>;
  /**
   * Batches to evaluate on, an array or anything that gives the same ones each time it is gone through; without any
   * there are no evaluations.
   */
  readonly validation?: Iterable<B>;
}

/** Settings that do not depend on what is learned. */
export interface RunOptions {
  /** Batches whose gradients make one step, 1 by default. */
  readonly gradAccumSteps?: number;
  /** Optimizer steps of the whole run; this or `epochs`. */
  readonly steps?: number;
  /**
   * The length of the run in passes over the training data, a fraction too: it takes as many batches as these would (those
   * of token ids are drawn at random). When they do not divide into steps, the last step has fewer.
   */
  readonly epochs?: number;
  /** The highest learning rate, 1e-3 by default. */
  readonly lr?: number;
  /** The last learning rate, a tenth of `lr` by default. */
  readonly minLr?: number;
  /** Steps of warm-up; a twentieth of the run, at most 100, by default. */
  readonly warmup?: number;
  /**
   * How the learning rate goes from `lr` to `minLr` after the warm-up, by optimizer step: a name, `{ type: 'wsd' }`, or a
   * function in place of all four; `{ type: 'cosine' }` by default.
   */
  readonly schedule?: Schedule | NamedSchedule;
  /**
   * Keep a moving average of the weights with this decay (0.999, say), which is evaluated, saved, and in the model after
   * the run; the weights themselves are part of the training's state. None by default.
   */
  readonly ema?: number;
  /** Weight decay of matrices and embeddings, 0.1 by default. */
  readonly weightDecay?: number;
  /** AdamW's, [0.9, 0.99] by default; not with an `optimizer`. */
  readonly betas?: readonly [number, number];
  /**
   * Makes another optimizer than AdamW of the model's parameters, in groups by weight decay, and the learning rate:
   * `(groups, lr) => new Lion(groups, { lr })`.
   */
  readonly optimizer?: (groups: readonly ParameterGroup[], lr: number) => Optimizer;
  /**
   * What layers compute in, float32 by default. bf16 and fp16 halve the memory of what is kept between them; the products of
   * bf16 are faster where the processor multiplies it. Evaluations are in float32. See docs/training.md.
   */
  readonly precision?: Precision;
  /** The loss scale of fp16. */
  readonly lossScale?: LossScaleOptions;
  /** What backward computes again in order not to keep it, 'off' by default; see {@link Recompute}. */
  readonly recompute?: Recompute;
  /**
   * Steps in a row that are skipped when loss or gradients are not finite, 3 by default; one more ends the run. Skipped
   * steps count as steps, and their batches are not learned from. Those that lower fp16's scale are not among them.
   */
  readonly maxSkips?: number;
  /** Greatest global norm of the gradients, 1 by default; 0 switches clipping off. */
  readonly clip?: number;
  /**
   * The stream that the model's dropout draws from, the default one by default; saved and restored with the
   * run.
   */
  readonly generator?: Generator;
  /** Steps between evaluations, 250 by default; 0 switches them off. There is one at the end as well. */
  readonly evalInterval?: number;
  /**
   * Where to save; without it nothing is saved. The run locks the folder, saves itself before its first step, and refuses
   * a folder with an unfinished run (see `Trainer.resume`) or a model from elsewhere; a finished run is replaced.
   */
  readonly folder?: string;
  /** The folder's lock (`lockRun`), where the caller has taken it already; the run takes it otherwise. */
  readonly lock?: RunLock;
  /** Saved with the model. */
  readonly tokenizer?: Tokenizer;
  /**
   * Steps between saves; those between evaluations (250 where these are off) by default. There is a save at the
   * beginning, at the end, when the run is stopped, and with each best evaluation as well; with 0 only these.
   */
  readonly saveInterval?: number;
  /**
   * How many saves of `saveInterval` to keep as `checkpoint-<step>` folders, 2 by default: where the newest is damaged,
   * {@link recoverRun} goes on from the one before.
   */
  readonly keep?: number;
  /**
   * What the model writes: asked every `sampleInterval` steps with dropout off, for one or more texts, which are reported as
   * `sample` events and kept in metrics.jsonl. The run waits for it. It must not draw from `generator`.
   */
  readonly sample?: (step: number) => Promise<readonly TextSample[]>;
  /** Steps between samples, 0 by default: none. */
  readonly sampleInterval?: number;
  /** Notes to save with the run. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /**
   * The processes that train together, each with a trainer of the same options: they divide the `gradAccumSteps` batches of
   * a step, and the evaluations, among them; the first one writes. Results are those of one process up to rounding.
   */
  readonly processes?: ProcessGroup;
  /** Stops the run: the step is finished and saved. */
  readonly signal?: AbortSignal;
}

/** After each step. */
export interface StepEvent {
  /** Steps done, from 1. */
  readonly step: number;
  /** Steps of the whole run. */
  readonly steps: number;
  /** Mean loss of the step's batches. */
  readonly loss: number;
  readonly lr: number;
  /** Global norm of the gradients before clipping. */
  readonly gradNorm: number;
  /** The weights were left as they are, because loss or gradients were not finite. */
  readonly skipped: boolean;
  /** Steps skipped since the start of the run. */
  readonly skippedSteps: number;
  /** What backward starts from; null but in fp16. */
  readonly lossScale: number | null;
  /** Tokens learned from since the start of the run. */
  readonly tokens: number;
  /** Speed of training over about the last second. */
  readonly tokensPerSecond: number;
}

/** A text that a model in training wrote. */
export interface TextSample {
  readonly prompt: string;
  /** What the model wrote after the prompt. */
  readonly text: string;
}

/** A text that the model wrote after a step. */
export interface SampleEvent extends TextSample {
  readonly step: number;
}

/** After each evaluation. */
export interface EvaluationEvent {
  readonly step: number;
  /** Mean loss over all that counts in the validation part. */
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
  /** Speed since `Trainer.run` was called, evaluations and saves apart. */
  readonly tokensPerSecond: number;
  /** Seconds since `Trainer.run` was called, all in all. */
  readonly seconds: number;
}

/** The trainer's events and what their listeners get. */
export interface TrainerEvents {
  step: [StepEvent];
  evaluation: [EvaluationEvent];
  sample: [SampleEvent];
  /** Each line of metrics.jsonl, also where there is no folder to write it in. */
  metrics: [MetricsRecord];
  checkpoint: [CheckpointEvent];
  done: [TrainingResult];
}

const runOptionNames = [
  'model', 'train', 'validation', 'gradAccumSteps', 'steps', 'epochs', 'lr', 'minLr', 'warmup', 'schedule', 'ema',
  'weightDecay', 'betas', 'optimizer', 'clip', 'generator', 'evalInterval', 'folder', 'lock', 'tokenizer', 'saveInterval',
  'keep', 'sample', 'sampleInterval', 'settings', 'processes', 'signal', 'precision', 'lossScale', 'recompute',
  'maxSkips',
]; // prettier-ignore

/** Names of the options of each form, to tell the unknown ones. */
export const tokenOptionNames = [...runOptionNames, 'batchSize', 'sequenceLength', 'evalBatchSize', 'seed'];
export const sourceOptionNames = [...runOptionNames, 'objective'];
