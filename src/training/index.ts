/** Training: optimizer, clipping, schedules, the loop, and runs on disk. */

export {
  hasTrainingState,
  readTrainingProgress,
  type Evaluation,
  type Savable,
  type TrainingProgress,
} from './checkpoint.js';
export { clipGradNorm, clipScale, gradNorm } from './clip.js';
export * from './optimizers/index.js';
export { nextTokenLoss, type TrainableModel } from './loss.js';
export { type BatchLoss, type Objective, type Trainable } from './objective.js';
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
  SourceTrainerOptions,
  StepEvent,
  TrainerEvents,
  TrainerOptions,
  TrainingResult,
} from './trainer-options.js';
