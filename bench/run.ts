/**
 * `npm run bench`: measures tsgpt beside its rivals where they are installed, prints tables, then one JSON line with all
 * numbers. docs/benchmarking.md describes the method.
 */

import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';

import { didYouMean } from '../lib/errors.js';
import {
  describeFlags,
  integer,
  parseFlags,
  section,
  text,
  toggle,
  UsageError,
  type FlagValues,
} from '../src/cli/args.js';
import {
  buildPeaks,
  compile,
  contendersOf,
  findPackages,
  findPython,
  hasOpenblas,
  own,
  root,
  torch,
  type Rivals,
} from './contenders.js';
import { compare, runTrial, summarize, type Contender, type Peaks } from './harness.js';
import { parts, type Part, type PartName, type Task } from './parts.js';
import { conditionsText, ladderTable, memoryTable, timeTable, type TaskResult } from './table.js';

const flags = section('Flags', {
  peers: toggle({ help: 'fail unless PyTorch is there (--no-peers leaves all rivals out)' }),
  compiled: toggle({ help: 'also PyTorch with torch.compile in parts train, encoder and t5' }),
  quick: toggle({ help: 'few cases, two rounds: shows that everything runs, measures nothing well' }),
  task: text({
    hint: 'TEXT',
    help: "only the tasks whose name has this in it, like 'bfloat16' of part gemm",
  }),
  rounds: integer({ min: 1, help: 'rounds, instead of those of each part' }),
  threads: integer({ default: availableParallelism(), min: 1, help: 'threads of every contender' }),
  text: text({
    hint: 'FILE',
    default: join(root, 'examples/data/tinyshakespeare.txt'),
    help: 'text of part char',
  }),
  out: text({ hint: 'FILE', help: 'append the JSON line to this file' }),
  help: toggle({ help: 'show this text' }),
});

/** What the parts of a run share. */
interface Session {
  readonly options: FlagValues<typeof flags>;
  readonly rivals: Rivals;
  readonly peaks: () => Peaks | null;
  /** The program of part ladder; null without a compiler. */
  readonly ladder: string | null;
  /** For what the programs write; removed at the end. */
  readonly folder: string;
}

try {
  main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}

