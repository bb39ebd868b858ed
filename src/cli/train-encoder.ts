/** `tsgpt train --arch bert` and `--arch t5`: pre-training on text and fine-tuning on tables (lessons.ts). */

import { manualSeed } from '../../lib/index.js';
import { lockRun, Trainer, type RunLock } from '../training/index.js';
import { formatCount } from './format.js';
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
    showPlan(parameters, new Trainer(options).steps, json);
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

function showPlan(parameters: number, steps: number, json: boolean): void {
  const plan = json
    ? JSON.stringify({ parameters, steps })
    : `parameters         ${parameters} (${formatCount(parameters)})\nsteps              ${steps}`;
  process.stdout.write(`${plan}\n`);
}
