/**
 * GGUF: llama.cpp's files, a whole model in one: metadata (configuration, tokenizer) and tensors, many of them quantized.
 * Files are mapped: opening one costs its header, an F32, F16 or BF16 tensor is a view of the mapped bytes, and a quantized
 * one is dequantized when it is asked for, straight from the mapping. Nothing that a header says is believed
 * (gguf-header.ts).
 */

import type { DType } from '../dtype.js';
import { ArgumentError, didYouMean, FileError } from '../errors.js';
import { dequantize, quantizations, type Quantization } from '../kernels.js';
import { contiguousStrides, type Shape } from '../shape.js';
import { Storage } from '../storage.js';
import { Tensor } from '../tensor.js';
import { otherKind } from './file-kind.js';
import { parseGgufHeader, type GgufEntry, type GgufHeader } from './gguf-header.js';
import { checkFile, elementsAt, mapFile, narrowed } from './mapped-file.js';

/** What a header says of a tensor. */
export interface GgufInfo {
  /** ggml's name of the element type: `F32`, `Q4_K`, ... */
  readonly type: string;
  /** Row-major, as PyTorch has it; the file itself lists dimensions the other way round. */
  readonly shape: Shape;
  readonly bytes: number;
}

/** What a quantized tensor can become. */
export type DequantizedDType = 'float32' | 'float16' | 'bfloat16';

const plain: ReadonlyMap<string, DType> = new Map([
  ['F32', 'float32'],
  ['F64', 'float64'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
  ['I32', 'int32'],
]);

const isQuantization = (type: string): type is Quantization =>
  (quantizations as readonly string[]).includes(type);

/** An open file; see {@link openGguf}. */
export class GgufFile {
  /** The format's version: 2 or 3. */
  readonly version: number;
  /**
   * The file's keys and values: numbers (bigint beyond 2^53), booleans, strings; typed arrays of numbers, arrays of strings,
   * booleans and 64-bit integers.
   */
  readonly metadata: ReadonlyMap<string, unknown>;
  readonly #entries: ReadonlyMap<string, GgufEntry>;
  readonly #dataStart: number;
  #buffer: ArrayBuffer | null;

  /** Internal: use {@link openGguf}. */
  constructor(
    readonly path: string,
    buffer: ArrayBuffer,
  ) {
    const { version, metadata, entries, dataStart } = readHeader(path, buffer);
    this.#buffer = buffer;
    this.#entries = entries;
    this.#dataStart = dataStart;
    this.version = version;
    this.metadata = metadata;
  }

  /** The names of the tensors, in the header's order. */
  names(): string[] {
    return [...this.#entries.keys()];
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  /** Type, shape and size of a tensor, without touching its data. */
  info(name: string): GgufInfo {
    const { type, shape, begin, end } = this.#entry(name);
    return { type, shape, bytes: end - begin };
  }

  /**
   * A tensor: of F32, F16, BF16, F64 and I32 a view of the mapped bytes (writing to it changes memory, never the file), of the
   * shorter and longer integers int32, and of quantized ones the numbers in `dtype`, computed in float32 by ggml's rules
   * and rounded once.
   *
   * @param options.dtype What a quantized tensor becomes, float32 by default. Others keep their type.
   * @throws FileError for element types that are not read.
   */
  tensor(name: string, options: { dtype?: DequantizedDType } = {}): Tensor {
    const { dtype = 'float32' } = options;
    if (!['float32', 'float16', 'bfloat16'].includes(dtype)) {
      throw new ArgumentError(`gguf: dtype must be 'float32', 'float16' or 'bfloat16', got '${dtype}'`);
    }
    const { type, shape, begin, end } = this.#entry(name);
    if (this.#buffer === null) throw new FileError(this.path, `tensor '${name}' was asked for after close()`);
    const start = this.#dataStart + begin;
    if (isQuantization(type)) {
      const y = Tensor.empty(shape, dtype, 'gguf');
      if (y.size > 0) dequantize(type, new Uint8Array(this.#buffer, start, end - begin), 0, y);
      return y;
    }
    const own = plain.get(type);
    const data =
      own === undefined
        ? this.#integers(name, type, start, end - begin)
        : elementsAt(this.#buffer, own, start, end - begin);
    return new Tensor(Storage.over(own ?? 'int32', data), shape, contiguousStrides(shape), 0, 'gguf');
  }

  /** Lets go of the file. Tensors already taken keep their memory. */
  close(): void {
    this.#buffer = null;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #entry(name: string): GgufEntry {
    const entry = this.#entries.get(name);
    if (entry !== undefined) return entry;
    throw new FileError(this.path, `has no tensor '${name}'${didYouMean(name, this.#entries.keys())}`);
  }

  #integers(name: string, type: string, start: number, bytes: number): Int32Array {
    const buffer = this.#buffer!;
    if (type === 'I8') return Int32Array.from(new Int8Array(buffer, start, bytes));
    if (type === 'I16') return Int32Array.from(new Int16Array(buffer.slice(start, start + bytes)));
    if (type === 'I64') {
      return narrowed(elementsAt(buffer, 'int32', start, bytes), (position) => {
        const what = `tensor '${name}' is I64 and its element ${position} does not fit into int32`;
        throw new FileError(this.path, what);
      });
    }
    throw new FileError(
      this.path,
      `tensor '${name}' has elements of type ${type}, which is not supported; supported are ` +
        [...plain.keys(), 'I8', 'I16', 'I64', ...quantizations].join(', '),
    );
  }
}

/**
 * Opens a GGUF file: maps it and checks its header completely.
 *
 * @throws FileError naming the file and the reason when it is missing, unreadable, damaged or of another kind.
 * @example
 * using file = openGguf('model.gguf');
 * console.log(file.metadata.get('general.architecture'), file.info('token_embd.weight').type);
 */
export function openGguf(path: string): GgufFile {
  return new GgufFile(path, mapFile(path, 'GGUF'));
}

function readHeader(path: string, buffer: ArrayBuffer): GgufHeader {
  const fail = (reason: string): never => {
    throw new FileError(path, reason);
  };
  const start = Buffer.from(buffer, 0, Math.min(buffer.byteLength, 64));
  if (start.length === 0) fail('is empty');
  if (start.toString('latin1', 0, 4) !== 'GGUF') {
    fail(
      otherKind(start, 'GGUF') ??
        `is no GGUF file: it begins with ${JSON.stringify(start.toString('latin1', 0, 4))}`,
    );
  }
  const header = parseGgufHeader(buffer, fail);
  checkFile(new Uint8Array(buffer, 0, 1));
  return header;
}
