/**
 * Memory of tensors. JavaScript owns it, kernels borrow it for the length of a call.
 *
 * A storage is a typed array over a block of memory; it counts its users (tensor handles, values saved for backward)
 * and its block returns to the pool (pool.ts) when the last one lets go. A storage that nobody lets go of (made outside
 * any scope) is watched weakly: once the garbage collector has taken the tensor, its block returns to the pool too.
 * Forgetting to free therefore costs speed, never correctness.
 */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { dtypes, type DType, type TypedArray } from './dtype.js';
import { MemoryError } from './errors.js';
import { native } from './native.js';
import { blockSize, pool, type Block } from './pool.js';

/** Blocks of watched storages by watch id. */
const watched = new Map<number, Block>();

/** Something made from a storage's elements, of use until they change. */
interface Derived {
  dispose(): void;
}

/** Gives up memory that can be done without; see packed-weights.ts. */
let onShortage: () => void = () => undefined;

export function whenMemoryIsShort(giveUp: () => void): void {
  onShortage = giveUp;
}

/** What has memory of its own, by the id of the watch over the storage that it was made from. */
const watchedDerived = new Map<number, Derived>();

let liveBytes = 0;
let liveStorages = 0;
let peakBytes = 0;
/** Bytes handed out to watched storages since the last sweep. */
let unsweptBytes = 0;
let unsweptCount = 0;

const sweepBytes = 32 * 2 ** 20;
const sweepCount = 4096;
/**
 * Before the pool asks the system, it gives back what would make it hold more than this beyond the greatest amount that was
 * live at once, as far as whole buffers are free: the process stays small where the sizes of tensors change all the time.
 */
const poolSlack = 64 * 2 ** 20;

/** Memory statistics; see {@link memory}. */
export interface MemoryStats {
  /** Bytes held by tensors. */
  readonly liveBytes: number;
  /** Bytes free for reuse. */
  readonly pooledBytes: number;
  /** Greatest `liveBytes` since the start or {@link resetPeakMemory}. */
  readonly peakBytes: number;
  /** Storages held by tensors (views share one), packed weights among them. */
  readonly tensors: number;
  /** Buffers asked from the system so far: it stops growing once a loop is in its stride. */
  readonly systemAllocations: number;
  /** Bytes of workspace held by the kernels' threads. */
  readonly workspaceBytes: number;
}

let collectGarbage: (() => void) | null = null;

/** V8's garbage collector as a function. It is always there, but shown only on request. */
function exposeGarbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}

/**
 * What tensors and the pool hold now; mapped files are not counted. Runs the garbage collector first (some
 * milliseconds), so that the figures do not depend on when it last ran: two calls at the same place of a loop agree.
 */
export function memory(): MemoryStats {
  collectGarbage ??= exposeGarbageCollector();
  collectGarbage();
  sweep();
  const workspaceBytes = native.scratchBytes();
  const { pooledBytes, systemAllocations } = pool;
  return { liveBytes, pooledBytes, peakBytes, tensors: liveStorages, systemAllocations, workspaceBytes };
}

/** Starts a new measurement of `memory().peakBytes` from what is live now. */
export function resetPeakMemory(): void {
  sweep();
  peakBytes = liveBytes;
}

/** Gives back to the system what is free, as far as nothing shares its segment. */
export function emptyPool(): void {
  sweep();
  pool.trim(0);
}

export class Storage {
  /** Number of tensors and saved values that use it. */
  users = 0;
  /** Counts in-place writes, so that backward can refuse a saved value that was overwritten. */
  #version = 0;
  /** Packed weights, see packed-weights.ts. */
  derived: Derived | null = null;
  #derivedWatch = -1;
  #exposed = false;
  #data: TypedArray | null;
  #block: Block | null;
  #watch = -1;

  private constructor(
    readonly dtype: DType,
    data: TypedArray,
    block: Block | null,
  ) {
    this.#data = data;
    this.#block = block;
  }

