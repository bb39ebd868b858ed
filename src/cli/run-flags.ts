/**
 * Which flags a training run has: those of the command line, or with `--resume` those saved with the run in the model
 * folder, of which the command line may change what the saved weights and tokenizer have not fixed.
 */

import { resolve } from 'node:path';

import { FileError } from '../../lib/index.js';
import { checkFree } from '../training/checkpoint.js';
import { hasTrainingState, readTrainingProgress } from '../training/index.js';
import { checkUnlocked } from '../training/run-lock.js';
import { checkValues, resolveFlags, UsageError, type ParsedFlags } from './args.js';
import { trainFlags, type TrainValues } from './commands.js';
import { checkOptimizerFlags } from './optimizer.js';

/** The flags of a run, all that it depends on settled. */
export type RunValues = TrainValues & { readonly seed: number };

type Flags = ParsedFlags<typeof trainFlags>;

/** Flags of the invocation; all others belong to the run and are saved with it. */
const unsaved = ['model', 'resume', 'threads', 'backend', 'config', 'dry-run', 'json', 'help'];
// prettier-ignore
const fixed = [
  'arch', 'task', 'from', 'labels', 'next-sentence', 'tokenizer', 'tokenizer-type', 'vocab-size', 'layers', 'embed', 'heads', 'seq', 'dropout', 'use-rope', 'rope-theta', 'use-swiglu',
  'use-rmsnorm', 'kv-heads', 'window', 'no-bias', 'untied', 'use-explicit-mask',
] as const;

/**
 * The flags of the run to start or to resume.
 * @throws UsageError for flags that exclude each other; FileError when the model folder says no.
 */
export function runFlags(flags: Flags): RunValues {
  if (flags.given.has('steps') && flags.given.has('epochs')) {
    throw new UsageError('--steps and --epochs exclude each other');
  }
  const values = flags.values.resume ? savedRun(flags) : newRun(flags);
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
    'use-explicit-mask', 'gen-samples', 'gen-len',
  ],
  bert: ['mask-prob', 'random-prob', 'keep-prob', 'whole-words', 'next-sentence', 'labels', 'pair-column'],
  t5: ['noise-density', 'mean-span'],
  'bert and t5': ['task', 'from', 'text-column', 'label-column'],
};
/** What a model that is started from has already. */
const ofModel = ['layers', 'embed', 'heads', 'dropout', 'tokenizer', 'vocab-size'];

/** Throws UsageError for flags that the architecture does not have, and those that --from settles. */
function checkArchitecture({ arch, from }: TrainValues, given: ReadonlySet<string>): void {
  for (const [architectures, names] of Object.entries(uses)) {
    if (architectures.includes(arch)) continue;
    const wrong = names.find((name) => given.has(name));
    if (wrong !== undefined)
      throw new UsageError(`--${wrong} is not for --arch ${arch}, only for ${architectures}`);
  }
  const settled = from === undefined ? undefined : ofModel.find((name) => given.has(name));
  if (settled !== undefined)
    throw new UsageError(`--${settled} is that of the model in --from; leave it out`);
}

/** What to save with the run. */
export function settingsOf(values: RunValues): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([name]) => !unsaved.includes(name)));
}

/** Nothing is lost by starting: an unfinished run and a model from elsewhere are not overwritten. */
function newRun({ values }: Flags): TrainValues {
  if (!values['dry-run']) {
    checkUnlocked(values.model);
    checkFree(values.model);
  }
  return withPaths(values);
}

/** Paths made absolute: the run may be resumed from another folder. */
function withPaths(values: TrainValues): TrainValues {
  const { data, tokenizer, from } = values;
  return {
    ...values,
    data: data === '-' ? '-' : resolve(data),
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
  if (hasTrainingState(folder)) return;
  throw new FileError(folder, 'holds no training run that could be resumed; start one without --resume');
}
