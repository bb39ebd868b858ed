/** Recorded data that is too large for the repository: ../shared/data beside it, where tests look and otherwise skip. */

import { existsSync } from 'node:fs';
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
