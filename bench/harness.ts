/**
 * Runs contenders against one another: every trial in a fresh process, the contenders taking turns within a round, so
 * that a slow minute of the machine hits all of them. Ratios are formed within a round and only then summarized.
 */

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

import { median, type Measurement, type Report } from './measure.js';

/** Somebody who can run a task. */
export interface Contender {
  readonly name: string;
  /** The command that gets the task, as JSON, as its last argument. */
  readonly command: readonly string[];
  /** Environment variables; those that are undefined are removed. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** What it gets beside the task. */
  readonly extra?: object;
  /** Whether it can do a task; all, where this is missing. */
  readonly serves?: (task: Readonly<Record<string, unknown>>) => boolean;
}

/** What the machine could do at most during a round; see bench/peaks.cpp. */
export interface Peaks {
  readonly gflops: number;
  /** Of the processor's bfloat16 dot product instruction; 0 where it has none. */
  readonly bf16Gflops: number;
  /** Of AMX tiles of bfloat16; 0 likewise. */
  readonly tileGflops: number;
  readonly readGbs: number;
  readonly copyGbs: number;
}

/** One contender's trial in a round. */
export interface Trial extends Report {
  /** Processor time it used. */
  readonly cpuSeconds: number;
  /** Processor time that others took meanwhile, as a share of one core. */
  readonly foreign: number;
}

/** All contenders' trials, and the ceilings (null without a compiler). */
export interface Round {
  readonly peaks: Peaks | null;
  readonly trials: Readonly<Record<string, Trial>>;
}

/** Some values with their median and ends. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly all: readonly number[];
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values), all: values };
}

/** Runs one contender in a fresh process. */
export function runTrial({ name, command, env, extra }: Contender, task: object): Trial {
  const [file, ...args] = command;
  const before = processorSeconds();
  const start = performance.now();
  const child = spawnSync(file, [...args, JSON.stringify({ ...task, ...extra })], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 2 ** 26,
  });
  const wall = (performance.now() - start) / 1000;
  if (child.status !== 0) {
    const reason = child.error?.message ?? child.stderr.trim().split('\n').slice(-12).join('\n');
    throw new Error(`${name} (${command.join(' ')}) failed with ${child.status ?? child.signal}:\n${reason}`);
  }
  const report = JSON.parse(child.stdout.trim().split('\n').at(-1)!) as Report;
  const after = processorSeconds();
  const cpuSeconds = after.children - before.children;
  return { ...report, cpuSeconds, foreign: Math.max(0, (after.all - before.all - cpuSeconds) / wall) };
}

/** Seconds that the machine's processors, and the ended children of this process, have worked; 0 where unknown. */
function processorSeconds(): { all: number; children: number } {
  try {
    const machine = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0].split(/\s+/).slice(1).map(Number);
    const [user, nice, system, , , irq, softirq] = machine;
    const own = readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ').map(Number);
    const [childUser, childSystem] = own.slice(13, 15); // cutime, cstime
    return { all: (user + nice + system + irq + softirq) / 100, children: (childUser + childSystem) / 100 };
  } catch {
    return { all: 0, children: 0 };
  }
}

/** Options of {@link compare}. */
export interface CompareOptions {
  readonly rounds: number;
  /** Measures the ceilings, if it can. */
  readonly peaks: () => Peaks | null;
  /** How far `values` of the contenders may differ. */
  readonly tolerance: number;
  /** The greatest `error` that passes. */
  readonly maxError: number;
}

/**
 * Runs a task of every contender in turn, `rounds` times.
 *
 * @throws Error when a result is wrong: nothing is compared then.
 */
export function compare(contenders: readonly Contender[], task: object, options: CompareOptions): Round[] {
  return Array.from({ length: options.rounds }, () => {
    const peaks = options.peaks();
    const trials = Object.fromEntries(contenders.map((c) => [c.name, runTrial(c, task)]));
    checkErrors(trials, options.maxError);
    checkValues(trials, options.tolerance);
    return { peaks, trials };
  });
}

function checkErrors(trials: Record<string, Trial>, most: number): void {
  for (const [name, { results }] of Object.entries(trials)) {
    for (const [key, { error = 0 }] of Object.entries(results)) {
      if (!(error <= most)) throw new Error(`${name}: ${key} is off by ${error} (at most ${most} passes)`);
    }
  }
}

function checkValues(trials: Record<string, Trial>, tolerance: number): void {
  const [[first, { values: expected = [] }], ...others] = Object.entries(trials);
  for (const [name, { values = [] }] of others) {
    const agree =
      values.length === expected.length && values.every((v, i) => Math.abs(v - expected[i]) <= tolerance);
    if (!agree) {
      throw new Error(
        `${first} and ${name} do not compute the same: ${expected.join(', ')} and ${values.join(', ')}`,
      );
    }
  }
}

/** One contender's results of a case, over the rounds. */
export interface CaseResult {
  readonly seconds: Spread;
  /** Its seconds divided by the first contender's in the same round; above 1 it is slower. */
  readonly ratio: Spread;
  /** Greatest error of all rounds. */
  readonly error: number;
  /** Losses of the trained models; empty where nothing is trained. */
  readonly losses: readonly number[];
}

/** One case of a task, over the rounds. */
export interface CaseSummary {
  readonly name: string;
  /** The work of one run; see {@link Measurement}. */
  readonly work: Pick<Measurement, 'flops' | 'bytes' | 'memoryBytes' | 'textBytes' | 'tokens'>;
  /** The first contender's results, and those of the others that have the case. */
  readonly contenders: Readonly<Record<string, CaseResult>>;
  /** Share of the ceiling that the first contender reached, of reading memory or of arithmetic. */
  readonly ceiling?: number;
}

/** Brings the rounds of a task together, a row for each case. */
export function summarize(rounds: readonly Round[]): CaseSummary[] {
  const names = Object.keys(rounds[0].trials);
  const own = names[0];
  return Object.entries(rounds[0].trials[own].results).map(
    ([key, { flops, bytes, memoryBytes, textBytes, tokens }]) => {
      const of = (name: string): Measurement[] => rounds.map((round) => round.trials[name].results[key]);
      const result = (name: string): CaseResult => ({
        seconds: spread(of(name).map((m) => m.seconds)),
        ratio: spread(of(name).map((m, i) => m.seconds / of(own)[i].seconds)),
        error: Math.max(0, ...known(of(name).map((m) => m.error))),
        losses: known(of(name).map((m) => m.loss)),
      });
      const shares = rounds.map(({ peaks }, i) => {
        if (peaks === null) return undefined;
        const ceiling = memoryBytes === undefined ? peaks.gflops : peaks.readGbs;
        const reached = memoryBytes ?? flops;
        return reached === undefined ? undefined : reached / of(own)[i].seconds / 1e9 / ceiling;
      });
      const serving = names.filter((name) => Object.hasOwn(rounds[0].trials[name].results, key));
      return {
        name: key,
        work: { flops, bytes, memoryBytes, textBytes, tokens },
        contenders: Object.fromEntries(serving.map((name) => [name, result(name)])),
        ceiling: known(shares).length > 0 ? median(known(shares)) : undefined,
      };
    },
  );
}

const known = (values: readonly (number | undefined)[]): number[] =>
  values.filter((value) => value !== undefined);
