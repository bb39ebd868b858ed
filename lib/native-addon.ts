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
  | 'dequantize'
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
  | 'swiglu'
  | 'swigluGrad'
  | 'rotary'
  | 'gemm'
  | 'attention'
  | 'attentionGrad'
  | 'randomUniform'
  | 'randomNormal'
  | 'dropout';

/** A native object of one kind that lives as long as this does; other objects in its place are refused. */
export interface NativeHandle<Kind extends string> {
  readonly kind?: Kind;
}

/** Tokenizers; their meaning stands in native/tokenizers/. Wrong arguments throw errors with a text. */
interface NativeTokenizers {
  /** `tokens` and `merges` are joined with line breaks. */
  createBpe(
    tokens: string,
    ids: Int32Array,
    merges: string,
    ignoreMerges: boolean,
    rankByToken: boolean,
  ): NativeHandle<'bpe'>;
  /** `split`: 0 gpt2, 1 llama3, 2 qwen2, 3 cl100k. */
  encodeBpe(encoder: NativeHandle<'bpe'>, text: string, split: number): Int32Array;
  /** Begin and end of each token in the text, in UTF-16 units. */
  bpeOffsets(encoder: NativeHandle<'bpe'>, text: string, ids: Int32Array): Int32Array;
  /** Whether each of the 256 bytes is a token. */
  bpeHasAllBytes(encoder: NativeHandle<'bpe'>): boolean;

  /** `split` as above, or 4: the words between white space. */
  createWordCounts(split: number): NativeHandle<'words'>;
  countText(counts: NativeHandle<'words'>, text: string): void;
  countWord(counts: NativeHandle<'words'>, word: string, times: number): void;
  /**
   * `numbers`: vocabulary size, least frequency, limit of the alphabet, most characters of a token, whether words are
   * bytes, whether the greater of equally frequent pairs wins. `specialTokens` are joined with NUL.
   */
  createBpeTrainer(
    counts: NativeHandle<'words'>,
    numbers: Float64Array,
    specialTokens: string,
    initialAlphabet: string,
    prefix: string,
    suffix: string,
  ): NativeHandle<'bpeTrainer'>;
  /** Makes up to so many merges; false when there is none to make any more. */
  stepBpeTrainer(trainer: NativeHandle<'bpeTrainer'>, merges: number): boolean;
  bpeTrainerSize(trainer: NativeHandle<'bpeTrainer'>): number;
  bpeTrainerTokens(trainer: NativeHandle<'bpeTrainer'>): string[];
  /** Two ids for each merge. */
  bpeTrainerMerges(trainer: NativeHandle<'bpeTrainer'>): Int32Array;

  /**
   * `numbers`: vocabulary size, most characters of a piece, substrings to begin with, part of the pieces that a round
   * keeps, fittings of the probabilities in a round.
   */
  createUnigramTrainer(counts: NativeHandle<'words'>, numbers: Float64Array): NativeHandle<'unigramTrainer'>;
  /** One round; false when it was the last. */
  stepUnigramTrainer(trainer: NativeHandle<'unigramTrainer'>): boolean;
  unigramTrainerSize(trainer: NativeHandle<'unigramTrainer'>): number;
  /** By falling score. */
  unigramTrainerPieces(trainer: NativeHandle<'unigramTrainer'>): string[];
  unigramTrainerScores(trainer: NativeHandle<'unigramTrainer'>): Float64Array;
}

/** What the native half says of itself. */
export interface NativeInfo {
  /** Instruction set in use: 'amx' (AVX-512 whose matrix products are made of AMX tiles), 'avx512', 'avx2' or 'base'. */
  readonly isa: string;
  /** All sets this build has and this machine runs, best first, comma-separated. */
  readonly availableIsas: string;
  readonly cpu: string;
  readonly threads: number;
  /**
   * Whether bfloat16 is multiplied by the dot product instruction of AVX-512 (TSGPT_BF16 decides otherwise). The set 'amx'
   * has something faster.
   */
  readonly bf16Dot: boolean;
  /** 'embedded' or 'openblas'. */
  readonly gemm: string;
  /** The core OpenBLAS picked its kernels for; empty when it is not in use. */
  readonly openblasCore: string;
  readonly openblasConfig: string;
}

export type NativeAddon = Record<KernelName, Kernel> &
  NativeTokenizers & {
    /** The block through which a kernel gets its numbers. */
    readonly params: Float64Array;
    /** Kernels on any number of tensors, with an array of their own for the numbers. */
    sumSquares(numbers: Float64Array, ...arrays: TypedArray[]): number;
    optimizerStep(numbers: Float64Array, ...arrays: (TypedArray | null)[]): boolean;
    findBadId(ids: TypedArray): number;
    /** How a product packs its right side, 0 where packed ones are not taken; the arrays are those of `gemm`. */
    gemmPacking(...arrays: (TypedArray | null)[]): number;
    /** Packs it into the last array, or, where that is null, answers how many numbers it takes. */
    gemmPack(...arrays: (TypedArray | null)[]): number;
    /** Offset of the first 64-byte aligned byte; asks the system for huge pages. */
    prepare(buffer: ArrayBuffer): number;
    /** Detaches the buffer and gives its memory back at once. */
    release(buffer: ArrayBuffer): void;
    /** Watches an object on which `bytes` of memory hang, without keeping it alive; answers an id. */
    watch(object: object, bytes: number): number;
    unwatch(id: number): void;
    /** The ids of the watched objects that the garbage collector has taken since the last call. */
    sweepWatched(): number[];
    /** A file's bytes, or so many from an offset of whole pages on, mapped privately. Throws the system's reason. */
    mapFile(path: string, offset?: number, bytes?: number): ArrayBuffer;
    /** For a mapped buffer: 0: it will be read here and there; 1: forget its pages and what was written to them. */
    adviseFile(buffer: ArrayBuffer, advice: 0 | 1): void;
    /** What kernels throw whose memory lies in a mapped file that became shorter. */
    onLostFile(makeError: (path: string) => Error): void;
    /** Throws that error for an array in such a file. */
    checkFile(array: TypedArray): void;
    /** Bytes of workspace held by the kernels' threads. */
    scratchBytes(): number;
    /** Joins the processes of an mpirun; throws with a text. Each job after it is a promise; jobs run in order. */
    mpiOpen(): { readonly rank: number; readonly size: number; readonly library: string };
    /** Sums arrays over the processes, in place. They must not be touched until it is done. */
    mpiSum(...arrays: Float32Array[]): Promise<void>;
    mpiSumNumbers(numbers: Float64Array): Promise<void>;
    /** Copies the first process's arrays to all. */
    mpiBroadcast(...arrays: Float32Array[]): Promise<void>;
    mpiClose(): Promise<void>;
    info(): NativeInfo;
    setThreads(n: number): void;
  };
