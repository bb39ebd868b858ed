/**
 * The pool of free memory under storage.ts, so that a training loop asks the system for nothing after its second step.
 *
 * Blocks are aligned, advised for huge pages, and reused by size, the one freed last first: it may still be in a cache.
 * Small blocks come from the system one by one. Large ones are cut from segments, and where no free block has the size
 * that is wanted, free neighbours merge and the smallest that is large enough is cut: the activations that a backward
 * pass has freed become the room of the gradients that it makes.
 */

import { markAsUntransferable } from 'node:worker_threads';
import type { TypedArray } from './dtype.js';
import { native } from './native.js';

/** Aligned memory, free or handed out. */
export interface Block {
  readonly buffer: ArrayBuffer;
  readonly offset: number;
  bytes: number;
  free: boolean;
  /** Neighbours within a segment. */
  before: Block | null;
  after: Block | null;
  /** The last typed array over it, which the next user of the same dtype takes as it is. */
  view: TypedArray | null;
}

/** Blocks of this size or more are cut from segments; all their sizes are multiples of `granule`. */
const largeBytes = 2 ** 19;
const granule = 2 ** 16;
/**
 * A segment's size, unless one block is half as large or more. What nobody has written takes no memory: the system's
 * allocator maps this much afresh. With 32 MiB more is left between blocks, and a step of GPT-2 124M asks the system again.
 */
const segmentBytes = 64 * 2 ** 20;

/**
 * Sizes are rounded up so that blocks fit again: multiples of 64 bytes, four steps an octave from 256 bytes on, multiples of
 * 64 KiB from 512 KiB on.
 */
export function blockSize(bytes: number): number {
  if (bytes <= 64) return 64;
  if (bytes >= largeBytes) return Math.ceil(bytes / granule) * granule;
  const step = Math.max(64, 2 ** (29 - Math.clz32(bytes - 1)));
  return Math.ceil(bytes / step) * step;
}

function list(lists: Map<number, Block[]>, block: Block): void {
  const blocks = lists.get(block.bytes);
  if (blocks === undefined) lists.set(block.bytes, [block]);
  else blocks.push(block);
}

class Pool {
  /** Bytes of free blocks. */
  pooledBytes = 0;
  /** Buffers asked from the system so far. */
  systemAllocations = 0;
  /** Free blocks by size: small ones, and all that lie in segments. */
  readonly #small = new Map<number, Block[]>();
  readonly #large = new Map<number, Block[]>();

  /** A block of `bytes`, a {@link blockSize}, if there is one. */
  take(bytes: number): Block | undefined {
    const large = bytes >= largeBytes;
    const block =
      (large ? this.#large : this.#small).get(bytes)?.pop() ?? (large ? this.#cut(bytes) : undefined);
    if (block === undefined) return undefined;
    this.pooledBytes -= bytes;
    block.free = false;
    return block;
  }

  /** Takes a block back. */
  put(block: Block): void {
    block.free = true;
    this.pooledBytes += block.bytes;
    list(block.bytes < largeBytes ? this.#small : this.#large, block);
  }

  /** A block of new memory. @param size - of the buffer, the rest of which is free */
  grow(bytes: number, size = bytes < largeBytes || bytes >= segmentBytes / 2 ? bytes : segmentBytes): Block {
    const buffer = new ArrayBuffer(size + 64);
    markAsUntransferable(buffer); // a block that a message took away would stay in the pool without its memory
    this.systemAllocations++;
    const offset = native.prepare(buffer);
    const block: Block = { buffer, offset, bytes: size, free: false, before: null, after: null, view: null };
    if (size > bytes) {
      this.pooledBytes += size - bytes;
      this.#split(block, bytes);
    }
    return block;
  }

  /**
   * Gives free memory back to the system, large blocks first, until at most `limit` bytes stay; free parts of segments that
   * are in use stay besides.
   */
  trim(limit: number): void {
    if (this.pooledBytes <= limit) return;
    this.#merge();
    const whole = (block: Block): boolean => block.before === null && block.after === null;
    let bytes = 0;
    for (const lists of [this.#large, this.#small]) {
      for (const [size, blocks] of lists) bytes += size * blocks.filter(whole).length;
    }
    for (const lists of [this.#large, this.#small]) {
      for (const [size, blocks] of lists) {
        if (bytes <= limit) return;
        const kept: Block[] = [];
        for (const block of blocks) {
          if (bytes <= limit || !whole(block)) {
            kept.push(block);
          } else {
            bytes -= size;
            this.pooledBytes -= size;
            native.release(block.buffer);
          }
        }
        if (kept.length === 0) lists.delete(size);
        else lists.set(size, kept);
      }
    }
  }

  /** The first `bytes` of the smallest free block that has more, after free neighbours have merged. */
  #cut(bytes: number): Block | undefined {
    this.#merge();
    let best = Infinity;
    for (const [size, blocks] of this.#large)
      if (size >= bytes && size < best && blocks.length > 0) best = size;
    const block = this.#large.get(best)?.pop();
    if (block !== undefined && best > bytes) this.#split(block, bytes);
    return block;
  }

  /** Leaves `bytes` of a block that is in no list, and lists the rest as free. */
  #split(block: Block, bytes: number): void {
    const { buffer, offset, after } = block;
    const rest: Block = {
      buffer,
      offset: offset + bytes,
      bytes: block.bytes - bytes,
      free: true,
      before: block,
      after,
      view: null,
    };
    if (after !== null) after.before = rest;
    block.after = rest;
    block.bytes = bytes;
    block.view = null;
    list(this.#large, rest);
  }

  /** Makes one block of free neighbours. */
  #merge(): void {
    const large: Block[] = [];
    for (const [size, blocks] of this.#large) {
      if (blocks.every(({ after, before }) => !after?.free && !before?.free)) continue;
      large.push(...blocks);
      this.#large.delete(size);
    }
    for (const block of large) {
      if (block.before?.free) continue; // becomes part of the block before it
      for (let { after } = block; after?.free; { after } = block) {
        block.bytes += after.bytes;
        block.view = null;
        block.after = after.after;
        if (block.after !== null) block.after.before = block;
      }
      list(this.#large, block);
    }
  }
}

/** The one pool of the process. */
export const pool = new Pool();
