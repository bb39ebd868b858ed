/**
 * The header of a GGUF file (llama.cpp's format, ggml/docs/gguf.md): counts, metadata as typed key/value pairs, one entry
 * a tensor. Every length in it is checked against the bytes that are there before anything is read or allocated, and
 * the whole header against a limit, so that a file of any claim takes no more memory than a real one.
 */

import { isUtf8 } from 'node:buffer';

import { blockLayouts } from '../kernels.js';
import type { Shape } from '../shape.js';

/** A tensor's place in the data, in bytes from its start. */
export interface GgufEntry {
  /** ggml's name of the element type: `F32`, `Q4_K`, ... */
  readonly type: string;
  /** Row-major, as tensors have it: the file's order reversed. */
  readonly shape: Shape;
  readonly begin: number;
  readonly end: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, unknown>;
  readonly entries: ReadonlyMap<string, GgufEntry>;
  /** Where the data begins in the file. */
  readonly dataStart: number;
}

/** Greatest length of a header in bytes. The largest vocabularies in use take 20 MB. */
const headerLimit = 100_000_000;

/** Longest name of a tensor in bytes, and most dimensions: ggml's. */
const nameLimit = 63;
const dimensionLimit = 4;

interface Layout {
  readonly name: string;
  /** Elements of a block, and its bytes. */
  readonly numbers: number;
  readonly bytes: number;
}

const layout = (name: string, numbers: number, bytes: number): Layout => ({ name, numbers, bytes });
const quantized = (name: keyof typeof blockLayouts): Layout => ({ name, ...blockLayouts[name] });

/** Element types by their number in the file, also those that are only recognized. Missing numbers are retired types. */
const types: ReadonlyMap<number, Layout> = new Map([
  [0, layout('F32', 1, 4)],
  [1, layout('F16', 1, 2)],
  [2, quantized('Q4_0')],
  [3, quantized('Q4_1')],
  [6, quantized('Q5_0')],
  [7, quantized('Q5_1')],
  [8, quantized('Q8_0')],
  [9, layout('Q8_1', 32, 36)],
  [10, quantized('Q2_K')],
  [11, quantized('Q3_K')],
  [12, quantized('Q4_K')],
  [13, quantized('Q5_K')],
  [14, quantized('Q6_K')],
  [15, layout('Q8_K', 256, 292)],
  [16, layout('IQ2_XXS', 256, 66)],
  [17, layout('IQ2_XS', 256, 74)],
  [18, layout('IQ3_XXS', 256, 98)],
  [19, layout('IQ1_S', 256, 50)],
  [20, quantized('IQ4_NL')],
  [21, layout('IQ3_S', 256, 110)],
  [22, layout('IQ2_S', 256, 82)],
  [23, quantized('IQ4_XS')],
  [24, layout('I8', 1, 1)],
  [25, layout('I16', 1, 2)],
  [26, layout('I32', 1, 4)],
  [27, layout('I64', 1, 8)],
  [28, layout('F64', 1, 8)],
  [29, layout('IQ1_M', 256, 56)],
  [30, layout('BF16', 1, 2)],
  [34, layout('TQ1_0', 256, 54)],
  [35, layout('TQ2_0', 256, 66)],
  [39, layout('MXFP4', 32, 17)],
]);

/** A number that JavaScript holds exactly, else the bigint. */
const exact = (value: bigint): number | bigint =>
  BigInt.asIntN(54, value) === value ? Number(value) : value;

/** A metadata value of fixed size, and the typed array that holds many. */
interface ValueType {
  readonly bytes: number;
  readonly read: (view: DataView, at: number) => number | bigint | boolean;
  readonly array?: new (buffer: ArrayBuffer) => unknown;
}

/** Types of metadata values by their number in the file; strings and arrays have their own rules. */
const valueTypes: readonly (ValueType | 'string' | 'array')[] = [
  { bytes: 1, read: (view, at) => view.getUint8(at), array: Uint8Array },
  { bytes: 1, read: (view, at) => view.getInt8(at), array: Int8Array },
  { bytes: 2, read: (view, at) => view.getUint16(at, true), array: Uint16Array },
  { bytes: 2, read: (view, at) => view.getInt16(at, true), array: Int16Array },
  { bytes: 4, read: (view, at) => view.getUint32(at, true), array: Uint32Array },
  { bytes: 4, read: (view, at) => view.getInt32(at, true), array: Int32Array },
  { bytes: 4, read: (view, at) => view.getFloat32(at, true), array: Float32Array },
  { bytes: 1, read: (view, at) => view.getUint8(at) !== 0 },
  'string',
  'array',
  { bytes: 8, read: (view, at) => exact(view.getBigUint64(at, true)) },
  { bytes: 8, read: (view, at) => exact(view.getBigInt64(at, true)) },
  { bytes: 8, read: (view, at) => view.getFloat64(at, true), array: Float64Array },
];

