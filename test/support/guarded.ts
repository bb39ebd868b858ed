/**
 * Memory in which a kernel that leaves its operands is noticed. Every tensor made in a test lies in the middle of a
 * larger array of NaNs (bytes of 255: -1 as an id), itself NaN at first, and off every alignment. What is read outside
 * an operand, or from a result before it is written, spoils the values; what is written outside is seen at the end.
 * Under AddressSanitizer an array ends where its tensor does, so that the sanitizer sees a single byte too far.
 */

import { afterEach, beforeEach, expect, vi } from 'vitest';

import { dtypes } from '../../lib/dtype.js';
import { Storage } from '../../lib/storage.js';
import { sanitized } from './sanitized.js';

/** Elements around a tensor: more than the widest tile of a kernel, and odd. */
const margin = sanitized ? 0 : 131;

/** Makes the tests of the `describe` block that calls it run in such memory. */
export function guardMemory(): void {
  const allocate = Storage.allocate.bind(Storage);
  /** All tensors' memory, with the number of bytes on each side that are not theirs. */
  let made: { readonly bytes: Buffer; readonly around: number }[] = [];

  beforeEach(() => {
    Storage.allocate = (dtype, count) => {
      const { array, bytes: size } = dtypes[dtype];
      const around = margin * size;
      const bytes = Buffer.from(new ArrayBuffer(count * size + 2 * around)).fill(255);
      made.push({ bytes, around });
      return Storage.over(dtype, new array(bytes.buffer, around, count));
    };
    vi.spyOn(Storage.prototype, 'pooled', 'get').mockReturnValue(true); // backward may reuse it, as it does the pool's
  });

  afterEach(() => {
    Storage.allocate = allocate;
    vi.restoreAllMocks();
    expect(made.length, 'tensors in guarded memory').toBeGreaterThan(0);
    const untouched = Buffer.alloc(margin * 8, 255);
    for (const { bytes, around } of made) {
      const last = bytes.length - around;
      if (bytes.compare(untouched, 0, around, 0, around) !== 0) expect.fail('written before a tensor');
      if (bytes.compare(untouched, 0, around, last) !== 0) expect.fail('written after a tensor');
    }
    made = [];
  });
}
