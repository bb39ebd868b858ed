/** Recorded data that is too large for the repository: ../shared/data. Tests that need it are skipped where it is missing. */

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { repositoryRoot } from './golden.js';

const root = resolve(repositoryRoot, '..', 'shared', 'data');

export const sharedData = (...path: string[]): string => join(root, ...path);

/** Whether the data is missing here; says so once. */
export const noSharedData = !existsSync(root);
if (noSharedData) console.warn(`${root} is missing: the tests on recorded data are skipped`);
