/** Training in several processes, which `mpirun` started: what each does of the command. */

import { availableParallelism } from 'node:os';

import { launchedProcess, ProcessGroup, setThreads } from '../../lib/index.js';
import { readTrainingProgress, type Trainer } from '../training/index.js';
import { UsageError, type ParsedFlags } from './args.js';
import type { trainFlags } from './commands.js';
import { shellWord } from './format.js';

type Flags = ParsedFlags<typeof trainFlags>;

/**
 * Joins the processes of an mpirun; undefined where there are no others. The processors of a host are divided among its
 * processes, unless the user has said how many threads each has.
 */
export function joinProcesses({ values }: Flags): ProcessGroup | undefined {
  const launched = launchedProcess();
  if (launched === null || launched.size === 1) return undefined;
  if (values.data === '-') {
    throw new UsageError('--data - cannot be read by several processes; give a file that all of them see');
  }
  if (values.threads === undefined && !process.env.TSGPT_THREADS) {
    setThreads(Math.max(1, Math.floor(availableParallelism() / launched.perHost)));
  }
  return ProcessGroup.open();
}

/**
 * The flags with as many batches in a step as the processes need: one for each, unless the user or the saved run has said.
 * @throws UsageError when they cannot be divided among the processes.
 */
export function divideBatches(flags: Flags, processes: ProcessGroup): Flags {
  const { values, given } = flags;
  const { size } = processes;
  if (values.resume || given.has('grad-accum-steps')) {
    checkDivides(values, size, !values.resume);
    return flags;
  }
  return { values: { ...values, 'grad-accum-steps': size }, given: new Set([...given, 'grad-accum-steps']) };
}

function checkDivides(values: Flags['values'], size: number, fresh: boolean): void {
  const batches = values['grad-accum-steps'];
  if (!fresh || batches % size === 0) return;
  throw new UsageError(
    `--grad-accum-steps ${batches} must be a multiple of ${size}: the ${size} processes divide a step's batches among them`,
  );
}

/** The first process's number, in all of them. */
export async function shared(value: number, processes: ProcessGroup | undefined): Promise<number> {
  if (processes === undefined) return value;
  return (await processes.sumNumbers([processes.rank === 0 ? value : 0]))[0];
}

/**
 * Where a process is lost, mpirun asks the others to end, and ends them a little later. A step that then waits for the lost
 * one never ends: this process says so, and what is saved.
 */
export function watchOthers(
  processes: ProcessGroup,
  trainer: Trainer,
  folder: string,
  signal: AbortSignal,
): void {
  // mpirun's patience, which it tells its processes where the user has set it, less the time to say it.
  const patience = Number(process.env.OMPI_MCA_odls_base_sigkill_timeout ?? 1) * 1000 - 400;
  signal.addEventListener('abort', () => {
    setTimeout(() => {
      if (processes.waiting < patience - 50) return;
      const { step } = readTrainingProgress(folder);
      process.stderr.write(
        `tsgpt: another of the ${processes.size} processes has ended or does not answer, so the run ends at step ${trainer.step}; ` +
          `it is saved at step ${step}, continue with: mpirun ... tsgpt train --model ${shellWord(folder)} --resume\n`,
      );
      process.exit(1);
    }, patience).unref();
  });
}