  /** Uninitialised memory for `count` elements, from the pool or the system. */
  static allocate(dtype: DType, count: number): Storage {
    const { bytes: elementBytes, array } = dtypes[dtype];
    const block = takeBlock(blockSize(count * elementBytes));
    let view = block.view;
    if (view?.constructor !== array) {
      view = new array(block.buffer, block.offset, block.bytes / elementBytes);
      block.view = view;
    }
    liveBytes += block.bytes;
    liveStorages++;
    if (liveBytes > peakBytes) peakBytes = liveBytes;
    return new Storage(dtype, view, block);
  }

  /** A storage over memory that belongs to somebody else: a caller's array or a mapped file. */
  static over(dtype: DType, data: TypedArray): Storage {
    return new Storage(dtype, data, null);
  }

  /** The elements. The array may be longer than the tensor that uses it. */
  get data(): TypedArray {
    if (this.#data === null) throw new MemoryError('storage: used after its memory was given back');
    return this.#data;
  }

  /** Whether the memory is this library's own (not a caller's array or a mapped file). */
  get pooled(): boolean {
    return this.#block !== null;
  }

  get version(): number {
    return this.#version;
  }

  /** To be called whenever elements have been written that may have been read before. */
  changed(): void {
    this.#version++;
    this.forget();
  }

  /** Has `derived` disposed with this storage, also when the garbage collector takes it. */
  watchDerived(bytes: number): void {
    if (this.derived === null || this.#derivedWatch >= 0) return;
    this.#derivedWatch = native.watch(this, bytes);
    watchedDerived.set(this.#derivedWatch, this.derived);
    unsweptBytes += bytes;
    unsweptCount++;
  }

  /** Gives up what was made from the elements. */
  forget(): void {
    if (this.derived === null) return;
    this.derived.dispose();
    this.derived = null;
    if (this.#derivedWatch < 0) return;
    native.unwatch(this.#derivedWatch);
    watchedDerived.delete(this.#derivedWatch);
    this.#derivedWatch = -1;
  }

  /** Whether somebody outside may write to the elements without telling. */
  get exposed(): boolean {
    return this.#exposed;
  }

  expose(): void {
    this.#exposed = true;
    this.forget();
  }

  /** One user fewer; the last one gives the memory back. */
  release(): void {
    if (--this.users > 0 || this.#data === null) return;
    this.#data = null;
    this.forget();
    const block = this.#block;
    if (block === null) return;
    this.#block = null;
    if (this.#watch >= 0) {
      native.unwatch(this.#watch);
      watched.delete(this.#watch);
      this.#watch = -1;
    }
    giveBack(block);
  }

  /** Lets the garbage collector give the memory back, for a storage that no scope looks after. */
  watch(): void {
    if (this.#block === null || this.#watch >= 0) return;
    this.#watch = native.watch(this, this.#block.bytes);
    watched.set(this.#watch, this.#block);
    unsweptBytes += this.#block.bytes;
    unsweptCount++;
  }
}

function giveBack(block: Block): void {
  liveBytes -= block.bytes;
  liveStorages--;
  pool.put(block);
}

/** Takes back the blocks of watched storages that the garbage collector has found dead, and what was made from them. */
function sweep(): void {
  unsweptBytes = 0;
  unsweptCount = 0;
  for (const id of native.sweepWatched()) {
    watchedDerived.get(id)?.dispose();
    watchedDerived.delete(id);
    const block = watched.get(id);
    if (block === undefined) continue;
    watched.delete(id);
    giveBack(block);
  }
}

function takeBlock(bytes: number): Block {
  let block = pool.take(bytes);
  if (block === undefined && (unsweptBytes > sweepBytes || unsweptCount > sweepCount)) {
    sweep();
    block = pool.take(bytes);
  }
  if (block !== undefined) return block;
  pool.trim(Math.max(0, Math.max(peakBytes, liveBytes + bytes) + poolSlack - liveBytes - bytes));
  try {
    return pool.grow(bytes);
  } catch (cause) {
    onShortage();
    emptyPool();
    try {
      return pool.take(bytes) ?? pool.grow(bytes, bytes);
    } catch {
      throw new MemoryError(
        `out of memory: could not allocate ${bytes} bytes beside ${liveBytes} bytes in use; ` +
          'use a smaller batch, sequence or model',
        { cause },
      );
    }
  }
}
