/**
 * Loading and saving models. Loading is strict and by name; a family says how its file names differ from the module's (a
 * prefix, masks stored as weights, a tied head stored twice). Nothing is copied that need not be: where width and layout
 * fit, the mapped bytes of the file are the parameters, read when they are first used; writing to them (training) changes
 * memory, never the file.
 */

import { join } from 'node:path';

import { replaceFiles } from '../../lib/formats/atomic-file.js';
import { isCheckpointFile, saveSafetensorsShards } from '../../lib/formats/safetensors-shards.js';
import {
  ArgumentError,
  checkOptions,
  ConfigError,
  FileError,
  noGrad,
  type Tensor,
  to,
  writeFileAtomic,
} from '../../lib/index.js';
import { type Module, withoutInit } from '../nn/index.js';
import {
  openCheckpoint,
  type Checkpoint,
  type ConfigFile,
  type GenerationConfig,
  type WeightFiles,
} from './checkpoint.js';

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
  /** Parameters that keep their random weights, in the file (`given`) or not: a new head. */
  readonly fresh?: (name: string, given: boolean) => boolean;
}

/** A model that can be loaded. */
export interface Pretrained extends Module {
  /** generation_config.json: what `generate` does where it is not told. Absent from models that generate nothing. */
  generationConfig?: GenerationConfig;
}

/** What is saved of a model. */
export interface Savable {
  stateDict(): ReadonlyMap<string, Tensor>;
  readonly generationConfig?: GenerationConfig;
}

/** Options of `fromPretrained`. */
export interface LoadModelOptions {
  /**
   * What matrices and tables are kept in: `auto`, the default, is the file's own width (float32 where it is quantized), and
   * costs neither time nor memory. Optimizers train float32. Vectors (norms, biases) are always float32.
   */
  readonly dtype?: 'auto' | 'float32' | 'float16' | 'bfloat16';
}

/** Options of `savePretrained`. */
export interface SaveModelOptions {
  /** Most bytes of one safetensors file, 5e9 by default; more are cut into several with an index. */
  readonly maxShardSize?: number;
  /** Saved beside the model. */
  readonly tokenizer?: { save(path: string): void };
}

const dtypeNames = ['auto', 'float32', 'float16', 'bfloat16'] as const;

/**
 * Builds the model that a checkpoint's configuration describes, with its tensors as parameters, in evaluation mode.
 *
 * @param source A model folder, a GGUF file, or either opened before.
 * @param build Makes the model from the configuration; it may look which entries the files have.
 * @throws FileError, ConfigError or StateDictError naming what does not fit.
 */
export function loadCheckpoint<M extends Pretrained>(
  source: string | Checkpoint,
  modelTypes: readonly string[],
  build: (config: ConfigFile, entries: readonly string[]) => M,
  names: WeightNames,
  options: LoadModelOptions = {},
): M {
  checkOptions('fromPretrained', options, ['dtype']);
  const { dtype = 'auto' } = options;
  if (!dtypeNames.includes(dtype)) {
    throw new ArgumentError(
      `fromPretrained: dtype must be one of ${dtypeNames.join(', ')}, got ${JSON.stringify(dtype)}`,
    );
  }
  const checkpoint = typeof source === 'string' ? openCheckpoint(source) : source;
  const { config, weights } = checkpoint;
  checkModelType(checkpoint, modelTypes);
  const held = weights.names().reduce((n, name) => n + product(weights.info(name).shape), 0);
  const { fresh } = names;
  const make = (): M => build(config, weights.names());
  const model = fresh === undefined ? withoutInit(held, make) : make();
  const state = moduleNames(weights, model, names);
  const own = [...model.stateDict()].filter(([name]) => fresh?.(name, state.has(name)));
  for (const [name] of own) state.delete(name);
  const tensors = noGrad(
    () => new Map([...state].map(([name, file]) => [name, parameter(weights, file, dtype)])),
  );
  model.loadStateDict(new Map([...tensors, ...own]), { assign: true });
  weights.close();
  if (model.generationConfig !== undefined) model.generationConfig = checkpoint.generationConfig;
  model.eval();
  return model;
}

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

