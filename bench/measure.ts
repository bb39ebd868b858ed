/**
 * What the measured programs share: the task they were given, timing, checking, the report.
 *
 * A program is started by bench/run.ts in a process of its own, with one JSON task as its argument, checks its results,
 * times them, and ends with one JSON line on standard output. Those in bench/peers do the same in Python.
 */

import { nativeInfo, setThreads } from '../lib/index.js';

/** What was measured of one case. */
export interface Measurement {
  readonly seconds: number;
  /** Arithmetic of one run, for GFLOP/s. */
  readonly flops?: number;
  /** The least traffic one run needs, for GB/s. */
  readonly bytes?: number;
  /** The same where all of it comes from memory, never from a cache. */
  readonly memoryBytes?: number;
  /** Text in UTF-8 that one run works on, for MB/s. */
  readonly textBytes?: number;
  /** Tokens one run works on, for tokens/s. */
  readonly tokens?: number;
  /** Greatest difference from the float64 reference, relative to its greatest value. */
  readonly error?: number;
  /** Loss of the trained model over the whole validation part. */
  readonly loss?: number;
}

/** What a program prints. */
export interface Report {
  readonly results: Readonly<Record<string, Measurement>>;
  /** Numbers that must be the same for every contender. */
  readonly values?: readonly number[];
  readonly peakRssBytes: number;
  readonly version: string;
}

/** The task of this process, which says how many threads to use. */
export function readTask(): unknown {
  const task = JSON.parse(process.argv[2]) as { readonly threads: number };
  setThreads(task.threads);
  return task;
}

/** Prints tsgpt's report. */
export function report(results: Record<string, Measurement>, values?: readonly number[]): void {
  const { isa, gemm, openblasCore } = nativeInfo();
  const version = `tsgpt ${[isa, gemm, openblasCore].filter(Boolean).join(' ')}`;
  printReport({ results, values, version });
}

/** Prints the report of whoever ran in this process. */
export function printReport(fields: Omit<Report, 'peakRssBytes'>): void {
  const line: Report = { ...fields, peakRssBytes: process.resourceUsage().maxRSS * 1024 };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const now = (): number => performance.now() / 1000;

/** Seconds that `body` takes. */
export function secondsOf(body: () => unknown): number {
  const start = now();
  body();
  return now() - start;
}

const limit = 4; // seconds that the samples of a call may take; a slow call gets at least three

/** Seconds of calls before the first sample, so that short ones have been compiled. */
const warmUp = 0.1;

/** How many calls make a sample of 20 ms or more. */
const repeatsFor = (seconds: number): number => Math.max(1, Math.ceil(0.02 / Math.max(seconds, 1e-7)));

/** Median seconds of a call, over `samples` samples of at least 20 ms each; several calls take turns. */
export function secondsPerCall(calls: readonly (() => unknown)[], samples: number): number {
  let least = Infinity;
  for (let i = 0, start = now(); i < 3 || now() - start < warmUp; i++) {
    least = Math.min(least, secondsOf(calls[i % calls.length]));
  }
  const repeats = repeatsFor(least);
  const times: number[] = [];
  let turn = 0;
  let spent = 0;
  while (times.length < samples && (times.length < 3 || spent < limit)) {
    const seconds = secondsOf(() => {
      for (let i = 0; i < repeats; i++) calls[turn++ % calls.length]();
    });
    times.push(seconds / repeats);
    spent += seconds;
  }
  return median(times);
}

/** {@link secondsPerCall} of calls that answer later. */
export async function secondsPerAsyncCall(
  calls: readonly (() => Promise<unknown>)[],
  samples: number,
): Promise<number> {
  let least = Infinity;
  for (let i = 0, start = now(); i < 3 || now() - start < warmUp; i++) {
    const first = now();
    await calls[i % calls.length]();
    least = Math.min(least, now() - first);
  }
  const repeats = repeatsFor(least);
  const times: number[] = [];
  let turn = 0;
  let spent = 0;
  while (times.length < samples && (times.length < 3 || spent < limit)) {
    const start = now();
    for (let i = 0; i < repeats; i++) await calls[turn++ % calls.length]();
    const seconds = now() - start;
    times.push(seconds / repeats);
    spent += seconds;
  }
  return median(times);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Greatest difference of two lists of numbers, relative to the greatest value expected. */
export function relativeError(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0;
  let greatest = 0;
  for (let i = 0; i < expected.length; i++) {
    if (!Number.isFinite(got[i])) return Infinity;
    difference = Math.max(difference, Math.abs(got[i] - expected[i]));
    greatest = Math.max(greatest, Math.abs(expected[i]));
  }
  return difference / greatest;
}

/** `count` token ids below `vocabulary` that the programs in Python compute too (Park and Miller's generator). */
export function tokenIds(count: number, vocabulary: number): Int32Array {
  let state = 1;
  return Int32Array.from({ length: count }, () => {
    state = (state * 16807) % 2147483647;
    return state % vocabulary;
  });
}
