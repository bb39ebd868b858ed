/** Recorded data that is too large for the repository: ../shared/data beside it, where tests look and otherwise skip. */

import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { repositoryRoot } from './golden.js';

/** Path of something in ../shared/data. */
export const shared = (...path: string[]): string => resolve(repositoryRoot, '../shared/data', ...path);

/** For `describe.skipIf(isMissing(...))`: whether it is not there, which is said once. */
export function isMissing(...path: string[]): boolean {
  const missing = !existsSync(shared(...path));
  if (missing) console.warn(`skipped: ${shared(...path)} is not there`);
  return missing;
}

/** A JSON file in ../shared/data. */
export function readShared<T>(...path: string[]): T {
  return JSON.parse(readFileSync(shared(...path), 'utf8')) as T;
}
