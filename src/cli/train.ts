/**
 * `tsgpt train`: text to a model folder. Standard output is for results (samples, JSON, the dry run's table);
 * everything else goes to standard error.
 */

import { manualSeed, nativeInfo, setThreads } from '../../lib/index.js';
import { readTexts, splitTokens } from '../data/index.js';
import { generate } from '../generation/index.js';
import { GPT } from '../models/index.js';
import { AutoTokenizer, CharTokenizer, trainBpe, type Tokenizer } from '../tokenizers/index.js';
import { lockRun, Trainer } from '../training/index.js';
import { resolveFlags, type ParsedFlags } from './args.js';
import type { trainFlags } from './commands.js';
import { planRun, showPlan } from './dry-run.js';
import { generateFlags, samplingOptions } from './generation-flags.js';
import { formatCount } from './format.js';
import { optimizerOf } from './optimizer.js';
import { defaultPrompt } from './prompt.js';
import { checkHoldsRun, runFlags, type RunValues } from './run-flags.js';
import { stopOnSignals } from './signals.js';
import { lastLine, printJson, runOptions, say, sayResumed, showProgress } from './train-run.js';

/** Runs the command and answers its exit code. */
export async function train(flags: ParsedFlags<typeof trainFlags>): Promise<number> {
  const { model: folder, resume, 'dry-run': dry } = flags.values;
  if (resume) checkHoldsRun(folder);
  using resumed = resume && !dry ? lockRun(folder) : undefined; // before anything of the run is read
  const values = runFlags(flags);
  if (values.threads !== undefined) setThreads(values.threads);
  if (values.arch !== 'gpt') return await (await import('./train-encoder.js')).trainEncoder(values, resumed);
  const { text, files } = await readTexts(values.data);
  const tokenizer = await chooseTokenizer(values, text);
  const { train: ids, validation } = splitTokens(tokenizer.encode(text), values['val-split']);
  const config = modelConfig(values, tokenizer.vocabSize);
  const plan = planRun(values, config, { train: ids.length, validation: validation.length });
  if (dry) {
    showPlan(plan, values.json);
    return 0;
  }

  using lock = resumed ?? lockRun(folder);
  using stop = stopOnSignals('finishing the step and saving; again to stop at once');
  manualSeed(values.seed);
  const model = resume ? GPT.fromPretrained(folder) : new GPT(config);
  const trainer = new Trainer({
    ...runOptions(values),
    ...{ batchSize: values.batch, sequenceLength: values.seq, seed: values.seed },
    optimizer: optimizerOf(values, model),
    ...{ model, tokenizer, train: ids, validation, folder, lock, signal: stop.signal },
  });
  const changes = resume ? trainer.resume() : [];

  const { isa, threads } = nativeInfo();
  const source = files.length === 1 ? files[0] : `${files.length} files`;
  say(
    `text: ${source}, ${formatCount(text.length)} characters, vocabulary ${tokenizer.vocabSize}; ` +
      `${formatCount(ids.length)} tokens to train on, ${formatCount(validation.length)} to validate`,
  );
  say(
    `model: ${values.layers} layers, ${values.heads} heads, ${values.embed} wide, ` +
      `${formatCount(model.numParameters())} parameters; ${isa}, ${threads} thread${threads === 1 ? '' : 's'}`,
  );
  if (resume) sayResumed(trainer, folder, changes);

  const result = await showProgress(trainer);
  say(lastLine(result, trainer.steps, folder));
  stop.notice = 'stopped';
  if (!result.stopped) await showSamples(model, tokenizer, values, stop.signal);
  if (values.json) printJson(result, model.numParameters());
  return stop.exitCode ?? 0;
}

async function chooseTokenizer(values: RunValues, text: string): Promise<Tokenizer> {
  const path = values.resume ? values.model : values.tokenizer;
  if (path !== undefined) return AutoTokenizer.fromPretrained(path);
  if (values['tokenizer-type'] === 'char') return CharTokenizer.fromText(text);
  const vocabSize = values['vocab-size'] ?? 1000;
  return trainBpe([text], { vocabSize, specialTokens: ['<|endoftext|>'] });
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
