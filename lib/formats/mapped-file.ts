/**
 * Files of tensors as memory: a regular file is mapped, so that opening it costs nothing and the system reads what is
 * touched, when it is touched. A mapping is private: writing to a tensor over it changes memory, never the file, and a
 * file that is replaced (saving does that) stays as it was for those that have it open.
 *
 * A file that somebody shortens in place is another matter: what is gone reads as zeros, and every kernel call on such a
 * file's tensors throws a FileError (native/binding/mapping.cpp). {@link checkFile} asks outside kernels.
 */

import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';

import { dtypes, type DType, type TypedArray } from '../dtype.js';
import { FileError } from '../errors.js';
import { native } from '../native.js';
import { fileError } from './system-error.js';

native.onLostFile(
  (path) =>
    new FileError(path, 'became shorter, or its disk failed, while its tensors were in use; load it again'),
);

/** Throws FileError when the array lies in a mapped file that became shorter. */
export const checkFile = (array: TypedArray): void => native.checkFile(array);

/**
 * The bytes of a regular file: mapped, or read where the system cannot map.
 *
 * @param kind What it should be, for messages: `safetensors`.
 * @throws FileError for anything else (a folder, a pipe, a device), at once.
 */
export function mapFile(path: string, kind: string): ArrayBuffer {
  try {
    const stats = statSync(path);
    if (stats.isDirectory()) throw new FileError(path, `is a folder, not a ${kind} file`);
    if (!stats.isFile()) throw new FileError(path, 'is not a regular file');
    try {
      return native.mapFile(path);
    } catch {
      return readWhole(path); // which gives the reason when the file itself is the matter
    }
  } catch (error) {
    throw fileError(path, 'cannot be read', error);
  }
}

function readWhole(path: string): ArrayBuffer {
  const file = openSync(path, 'r');
  try {
    const bytes = new Uint8Array(fstatSync(file).size);
    for (let done = 0; done < bytes.length;) {
      const count = readSync(file, bytes, done, Math.min(bytes.length - done, 2 ** 30), done);
      if (count === 0) throw new FileError(path, 'became shorter while it was read');
      done += count;
    }
    return bytes.buffer;
  } finally {
    closeSync(file);
  }
}

/** Elements of a file from byte `start` on: a view, or a copy where they are not aligned. */
export function elementsAt(buffer: ArrayBuffer, dtype: DType, start: number, bytes: number): TypedArray {
  const { array, bytes: elementBytes } = dtypes[dtype];
  return start % elementBytes === 0
    ? new array(buffer, start, bytes / elementBytes)
    : new array(buffer.slice(start, start + bytes), 0, bytes / elementBytes);
}

/**
 * 64-bit integers, given as pairs of words, as 32-bit ones.
 *
 * @param fail Is given the position of one that does not fit, and throws.
 */
export function narrowed(words: TypedArray, fail: (position: number) => never): Int32Array {
  const narrow = new Int32Array(words.length / 2);
  for (let i = 0; i < narrow.length; i++) {
    narrow[i] = words[2 * i];
    if (words[2 * i + 1] !== narrow[i] >> 31) fail(i);
  }
  return narrow;
}