function main(args: readonly string[]): void {
  const firstFlag = args.findIndex((arg) => arg.startsWith('--'));
  const words = firstFlag < 0 ? args : args.slice(0, firstFlag);
  const { values: options, given } = parseFlags(flags, args.slice(words.length));
  if (options.help) {
    const usage = `npm run bench -- [${Object.keys(parts).join(' | ')}]... [flags]`;
    process.stdout.write(`${usage}\n${describeFlags(flags)}\n`);
    return;
  }
  const unknown = words.find((word) => !Object.hasOwn(parts, word));
  if (unknown !== undefined) {
    throw new UsageError(`no part '${unknown}'${didYouMean(unknown, Object.keys(parts))}`);
  }
  const chosen = (words.length > 0 ? words : Object.keys(parts)) as PartName[];
  const { task = '' } = options;
  const wanted = chosen.map((name): Part => parts[name]);
  for (const part of wanted) {
    const names = part.tasks({ ...options, folder: '' }).map((task) => task.name);
    if (names.some((name) => name.includes(task))) continue;
    throw new UsageError(`no task '${task}' in '${part.title}', which has ${names.join(', ')}`);
  }
  const alone = given.has('peers') && !options.peers;
  const rivals = {
    python: alone ? null : findPython(options.peers, note),
    openblas: !alone && wanted.some((part) => part.openblas) && hasOpenblas(note),
    packages: alone ? {} : findPackages(wanted, note),
    compiled: options.compiled,
  };
  const folder = mkdtempSync(join(tmpdir(), 'tsgpt-bench-'));
  try {
    const peaks = buildPeaks(folder, options.threads, note);
    const ladder = chosen.includes('ladder')
      ? compile('ladder.cpp', folder, ['-fno-tree-vectorize', '-fno-tree-slp-vectorize'], note)
      : null;
    const session: Session = { options, rivals, peaks, ladder, folder };
    const machine = {
      cpu: cpus()[0].model,
      cores: cpus().length,
      memoryBytes: totalmem(),
      kernel: release(),
      node: process.version,
      threads: options.threads,
    };
    note(`${machine.cpu}, ${machine.cores} cores, ${machine.threads} threads, Node ${machine.node}`);
    const results = chosen.map((name) => ({ part: name, tasks: runPart(session, name).map(compact) }));
    const line = JSON.stringify(
      { date: new Date().toISOString(), machine, quick: options.quick, results },
      shorten,
    );
    process.stdout.write(`\n${line}\n`);
    if (options.out !== undefined) appendFileSync(options.out, `${line}\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function runPart({ options, rivals, peaks, ladder, folder }: Session, name: PartName): TaskResult[] {
  const part: Part = parts[name];
  const rounds = options.rounds ?? (options.quick ? 2 : part.rounds);
  const scale = { quick: options.quick, text: options.text, folder: join(folder, 'model') };
  const chosen = part.tasks(scale).filter((task) => task.name.includes(options.task ?? ''));
  const tasks = chosen.map((task): TaskResult => {
    const contenders = contendersOf(part, rivals).filter(({ serves }) => serves?.(task) ?? true);
    note(`${name}, ${task.name}: ${rounds} rounds of ${contenders.map((c) => c.name).join(', ')}`);
    const extra = part.ladder ? { ladder } : weightsOf(part, task, folder);
    const whole = { ...task, ...extra, threads: options.threads };
    const { maxError = 1e-5, tolerance = part.tolerance } = task;
    const measured = compare(contenders, whole, { rounds, peaks, tolerance, maxError });
    const cases = summarize(measured);
    if (name === 'char' && rivals.python !== null) {
      confirmLoss(
        torch(part.peer!, rivals.python),
        { ...whole, weights: scale.folder },
        cases[0].contenders.tsgpt,
      );
    }
    return { name: task.name, rounds: measured, cases };
  });
  const cases = tasks.flatMap((task) => task.cases);
  const rows = part.memory
    ? memoryTable(tasks)
    : part.ladder
      ? ladderTable(cases)
      : timeTable(cases, part.microseconds ?? false);
  process.stdout.write(
    `\n### ${part.title}\n\n${rows}\n\n${conditionsText(tasks.flatMap((task) => task.rounds))}\n`,
  );
  return tasks;
}

/** The same random weights for all contenders, saved once for each size. */
function weightsOf(part: Part, task: Task, folder: string): { weights?: string } {
  if (!part.sameWeights) return {};
  const digest = createHash('sha256').update(JSON.stringify(task.config)).digest('hex');
  const weights = join(folder, `weights-${digest.slice(0, 12)}`);
  if (!existsSync(weights)) {
    mkdirSync(weights);
    runTrial(own('models/save-weights'), { config: task.config, folder: weights, threads: 1 });
  }
  return { weights };
}

/** PyTorch must find the same validation loss in the model that the last of our trials saved. */
function confirmLoss(peer: Contender, task: object, { losses }: { losses: readonly number[] }): void {
  const [{ loss: confirmed }] = Object.values(runTrial(peer, task).results);
  const reported = losses[losses.length - 1];
  if (confirmed === undefined || !(Math.abs(confirmed - reported) < 1e-3)) {
    throw new Error(
      `char: tsgpt reports a validation loss of ${reported}, PyTorch finds ${confirmed} in its model`,
    );
  }
  note(`PyTorch finds a validation loss of ${confirmed.toFixed(4)} in the model that tsgpt saved`);
}

/** The JSON of a task: of the rounds only what the cases do not say. */
function compact({ name, rounds, cases }: TaskResult): object {
  const conditions = rounds.map(({ peaks, trials }) => ({
    peaks,
    trials: Object.entries(trials).map(([contender, trial]) => ({
      contender,
      version: trial.version,
      peakRssBytes: trial.peakRssBytes,
      cpuSeconds: trial.cpuSeconds,
      foreign: trial.foreign,
    })),
  }));
  return { name, cases, conditions };
}

/** Six digits of a measured number say all. */
function shorten(_: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}

function note(line: string): void {
  process.stderr.write(`[bench] ${line}\n`);
}
