/** `tsgpt visualize`: the metrics of runs as one page. */

import { writeFileAtomic } from '../../lib/formats/atomic-file.js';
import { namesOf, readRun, renderPage } from '../visualize/index.js';
import { UsageError } from './args.js';
import type { VisualizeValues } from './commands.js';

/** Runs the command and answers its exit code. */
export function visualize({ 'RUN...': folders, out, title }: VisualizeValues): number {
  if (folders.length === 0) throw new UsageError('no run given; name the folders of one or more');
  const names = namesOf(folders);
  const runs = folders.map((folder, i) => readRun(folder, { name: names[i] }));
  writeFileAtomic(out, renderPage(runs, { title: title ?? names.join(', ') }));
  process.stderr.write(`${folders.length === 1 ? 'a run' : `${folders.length} runs`} drawn in ${out}\n`);
  return 0;
}
