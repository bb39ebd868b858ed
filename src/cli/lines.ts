/** Text that a command reads whole: a file, or standard input. */

import { readFileSync } from 'node:fs';

import { fileError } from '../../lib/formats/system-error.js';
import { FileError } from '../../lib/index.js';
import { decodeUtf8 } from '../data/index.js';

/** A file as messages name it. */
export const sourceName = (path: string): string => (path === '-' ? 'standard input' : path);

/** The lines of a file that are not empty, or of standard input (`-`). @param what One of them, for messages. */
export function readLines(path: string, what = 'prompt'): string[] {
  const lines = readText(path)
    .split(/\r?\n/)
    .filter((line) => line !== '');
  if (lines.length === 0) throw new FileError(sourceName(path), `holds no ${what}`);
  return lines;
}

/** @throws FileError when it cannot be read, or is not UTF-8. */
export function readText(path: string): string {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path === '-' ? 0 : path);
  } catch (error) {
    throw fileError(sourceName(path), 'cannot be read', error);
  }
  return decodeUtf8(bytes, sourceName(path));
}
