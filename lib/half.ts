/** float16 and bfloat16 as JavaScript numbers. Bulk conversion is the copy kernel's; this serves single elements. */

import { DTypeError } from './errors.js';
import type { DType } from './dtype.js';

const word = new DataView(new ArrayBuffer(4));

/** The number that a bfloat16's 16 bits stand for. */
export function bfloat16ToNumber(bits: number): number {
  word.setUint32(0, bits << 16);
  return word.getFloat32(0);
}

/** The number that a float16's 16 bits stand for. */
export function float16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 0x3ff;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** The decoder of a half type's bits. */
export function decodeHalf(dtype: DType): (bits: number) => number {
  if (dtype === 'float16') return float16ToNumber;
  if (dtype === 'bfloat16') return bfloat16ToNumber;
  throw new DTypeError(`decodeHalf: ${dtype} is not a half type`);
}
