/** What all trainings of the command line have in common: options of the trainer, progress, and the words at the end. */

import type { Recompute } from '../nn/index.js';
import type { Precision, RunOptions, StepEvent, Trainer, TrainingResult } from '../training/index.js';
import { formatCount, formatDuration, formatLoss, shellWord } from './format.js';
import { scheduleOf, weightDecayOf } from './optimizer.js';
import { OverfittingWatch } from './overfitting.js';
import { Progress } from './progress.js';
import { settingsOf, type RunValues } from './run-flags.js';
import { watchRun } from './watch.js';

export const say = (line: string): unknown => process.stderr.write(`${line}\n`);

/** The options of the trainer that the flags set, whatever is learned. */
export function runOptions(values: RunValues): Omit<RunOptions, 'model'> {
  return {
    gradAccumSteps: values['grad-accum-steps'],
    ...(values.steps === undefined ? { epochs: values.epochs } : { steps: values.steps }),
    lr: values.lr,
    minLr: values['min-lr'],
    warmup: values.warmup,
    schedule: scheduleOf(values),
    ...(values.ema === undefined ? {} : { ema: values.ema }),
    weightDecay: weightDecayOf(values),
    precision: values.precision as Precision,
    ...(values.precision === 'fp16' ? { lossScale: lossScaleOf(values) } : {}),
    recompute: values.recompute as Recompute,
    maxSkips: values['max-skips'],
    clip: values.clip,
    evalInterval: values['eval-interval'],
    saveInterval: values['save-interval'],
    keep: values.keep,
    settings: settingsOf(values),
  };
}

const lossScaleOf = ({ 'loss-scale': initial, 'loss-scale-interval': growthInterval }: RunValues) => ({
  ...(initial === undefined ? {} : { initial }),
  ...(growthInterval === undefined ? {} : { growthInterval }),
});

/**
 * Runs the trainer with its progress on standard error, and on the pages that the flags ask for.
 * @param isOfTokens Whether a perplexity says something.
 */
export async function runShown<B>(
  trainer: Trainer<B>,
  values: RunValues,
  isOfTokens = true,
): Promise<TrainingResult> {
  const watch = await watchRun(trainer, values);
  if (watch.url !== undefined) say(`live: ${watch.url}`);
  const progress = new Progress(trainer.steps, trainer.step);
  trainer.on('step', (event) => {
    if (event.skipped) progress.note(skippedLine(event));
    progress.update(event);
  });
  const overfitting = new OverfittingWatch();
  trainer.on('evaluation', (event) => {
    const { step, loss, perplexity, trainLoss, best } = event;
    progress.note(
      `step ${step}: validation loss ${formatLoss(loss)}${isOfTokens ? ` (perplexity ${perplexity.toFixed(2)})` : ''}, ` +
        `training loss ${formatLoss(trainLoss)}${best ? ', the best so far' : ''}`,
    );
    const warning = overfitting.add(event);
    if (warning !== null) progress.note(`step ${step}: ${warning}`);
  });
  try {
    return await trainer.run();
  } finally {
    progress.end();
    await watch.close();
  }
}

/** What is said of a step whose numbers were not finite. */
function skippedLine({ step, loss, skippedSteps, lossScale }: StepEvent): string {
  const scale = lossScale === null ? '' : `, the loss scale is ${lossScale} now`;
  const what = Number.isFinite(loss) ? 'its gradients are not finite' : `its loss is ${loss}`;
  return `step ${step} skipped: ${what}${scale} (${skippedSteps} skipped so far)`;
}

/** Says before the first step what is resumed, and what will be different. */
export function sayResumed(
  trainer: { step: number; steps: number },
  folder: string,
  changes: readonly string[],
): void {
  say(`resuming ${folder} at step ${trainer.step} of ${trainer.steps}`);
  if (changes.length > 0) say(`it will not go on exactly as before: ${changes.join('; ')}`);
}

/** What is said when the run ends, or was stopped. */
export function lastLine(result: TrainingResult, total: number, folder: string): string {
  const { steps, seconds, tokensPerSecond, best } = result;
  if (result.stopped) {
    const where = `stopped at step ${steps} of ${total}${steps < total ? '' : ', before its evaluation,'}`;
    return `${where} and saved; continue with: tsgpt train --model ${shellWord(folder)} --resume`;
  }
  const loss = best === null ? '' : `best validation loss ${formatLoss(best.loss)} at step ${best.step}; `;
  return `${steps} steps, ${formatDuration(seconds)}, ${formatCount(tokensPerSecond)} tok/s; ${loss}saved in ${folder}`;
}

/** Prints the result as one JSON object. @param more Measures of the task. */
export function printJson(result: TrainingResult, parameters: number, more: object = {}): void {
  const summary = {
    steps: result.steps,
    train_loss: result.trainLoss,
    val_loss: result.validationLoss,
    tokens_per_second: result.tokensPerSecond,
    seconds: result.seconds,
    peak_rss_bytes: process.resourceUsage().maxRSS * 1024, // getrusage counts in KiB
    parameters,
    ...more,
  };
  process.stdout.write(`${JSON.stringify(summary)}\n`);
}