/**
 * Parses and checks a header.
 *
 * @param bytes The file.
 * @param fail Is given the reason and throws.
 */
export function parseGgufHeader(bytes: ArrayBuffer, fail: (reason: string) => never): GgufHeader {
  const reader = new Reader(bytes, fail);
  const version = readVersion(reader, fail);
  // The least that an entry takes: 8 + 4 + 1 bytes of metadata; 8 + 4 + 4 + 8 of a tensor.
  const tensors = reader.count('tensors', 24);
  const pairs = reader.count('metadata entries', 13);
  const metadata = new Map<string, unknown>();
  for (let i = 0; i < pairs; i++) {
    const key = reader.name(`name of metadata entry ${i}`);
    if (metadata.has(key)) fail(`has a damaged header: metadata '${key}' appears twice`);
    metadata.set(key, reader.value(reader.uint32(`type of metadata '${key}'`), `metadata '${key}'`));
  }
  const alignment = alignmentOf(metadata, fail);
  const entries = new Map<string, GgufEntry>();
  for (let i = 0; i < tensors; i++) {
    const name = reader.name(`name of tensor ${i}`);
    if (entries.has(name)) fail(`has a damaged header: tensor '${name}' appears twice`);
    entries.set(name, readEntry(reader, name, alignment, fail));
  }
  const dataStart = Math.ceil(reader.at / alignment) * alignment;
  checkPlaces(entries, Math.max(0, bytes.byteLength - dataStart), fail);
  return { version, metadata, entries, dataStart };
}

function readVersion(reader: Reader, fail: (reason: string) => never): number {
  reader.need(8, 'magic and version');
  reader.at = 4; // the caller has seen the magic
  const version = reader.uint32('version');
  if (version === 2 || version === 3) return version;
  if (version !== 0 && (version & 0xffff) === 0)
    fail('is a big-endian GGUF file, only little-endian ones are read');
  const remedy = 'versions 2 and 3 are read; convert the original model again with a current llama.cpp';
  return fail(`is GGUF of version ${version}, ${remedy}`);
}

function alignmentOf(metadata: ReadonlyMap<string, unknown>, fail: (reason: string) => never): number {
  const alignment = metadata.get('general.alignment') ?? 32;
  if (typeof alignment !== 'number' || !(alignment >= 1) || !Number.isInteger(Math.log2(alignment))) {
    const given = typeof alignment === 'number' ? alignment : JSON.stringify(alignment);
    return fail(`has a damaged header: general.alignment must be a power of two, got ${given}`);
  }
  return alignment;
}

function readEntry(
  reader: Reader,
  name: string,
  alignment: number,
  fail: (reason: string) => never,
): GgufEntry {
  if (Buffer.byteLength(name) > nameLimit) {
    fail(`has a damaged header: the name of tensor '${name}' is longer than ${nameLimit} bytes`);
  }
  const where = `tensor '${name}'`;
  const rank = reader.uint32(`number of dimensions of ${where}`);
  if (rank > dimensionLimit)
    fail(`has a damaged header: ${where} has ${rank} dimensions, more than ${dimensionLimit}`);
  const shape: number[] = [];
  for (let d = 0; d < rank; d++) {
    const size = reader.int64(`shape of ${where}`);
    if (size < 0n) fail(`has a damaged header: ${where} has a dimension of ${size}`);
    shape.unshift(Number(size));
  }
  const type = reader.uint32(`type of ${where}`);
  const { name: typeName, numbers, bytes } = types.get(type) ?? fail(`has ${where} of unknown type ${type}`);
  const row = shape.at(-1) ?? 1;
  if (row % numbers !== 0) {
    fail(`has ${where} of type ${typeName}, whose rows of ${row} are not whole blocks of ${numbers}`);
  }
  // Exact, or beyond any file: once rounded, a product only grows or is zero.
  const size = (shape.reduce((product, n) => product * n, 1) / numbers) * bytes;
  if (!Number.isSafeInteger(size) || shape.some((n) => !Number.isSafeInteger(n))) {
    fail(`has ${where} of impossible size: ${typeName} [${shape.join(', ')}]`);
  }
  const offset = reader.uint64(`offset of ${where}`);
  if (offset % BigInt(alignment) !== 0n) {
    fail(`has a damaged header: ${where} begins at ${offset}, which is not a multiple of ${alignment}`);
  }
  const begin = Number(offset);
  return { type: typeName, shape, begin, end: begin + size };
}

