/**
 * A checkpoint in several safetensors files: Hugging Face's `model.safetensors.index.json`, whose `weight_map` says which
 * file holds which tensor. The files are mapped, all of them, and must be what the index says: in its folder, with every
 * tensor that is said to be in each, and no tensor in two.
 */

import { basename, dirname, join } from 'node:path';

import { dtypes } from '../dtype.js';
import { didYouMean, FileError } from '../errors.js';
import type { Tensor } from '../tensor.js';
import { writeFileAtomic } from './atomic-file.js';
import { readJsonObject } from './json-file.js';
import {
  openSafetensors,
  saveSafetensors,
  type SafetensorsFile,
  type SafetensorsInfo,
} from './safetensors.js';

/** An open checkpoint; see {@link openSafetensorsShards}. */
export class SafetensorsShards {
  readonly #fileOf: ReadonlyMap<string, SafetensorsFile>;

  /** Internal: use {@link openSafetensorsShards}. */
  constructor(readonly path: string) {
    this.#fileOf = openAll(path, readWeightMap(path));
  }

  /** The names of the tensors, file by file. */
  names(): string[] {
    return [...this.#fileOf.keys()];
  }

  has(name: string): boolean {
    return this.#fileOf.has(name);
  }

  /** Dtype, shape and size of a tensor, without touching its data. */
  info(name: string): SafetensorsInfo {
    return this.#file(name).info(name);
  }

  /** A tensor over the mapped bytes of its file; see {@link SafetensorsFile.tensor}. */
  tensor(name: string): Tensor {
    return this.#file(name).tensor(name);
  }

  /** Lets go of the files. Tensors already taken keep their memory. */
  close(): void {
    for (const file of new Set(this.#fileOf.values())) file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #file(name: string): SafetensorsFile {
    const file = this.#fileOf.get(name);
    if (file !== undefined) return file;
    throw new FileError(this.path, `has no tensor '${name}'${didYouMean(name, this.#fileOf.keys())}`);
  }
}

/**
 * Opens all files of a sharded checkpoint.
 *
 * @param path The index: `model.safetensors.index.json`.
 * @throws FileError naming the file and the reason: a damaged index, one that leaves its folder, a missing or damaged file, a
 *   tensor that is not where the index says or is in two files.
 */
export function openSafetensorsShards(path: string): SafetensorsShards {
  return new SafetensorsShards(path);
}

/** Names of tensors by file. */
function readWeightMap(path: string): Map<string, string[]> {
  const { weight_map: map } = readJsonObject(path);
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    throw new FileError(path, 'must hold an object weight_map, from names of tensors to names of files');
  }
  const files = new Map<string, string[]>();
  for (const [name, file] of Object.entries(map as Record<string, unknown>)) {
    // A link that lies in the folder may lead anywhere: whoever could put it there could put the file there.
    if (typeof file !== 'string' || file !== basename(file) || /^\.{0,2}$|[\\/\0]/.test(file)) {
      const what = typeof file === 'string' ? `in '${file}'` : `in ${JSON.stringify(file)}`;
      throw new FileError(path, `says that tensor '${name}' is ${what}, which is no file of its folder`);
    }
    const names = files.get(file);
    if (names === undefined) files.set(file, [name]);
    else names.push(name);
  }
  return files;
}

function openAll(path: string, files: ReadonlyMap<string, readonly string[]>): Map<string, SafetensorsFile> {
  const fileOf = new Map<string, SafetensorsFile>();
  for (const [name, expected] of files) {
    const file = openSafetensors(join(dirname(path), name));
    for (const tensor of expected) {
      if (!file.has(tensor))
        throw new FileError(path, `says that tensor '${tensor}' is in ${name}, which lacks it`);
    }
    for (const tensor of file.names()) {
      const other = fileOf.get(tensor);
      if (other !== undefined) {
        throw new FileError(
          path,
          `belongs to files of which two hold tensor '${tensor}': ${basename(other.path)} and ${name}`,
        );
      }
      fileOf.set(tensor, file);
    }
  }
  return fileOf;
}

/** Whether a file of that name belongs to what {@link saveSafetensorsShards} writes. */
export function isCheckpointFile(name: string): boolean {
  return /^model(-\d{5}-of-\d{5})?\.safetensors$|^model\.safetensors\.index\.json$/.test(name);
}

/**
 * Writes named tensors as `model.safetensors`, or, where they take more than `limit` bytes, as `model-00001-of-0000N.safetensors`
 * with an index, cut in the order of the tensors as Hugging Face does. A tensor that is larger has a file of its own.
 */
export function saveSafetensorsShards(
  folder: string,
  tensors: ReadonlyMap<string, Tensor>,
  limit: number,
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): void {
  const shards: Map<string, Tensor>[] = [];
  let room = -1;
  let total = 0;
  for (const [name, tensor] of tensors) {
    const bytes = tensor.size * dtypes[tensor.dtype].bytes;
    if (bytes > room || shards.length === 0) {
      shards.push(new Map());
      room = limit;
    }
    shards[shards.length - 1].set(name, tensor);
    room -= bytes;
    total += bytes;
  }
  if (shards.length <= 1) {
    saveSafetensors(join(folder, 'model.safetensors'), tensors, metadata);
    return;
  }
  const number = (i: number): string => String(i).padStart(5, '0');
  const map: [string, string][] = [];
  for (const [i, shard] of shards.entries()) {
    const file = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    saveSafetensors(join(folder, file), shard, metadata);
    for (const name of shard.keys()) map.push([name, file]);
  }
  const index = {
    metadata: { total_size: total },
    weight_map: Object.fromEntries(map.sort(([a], [b]) => (a < b ? -1 : 1))),
  };
  writeFileAtomic(join(folder, 'model.safetensors.index.json'), `${JSON.stringify(index, null, 2)}\n`);
}
