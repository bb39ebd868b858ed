/**
 * `tsgpt train`: text to a model folder. Standard output is for results (samples, JSON, the dry run's table);
 * everything else goes to standard error.
 */

import { manualSeed, nativeInfo, setThreads } from '../../lib/index.js';
import { generate } from '../generation/index.js';
import type { DecoderModel } from '../models/index.js';
import { Lora } from '../nn/index.js';
import type { Tokenizer } from '../tokenizers/index.js';
import { lockRun, recoverRun, type TextSample, Trainer } from '../training/index.js';
import { resolveFlags, UsageError, type ParsedFlags } from './args.js';
import type { trainFlags } from './commands.js';
import { planRun, showPlan } from './dry-run.js';
import { generateFlags, samplingOptions } from './generation-flags.js';
import { formatCount } from './format.js';
import { optimizerOf } from './optimizer.js';
import { divideBatches, joinProcesses, shared, watchOthers } from './processes.js';
import { defaultPrompt } from './prompt.js';
import { checkHoldsRun, runFlags, type RunValues } from './run-flags.js';
import { stopOnSignals } from './signals.js';
import { checkVocabulary, loraOptions, openBase, sizesOf, startModel } from './starting-model.js';
import { openData } from './train-data.js';
import { lastLine, printJson, runOptions, runShown, say, sayResumed } from './train-run.js';

/** Runs the command and answers its exit code. */
export async function train(given: ParsedFlags<typeof trainFlags>): Promise<number> {
  const { model: folder, resume, 'dry-run': dry } = given.values;
  if (resume) checkHoldsRun(folder);
  const processes = joinProcesses(given);
  const first = processes === undefined || processes.rank === 0;
  const flags = processes === undefined ? given : divideBatches(given, processes);
  using resumed = resume && !dry && first ? lockRun(folder) : undefined; // before anything of the run is read
  if (resumed !== undefined) recover(folder);
  if (resume) await shared(0, processes); // the others read the folder when it is whole
  const settled = runFlags(flags, first);
  const values = { ...settled, seed: await shared(settled.seed, processes) };
  if (values.threads !== undefined) setThreads(values.threads);
  if (values.arch !== 'gpt') {
    if (processes !== undefined)
      throw new UsageError(`--arch ${values.arch} trains in one process; leave out mpirun`);
    return await (await import('./train-encoder.js')).trainEncoder(values, resumed);
  }
  const data = await openData(values);
  const { tokenizer } = data;
  const config = modelConfig(values, tokenizer.vocabSize);
  const base = openBase(values);
  if (base !== null) checkVocabulary(values, base, tokenizer);
  const sizes = sizesOf(base, config);
  const plan = planRun(values, sizes, data.tokens, dry ? adapterWeights(values, base) : null);
  if (dry) {
    if (first) showPlan(plan, values.json);
    await processes?.close();
    return 0;
  }

  using lock = first ? (resumed ?? lockRun(folder)) : undefined;
  using stop = stopOnSignals('finishing the step and saving; again to stop at once');
  manualSeed(values.seed);
  const { model, trained, adapters } = startModel(values, base, config);
  const trainer = new Trainer({
    ...runOptions(values),
    sampleInterval: values['sample-interval'],
    optimizer: optimizerOf(values, model),
    ...data.options(model),
    ...{ model: trained, tokenizer, folder, lock, processes, signal: stop.signal },
    sample: () => sampleOf(model, tokenizer, values, stop.signal),
  });
  const changes = resume ? trainer.resume() : [];

  if (processes !== undefined) watchOthers(processes, trainer, folder, stop.signal);
  if (!first) {
    await trainer.run();
    await processes.close();
    return stop.exitCode ?? 0;
  }

  const { isa, threads } = nativeInfo();
  say(data.summary);
  say(
    `model: ${base === null ? '' : `${values.from!}, `}${sizes.layers} layers, ${sizes.width} wide, ` +
      `${formatCount(model.numParameters())} parameters${adapters === null ? '' : `, ${formatCount(adapters.numParameters())} of adapters to train`}; ${isa}, ${threads} thread${threads === 1 ? '' : 's'}`,
  );
  if (processes !== undefined) {
    say(`processes: ${processes.size}, by ${processes.library}; each step's batches are divided among them`);
  }
  if (resume) sayResumed(trainer, folder, changes);

  const result = await runShown(trainer, values);
  await processes?.close();
  say(lastLine(result, trainer.steps, folder));
  stop.notice = 'stopped';
  if (!result.stopped) await showSamples(model, tokenizer, values, stop.signal);
  if (values.json) printJson(result, model.numParameters());
  return stop.exitCode ?? 0;
}

/** Goes back to the save before where the newest is damaged. */
function recover(folder: string): void {
  const recovery = recoverRun(folder);
  if (recovery === null) return;
  say(
    `warning: the newest save in ${folder} is damaged (${recovery.damage}); ` +
      `going on from the one before, ${recovery.from}, at step ${recovery.step}`,
  );
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

/** How many weights adapters of these flags have; null without. */
function adapterWeights(values: RunValues, base: DecoderModel | null): number | null {
  if (base === null || values['lora-rank'] === undefined) return null;
  const adapters = new Lora(base, loraOptions(values));
  const count = adapters.numParameters();
  adapters.detach();
  return count;
}

/** What the model writes in the middle of its training, always with the same seed; nothing when the signal comes. */
async function sampleOf(
  model: DecoderModel,
  tokenizer: Tokenizer,
  values: RunValues,
  signal: AbortSignal,
): Promise<TextSample[]> {
  const prompt = defaultPrompt(tokenizer);
  const text = await sampleText(model, tokenizer, values, 0, signal);
  return text === null ? [] : [{ prompt, text }];
}

/** A text by the defaults of `tsgpt generate`; null when the signal comes. */
async function sampleText(
  model: DecoderModel,
  tokenizer: Tokenizer,
  values: RunValues,
  index: number,
  signal: AbortSignal,
): Promise<string | null> {
  const defaults = resolveFlags(generateFlags, new Map()).values;
  const seed = (values.seed % 2 ** 52) + index; // so that the sum is a seed, too
  const options = { ...samplingOptions({ ...defaults, 'max-tokens': values['gen-len'], seed }), signal };
  try {
    return await generate(model, tokenizer, defaultPrompt(tokenizer), options).text();
  } catch (error) {
    if (signal.aborted) return null;
    throw error;
  }
}

/** Shows samples until the signal comes; beside a JSON result on standard error. */
async function showSamples(
  model: DecoderModel,
  tokenizer: Tokenizer,
  values: RunValues,
  signal: AbortSignal,
): Promise<void> {
  const output = values.json ? process.stderr : process.stdout;
  for (let i = 0; i < values['gen-samples']; i++) {
    const text = await sampleText(model, tokenizer, values, i, signal);
    if (text === null) return;
    output.write(`--- sample ${i + 1} ---\n${text}\n`);
  }
}
