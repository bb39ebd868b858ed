/**
 * Which flags a training run has: those of the command line, or with `--resume` those saved with the run in the model
 * folder, of which the command line may change what the saved weights and tokenizer have not fixed.
 */

import { resolve } from 'node:path';

import { FileError } from '../../lib/index.js';
import { checkRecompute } from '../nn/index.js';
import { checkFree, snapshotsOf } from '../training/checkpoint.js';
import { hasTrainingState, readTrainingProgress } from '../training/index.js';
import { checkUnlocked } from '../training/run-lock.js';
import { checkValues, resolveFlags, UsageError, type ParsedFlags } from './args.js';
import { trainFlags, type TrainValues } from './commands.js';
import { checkOptimizerFlags } from './optimizer.js';
import { absoluteData } from './train-data.js';

/** The flags of a run, all that it depends on settled. */
export type RunValues = TrainValues & { readonly seed: number };

type Flags = ParsedFlags<typeof trainFlags>;

/** Flags of the invocation; all others belong to the run and are saved with it. */
const unsaved = ['model', 'resume', 'live', 'threads', 'backend', 'config', 'dry-run', 'json', 'help'];
// prettier-ignore
const fixed = [
  'arch', 'task', 'labels', 'next-sentence', 'tokenizer', 'tokenizer-type', 'vocab-size', 'layers', 'embed', 'heads', 'seq', 'dropout', 'use-rope', 'rope-theta', 'use-swiglu',
  'use-rmsnorm', 'kv-heads', 'window', 'no-bias', 'untied', 'use-explicit-mask', 'from', 'lora-rank', 'lora-alpha', 'lora-targets',
  'lora-dropout',
] as const;
/** What a model that a run starts from brings with it. */
// prettier-ignore
const brought = [
  'tokenizer-type', 'vocab-size', 'layers', 'embed', 'heads', 'dropout', 'use-rope', 'rope-theta', 'use-swiglu', 'use-rmsnorm',
  'kv-heads', 'window', 'no-bias', 'untied', 'use-explicit-mask',
] as const;

/**
 * The flags of the run to start or to resume.
 * @param writes Whether this process will write the folder, and has to look what is in it.
 * @throws UsageError for flags that exclude each other; FileError when the model folder says no.
 */
export function runFlags(flags: Flags, writes = true): RunValues {
  if (flags.given.has('steps') && flags.given.has('epochs')) {
    throw new UsageError('--steps and --epochs exclude each other');
  }
  const values = flags.values.resume ? savedRun(flags) : newRun(flags, writes);
  checkStart(values, flags.given);
  checkPrecision(values, flags.given);
  if (
    values.tokenizer !== undefined &&
    (flags.given.has('vocab-size') || flags.given.has('tokenizer-type'))
  ) {
    throw new UsageError(
      '--tokenizer brings its own vocabulary; leave out --tokenizer-type and --vocab-size',
    );
  }
  checkArchitecture(values, flags.given);
  if (values['vocab-size'] !== undefined && values.arch === 'gpt' && values['tokenizer-type'] !== 'bpe') {
    throw new UsageError(
      '--vocab-size is for --tokenizer-type bpe; a character tokenizer has the characters of the text',
    );
  }
  const { embed, heads, seed = Math.floor(Math.random() * 2 ** 32) } = values;
  if (embed % heads !== 0) throw new UsageError(`--embed ${embed} must be a multiple of --heads ${heads}`);
  const { 'kv-heads': kvHeads = heads } = values;
  if (heads % kvHeads !== 0) {
    throw new UsageError(`--heads ${heads} must be a multiple of --kv-heads ${kvHeads}`);
  }
  if (values['rope-theta'] !== undefined && !values['use-rope']) {
    throw new UsageError('--rope-theta is for rotary positions; add --use-rope');
  }
  if (values['use-rope'] && (embed / heads) % 2 !== 0) {
    throw new UsageError(`--use-rope needs heads of an even size, --embed / --heads is ${embed / heads}`);
  }
  const { lr, 'min-lr': minLr = 0 } = values;
  if (minLr > lr) throw new UsageError(`--min-lr ${minLr} must not be above --lr ${lr}`);
  checkOptimizerFlags(values, flags.given);
  return { ...values, seed };
}

