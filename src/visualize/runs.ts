/** Runs on disk as data for a page. */

import { basename, resolve } from 'node:path';

import { readMetrics } from '../training/metrics.js';
import { RunCurves, type RunData } from './run-curves.js';

/** Settings of {@link readRun}. */
export interface ReadRunOptions {
  /** What the page calls the run, the folder's name by default. */
  readonly name?: string;
}

/**
 * Reads the metrics of a run.
 * @param folder A run's folder, or its `metrics.jsonl` by another name.
 * @throws FileError when there are none, or they are damaged.
 */
export function readRun(
  folder: string,
  { name = basename(resolve(folder), '.jsonl') }: ReadRunOptions = {},
): RunData {
  const curves = new RunCurves();
  for (const record of readMetrics(folder)) curves.add(record);
  return curves.data(name, null);
}

/** Short names for folders: what tells them apart, from the end of the path on. */
export function namesOf(folders: readonly string[]): string[] {
  const parts = folders.map((folder) =>
    resolve(folder)
      .replace(/\.jsonl$/, '')
      .split(/[\\/]/),
  );
  return parts.map((own, i) => {
    for (let count = 1; count <= own.length; count++) {
      const name = own.slice(-count).join('/');
      if (parts.every((other, j) => j === i || other.slice(-count).join('/') !== name)) return name;
    }
    return folders[i];
  });
}
