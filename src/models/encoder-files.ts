/**
 * Loading and saving encoders with their heads. A published checkpoint holds a base model and the head it was trained
 * with; here each class takes what is its own: the base alone, base and head, or the base with a new head, which is how
 * fine-tuning starts. Names are those of Hugging Face, where a head's class keeps the base below a prefix (`bert.`) and
 * the base's own class does not.
 */

import {
  ArgumentError,
  defaultGenerator,
  type Generator,
  StateDictError,
  type Tensor,
} from '../../lib/index.js';
import { checkOptions } from '../../lib/errors.js';
import { type Module } from '../nn/index.js';
import { labelConfig } from './labels.js';
import { type Checkpoint, type ConfigFile } from './checkpoint.js';
import {
  loadCheckpoint,
  type LoadModelOptions,
  saveCheckpoint,
  type SaveModelOptions,
  type WeightNames,
} from './pretrained.js';

/** Options of an encoder's `fromPretrained`. */
export interface LoadEncoderOptions extends LoadModelOptions {
  /**
   * Start with a head of random weights whatever the file holds, to fine-tune it. `initialized` of the model lists the
   * parameters that are new: the head's, and the pooler's where the file has none.
   */
  readonly newHead?: boolean;
  /** Names of the classes, in the order of the logits, instead of the file's `id2label`. */
  readonly labels?: readonly string[];
  /**
   * Dropout of hidden states, attention weights and the head, instead of the file's; 0 to below 1. Few labels want more
   * of it than the pre-training had.
   */
  readonly dropout?: number;
  /** The stream of the new weights and of dropout. */
  readonly generator?: Generator;
}

/** A family of encoders as its files are named. */
export interface EncoderFamily {
  readonly modelTypes: readonly string[];
  /** The prefix of the base model in the files of heads. */
  readonly base: string;
  /** First parts of the names of all heads. */
  readonly heads: readonly string[];
  /** The keys of config.json that are parts to drop. */
  readonly dropouts: readonly string[];
}

/** A class of a family. */
export interface EncoderPart {
  /** What its head's names begin with, `cls.predictions`; none for the base model. */
  readonly head: readonly string[];
  readonly pooler: boolean;
  readonly tied?: WeightNames['tied'];
}

/** What the loader needs of a model. */
export interface LoadedEncoder extends Module {
  /** Parameters that were not in the file. */
  initialized: readonly string[];
}

const optionNames = ['dtype', 'newHead', 'labels', 'dropout', 'generator'];

/**
 * Loads one class of a family from a folder of Hugging Face's layout.
 *
 * @throws FileError, ConfigError or StateDictError naming what does not fit.
 */
export function loadEncoder<M extends LoadedEncoder>(
  source: string | Checkpoint,
  family: EncoderFamily,
  part: EncoderPart,
  build: (config: ConfigFile, options: { generator: Generator }) => M,
  options: LoadEncoderOptions,
): M {
  checkOptions('fromPretrained', options, optionNames);
  const { newHead = false, labels, dropout, generator = defaultGenerator } = options;
  const { dtype = newHead ? 'float32' : 'auto' } = options; // a new head is there to be trained
  if (newHead && part.head.length === 0) {
    throw new ArgumentError(`fromPretrained: newHead needs a class with a head, this is the base model`);
  }
  const changes = {
    ...(labels && labelConfig(labels)),
    ...(dropout !== undefined && Object.fromEntries(family.dropouts.map((key) => [key, dropout]))),
  };
  const initialized: string[] = [];
  const fresh = (name: string, given: boolean): boolean => {
    const isNew =
      part.head.some((head) => name.startsWith(`${head}.`)) || (!given && name.includes('pooler.'));
    if (isNew) initialized.push(name);
    return isNew;
  };
  try {
    const model = loadCheckpoint(
      source,
      family.modelTypes,
      (config) => build({ ...config, ...changes }, { generator }),
      { ...namesOf(family, part, newHead), ...(newHead ? { fresh } : {}) },
      { dtype },
    );
    model.initialized = initialized;
    return model;
  } catch (error) {
    if (!(error instanceof StateDictError) || part.head.length === 0 || newHead) throw error;
    throw new StateDictError(
      `${error.message}; newHead: true loads the base model and starts with a new head`,
    );
  }
}

function namesOf(
  family: EncoderFamily,
  { head, pooler, tied = [] }: EncoderPart,
  newHead: boolean,
): WeightNames {
  const { base } = family;
  const below = (prefixes: readonly string[]): string => `(${prefixes.join('|')})\\.`;
  const isHead = new RegExp(`^${below(family.heads)}`);
  const isBase = head.length === 0;
  const ignored = [
    '\\.position_ids$',
    `^${isBase || newHead ? '' : `(?!${below(head)})`}${below(family.heads)}`,
  ];
  if (!pooler) ignored.push(`^(${base}\\.)?pooler\\.`);
  return {
    prefix: isBase ? `${base}.` : '',
    unprefixed: /^/,
    ignored: new RegExp(ignored.join('|')),
    tied,
    ...(isBase
      ? {}
      : { rename: (name) => (isHead.test(name) || name.startsWith(`${base}.`) ? name : `${base}.${name}`) }),
  };
}

/** Writes config.json and model.safetensors as Hugging Face's class `architecture` does. */
export function saveEncoder(
  folder: string,
  model: Module & { readonly config: object },
  modelType: string,
  options: SaveModelOptions,
): void {
  const { id2label = null, ...config } = model.config as ConfigFile;
  const labels = id2label === null ? {} : labelConfig(Object.values(id2label as Record<string, string>));
  saveCheckpoint(
    folder,
    { stateDict: () => withAliases(model.stateDict()) },
    { architectures: [architectureOf(model)], model_type: modelType, ...config, ...labels },
    { prefix: '', unprefixed: /^/, ignored: /^$/, tied: [] },
    options,
  );
}

/** A head of its own has one bias, which Hugging Face's class has, and wants in the file, twice. */
function withAliases(state: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  const all = new Map(state);
  for (const [name, tensor] of state) {
    const alias = name.replace(/^(cls\.predictions|lm_head)\.decoder\.bias$/, '$1.bias');
    all.set(alias, tensor);
  }
  return all;
}

/** Our classes have Hugging Face's names. */
const architectureOf = (model: Module): string => model.constructor.name;
