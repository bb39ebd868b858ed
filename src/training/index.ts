/** Training: optimizer, clipping, schedules, the loop, and runs on disk. */

export {
  hasTrainingState,
  readTrainingProgress,
  type Evaluation,
  type Savable,
  type StreamState,
  type TrainingProgress,
} from './checkpoint.js';
export { clipGradNorm, clipScale, gradNorm } from './clip.js';
export * from './optimizers/index.js';
export { nextTokenLoss, type TrainableModel } from './loss.js';
export { lockRun, type RunLock } from './run-lock.js';
export {
  constantSchedule,
  constantScheduleWithWarmup,
  cosineSchedule,
  cosineScheduleWithWarmup,
  linearSchedule,
  linearScheduleWithWarmup,
  type Schedule,
  type ScheduleOptions,
} from './schedules.js';
export { Trainer } from './trainer.js';
export type {
  CheckpointEvent,
  EvaluationEvent,
  StepEvent,
  TrainerEvents,
  TrainerOptions,
  TrainingResult,
} from './trainer-options.js';
