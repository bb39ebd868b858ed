/**
 * Processes that work together, as `mpirun` starts them, on one machine or several. Open MPI comes from the system and is
 * opened when a group is; sums run on a thread of their own, in the order in which they are asked for, which has to be the
 * same in all processes.
 */

import { ArgumentError, DistributedError } from './errors.js';
import { native } from './native.js';
import type { Tensor } from './tensor.js';

/** What mpirun says of this process in its environment; null where mpirun has not started it. */
export function launchedProcess(env: NodeJS.ProcessEnv = process.env): LaunchedProcess | null {
  const number = (name: string): number => Number(env[name] ?? NaN);
  const size = number('OMPI_COMM_WORLD_SIZE');
  if (Number.isInteger(size)) {
    return { rank: number('OMPI_COMM_WORLD_RANK'), size, perHost: number('OMPI_COMM_WORLD_LOCAL_SIZE') };
  }
  if (env.PMI_SIZE !== undefined && Number(env.PMI_SIZE) > 1) {
    throw new DistributedError(
      "MPI: this process was started by another MPI's mpirun; start it with that of Open MPI 4 (mpirun.openmpi)",
    );
  }
  return null;
}

/** A process of an mpirun. */
export interface LaunchedProcess {
  readonly rank: number;
  readonly size: number;
  /** Processes on this host. */
  readonly perHost: number;
}

/** This process among those of an mpirun. */
export class ProcessGroup {
  /** Which one this is, from 0. */
  readonly rank: number;
  /** How many there are. */
  readonly size: number;
  /** The library's name and version. */
  readonly library: string;
  #waitingSince: number | null = null;
  #jobs = 0;

  private constructor({ rank, size, library }: { rank: number; size: number; library: string }) {
    this.rank = rank;
    this.size = size;
    this.library = library;
  }

  /**
   * Joins the processes that were started together; alone where mpirun has not started this one. All have to do it.
   * @throws DistributedError when there is no Open MPI.
   */
  static open(): ProcessGroup {
    try {
      return new ProcessGroup(native.mpiOpen());
    } catch (cause) {
      throw new DistributedError((cause as Error).message, { cause });
    }
  }

  /** Milliseconds for which this process has waited for the others without an end; 0 while it does not wait. */
  get waiting(): number {
    return this.#waitingSince === null ? 0 : performance.now() - this.#waitingSince;
  }

  /**
   * Sums tensors over the processes, in place: each ends with the same bits. Resolves when it is done; until then nothing
   * may read or write them.
   * @throws ArgumentError unless they are contiguous float32.
   */
  async sum(tensors: readonly Tensor[]): Promise<void> {
    const memory = tensors.map((t) => elements('sum', t));
    await this.#job(() => native.mpiSum(...memory));
    for (const t of tensors) t.storage.changed();
  }

  /** Sums numbers over the processes, each at its place. */
  async sumNumbers(values: readonly number[]): Promise<number[]> {
    const numbers = Float64Array.from(values);
    await this.#job(() => native.mpiSumNumbers(numbers));
    return [...numbers];
  }

  /** Copies the first process's tensors to all. As for {@link sum}, nothing may read or write them until it is done. */
  async broadcast(tensors: readonly Tensor[]): Promise<void> {
    const memory = tensors.map((t) => elements('broadcast', t));
    await this.#job(() => native.mpiBroadcast(...memory));
    for (const t of tensors) t.storage.changed();
  }

  /** Leaves the group, when all do; a process that ends without it ends them all. */
  close(): Promise<void> {
    return this.#job(() => native.mpiClose());
  }

  async #job(start: () => Promise<void>): Promise<void> {
    const done = start();
    this.#jobs++;
    this.#waitingSince ??= performance.now();
    await done;
    this.#waitingSince = --this.#jobs === 0 ? null : performance.now();
  }
}

function elements(name: string, t: Tensor): Float32Array {
  if (t.dtype !== 'float32' || !t.isContiguous) {
    const layout = t.isContiguous ? '' : ', not contiguous';
    throw new ArgumentError(
      `ProcessGroup.${name}: tensors must be contiguous float32, got ${t.dtype}${layout}`,
    );
  }
  return (t.memory as Float32Array).subarray(t.offset, t.offset + t.size);
}
