/**
 * A model on disk as its loader sees it, whatever the files: a configuration in Hugging Face's keys, and named weights. It
 * is a folder in Hugging Face's layout (config.json, generation_config.json, model.safetensors or its shards), or one
 * GGUF file (gguf-model.ts). Opening one reads headers only; the weights stay mapped.
 */

import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { finishReplacement } from '../../lib/formats/atomic-file.js';
import { readJsonObject } from '../../lib/formats/json-file.js';
import { openSafetensorsShards } from '../../lib/formats/safetensors-shards.js';
import { fileError, systemCode } from '../../lib/formats/system-error.js';
import {
  FileError,
  openGguf,
  openSafetensors,
  type DequantizedDType,
  type Shape,
  type Tensor,
} from '../../lib/index.js';
import { ggufCheckpoint } from './gguf-model.js';

/** The contents of config.json. */
export type ConfigFile = Record<string, unknown>;

/** The contents of generation_config.json: how the model's makers want it to generate. Plain data, names as in the file. */
export type GenerationConfig = Readonly<Record<string, unknown>>;

/** Named weights in files. */
export interface WeightFiles {
  /** The file that messages name. */
  readonly path: string;
  names(): string[];
  /** What a file says of a tensor; `dtype` in the file's own words: `BF16`, `Q4_K`. */
  info(name: string): { readonly dtype: string; readonly shape: Shape; readonly bytes: number };
  /** @param dtype What a quantized tensor becomes; others come as they are. */
  tensor(name: string, dtype: DequantizedDType): Tensor;
  close(): void;
}

/** An open model; see `openCheckpoint`. */
export interface Checkpoint {
  readonly path: string;
  readonly format: 'safetensors' | 'gguf';
  readonly config: ConfigFile;
  readonly generationConfig: GenerationConfig;
  readonly weights: WeightFiles;
}

/**
 * Opens a model folder or a GGUF file.
 *
 * @throws FileError or ConfigError naming the file and the reason.
 */
export function openCheckpoint(path: string): Checkpoint {
  if (!isFolder(path)) return ggufCheckpoint(openGguf(path));
  finishReplacement(path);
  const config = readJsonObject(join(path, 'config.json'));
  return {
    path,
    format: 'safetensors',
    config,
    generationConfig: readGenerationConfig(path, config),
    weights: openWeights(path),
  };
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    const hint = 'a model is a folder with config.json, or a GGUF file; nothing is downloaded';
    if (systemCode(error) === 'ENOENT')
      throw new FileError(path, `there is no such file or folder; ${hint}`, { cause: error });
    throw fileError(path, 'cannot be read', error);
  }
}

/** generation_config.json over what config.json says of the same: Hugging Face's precedence. */
function readGenerationConfig(folder: string, config: ConfigFile): GenerationConfig {
  const path = join(folder, 'generation_config.json');
  return { ...tokenIds(config), ...(existsSync(path) ? readJsonObject(path) : {}) };
}

/** The special tokens of a configuration that the model has. Configurations of small models often keep a large one's. */
export function tokenIds(config: ConfigFile): GenerationConfig {
  const { vocab_size: size } = config;
  const fits = (id: unknown): boolean =>
    Number.isInteger(id) && (typeof size !== 'number' || (id as number) < size);
  return Object.fromEntries(
    ['bos_token_id', 'eos_token_id', 'pad_token_id']
      .map((key) => [key, config[key]] as const)
      .filter(([, id]) => [id].flat().length > 0 && [id].flat().every(fits)),
  );
}

/** The safetensors of a folder. */
function openWeights(folder: string): WeightFiles {
  const files = readdirSync(folder); // also links that lead nowhere: whoever opens one says so
  const [whole, index] = ['model.safetensors', 'model.safetensors.index.json'];
  if (files.includes(whole)) return openSafetensors(join(folder, whole));
  if (files.includes(index)) return openSafetensorsShards(join(folder, index));
  const pickles = files.filter((name) => /\.(bin|pt|pth|ckpt)$/.test(name));
  if (pickles.length > 0) {
    throw new FileError(
      folder,
      `has no model.safetensors, only PyTorch pickles (${pickles.slice(0, 3).join(', ')}), which could run any code ` +
        'when they are loaded, so they are refused; convert them once with Python: python3 -c "import sys; ' +
        'from transformers import AutoModelForCausalLM as M; ' +
        'M.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])" FOLDER NEW_FOLDER',
    );
  }
  throw new FileError(folder, 'has neither model.safetensors nor model.safetensors.index.json');
}
