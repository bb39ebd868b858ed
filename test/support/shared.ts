/** The recorded data that is too large for the repository: ../shared/data beside the checkout. */

import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { repositoryRoot } from './golden.js';

const folder = resolve(repositoryRoot, '..', 'shared', 'data');

export const sharedData = (...path: string[]): string => join(folder, ...path);

/** For `describe.skipIf`: whether the data is not there. Says so once. */
export const sharedMissing = !existsSync(folder);
if (sharedMissing) console.warn(`skipped: there is no recorded data in ${folder}`);

export function readShared<T>(...path: string[]): T {
  return JSON.parse(readFileSync(sharedData(...path), 'utf8')) as T;
}
