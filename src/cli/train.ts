/**
 * `tsgpt train`: text to a model folder. Standard output is for results (samples, JSON, the dry run's table);
 * everything else goes to standard error.
 */

import { manualSeed, nativeInfo, setThreads } from '../../lib/index.js';
import { generate } from '../generation/index.js';
import { GPT } from '../models/index.js';
import type { Tokenizer } from '../tokenizers/index.js';
import { lockRun, Trainer, type TrainingResult } from '../training/index.js';
import { resolveFlags, type ParsedFlags } from './args.js';
import type { trainFlags } from './commands.js';
import { planRun, showPlan } from './dry-run.js';
import { generateFlags, samplingOptions } from './generation-flags.js';
import { formatCount, formatDuration, formatLoss, shellWord } from './format.js';
import { optimizerOf, scheduleOf, weightDecayOf } from './optimizer.js';
import { Progress } from './progress.js';
import { defaultPrompt } from './prompt.js';
import { checkHoldsRun, runFlags, settingsOf, type RunValues } from './run-flags.js';
import { stopOnSignals } from './signals.js';
import { openData } from './train-data.js';

const say = (line: string): unknown => process.stderr.write(`${line}\n`);

/** Runs the command and answers its exit code. */
export async function train(flags: ParsedFlags<typeof trainFlags>): Promise<number> {
  const { model: folder, resume, 'dry-run': dry } = flags.values;
  if (resume) checkHoldsRun(folder);
  using resumed = resume && !dry ? lockRun(folder) : undefined; // before anything of the run is read
  const values = runFlags(flags);
  if (values.threads !== undefined) setThreads(values.threads);
  const data = await openData(values);
  const { tokenizer } = data;
  const config = modelConfig(values, tokenizer.vocabSize);
  const plan = planRun(values, config, data.tokens);
  if (dry) {
    showPlan(plan, values.json);
    return 0;
  }

  using lock = resumed ?? lockRun(folder);
  using stop = stopOnSignals('finishing the step and saving; again to stop at once');
  manualSeed(values.seed);
  const model = resume ? GPT.fromPretrained(folder) : new GPT(config);
  const trainer = new Trainer({
    ...trainerOptions(values),
    optimizer: optimizerOf(values, model),
    ...data.options(model),
    ...{ model, tokenizer, folder, lock, signal: stop.signal },
  });
  const changes = resume ? trainer.resume() : [];

  const { isa, threads } = nativeInfo();
  say(data.summary);
  say(
    `model: ${values.layers} layers, ${values.heads} heads, ${values.embed} wide, ` +
      `${formatCount(model.numParameters())} parameters; ${isa}, ${threads} thread${threads === 1 ? '' : 's'}`,
  );
  if (resume) say(`resuming ${folder} at step ${trainer.step} of ${trainer.steps}`);
  if (changes.length > 0) say(`it will not go on exactly as before: ${changes.join('; ')}`);

  const result = await showProgress(trainer);
  say(result.stopped ? stoppedLine(result, trainer, folder) : doneLine(result, folder));
  stop.notice = 'stopped';
  if (!result.stopped) await showSamples(model, tokenizer, values, stop.signal);
  if (values.json) printJson(result, model.numParameters());
  return stop.exitCode ?? 0;
}

function modelConfig(values: RunValues, vocabulary: number) {
  return {
    vocab_size: vocabulary,
    n_positions: values.seq,
    n_embd: values.embed,
    n_layer: values.layers,
    n_head: values.heads,
    resid_pdrop: values.dropout,
    embd_pdrop: values.dropout,
    attn_pdrop: values.dropout,
    bos_token_id: null,
    eos_token_id: null,
    use_rope: values['use-rope'],
    ...(values['rope-theta'] === undefined ? {} : { rope_theta: values['rope-theta'] }),
    use_swiglu: values['use-swiglu'],
    use_rmsnorm: values['use-rmsnorm'],
    n_kv_head: values['kv-heads'] ?? null,
    bias: !values['no-bias'],
    tie_word_embeddings: !values.untied,
    sliding_window: values.window ?? null,
    use_explicit_mask: values['use-explicit-mask'],
  };
}

function trainerOptions(values: RunValues) {
  return {
    gradAccumSteps: values['grad-accum-steps'],
    ...(values.steps === undefined ? { epochs: values.epochs } : { steps: values.steps }),
    lr: values.lr,
    minLr: values['min-lr'],
    warmup: values.warmup,
    schedule: scheduleOf(values),
    ...(values.ema === undefined ? {} : { ema: values.ema }),
    weightDecay: weightDecayOf(values),
    clip: values.clip,
    evalInterval: values['eval-interval'],
    saveInterval: values['save-interval'],
    keep: values.keep,
    settings: settingsOf(values),
  };
}

async function showProgress(trainer: Trainer): Promise<TrainingResult> {
  const progress = new Progress(trainer.steps, trainer.step);
  trainer.on('step', (event) => progress.update(event));
  trainer.on('evaluation', ({ step, loss, perplexity, trainLoss, best }) => {
    progress.note(
      `step ${step}: validation loss ${formatLoss(loss)} (perplexity ${perplexity.toFixed(2)}), ` +
        `training loss ${formatLoss(trainLoss)}${best ? ', the best so far' : ''}`,
    );
  });
  try {
    return await trainer.run();
  } finally {
    progress.end();
  }
}

function stoppedLine({ steps }: TrainingResult, trainer: Trainer, folder: string): string {
  const where = `stopped at step ${steps} of ${trainer.steps}${steps < trainer.steps ? '' : ', before its evaluation,'}`;
  return `${where} and saved; continue with: tsgpt train --model ${shellWord(folder)} --resume`;
}

function doneLine({ steps, seconds, tokensPerSecond, best }: TrainingResult, folder: string): string {
  const loss = best === null ? '' : `best validation loss ${formatLoss(best.loss)} at step ${best.step}; `;
  return `${steps} steps, ${formatDuration(seconds)}, ${formatCount(tokensPerSecond)} tok/s; ${loss}saved in ${folder}`;
}

/** Generates with the defaults of `tsgpt generate`, until the signal comes; beside a JSON result on standard error. */
async function showSamples(
  model: GPT,
  tokenizer: Tokenizer,
  values: RunValues,
  signal: AbortSignal,
): Promise<void> {
  const output = values.json ? process.stderr : process.stdout;
  const defaults = resolveFlags(generateFlags, new Map()).values;
  for (let i = 0; i < values['gen-samples']; i++) {
    const seed = (values.seed % 2 ** 52) + i; // so that the sum is a seed, too
    const options = { ...samplingOptions({ ...defaults, 'max-tokens': values['gen-len'], seed }), signal };
    let text: string;
    try {
      text = await generate(model, tokenizer, defaultPrompt(tokenizer), options).text();
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    output.write(`--- sample ${i + 1} ---\n${text}\n`);
  }
}

function printJson(result: TrainingResult, parameters: number): void {
  const summary = {
    steps: result.steps,
    train_loss: result.trainLoss,
    val_loss: result.validationLoss,
    tokens_per_second: result.tokensPerSecond,
    seconds: result.seconds,
    peak_rss_bytes: process.resourceUsage().maxRSS * 1024, // getrusage counts in KiB
    parameters,
  };
  process.stdout.write(`${JSON.stringify(summary)}\n`);
}
