/** `tsgpt train --arch bert` and `--arch t5`: pre-training on text and fine-tuning on tables (lessons.ts). */

import { manualSeed, memory, resetPeakMemory, scope, Tensor } from '../../lib/index.js';
import type { BatchSource } from '../data/index.js';
import { lockRun, Trainer, type RunLock, type SourceTrainerOptions } from '../training/index.js';
import { formatBytes, formatCount } from './format.js';
import { lessonOf } from './lessons.js';
import { optimizerOf } from './optimizer.js';
import type { RunValues } from './run-flags.js';
import { stopOnSignals } from './signals.js';
import { lastLine, printJson, runOptions, runShown, say, sayResumed } from './train-run.js';

/** Runs the training and answers the exit code. @param held The folder's lock, where it is taken already. */
export async function trainEncoder(values: RunValues, held: RunLock | undefined): Promise<number> {
  const { model: folder, resume, json } = values;
  manualSeed(values.seed);
  const lesson = await lessonOf(values);
  const { model, tokenizer, source, objective, validation } = lesson;
  const parameters = model.numParameters();
  const options = {
    ...runOptions(values),
    ...{ model, tokenizer, train: source, objective, validation },
    optimizer: optimizerOf(values, model),
  };
  if (values['dry-run']) {
    showPlan(parameters, await measureMemory(options), json);
    return 0;
  }
  using lock = held ?? lockRun(folder);
  using stop = stopOnSignals('finishing the step and saving; again to stop at once');
  const trainer = new Trainer({ ...options, folder, lock, signal: stop.signal });
  const changes = resume ? trainer.resume() : [];
  say(lesson.about);
  say(`model: ${model.constructor.name}, ${formatCount(parameters)} parameters`);
  if (resume) sayResumed(trainer, folder, changes);

  const result = await runShown(trainer, values, lesson.isOfTokens);
  say(lastLine(result, trainer.steps, folder));
  stop.notice = 'stopped';
  const measures = result.stopped ? {} : lesson.judge();
  for (const [name, value] of Object.entries(measures)) {
    say(`${name.replaceAll('_', ' ')} of the validation part: ${(100 * value).toFixed(2)} %`);
  }
  if (json) printJson(result, parameters, measures);
  return stop.exitCode ?? 0;
}

/** What `--dry-run` finds out. */
interface Measured {
  readonly steps: number;
  /** Batches that were looked through. */
  readonly batches: number;
  /** The most that tensors took. */
  readonly bytes: number;
}

/** Takes the first two steps of a run, with its fullest batch, and saves nothing. */
async function measureMemory<B>(options: SourceTrainerOptions<B>): Promise<Measured> {
  const { source, batches } = fullestBatch(options.train);
  const stop = new AbortController();
  const trainer = new Trainer({ ...options, train: source, evalInterval: 0, signal: stop.signal });
  // The second step finds the optimizer's moments beside what it computes, as all that follow.
  trainer.on('step', ({ step }) => step === 2 && stop.abort());
  resetPeakMemory();
  await trainer.run();
  return { steps: trainer.steps, batches, bytes: memory().peakBytes };
}

/** Batches to look through at most: some seconds' worth. */
const mostBatches = 1000;

/** A source that gives one batch again and again: the one of most numbers, padding among them, of a pass over the data. */
function fullestBatch<B>(source: BatchSource<B>): { source: BatchSource<B>; batches: number } {
  const batches = Math.min(Math.ceil(source.length), mostBatches);
  let fullest = { size: 0, state: source.state() };
  for (let i = 0; i < batches; i++) {
    const state = source.state();
    const size = scope(() => sizeOf(source.next()));
    if (size > fullest.size) fullest = { size, state };
  }
  const again: BatchSource<B> = {
    identity: source.identity,
    length: source.length,
    state: () => fullest.state,
    setState: (state) => source.setState(state),
    next(): B {
      source.setState(fullest.state);
      return source.next();
    },
  };
  return { source: again, batches };
}

const sizeOf = (batch: unknown): number => {
  const members: unknown[] = Object.values(batch as object);
  return members.reduce<number>((sum, t) => sum + (t instanceof Tensor ? t.size : 0), 0);
};

function showPlan(parameters: number, { steps, batches, bytes }: Measured, json: boolean): void {
  const rows = [
    ['parameters', `${parameters} (${formatCount(parameters)})`],
    [
      'memory',
      `${formatBytes(bytes)}, the most that tensors took in two steps with the fullest of ${batches} batches`,
    ],
    ['steps', String(steps)],
  ];
  const plan = json
    ? `${JSON.stringify({ parameters, memory_bytes: { total: bytes }, steps })}\n`
    : rows.map(([name, value]) => `${name.padEnd(18)} ${value}\n`).join('');
  process.stdout.write(plan);
}
