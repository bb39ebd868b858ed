/** What shows a training run: its page, the same live, TensorBoard's event files. */

import { basename, resolve } from 'node:path';

import { oneLine } from '../../lib/errors.js';
import { writeFileAtomic } from '../../lib/formats/atomic-file.js';
import { readMetrics, readTrainingProgress, type Trainer } from '../training/index.js';
import { LiveServer, renderPage, RunCurves, TensorBoardWriter } from '../visualize/index.js';
import type { RunValues } from './run-flags.js';

/** Shows a run until it is closed. */
export interface Watch {
  /** Where the live page is, if there is one. */
  readonly url: string | undefined;
  /** Writes the page as it is at the end, and closes what was opened. */
  close(): Promise<void>;
}

/** Starts what the flags ask for. What a resumed run did before is shown too. */
export async function watchRun<B>(trainer: Trainer<B>, values: RunValues): Promise<Watch> {
  const { model: folder, metrics, live: port, tensorboard } = values;
  const curves = new RunCurves();
  if (trainer.step > 0) {
    for (const record of readMetrics(folder, readTrainingProgress(folder))) curves.add(record);
  }
  const name = basename(resolve(folder));
  const total = trainer.steps;
  const live = port === undefined ? undefined : await LiveServer.open(curves, { name, total, port });
  const events = tensorboard === undefined ? undefined : new TensorBoardWriter(tensorboard, trainer.step + 1);
  const writePage = (): void => {
    if (metrics === undefined) return;
    writeFileAtomic(metrics, renderPage([curves.data(name, total)], { title: name }));
  };
  writePage(); // a place that cannot be written is found before the training
  const refresh = (): void => {
    try {
      writePage();
    } catch (error) {
      process.stderr.write(`${oneLine((error as Error).message)}; the training goes on without it\n`);
    }
  };
  trainer.on('metrics', (record) => {
    if (live === undefined) curves.add(record);
    else live.add(record);
    events?.add(record);
  });
  trainer.on('evaluation', refresh);
  return {
    url: live?.url,
    async close() {
      await live?.close();
      events?.[Symbol.dispose]();
      refresh();
    },
  };
}
