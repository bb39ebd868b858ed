/**
 * `metrics.jsonl` in a run's folder: one JSON object a line for each step, evaluation and sample of text, in order. A line
 * is with the system before the save that counts its step, so a killed run loses none; one that is resumed first cuts off
 * what its last save does not know, and goes on as if it had never stopped.
 */

import { closeSync, fsyncSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { FileError } from '../../lib/errors.js';
import { fileError, systemCode } from '../../lib/formats/system-error.js';
import type { TrainingProgress } from './checkpoint.js';
import type { EvaluationRecord, MetricsRecord, SampleRecord, StepRecord } from './metrics-records.js';
import type { EvaluationEvent, SampleEvent, StepEvent } from './trainer-options.js';

/** Name of the file in a run's folder. */
export const metricsFile = 'metrics.jsonl';

const now = (): number => Math.round(Date.now()) / 1000;

/** The line about a step. */
export function stepRecord(event: StepEvent): StepRecord {
  const { step, loss, lr, gradNorm, tokens, tokensPerSecond, lossScale, skipped } = event;
  const memory = process.memoryUsage.rss();
  return {
    ...{ type: 'step', step, loss, lr, gradNorm, tokens, tokensPerSecond, memory },
    ...(lossScale === null ? {} : { lossScale }),
    ...(skipped ? { skipped } : {}),
    time: now(),
  };
}

/** The line about an evaluation. */
export const evaluationRecord = ({ step, loss }: EvaluationEvent): EvaluationRecord => ({
  type: 'evaluation',
  step,
  loss,
  time: now(),
});

/** The line about a sample. */
export const sampleRecord = ({ step, prompt, text }: SampleEvent): SampleRecord => ({
  type: 'sample',
  step,
  prompt,
  text,
  time: now(),
});

/** Appends to the `metrics.jsonl` of a folder. */
export class MetricsLog implements Disposable {
  readonly #path: string;
  readonly #file: number;
  #end = 0;

  /**
   * Opens the file, which is made where it is missing, and cuts it off after what the run has done.
   * @param state Where the run stands: the steps done, and the last evaluation that it knows of.
   * @throws FileError when it cannot be read or written.
   */
  constructor(folder: string, state: RunPlace) {
    this.#path = join(folder, metricsFile);
    try {
      this.#file = openSync(this.#path, 'a+');
    } catch (error) {
      throw fileError(this.#path, 'cannot be written', error);
    }
    for (const { record, end } of linesOf(this.#path, this.#file)) {
      if (!isDone(record, state)) break;
      this.#end = end;
    }
    this.#try(() => ftruncateSync(this.#file, this.#end));
  }

  /** Appends a line. Whatever the system did not take of it goes, so that the file holds whole lines only. */
  add(record: MetricsRecord): void {
    const line = Buffer.from(`${JSON.stringify(record)}\n`);
    this.#try(() => {
      try {
        for (let done = 0; done < line.length;) done += writeSync(this.#file, line, done);
        this.#end += line.length;
      } catch (error) {
        ftruncateSync(this.#file, this.#end);
        throw error;
      }
    });
  }

  /** Hands everything to the disk; before a save, which must not outlive its metrics. */
  sync(): void {
    this.#try(() => fsyncSync(this.#file));
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }

  #try(action: () => void): void {
    try {
      action();
    } catch (error) {
      throw fileError(this.#path, 'cannot be written', error);
    }
  }
}

/** Where a run stands. */
export type RunPlace = Pick<TrainingProgress, 'step' | 'evaluation'>;

/** Whether a run that stands at `state` will not write the line again. A step's evaluation comes after its other lines. */
function isDone({ type, step }: MetricsRecord, state: RunPlace): boolean {
  return (
    step < state.step || (step === state.step && (type !== 'evaluation' || step === state.evaluation?.step))
  );
}

/**
 * The lines of a `metrics.jsonl`, or of a run's folder, in order. A last line that is not whole (the writer was killed, or
 * is writing) is left out.
 *
 * @param until Where the run stands, to leave out what it will do again; all lines without it.
 * @throws FileError when there is no such file, or a line is not a record.
 */
export function* readMetrics(path: string, until?: RunPlace): Generator<MetricsRecord> {
  let file: number;
  try {
    [file, path] = openMetrics(path);
  } catch (error) {
    throw fileError(path, 'cannot be read', error);
  }
  try {
    for (const { record } of linesOf(path, file)) {
      if (until !== undefined && !isDone(record, until)) return;
      yield record;
    }
  } finally {
    closeSync(file);
  }
}

function openMetrics(path: string): [file: number, path: string] {
  try {
    return [openSync(join(path, metricsFile), 'r'), join(path, metricsFile)];
  } catch (error) {
    if (systemCode(error) !== 'ENOTDIR') throw error;
    return [openSync(path, 'r'), path];
  }
}

/** Whole lines from the beginning of a file, and where each ends. */
function* linesOf(path: string, file: number): Generator<{ record: MetricsRecord; end: number }> {
  const block = Buffer.alloc(1 << 16);
  let rest = Buffer.alloc(0);
  let end = 0;
  for (let place = 0, line = 1; ;) {
    const count = readAt(path, file, block, place);
    if (count === 0) return;
    place += count;
    rest = Buffer.concat([rest, block.subarray(0, count)]);
    let start = 0;
    for (let stop; (stop = rest.indexOf(10, start)) >= 0; start = stop + 1, line++) {
      end += stop + 1 - start;
      yield { record: parseRecord(path, line, rest.toString('utf8', start, stop)), end };
    }
    rest = rest.subarray(start);
  }
}

function readAt(path: string, file: number, block: Buffer, place: number): number {
  try {
    return readSync(file, block, 0, block.length, place);
  } catch (error) {
    throw fileError(path, 'cannot be read', error);
  }
}

function parseRecord(path: string, line: number, text: string): MetricsRecord {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (!isRecord(value)) throw new FileError(path, `line ${line} is not a record of a training's metrics`);
  return value;
}

function isRecord(value: unknown): value is MetricsRecord {
  if (typeof value !== 'object' || value === null) return false;
  const fields = value as Record<string, unknown>;
  const { type, step } = fields;
  if (!Number.isSafeInteger(step) || (step as number) < 0) return false;
  const isNumber = (name: string): boolean => fields[name] === null || typeof fields[name] === 'number';
  switch (type) {
    case 'step':
      return (
        ['loss', 'lr', 'gradNorm', 'tokens', 'tokensPerSecond', 'memory', 'time'].every(isNumber) &&
        (fields.skipped === undefined || fields.skipped === true)
      );
    case 'evaluation':
      return isNumber('loss');
    case 'sample':
      return typeof fields.prompt === 'string' && typeof fields.text === 'string';
    default:
      return false;
  }
}
