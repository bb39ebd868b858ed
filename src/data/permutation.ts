/**
 * A seeded order of n things in which each is found without the others: the thing at any place follows from the place
 * alone, so an order of billions takes no memory, and to go on in it takes nothing but the place. The swap-or-not shuffle
 * (Hoang, Morris and Rogaway, "An Enciphering Scheme Based on a Card Shuffle", 2012): in each round every position has
 * a partner, K - x modulo n, and a bit that the two share says whether they swap. Unlike a Feistel network it works for
 * any n as it is, down to 1.
 */

import { ArgumentError } from '../../lib/errors.js';

/**
 * The order of `size` things under a seed; the same numbers give the same order on every machine.
 *
 * @param size From 1 to 2^48.
 * @param seed Any safe integer from 0.
 * @param stream Tells orders of one seed apart: passes over the data, say.
 * @returns A function of a place, from 0 to `size - 1`, that gives the thing there.
 * @example
 * const order = permutation(5, 1);
 * [0, 1, 2, 3, 4].map(order); // each of 0 to 4 once
 */
export function permutation(size: number, seed: number, stream = 0): (place: number) => number {
  if (!Number.isSafeInteger(size) || size < 1 || size > 2 ** 48) {
    throw new ArgumentError(`permutation: the size must be a whole number from 1 to 2^48, got ${size}`);
  }
  for (const number of [seed, stream]) {
    if (!Number.isSafeInteger(number) || number < 0) {
      throw new ArgumentError(
        `permutation: seed and stream must be whole numbers of at least 0, got ${number}`,
      );
    }
  }
  const key = hash(hash(0x7573676f, seed), stream);
  // The bounds of the paper ask for about 6 log2 n rounds against an adversary; chance needs fewer.
  const rounds = 16 + 6 * Math.ceil(Math.log2(size));
  const keys = Uint32Array.from({ length: rounds }, (_, round) => hash(key, round));
  const sums = Float64Array.from(keys, (k) => wide(k) % size);
  return (place) => {
    let x = place;
    for (let round = 0; round < rounds; round++) {
      const partner = (sums[round] - x + size) % size;
      if ((hash(keys[round], Math.max(x, partner)) & 1) === 1) x = partner;
    }
    return x;
  };
}

/** 53 random bits of a 32-bit key. */
const wide = (key: number): number => hash(key, 1) * 2 ** 21 + (hash(key, 2) >>> 11);

/** A 32-bit hash of a key and a whole number below 2^53: MurmurHash3 of three words. */
function hash(key: number, number: number): number {
  const low = number >>> 0;
  const high = Math.floor(number / 2 ** 32);
  return finish(block(block(block(key, low), high), 0x9e3779b9));
}

function block(state: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  const h = state ^ k;
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

function finish(state: number): number {
  let h = state ^ (state >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