/** Tensors must lie inside the data, and none on another. */
function checkPlaces(
  entries: ReadonlyMap<string, GgufEntry>,
  length: number,
  fail: (reason: string) => never,
): void {
  const ordered = [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let free = 0;
  for (const [name, { begin, end }] of ordered) {
    if (end > length) {
      fail(`is truncated: tensor '${name}' should end at byte ${end} of the data, which has ${length} bytes`);
    }
    if (begin < free) fail(`has overlapping tensors: '${name}' begins at ${begin}, before ${free}`);
    free = end;
  }
}

/** Reads little-endian values one after another, never past the end. */
class Reader {
  at = 0;
  readonly #view: DataView;
  readonly #limit: number;

  constructor(
    private readonly buffer: ArrayBuffer,
    private readonly fail: (reason: string) => never,
  ) {
    this.#view = new DataView(buffer);
    this.#limit = Math.min(buffer.byteLength, headerLimit);
  }

  /** Fails unless `bytes` more are there. */
  need(bytes: number, what: string): void {
    if (bytes <= this.#limit - this.at) return;
    if (this.#limit === headerLimit)
      this.fail(`has a header of more than ${headerLimit} bytes: ${what} reaches beyond`);
    const missing = `${what} needs ${bytes} bytes at byte ${this.at}`;
    this.fail(`is truncated: ${missing}, the file has ${this.buffer.byteLength}`);
  }

  #take(bytes: number, what: string): number {
    this.need(bytes, what);
    this.at += bytes;
    return this.at - bytes;
  }

  uint32(what: string): number {
    return this.#view.getUint32(this.#take(4, what), true);
  }

  int64(what: string): bigint {
    return this.#view.getBigInt64(this.#take(8, what), true);
  }

  uint64(what: string): bigint {
    return this.#view.getBigUint64(this.#take(8, what), true);
  }

  /** A number of things that take at least `least` bytes each. */
  count(what: string, least: number): number {
    const count = this.uint64(`number of ${what}`);
    if (count * BigInt(least) > BigInt(this.#limit)) {
      this.fail(
        `has a damaged header: ${count} ${what} cannot lie in a file of ${this.buffer.byteLength} bytes`,
      );
    }
    return Number(count);
  }

  #bytes(what: string): Buffer {
    const length = this.uint64(`length of ${what}`);
    if (length > BigInt(this.#limit)) this.need(Number(length), what);
    const start = this.#take(Number(length), what);
    return Buffer.from(this.buffer, start, Number(length));
  }

  /** A text. Bytes that are not UTF-8 become U+FFFD: some vocabularies have such tokens. */
  text(what: string): string {
    return this.#bytes(what).toString('utf8');
  }

  name(what: string): string {
    const bytes = this.#bytes(what);
    if (!isUtf8(bytes)) this.fail(`has a damaged header: the ${what} is not valid UTF-8`);
    return bytes.toString('utf8');
  }

  value(type: number, what: string): unknown {
    const kind = valueTypes[type] ?? this.fail(`has a damaged header: ${what} is of unknown type ${type}`);
    if (kind === 'array') return this.#array(what);
    if (kind === 'string') return this.text(what);
    return kind.read(this.#view, this.#take(kind.bytes, what));
  }

  /** Numbers as a typed array; texts, bools and 64-bit integers as an array. */
  #array(what: string): unknown {
    const type = this.uint32(`type of ${what}`);
    const kind =
      valueTypes[type] ?? this.fail(`has a damaged header: ${what} is an array of unknown type ${type}`);
    if (kind === 'array') return this.fail(`has a damaged header: ${what} is an array of arrays`);
    const least = kind === 'string' ? 8 : kind.bytes;
    const count = this.uint64(`length of ${what}`);
    if (count * BigInt(least) > BigInt(this.#limit - this.at)) this.need(Number(count) * least, what);
    const length = Number(count);
    if (kind === 'string' || kind.array === undefined) {
      return Array.from({ length }, () => this.value(type, what));
    }
    const start = this.#take(length * least, what);
    return new kind.array(this.buffer.slice(start, start + length * least));
  }
}
