/** What a run tells while it goes on: each record goes to the folder's metrics.jsonl and to listeners; samples of text. */

import type { WeightAverage } from './ema.js';
import { evaluationRecord, MetricsLog, sampleRecord, stepRecord, type RunPlace } from './metrics.js';
import type { MetricsRecord } from './metrics-records.js';
import type { Trainable } from './objective.js';
import { checkCount } from './run-length.js';
import type { EvaluationEvent, RunOptions, SampleEvent, StepEvent } from './trainer-options.js';

/** Where a {@link RunRecorder} reports. */
export interface RecorderListeners {
  readonly metrics: (record: MetricsRecord) => void;
  readonly sample: (event: SampleEvent) => void;
}

/** Records one run. */
export class RunRecorder {
  readonly #options: Pick<RunOptions, 'folder' | 'sample' | 'sampleInterval'>;
  readonly #listeners: RecorderListeners;
  /** metrics.jsonl of the folder, while the run goes on. */
  #log: MetricsLog | undefined;

  /** @param options What to record; nothing is written without a folder. */
  constructor(
    options: Pick<RunOptions, 'folder' | 'sample' | 'sampleInterval'>,
    listeners: RecorderListeners,
  ) {
    checkCount('sampleInterval', options.sampleInterval ?? 0, 0);
    this.#options = options;
    this.#listeners = listeners;
  }

  /** Opens metrics.jsonl at the place where the run stands. */
  open(place: RunPlace): void {
    const { folder } = this.#options;
    if (folder !== undefined) this.#log = new MetricsLog(folder, place);
  }

  /** Hands all that was recorded to the disk: a save must not outlive its metrics. */
  sync(): void {
    this.#log?.sync();
  }

  close(): void {
    this.#log?.[Symbol.dispose]();
    this.#log = undefined;
  }

  step(event: StepEvent): void {
    this.#add(stepRecord(event));
  }

  evaluation(event: EvaluationEvent): void {
    this.#add(evaluationRecord(event));
  }

  /** Lets the model write where a sample is due after a step, with the average of its weights where there is one. */
  async sampleIfDue(step: number, model: Trainable, average: WeightAverage | null): Promise<void> {
    const { sample, sampleInterval = 0 } = this.#options;
    if (sample === undefined || sampleInterval === 0 || step % sampleInterval !== 0) return;
    average?.swap();
    model.train(false);
    try {
      for (const { prompt, text } of await sample(step)) {
        this.#add(sampleRecord({ step, prompt, text }));
        this.#listeners.sample({ step, prompt, text });
      }
    } finally {
      model.train(true);
      average?.swap();
    }
  }

  #add(record: MetricsRecord): void {
    this.#log?.add(record);
    this.#listeners.metrics(record);
  }
}
