/**
 * What a model for sentence embeddings says of itself: sentence-transformers' files beside the weights (modules.json,
 * 1_Pooling/config.json, sentence_bert_config.json), or llama.cpp's `pooling_type` in a GGUF file.
 */

import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { readJsonObject } from '../../lib/formats/json-file.js';
import { fileError } from '../../lib/formats/system-error.js';
import { ConfigError, FileError, openGguf } from '../../lib/index.js';
import { type Pooling } from '../models/index.js';
import { type EmbedOptions } from './embed.js';

/**
 * The options of `embed` that a model's files ask for; empty where they say nothing.
 *
 * @param path A model folder, or a GGUF file.
 * @throws ConfigError where the files ask for what `embed` does not do.
 * @example
 * const vectors = await embed(model, tokenizer, texts, { ...sentenceOptions(folder), truncate: true });
 */
export function sentenceOptions(path: string): Pick<EmbedOptions, 'pooling' | 'normalize' | 'maxLength'> {
  return isFolder(path) ? fromFolder(path) : fromGguf(path);
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    throw fileError(path, 'cannot be read', error);
  }
}

function fromGguf(path: string): Pick<EmbedOptions, 'pooling'> {
  const gguf = openGguf(path);
  const type = gguf.metadata.get('bert.pooling_type');
  gguf.close();
  if (type === undefined || type === 0) return {};
  if (type === 1) return { pooling: 'mean' };
  if (type === 2) return { pooling: 'cls' };
  throw new ConfigError(
    `${path}: bert.pooling_type is ${JSON.stringify(type)}, known are 1 (mean) and 2 (cls)`,
  );
}

function fromFolder(folder: string): Pick<EmbedOptions, 'pooling' | 'normalize' | 'maxLength'> {
  const modules = modulesOf(folder);
  const limits = join(folder, 'sentence_bert_config.json');
  const { max_seq_length: most } = existsSync(limits) ? readJsonObject(limits) : {};
  return {
    ...poolingOf(folder),
    ...(modules === null ? {} : { normalize: modules.includes('Normalize') }),
    ...(typeof most === 'number' ? { maxLength: most } : {}),
  };
}

/** The kinds of modules that a text goes through; null where the folder does not say. */
function modulesOf(folder: string): string[] | null {
  const path = join(folder, 'modules.json');
  if (!existsSync(path)) return null;
  let list: unknown;
  try {
    list = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new FileError(path, 'is not JSON', { cause: error });
  }
  const kinds = (Array.isArray(list) ? list : []).map((module: unknown) =>
    String((module as { type?: unknown } | null)?.type).replace(/^.*\./, ''),
  );
  const other = kinds.find((kind) => !['Transformer', 'Pooling', 'Normalize'].includes(kind));
  if (other === undefined) return kinds;
  throw new ConfigError(
    `${path}: has a module of type ${other}; known are Transformer, Pooling and Normalize`,
  );
}

const poolings: Readonly<Record<string, Pooling>> = {
  pooling_mode_cls_token: 'cls',
  pooling_mode_mean_tokens: 'mean',
  pooling_mode_max_tokens: 'max',
};

function poolingOf(folder: string): Pick<EmbedOptions, 'pooling'> {
  const path = join(folder, '1_Pooling', 'config.json');
  if (!existsSync(path)) return {};
  const config = readJsonObject(path);
  const modes = Object.keys(config).filter((key) => key.startsWith('pooling_mode_') && config[key] === true);
  if (modes.length === 1 && Object.hasOwn(poolings, modes[0])) return { pooling: poolings[modes[0]] };
  const known = Object.keys(poolings).join(', ');
  throw new ConfigError(`${path}: must have one of ${known}, has ${modes.join(', ') || 'none'}`);
}