/** Flags that are for some architectures only. */
const uses: Readonly<Record<string, readonly (keyof TrainValues)[]>> = {
  // prettier-ignore
  gpt: [
    'tokenizer-type', 'use-rope', 'rope-theta', 'use-swiglu', 'use-rmsnorm', 'kv-heads', 'window', 'no-bias', 'untied',
    'use-explicit-mask', 'gen-samples', 'gen-len', 'val-data', 'val-tokens', 'documents', 'lora-rank', 'lora-alpha', 'lora-targets',
    'lora-dropout', 'sample-interval',
  ],
  bert: ['mask-prob', 'random-prob', 'keep-prob', 'whole-words', 'next-sentence', 'labels', 'pair-column'],
  t5: ['noise-density', 'mean-span'],
  'bert and t5': ['task', 'text-column', 'label-column'],
};
/** Throws UsageError for flags that the architecture does not have. */
function checkArchitecture({ arch }: TrainValues, given: ReadonlySet<string>): void {
  for (const [architectures, names] of Object.entries(uses)) {
    if (architectures.includes(arch)) continue;
    const wrong = names.find((name) => given.has(name));
    if (wrong !== undefined)
      throw new UsageError(`--${wrong} is not for --arch ${arch}, only for ${architectures}`);
  }
}

/** Flags of what a run starts from. */
function checkStart(values: TrainValues, given: ReadonlySet<string>): void {
  const { from, 'lora-rank': rank } = values;
  const sized = from === undefined ? undefined : brought.find((name) => given.has(name) && !values.resume);
  if (sized !== undefined)
    throw new UsageError(`--${sized} is not for --from: the model in ${from} has its own`);
  if (rank !== undefined && from === undefined) {
    throw new UsageError('--lora-rank is for adapters of a model that is there; name it with --from');
  }
  const loose = ['lora-alpha', 'lora-targets', 'lora-dropout'].find((name) => given.has(name));
  if (rank === undefined && loose !== undefined)
    throw new UsageError(`--${loose} is for adapters; add --lora-rank`);
}

function checkPrecision(values: TrainValues, given: ReadonlySet<string>): void {
  try {
    checkRecompute(values.recompute);
  } catch {
    throw new UsageError(
      `--recompute must be off, selective or every:N with a number of layers, got '${values.recompute}'`,
    );
  }
  const scale = ['loss-scale', 'loss-scale-interval'].find((name) => given.has(name));
  if (scale !== undefined && values.precision !== 'fp16')
    throw new UsageError(`--${scale} is for --precision fp16`);
}

/** What to save with the run. */
export function settingsOf(values: RunValues): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([name]) => !unsaved.includes(name)));
}

/** Nothing is lost by starting: an unfinished run and a model from elsewhere are not overwritten. */
function newRun({ values }: Flags, writes: boolean): TrainValues {
  if (!values['dry-run'] && writes) {
    checkUnlocked(values.model);
    checkFree(values.model);
  }
  return withPaths(values);
}

/** Paths made absolute: the run may be resumed from another folder. */
function withPaths(values: TrainValues): TrainValues {
  const { data, tokenizer, from, metrics, tensorboard, 'val-data': valData } = values;
  return {
    ...values,
    metrics: metrics === undefined ? undefined : resolve(metrics),
    tensorboard: tensorboard === undefined ? undefined : resolve(tensorboard),
    data: absoluteData(data),
    'val-data': valData === undefined ? undefined : resolve(valData),
    tokenizer: tokenizer === undefined ? undefined : resolve(tokenizer),
    from: from === undefined ? undefined : resolve(from),
  };
}

function savedRun({ values, given }: Flags): TrainValues {
  const { settings } = readTrainingProgress(values.model);
  if (Object.keys(settings).length === 0) {
    throw new FileError(
      values.model,
      "holds a run that `tsgpt train` did not start; continue it with the library's Trainer",
    );
  }
  const saved = checkValues(trainFlags, settings, `${values.model}: `);
  const wanted = withPaths(values);
  for (const name of fixed) {
    if (given.has(name) && wanted[name] !== saved.get(name)) {
      throw new UsageError(
        `--${name} cannot change in a run that is resumed; it is ${String(saved.get(name))} in ${values.model}`,
      );
    }
  }
  if (given.has('epochs')) saved.delete('steps');
  for (const name of given) saved.set(name, wanted[name as keyof TrainValues]);
  return resolveFlags(trainFlags, saved).values;
}

/** Throws FileError when there is nothing to resume. */
export function checkHoldsRun(folder: string): void {
  if (hasTrainingState(folder) || snapshotsOf(folder).length > 0) return;
  throw new FileError(folder, 'holds no training run that could be resumed; start one without --resume');
}
