/** Element types: names, sizes, the typed array that holds each, and which type two operands meet in. */

import { DTypeError } from './errors.js';

/** Element type of a tensor. float16 and bfloat16 are stored as their 16 bits. */
export type DType = 'float32' | 'float64' | 'float16' | 'bfloat16' | 'int32' | 'uint8' | 'bool';

/** The typed arrays that hold tensor elements. Half types are their bits in a Uint16Array. */
export type TypedArray = Float32Array | Float64Array | Uint16Array | Int32Array | Uint8Array;

interface DTypeInfo {
  /** Number of the type in the native DType enumeration. */
  readonly id: number;
  readonly bytes: number;
  readonly floating: boolean;
  readonly array: new (buffer: ArrayBuffer, byteOffset: number, length: number) => TypedArray;
}

export const dtypes: Readonly<Record<DType, DTypeInfo>> = {
  float32: { id: 0, bytes: 4, floating: true, array: Float32Array },
  float64: { id: 1, bytes: 8, floating: true, array: Float64Array },
  float16: { id: 2, bytes: 2, floating: true, array: Uint16Array },
  bfloat16: { id: 3, bytes: 2, floating: true, array: Uint16Array },
  int32: { id: 4, bytes: 4, floating: false, array: Int32Array },
  uint8: { id: 5, bytes: 1, floating: false, array: Uint8Array },
  bool: { id: 6, bytes: 1, floating: false, array: Uint8Array },
};

export const isFloating = (dtype: DType): boolean => dtypes[dtype].floating;
export const isHalf = (dtype: DType): boolean => dtype === 'float16' || dtype === 'bfloat16';

/**
 * The dtype in which two operands meet. Equal types stay; a floating type wins over an integer one (an int32 next to
 * a float16 gives float16, as in PyTorch); of two floating types the wider wins, and float16 with bfloat16 gives
 * float32; bool < uint8 < int32.
 */
export function promote(a: DType, b: DType): DType {
  if (a === b) return a;
  const fa = isFloating(a);
  const fb = isFloating(b);
  if (fa !== fb) return fa ? a : b;
  if (!fa) return a === 'int32' || b === 'int32' ? 'int32' : 'uint8';
  if (a === 'float64' || b === 'float64') return 'float64';
  return 'float32';
}

/** Throws DTypeError unless `dtype` is one of the names of {@link DType}. */
export function checkDType(where: string, dtype: string): asserts dtype is DType {
  if (!Object.hasOwn(dtypes, dtype)) {
    throw new DTypeError(`${where}: unknown dtype '${dtype}'; use one of ${Object.keys(dtypes).join(', ')}`);
  }
}
