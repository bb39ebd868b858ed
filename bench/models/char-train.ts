/**
 * Trains a character model with nanoGPT's published CPU settings through the command line, as a user would, and gives
 * its loss over the whole validation part.
 */

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { readTask } from '../measure.js';
import type { Report } from '../measure.js';

/** Settings of the run; the same on every contender's side. */
export interface CharTask {
  readonly name: string;
  readonly text: string;
  readonly steps: number;
  readonly batch: number;
  readonly time: number;
  readonly lr: number;
  readonly minLr: number;
  readonly warmup: number;
  readonly seed: number;
  readonly folder: string;
  readonly config: { readonly n_layer: number; readonly n_head: number; readonly n_embd: number };
  /** Further flags of `tsgpt train`. */
  readonly switches?: readonly string[];
}

/** What `tsgpt train --json` prints, as far as it matters here. */
interface TrainSummary {
  readonly steps: number;
  readonly val_loss: number;
  readonly seconds: number;
  readonly peak_rss_bytes: number;
}

const task = readTask() as CharTask & { readonly threads: number };
const flags = {
  data: task.text,
  layers: task.config.n_layer,
  heads: task.config.n_head,
  embed: task.config.n_embd,
  seq: task.time,
  batch: task.batch,
  steps: task.steps,
  lr: task.lr,
  'min-lr': task.minLr,
  warmup: task.warmup,
  'weight-decay': 0.1,
  beta2: 0.99,
  dropout: 0,
  seed: task.seed,
  'eval-interval': task.steps, // once, at the end
  'gen-samples': 0,
  threads: task.threads,
  model: task.folder,
};
const command = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const child = spawnSync(
  process.execPath,
  [
    command,
    'train',
    '--json',
    ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, `${value}`]),
    ...(task.switches ?? []),
  ],
  { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
);
if (child.status !== 0) throw new Error(`tsgpt train exited with ${child.status ?? child.signal}`);
const summary = JSON.parse(child.stdout) as TrainSummary;
const report: Report = {
  results: {
    [task.name]: {
      seconds: summary.seconds,
      tokens: summary.steps * task.batch * task.time,
      loss: summary.val_loss,
    },
  },
  peakRssBytes: summary.peak_rss_bytes,
  version: 'tsgpt train',
};
process.stdout.write(`${JSON.stringify(report)}\n`);
