/**
 * Model folders in Hugging Face's layout: config.json and model.safetensors. Loading is a strict copy by name; a family
 * says how its file names differ from the module's (a prefix, masks stored as weights, a tied head stored twice).
 */

import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  ConfigError,
  FileError,
  openSafetensors,
  saveSafetensors,
  type Tensor,
  writeFileAtomic,
} from '../../lib/index.js';
import { oneLine } from '../../lib/errors.js';
import { finishReplacement, makeFolder } from '../../lib/formats/atomic-file.js';
import { type Module, withoutInit } from '../nn/index.js';

/** How the names in a family's files differ from its module's. */
export interface WeightNames {
  /** Put before every name in a file that holds the whole model; files of the bare base model lack it. */
  readonly prefix: string;
  /** Names that never take the prefix. */
  readonly unprefixed: RegExp;
  /** Entries of a file that are not weights. */
  readonly ignored: RegExp;
  /** Tied tensors, which the module has as `to` only: a file may hold them under either name, or both. */
  readonly tied: readonly { readonly name: string; readonly to: string }[];
  /** The module's name of an entry, where more than the prefix differs. */
  readonly rename?: (name: string) => string;
  /** Parameters that keep their random weights, in a file (`given`) or not: a new head. */
  readonly fresh?: (name: string, given: boolean) => boolean;
}

/** The contents of config.json. */
export type ConfigFile = Record<string, unknown>;

/**
 * Builds the model that config.json describes and copies model.safetensors into it.
 *
 * @param build Makes the model from the configuration; it may look which entries the file has.
 * @throws FileError, ConfigError or StateDictError naming what does not fit.
 */
export function loadCheckpoint<M extends Module>(
  folder: string,
  modelTypes: readonly string[],
  build: (config: ConfigFile, entries: readonly string[]) => M,
  names: WeightNames,
): M {
  finishReplacement(folder);
  const config = readConfig(folder, modelTypes);
  using file = openSafetensors(join(folder, 'model.safetensors'));
  const { fresh } = names;
  const make = (): M => build(config, file.names());
  const model = fresh === undefined ? withoutInit(make) : make();
  const state = moduleNames(file, model, names);
  if (fresh !== undefined) {
    for (const [name, p] of model.stateDict()) if (fresh(name, state.has(name))) state.set(name, p);
  }
  model.loadStateDict(state);
  return model.eval();
}

/** config.json of a model folder, checked to be of one of the types. */
function readConfig(folder: string, modelTypes: readonly string[]): ConfigFile {
  const path = join(folder, 'config.json');
  let text: string;
  try {
    if (!statSync(folder).isDirectory()) throw new FileError(folder, 'is not a folder; a model is a folder');
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    if (cause instanceof FileError) throw cause;
    throw new FileError(
      path,
      `cannot be read (${(cause as NodeJS.ErrnoException).code}); is this a model folder?`,
      { cause },
    );
  }
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch (cause) {
    throw new FileError(path, `is not JSON: ${oneLine((cause as Error).message)}`, { cause });
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw new FileError(path, 'must hold a JSON object');
  }
  const { model_type: type } = config as ConfigFile;
  if (!modelTypes.includes(type as string)) {
    const known = modelTypes.map((name) => `'${name}'`).join(', ');
    throw new ConfigError(`${path}: model_type is ${JSON.stringify(type)}, this class loads ${known}`);
  }
  return config as ConfigFile;
}

/** The file's tensors under the module's names. */
function moduleNames(
  file: { names(): string[]; tensor(name: string): Tensor },
  model: Module,
  { prefix, ignored, tied, rename = (name) => name }: WeightNames,
): Map<string, Tensor> {
  const own = model.stateDict();
  const state = new Map<string, Tensor>();
  for (const entry of file.names()) {
    if (ignored.test(entry)) continue;
    const name = rename(entry.startsWith(prefix) ? entry.slice(prefix.length) : entry);
    state.set(own.has(name) ? name : modernName(name), file.tensor(entry));
  }
  for (const { name, to } of tied) {
    if (own.has(name)) continue;
    // The embedding wins where a tied file holds both.
    const head = state.get(name);
    state.delete(name);
    if (head !== undefined && !state.has(to)) state.set(to, head);
  }
  return state;
}

/** Files of TensorFlow's time call a norm's weight gamma and its bias beta. */
const modernName = (name: string): string => name.replace(/\.gamma$/, '.weight').replace(/\.beta$/, '.bias');

/** Writes config.json and model.safetensors, each whole or not at all. */
export function saveCheckpoint(folder: string, model: Module, config: ConfigFile, names: WeightNames): void {
  makeFolder(folder);
  const tensors = new Map<string, Tensor>();
  for (const [name, tensor] of model.stateDict()) {
    tensors.set(names.unprefixed.test(name) ? name : names.prefix + name, tensor);
  }
  saveSafetensors(join(folder, 'model.safetensors'), tensors, { format: 'pt' });
  const half = model.parameters().find((p) => p.dtype !== 'float32');
  writeFileAtomic(
    join(folder, 'config.json'),
    `${JSON.stringify({ ...config, torch_dtype: half?.dtype ?? 'float32' }, null, 2)}\n`,
  );
}
