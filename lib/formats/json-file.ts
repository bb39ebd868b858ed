/** JSON files of a model folder: small, of objects, and from strangers. */

import { readFileSync, statSync } from 'node:fs';

import { FileError, oneLine } from '../errors.js';
import { fileError } from './system-error.js';

/** Greatest length in bytes: the longest index of shards in use has 9 MB. */
const limit = 100_000_000;

/**
 * The object in a JSON file.
 *
 * @throws FileError when the file is missing, unreadable, no regular file (a pipe would be waited for), too long, or does
 *   not hold a JSON object.
 */
export function readJsonObject(path: string): Record<string, unknown> {
  let value: unknown;
  try {
    const stats = statSync(path);
    if (stats.isDirectory()) throw new FileError(path, 'is a folder, not a JSON file');
    if (!stats.isFile()) throw new FileError(path, 'is not a regular file');
    if (stats.size > limit) throw new FileError(path, `has ${stats.size} bytes, the limit is ${limit}`);
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw fileError(path, 'cannot be read', error);
    throw new FileError(path, `is not JSON: ${oneLine(error.message)}`, { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new FileError(path, 'must hold a JSON object');
  }
  return value as Record<string, unknown>;
}
