/** Training: optimizer, clipping, schedules, the loop, and runs on disk. */

export {
  hasTrainingState,
  readTrainingProgress,
  type Evaluation,
  type Savable,
  type TrainingProgress,
} from './checkpoint.js';
export { clipGradNorm, clipScale, gradNorm } from './clip.js';
export { metricsFile, readMetrics, type RunPlace } from './metrics.js';
export type { EvaluationRecord, MetricsRecord, SampleRecord, StepRecord } from './metrics-records.js';
export * from './optimizers/index.js';
export { type Precision } from './gradient-step.js';
export { LossScaler, type LossScaleOptions, type LossScaleState } from './loss-scale.js';
export { nextTokenLoss, type PackedOptions, type TrainableModel } from './loss.js';
export { nextToken, type BatchLoss, type Objective, type Trainable } from './objective.js';
export { recoverRun, type Recovery } from './recovery.js';
export { lockRun, type RunLock } from './run-lock.js';
export {
  constantSchedule,
  constantScheduleWithWarmup,
  cosineRestartsSchedule,
  cosineSchedule,
  cosineScheduleWithWarmup,
  inverseSqrtSchedule,
  linearSchedule,
  linearScheduleWithWarmup,
  namedSchedule,
  oneCycleSchedule,
  polynomialSchedule,
  warmupStableDecaySchedule,
  type InverseSqrtOptions,
  type NamedSchedule,
  type OneCycleOptions,
  type Schedule,
  type ScheduleOptions,
  type WarmupStableDecayOptions,
} from './schedules.js';
export { maskedTokens, maskedTokensAndPairs, textClasses, textToText } from './tasks.js';
export { Trainer } from './trainer.js';
export type {
  CheckpointEvent,
  EvaluationEvent,
  RunOptions,
  SampleEvent,
  SourceTrainerOptions,
  StepEvent,
  TextSample,
  TrainerEvents,
  TrainerOptions,
  TrainingResult,
} from './trainer-options.js';
