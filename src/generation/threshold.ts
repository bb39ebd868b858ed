/**
 * Selection without sorting: the value at which the elements of an array, taken from the largest down, reach a given
 * weight together. With weight 1 each that is the k-th largest (top-k), with probabilities as weights the edge of the
 * nucleus (top-p). A radix selection over the bits of float32: one pass over all elements adds their weights up by the
 * upper 11 bits, two more look at those of one bucket, 11 and 10 bits at a time. Linear in the vocabulary, nothing is
 * allocated.
 */

/** How the bits of a value are cut into digits, the upper ones first. */
const digits = [
  { shift: 21, bits: 11 },
  { shift: 10, bits: 11 },
  { shift: 0, bits: 10 },
] as const;

const buckets = new Float64Array(2 ** 11);
const one = new Float32Array(1);
const oneBits = new Uint32Array(one.buffer);

const sign = 0x80000000;

/** The bits of a float32 as an unsigned number in the order of the values; -0 as 0. */
const ordered = (bits: number): number => (bits > sign ? ~bits : bits | sign) >>> 0;

function valueOf(key: number): number {
  oneBits[0] = key >= sign ? key - sign : ~key;
  return one[0];
}

/** Where a selection ends. */
export interface Threshold {
  /** The value at which the target was reached: all greater ones are in. */
  readonly value: number;
  /** Weight of the greater ones together. */
  readonly above: number;
}

/**
 * The largest value whose elements, with all greater ones, weigh at least `target`; the least value where all together
 * weigh less. Values must not be NaN.
 *
 * @param weights One for each value; without them each weighs 1.
 */
export function threshold(values: Float32Array, target: number, weights?: Float32Array): Threshold {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  let above = 0;
  let prefix = 0;
  // The values that have the known upper bits lie from `low` to `high`.
  let [low, high] = [-Infinity, Infinity];
  for (const { shift, bits: width } of digits) {
    const count = 2 ** width;
    const mask = count - 1;
    buckets.fill(0, 0, count);
    for (let i = 0; i < bits.length; i++) {
      if (values[i] < low || values[i] > high) continue;
      buckets[(ordered(bits[i]) >>> shift) & mask] += weights === undefined ? 1 : weights[i];
    }
    let least = -1;
    let digit = mask;
    for (; digit >= 0; digit--) {
      if (buckets[digit] === 0) continue;
      least = digit;
      if (above + buckets[digit] >= target) break;
      above += buckets[digit];
    }
    if (digit < 0) {
      // Sums that were rounded in another order may miss the target by a little: the least value is the last one.
      above -= buckets[least];
      digit = least;
    }
    prefix = (prefix | (digit << shift)) >>> 0;
    low = valueOf(prefix);
    high = valueOf((prefix | (2 ** shift - 1)) >>> 0);
  }
  return { value: low, above };
}
