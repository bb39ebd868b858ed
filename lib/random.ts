/**
 * Random numbers by counting: number i of a stream is a function of (seed, i), Philox 4x32-10 (Salmon et al., "Parallel
 * random numbers: as easy as 1, 2, 3", 2011). A stream's state is therefore two numbers, saved with a checkpoint, and
 * kernels can draw any part of it on any number of threads. The same definition is native/cpu/philox.h.
 */

import { ArgumentError } from './errors.js';

/** Where a random stream stands. */
export type StreamState = Readonly<Record<'seed' | 'offset', number>>;

/** What a computation has drawn from: each stream's state before its first draw. */
export type Draws = ReadonlyMap<Generator, StreamState>;

const recorders = new Set<Map<Generator, StreamState>>();

/** Runs `body` and gives what it draws from, so that {@link replayDraws} can repeat it. */
export function recordDraws<T>(body: () => T): [T, Draws] {
  const draws = new Map<Generator, StreamState>();
  recorders.add(draws);
  try {
    return [body(), draws];
  } finally {
    recorders.delete(draws);
  }
}

/** Runs `body` with the random numbers of a recorded computation; the streams are then where they were. */
export function replayDraws<T>(draws: Draws, body: () => T): T {
  const before = Array.from(draws.keys(), (stream) => [stream, stream.state()] as const);
  for (const [stream, state] of draws) stream.setState(state);
  try {
    return body();
  } finally {
    for (const [stream, state] of before) stream.setState(state);
  }
}

/** A seeded stream of random numbers. */
export class Generator {
  #seed: number;
  /** Position of the next number. */
  #offset = 0;
  #block = [-1, 0, 0, 0, 0];

  /** @param seed A non-negative integer below 2^53. */
  constructor(seed: number) {
    this.#seed = checkSeed(seed);
  }

  get seed(): number {
    return this.#seed;
  }

  /** What continues the stream here: `setState` it later. */
  state(): StreamState {
    return { seed: this.#seed, offset: this.#offset };
  }

  setState(state: StreamState): void {
    this.#seed = checkSeed(state.seed);
    this.#offset = checkSeed(state.offset);
    this.#block[0] = -1;
  }

  #note(): void {
    for (const draws of recorders) if (!draws.has(this)) draws.set(this, this.state());
  }

  /** Reserves `count` numbers for a kernel and returns the position of the first. */
  reserve(count: number): number {
    this.#note();
    const first = this.#offset;
    this.#offset += count;
    return first;
  }

  /** The next 32 random bits. */
  nextUint32(): number {
    this.#note();
    const at = this.#offset++;
    const index = Math.floor(at / 4);
    if (this.#block[0] !== index) this.#block = [index, ...philox(this.#seed, index)];
    return this.#block[1 + (at % 4)];
  }

  /** A uniform number in [0, 1) with 53 random bits. */
  nextFloat(): number {
    const high = this.nextUint32() >>> 5;
    return (high * 2 ** 26 + (this.nextUint32() >>> 6)) / 2 ** 53;
  }

  /** A uniform integer in [0, n). */
  nextInt(n: number): number {
    return Math.floor(this.nextFloat() * n);
  }
}

function checkSeed(seed: number): number {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new ArgumentError(`seed: must be an integer from 0 to 2^53 - 1, got ${seed}`);
  }
  return seed;
}

/** High 32 bits of the product of two unsigned 32-bit integers. */
function multiplyHigh(a: number, b: number): number {
  const low = (a & 0xffff) * b;
  const high = (a >>> 16) * b + Math.floor(low / 65536);
  return Math.floor(high / 65536) >>> 0;
}

/** Block `index` of the stream of `seed`: four 32-bit words. */
export function philox(seed: number, index: number): [number, number, number, number] {
  let c0 = index >>> 0;
  let c1 = Math.floor(index / 2 ** 32) >>> 0;
  let c2 = 0;
  let c3 = 0;
  let k0 = seed >>> 0;
  let k1 = Math.floor(seed / 2 ** 32) >>> 0;
  for (let round = 0; round < 10; round++) {
    const h0 = multiplyHigh(0xd2511f53, c0);
    const l0 = Math.imul(0xd2511f53, c0) >>> 0;
    const h1 = multiplyHigh(0xcd9e8d57, c2);
    const l1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    [c0, c1, c2, c3] = [(h1 ^ c1 ^ k0) >>> 0, l1, (h0 ^ c3 ^ k1) >>> 0, l0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** The stream that operations use when they are given none. Seeded from the clock until {@link manualSeed}. */
export const defaultGenerator = new Generator(Date.now());

/** Restarts the default stream at `seed`: what follows is reproducible, bit for bit. */
export function manualSeed(seed: number): void {
  defaultGenerator.setState({ seed, offset: 0 });
}
