/** The lines of `metrics.jsonl`. The page of a run reads them too, so this file knows nothing but them. */

/** A line about an optimizer step. Numbers that are not finite are null, as JSON has none. */
export interface StepRecord {
  readonly type: 'step';
  readonly step: number;
  /** Mean loss over the step's tokens. */
  readonly loss: number | null;
  readonly lr: number;
  /** Norm of the gradients before clipping. */
  readonly gradNorm: number | null;
  /** Tokens learned from since the start of the run. */
  readonly tokens: number;
  readonly tokensPerSecond: number;
  /** Memory of the process, in bytes. */
  readonly memory: number;
  /** Scale of the loss in half precision, where there is one. */
  readonly lossScale?: number;
  /** The weights were left as they are, because loss or gradients were not finite; absent otherwise. */
  readonly skipped?: true;
  /** Unix time in seconds. */
  readonly time: number;
}

/** A line about an evaluation. */
export interface EvaluationRecord {
  readonly type: 'evaluation';
  readonly step: number;
  /** Mean loss over the validation part. */
  readonly loss: number | null;
  readonly time: number;
}

/** A line about a text that the model wrote. */
export interface SampleRecord {
  readonly type: 'sample';
  readonly step: number;
  readonly prompt: string;
  readonly text: string;
  readonly time: number;
}

/** A line of `metrics.jsonl`. */
export type MetricsRecord = StepRecord | EvaluationRecord | SampleRecord;
