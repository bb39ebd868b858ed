/**
 * A training run on disk. The folder is a model in Hugging Face's layout with the state of the training
 * beside it:
 *
 *     config.json  model.safetensors  tokenizer.json     the model after the last save: what generate loads
 *     training_state.safetensors                         states of the optimizer; step, random streams, ... as notes
 *     metrics.jsonl                                      every step, evaluation and sample, a line each (metrics.ts)
 *     checksums.sha256                                   of the two (recovery.ts)
 *     best/                                              the model with the least validation loss, and which that is
 *     checkpoint-<step>/                                 earlier saves, whole folders like this one (hard links)
 *     training.lock                                      held by the run that is going on (run-lock.ts)
 *
 * The files of a folder are replaced together (lib/formats/atomic-file.ts): a run that is killed at any
 * moment leaves a model and a training state of the same step. A run saves itself before its first step, so what
 * a folder holds is always one run.
 */

import { copyFileSync, existsSync, linkSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { FileError } from '../../lib/errors.js';
import {
  createFolder,
  finishReplacement,
  replaceFiles,
  writeFileAtomic,
} from '../../lib/formats/atomic-file.js';
import { openSafetensors, saveSafetensors } from '../../lib/formats/safetensors.js';
import { fileError } from '../../lib/formats/system-error.js';
import type { StreamState } from '../../lib/random.js';
import type { Tensor } from '../../lib/tensor.js';
import type { JsonValue, RunIdentity } from '../data/batch-source.js';
import type { Tokenizer } from '../tokenizers/tokenizer.js';
import type { GradientStepState } from './gradient-step.js';
import { metricsFile } from './metrics.js';
import { lockFile } from './run-lock.js';

/** A model that can write itself into a folder. */
export interface Savable {
  savePretrained(folder: string): void;
}

/** A validation loss and the step that it was measured after. */
export interface Evaluation {
  readonly step: number;
  readonly loss: number;
}

/** Where a run stands, beside weights and moments. Plain data; numbers come back with the same bits. */
export interface TrainingProgress {
  /** Optimizer steps done. */
  readonly step: number;
  /** Tokens learned from. */
  readonly tokens: number;
  /** Seconds of training, without evaluations and saves. */
  readonly seconds: number;
  /** Losses of the last steps, oldest first. */
  readonly recentLosses: readonly number[];
  /** The last evaluation. */
  readonly evaluation: Evaluation | null;
  /** The evaluation with the least loss. */
  readonly best: Evaluation | null;
  /** The place in the order of batches. */
  readonly sampler: JsonValue;
  /** The stream of dropout. */
  readonly generator: StreamState;
  /** Steps that were skipped, and fp16's loss scale; absent from runs of earlier releases. */
  readonly steps?: GradientStepState;
  /** What has to be the same for the run to go on exactly: sizes, data. */
  readonly run: RunIdentity;
  /** The caller's notes: a command line's flags, say. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** Name of the file with the state of the training. */
export const trainingStateFile = 'training_state.safetensors';
const stateFormat = 'tsgpt-training-state';
const stateVersion = '1';
const snapshotPrefix = 'checkpoint-';
const bestFolder = 'best';
/** In best/: which evaluation its model is of. */
const evaluationFile = 'evaluation.json';

/**
 * Writes model and tokenizer, and the state of the training where it is given, so that all change together.
 * @param seal Called with the folder of the new files when all are there.
 */
export function saveRun(
  folder: string,
  model: Savable,
  tokenizer: Tokenizer | undefined,
  training?: { readonly progress: TrainingProgress; readonly tensors: ReadonlyMap<string, Tensor> },
  seal: (staging: string) => void = () => undefined,
): void {
  replaceFiles(folder, (staging) => {
    model.savePretrained(staging);
    tokenizer?.save(join(staging, 'tokenizer.json'));
    if (training === undefined) return;
    const notes = { format: stateFormat, version: stateVersion, progress: JSON.stringify(training.progress) };
    saveSafetensors(join(staging, trainingStateFile), training.tensors, notes);
    seal(staging);
  });
}

/** Writes `best/`: model, tokenizer, and the evaluation that they are of. Returns its path. */
export function saveBest(
  folder: string,
  model: Savable,
  tokenizer: Tokenizer | undefined,
  evaluation: Evaluation,
): string {
  const best = join(folder, bestFolder);
  replaceFiles(best, (staging) => {
    model.savePretrained(staging);
    tokenizer?.save(join(staging, 'tokenizer.json'));
    writeFileAtomic(join(staging, evaluationFile), `${JSON.stringify(evaluation)}\n`);
  });
  return best;
}

/** The evaluation that the model in `best/` is of; null when there is none of a run. */
export function readBest(folder: string): Evaluation | null {
  const best = join(folder, bestFolder);
  finishReplacement(best);
  try {
    const value: unknown = JSON.parse(readFileSync(join(best, evaluationFile), 'utf8'));
    return isEvaluation(value) ? value : null;
  } catch {
    return null;
  }
}

/**
 * Throws FileError where a new run would overwrite something: a run that is not finished, or a model from elsewhere.
 */
export function checkFree(folder: string): void {
  if (hasTrainingState(folder)) {
    const { step, run } = readTrainingProgress(folder);
    if (step < Number(run.steps)) {
      const where = `step ${step} of ${run.steps}`;
      throw new FileError(
        folder,
        `holds a run that is not finished (${where}); resume it (--resume), or remove the folder to start again`,
      );
    }
  } else if (holdsModel(folder)) {
    throw new FileError(folder, foreign);
  }
  for (const name of subfolders(folder)) {
    const path = join(folder, name);
    if (isOfRun(folder, name) || !holdsModel(path)) continue;
    throw new FileError(path, foreign);
  }
}

/** A model, or adapters of one. */
const holdsModel = (folder: string): boolean =>
  ['config.json', 'adapter_config.json'].some((name) => existsSync(join(folder, name)));

const foreign = 'holds a model that was not trained there; choose another folder';

/** Removes what an earlier, finished run has left beside the model: its best model and its earlier saves. */
export function removeEarlierRun(folder: string): void {
  for (const name of subfolders(folder)) if (isOfRun(folder, name)) removeFolder(join(folder, name));
}

/** Names of the folders in which runs keep models. */
function subfolders(folder: string): string[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return []; // Whoever writes into a folder that is none will say so.
  }
  return names.filter((name) => name === bestFolder || snapshotStep(name) !== null);
}

/** Whether a run wrote the folder. */
const isOfRun = (folder: string, name: string): boolean =>
  name === bestFolder ? readBest(folder) !== null : existsSync(join(folder, name, trainingStateFile));

/** The step in the name of a snapshot's folder; null for other names. */
function snapshotStep(name: string): number | null {
  const digits = /^checkpoint-(\d+)$/.exec(name)?.[1];
  return digits === undefined ? null : Number(digits);
}

/** Whether a folder holds a run that can go on. */
export function hasTrainingState(folder: string): boolean {
  finishReplacement(folder);
  return existsSync(join(folder, trainingStateFile));
}

/**
 * Reads how far the run in a folder has come.
 * @throws FileError when there is no state of a training, or it is damaged.
 */
export function readTrainingProgress(folder: string): TrainingProgress {
  return readTrainingState(folder).progress;
}

/** Progress and tensors (the optimizer's state, see ema.ts also) of the run in a folder. */
export function readTrainingState(folder: string): {
  progress: TrainingProgress;
  tensors: Map<string, Tensor>;
} {
  finishReplacement(folder);
  const path = join(folder, trainingStateFile);
  using file = openSafetensors(path);
  const { format, version, progress: text } = file.metadata;
  if (format !== stateFormat) throw new FileError(path, 'is not the state of a training');
  if (version !== stateVersion)
    throw new FileError(path, `has version ${version}, this release reads ${stateVersion}`);
  let progress: unknown;
  try {
    progress = JSON.parse(text ?? '');
  } catch (cause) {
    throw new FileError(path, 'is damaged: its progress is not JSON', { cause });
  }
  if (!isProgress(progress)) throw new FileError(path, 'is damaged: its progress is not that of a training');
  return { progress, tensors: new Map(file.names().map((name) => [name, file.tensor(name)])) };
}

function isProgress(value: unknown): value is TrainingProgress {
  if (!isObject(value)) return false;
  const { recentLosses, evaluation, best } = value;
  return (
    isCount(value.step) &&
    isCount(value.tokens) &&
    typeof value.seconds === 'number' &&
    Array.isArray(recentLosses) &&
    recentLosses.every((loss) => typeof loss === 'number') &&
    [evaluation, best].every((e) => e === null || isEvaluation(e)) &&
    value.sampler !== undefined &&
    isObject(value.generator) &&
    [value.generator.seed, value.generator.offset].every(isCount) &&
    (value.steps === undefined || isStepState(value.steps)) &&
    isObject(value.run) &&
    isObject(value.settings)
  );
}

function isStepState(value: unknown): value is GradientStepState {
  if (!isObject(value) || ![value.skippedInAll, value.skippedInRow].every(isCount)) return false;
  const { lossScale } = value;
  return (
    lossScale === null || (isObject(lossScale) && Number(lossScale.scale) > 0 && isCount(lossScale.good))
  );
}

const isEvaluation = (value: unknown): value is Evaluation =>
  isObject(value) && isCount(value.step) && typeof value.loss === 'number';
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/**
 * Keeps the save that a folder holds now as `checkpoint-<step>` and removes the oldest of the earlier ones
 * beyond `keep`. Costs no disk space at first: the files are shared with the folder until that is saved
 * again.
 *
 * @returns The new folder.
 */
export function keepSnapshot(folder: string, step: number, keep: number): string {
  const snapshot = join(folder, `${snapshotPrefix}${step}`);
  createFolder(snapshot, (staging) => shareFiles(folder, staging));
  const earlier = snapshotSteps(folder).filter((s) => s < step);
  for (const old of earlier.slice(keep - 1)) removeFolder(join(folder, `${snapshotPrefix}${old}`));
  return snapshot;
}

/** The steps of a folder's snapshots, newest first. */
const snapshotSteps = (folder: string): number[] =>
  subfolders(folder)
    .filter((name) => name !== bestFolder && isOfRun(folder, name))
    .map((name) => snapshotStep(name)!)
    .sort((a, b) => b - a);

/** The folders of a run's earlier saves, newest first. */
export const snapshotsOf = (folder: string): string[] =>
  snapshotSteps(folder).map((step) => join(folder, `${snapshotPrefix}${step}`));

/** Puts the files of a save into another folder; they share their space on the disk. */
export function shareFiles(folder: string, into: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isFile() || entry.name.startsWith('.') || entry.name === lockFile) continue;
    const [from, to] = [join(folder, entry.name), join(into, entry.name)];
    if (entry.name === metricsFile)
      copyFileSync(from, to); // it is written on
    else share(from, to);
  }
}

function removeFolder(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch (error) {
    throw fileError(path, 'cannot be removed', error);
  }
}

function share(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to); // not every file system has hard links
  }
}
