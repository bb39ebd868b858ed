/** The kernels' threads, and what the native module says of itself and of the machine. */

import { ArgumentError } from './errors.js';
import type { NativeInfo } from './native-addon.js';
import { native } from './native.js';

/** Instruction set, CPU, threads and matrix product backend in use. */
export function nativeInfo(): NativeInfo {
  return native.info();
}

/** Number of threads that kernels run on; the environment variable TSGPT_THREADS sets it from outside. */
export function getThreads(): number {
  return native.info().threads;
}

/** Sets the number of threads that kernels run on. Results do not depend on it. */
export function setThreads(n: number): void {
  if (!Number.isInteger(n) || n < 1) {
    throw new ArgumentError(`setThreads: must be a positive integer, got ${n}`);
  }
  native.setThreads(n);
}
