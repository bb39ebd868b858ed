/** The addon's exports as TypeScript sees them. Every kernel answers whether it served the case. */

import type { TypedArray } from './dtype.js';

/** A kernel's arrays; its numbers come through `params` (see native/binding/args.h). */
type Kernel = (...arrays: (TypedArray | null)[]) => boolean;

type KernelName =
  | 'unary'
  | 'binary'
  | 'where'
  | 'copy'
  | 'fill'
  | 'reduce'
  | 'cumsum'
  | 'indexSelect'
  | 'indexAdd'
  | 'gather'
  | 'scatterAdd'
  | 'softmax'
  | 'softmaxGrad'
  | 'crossEntropy'
  | 'crossEntropyGrad'
  | 'layerNorm'
  | 'layerNormGrad'
  | 'rmsNorm'
  | 'rmsNormGrad'
  | 'gemm'
  | 'attention'
  | 'attentionGrad'
  | 'randomUniform'
  | 'randomNormal'
  | 'dropout';

/** What the native half says of itself. */
export interface NativeInfo {
  /** Instruction set in use. */
  readonly isa: string;
  /** All sets this build has and this machine runs, best first, comma-separated. */
  readonly availableIsas: string;
  readonly cpu: string;
  readonly threads: number;
  /** Whether bfloat16 is multiplied by the processor's dot product instruction (TSGPT_BF16 decides otherwise). */
  readonly bf16Dot: boolean;
  /** 'embedded' or 'openblas'. */
  readonly gemm: string;
  /** The core OpenBLAS picked its kernels for; empty when it is not in use. */
  readonly openblasCore: string;
  readonly openblasConfig: string;
}

export type NativeAddon = Record<KernelName, Kernel> & {
  /** The block through which a kernel gets its numbers. */
  readonly params: Float64Array;
  /** Kernels on any number of tensors, with an array of their own for the numbers. */
  sumSquares(numbers: Float64Array, ...arrays: TypedArray[]): number;
  optimizerStep(numbers: Float64Array, ...arrays: (TypedArray | null)[]): boolean;
  findBadId(ids: TypedArray): number;
  /** Offset of the first 64-byte aligned byte; asks the system for huge pages. */
  prepare(buffer: ArrayBuffer): number;
  /** Detaches the buffer and gives its memory back at once. */
  release(buffer: ArrayBuffer): void;
  /** Watches an object on which `bytes` of memory hang, without keeping it alive; answers an id. */
  watch(object: object, bytes: number): number;
  unwatch(id: number): void;
  /** The ids of the watched objects that the garbage collector has taken since the last call. */
  sweepWatched(): number[];
  /** A file's bytes, mapped privately. Throws the system's reason. */
  mapFile(path: string): ArrayBuffer;
  /** Bytes of workspace held by the kernels' threads. */
  scratchBytes(): number;
  info(): NativeInfo;
  setThreads(n: number): void;
};