function checkModelType({ path, format, config }: Checkpoint, modelTypes: readonly string[]): void {
  const { model_type: type } = config;
  if (modelTypes.includes(type as string)) return;
  const known = modelTypes.map((name) => `'${name}'`).join(', ');
  const where = format === 'gguf' ? path : join(path, 'config.json');
  throw new ConfigError(`${where}: model_type is ${JSON.stringify(type)}, this class loads ${known}`);
}

/** A tensor of the files in the width that is wanted. */
function parameter(weights: WeightFiles, name: string, dtype: (typeof dtypeNames)[number]): Tensor {
  const { dtype: stored, shape } = weights.info(name);
  const wanted = shape.length < 2 ? 'float32' : dtype;
  const t = weights.tensor(name, wanted === 'auto' ? 'float32' : wanted);
  if (t.dtype === 'int32' || t.dtype === 'uint8' || t.dtype === 'bool') {
    throw new FileError(weights.path, `tensor '${name}' has elements of type ${stored}, no weights`);
  }
  const own = t.dtype === 'float64' ? 'float32' : t.dtype;
  return to(t, wanted === 'auto' ? own : wanted);
}

/** The module's names of the tensors in the files, with the files' own. */
function moduleNames(weights: WeightFiles, model: Module, names: WeightNames): Map<string, string> {
  const own = model.stateDict();
  const found = new Map<string, string>();
  const { prefix, ignored, tied, rename = (name) => name } = names;
  for (const file of weights.names()) {
    if (ignored.test(file)) continue;
    const bare = rename(file.startsWith(prefix) ? file.slice(prefix.length) : file);
    const name = own.has(bare) ? bare : modernName(bare);
    const other = found.get(name);
    if (other !== undefined) {
      throw new FileError(weights.path, `holds the tensor '${name}' twice, as '${other}' and as '${file}'`);
    }
    found.set(name, file);
  }
  for (const { name, to } of tied) {
    if (own.has(name)) continue;
    // The embedding wins where a tied file holds both.
    const head = found.get(name);
    found.delete(name);
    if (head !== undefined && !found.has(to)) found.set(to, head);
  }
  return found;
}

/** Files of TensorFlow's time call a norm's weight gamma and its bias beta. */
const modernName = (name: string): string => name.replace(/\.gamma$/, '.weight').replace(/\.beta$/, '.bias');

/**
 * Writes config.json, generation_config.json, the weights and the tokenizer so that all change together: after a failure or
 * a kill at any moment the folder holds all of the old files or all of the new ones. It may be the folder that the model
 * was loaded from.
 */
export function saveCheckpoint(
  folder: string,
  model: Savable,
  config: ConfigFile,
  names: WeightNames,
  options: SaveModelOptions = {},
): void {
  checkOptions('savePretrained', options, ['maxShardSize', 'tokenizer']);
  const { maxShardSize = 5e9, tokenizer } = options;
  if (!(maxShardSize > 0)) {
    throw new ArgumentError(
      `savePretrained: maxShardSize must be a number of bytes above 0, got ${maxShardSize}`,
    );
  }
  const tensors = new Map<string, Tensor>();
  for (const [name, tensor] of model.stateDict()) {
    tensors.set(names.unprefixed.test(name) ? name : names.prefix + name, tensor);
  }
  const half = [...tensors.values()].find((p) => p.dtype !== 'float32');
  const files = {
    'config.json': { ...config, torch_dtype: half?.dtype ?? 'float32' },
    ...generationFile(model),
  };
  const write = (staging: string): void => {
    saveSafetensorsShards(staging, tensors, maxShardSize);
    for (const [name, content] of Object.entries(files)) {
      writeFileAtomic(join(staging, name), `${withFloats(JSON.stringify(content, null, 2))}\n`);
    }
    tokenizer?.save(join(staging, 'tokenizer.json'));
  };
  replaceFiles(folder, write, (name) => isCheckpointFile(name) || name === generationConfigName);
}

/** Python tells 1 from 1.0, and transformers 5 refuses a configuration whose `initializer_factor` is 1. */
const withFloats = (json: string): string =>
  json.replace(/^( *"(?:initializer_\w+|layer_norm_eps\w*|rms_norm_eps)": \d+)(,?)$/gm, '$1.0$2');

const generationConfigName = 'generation_config.json';

function generationFile({ generationConfig = {} }: Savable): Record<string, GenerationConfig> {
  return Object.keys(generationConfig).length === 0 ? {} : { [generationConfigName]: generationConfig };
}
