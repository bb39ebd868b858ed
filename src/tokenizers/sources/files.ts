/** Reading the files of a tokenizer: regular files only, as a pipe or a device would wait or never end. */

import { readFileSync, statSync } from 'node:fs';

import { FileError, oneLine, TsgptError } from '../../../lib/errors.js';
import { fileError } from '../../../lib/formats/system-error.js';

export function readBytes(path: string): Buffer {
  try {
    if (!statSync(path).isFile()) throw new FileError(path, 'cannot be read: it is not a regular file');
    return readFileSync(path);
  } catch (error) {
    throw fileError(path, 'cannot be read', error);
  }
}

export function readText(path: string): string {
  const bytes = readBytes(path);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new FileError(path, 'is not valid UTF-8', { cause: error });
  }
}

export function readJson(path: string, parse: (text: string) => unknown = JSON.parse): unknown {
  const text = readText(path);
  try {
    return parse(text);
  } catch (error) {
    throw new FileError(path, `is not valid JSON: ${oneLine((error as Error).message)}`, { cause: error });
  }
}

export const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;

/** Runs `make`; what it says about the content of a file becomes a FileError that names the file. */
export function naming<T>(path: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    // The stack that nested parts were read with is full.
    if (error instanceof RangeError)
      throw new FileError(path, 'is damaged: it nests too deeply', { cause: error });
    if (error instanceof FileError || !(error instanceof TsgptError)) throw error;
    throw new FileError(path, `is damaged: ${error.message}`, { cause: error });
  }
}
