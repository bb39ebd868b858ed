/**
 * safetensors: named tensors in one file, as Hugging Face's crate of that name defines it. Eight bytes with
 * the length of a JSON header, the header ({ name: { dtype, shape, data_offsets } }), the elements. Files are
 * mapped, so opening one costs its header; a tensor is a view of the mapped bytes when they are aligned.
 * Nothing that a header says is believed: names must be unique, sizes must match, the data must be covered
 * without holes, overlaps or remains.
 */

import { isUtf8 } from 'node:buffer';

import { dtypes, type DType } from '../dtype.js';
import { ArgumentError, didYouMean, FileError } from '../errors.js';
import { contiguousStrides, maxRank, type Shape } from '../shape.js';
import { Storage } from '../storage.js';
import { checkTensor, Tensor } from '../tensor.js';
import { writeFileAtomic } from './atomic-file.js';
import { otherKind } from './file-kind.js';
import { checkFile, elementsAt, mapFile, narrowed } from './mapped-file.js';
import { parseHeader, type Entry } from './safetensors-header.js';

/** Greatest length of a header in bytes: the reference's limit. */
const headerLimit = 100_000_000;

const dtypeByTag: ReadonlyMap<string, DType> = new Map([
  ['F32', 'float32'],
  ['F64', 'float64'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
  ['I32', 'int32'],
  ['U8', 'uint8'],
  ['BOOL', 'bool'],
]);
const tagByDType = new Map([...dtypeByTag].map(([tag, dtype]) => [dtype, tag]));

/** What a header says of a tensor. */
export interface SafetensorsInfo {
  /** The file's own name of the element type: `F32`, `BF16`, `I64`, ... */
  readonly dtype: string;
  readonly shape: Shape;
  readonly bytes: number;
}

/** An open file; see {@link openSafetensors}. */
export class SafetensorsFile {
  /** The file's notes to its readers. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #dataStart: number;
  #buffer: ArrayBuffer | null;

  /** Internal: use {@link openSafetensors}. */
  constructor(
    readonly path: string,
    buffer: ArrayBuffer,
  ) {
    const { entries, metadata, dataStart } = readHeader(path, buffer);
    this.#buffer = buffer;
    this.#entries = entries;
    this.#dataStart = dataStart;
    this.metadata = metadata;
  }

  /** The names of the tensors, in the header's order. */
  names(): string[] {
    return [...this.#entries.keys()];
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  /** Dtype, shape and size of a tensor, without touching its data. */
  info(name: string): SafetensorsInfo {
    const { dtype, shape, begin, end } = this.#entry(name);
    return { dtype, shape, bytes: end - begin };
  }

  /**
   * A tensor over the mapped bytes (a copy where they are not aligned). Writing to it changes memory, never
   * the file. I64 becomes int32 when all its values fit.
   *
   * @throws FileError for element types that tensors do not have (I64 beyond int32, F8, ...).
   */
  tensor(name: string): Tensor {
    const entry = this.#entry(name);
    if (this.#buffer === null) throw new FileError(this.path, `tensor '${name}' was asked for after close()`);
    if (entry.shape.length > maxRank) {
      throw new FileError(
        this.path,
        `tensor '${name}' has ${entry.shape.length} dimensions, more than ${maxRank}`,
      );
    }
    const start = this.#dataStart + entry.begin;
    const dtype = entry.dtype === 'I64' ? 'int32' : dtypeByTag.get(entry.dtype);
    if (dtype === undefined) {
      throw new FileError(
        this.path,
        `tensor '${name}' has elements of type ${entry.dtype}, which is not supported; ` +
          `supported are ${[...dtypeByTag.keys()].join(', ')} and I64 (as int32)`,
      );
    }
    let data = elementsAt(this.#buffer, dtype, start, entry.end - entry.begin);
    if (entry.dtype === 'I64') {
      data = narrowed(data, (position) => {
        const what = `tensor '${name}' is I64 and its element ${position} does not fit into int32`;
        throw new FileError(this.path, what);
      });
    } else {
      if (dtype === 'bool' && data.some((byte) => byte > 1)) {
        throw new FileError(this.path, `tensor '${name}' is BOOL and has bytes other than 0 and 1`);
      }
    }
    return new Tensor(
      Storage.over(dtype, data),
      entry.shape,
      contiguousStrides(entry.shape),
      0,
      'safetensors',
    );
  }

  /** Lets go of the file. Tensors already taken keep their memory. */
  close(): void {
    this.#buffer = null;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #entry(name: string): Entry {
    const entry = this.#entries.get(name);
    if (entry !== undefined) return entry;
    throw new FileError(this.path, `has no tensor '${name}'${didYouMean(name, this.#entries.keys())}`);
  }
}

/**
 * Opens a safetensors file: maps it and checks its header completely.
 *
 * @throws FileError naming the file and the reason when it is missing, unreadable, damaged or of another
 * kind.
 * @example
 * using file = openSafetensors('model.safetensors');
 * const wte = file.tensor('wte.weight');
 */
export function openSafetensors(path: string): SafetensorsFile {
  return new SafetensorsFile(path, mapFile(path, 'safetensors'));
}

/** All tensors of a file by name; see {@link openSafetensors}. */
export function loadSafetensors(path: string): Map<string, Tensor> {
  using file = openSafetensors(path);
  return new Map(file.names().map((name) => [name, file.tensor(name)]));
}

/**
 * Writes named tensors to a file that other programs read too. The same tensors give the same bytes, and a
 * failure leaves an earlier file of that name as it was.
 *
 * @param metadata Notes for readers. Hugging Face's loaders ask for the default.
 * @throws FileError when the file cannot be written.
 */
export function saveSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): void {
  const named = [
    ...(tensors instanceof Map ? (tensors as ReadonlyMap<string, Tensor>) : Object.entries(tensors)),
  ];
  for (const [, t] of named) checkTensor('saveSafetensors', t);
  for (const [key, value] of Object.entries(metadata)) {
    if (!isText(key) || !isText(value)) {
      throw new ArgumentError(
        `saveSafetensors: metadata must be well-formed strings, got ${JSON.stringify(key)}: ${JSON.stringify(value)}`,
      );
    }
  }
  writeFileAtomic(path, serialize(named, metadata));
}

/** A string that UTF-8 can hold: without lone surrogates. */
const isText = (value: unknown): boolean =>
  typeof value === 'string' && Buffer.from(value).toString() === value;

function* serialize(
  named: [string, Tensor][],
  metadata: Readonly<Record<string, string>>,
): Iterable<Uint8Array | string> {
  // Wide elements first, then by name: the reference's order. Everything is aligned then.
  const width = ([, t]: [string, Tensor]): number => dtypes[t.dtype].bytes;
  named.sort((a, b) => width(b) - width(a) || Buffer.compare(Buffer.from(a[0]), Buffer.from(b[0])));
  const parts: string[] = [];
  if (Object.keys(metadata).length > 0) parts.push(`"__metadata__":${JSON.stringify(metadata)}`);
  let offset = 0;
  for (const [name, t] of named) {
    if (name === '__metadata__' || !isText(name)) {
      throw new ArgumentError(`saveSafetensors: ${JSON.stringify(name)} cannot be the name of a tensor`);
    }
    const end = offset + t.size * dtypes[t.dtype].bytes;
    const info = { dtype: tagByDType.get(t.dtype), shape: t.shape, data_offsets: [offset, end] };
    parts.push(`${JSON.stringify(name)}:${JSON.stringify(info)}`);
    offset = end;
  }
  const header = Buffer.from(`{${parts.join(',')}}`);
  const padded = Math.ceil(header.length / 8) * 8;
  if (padded > headerLimit) {
    throw new ArgumentError(
      `saveSafetensors: the header of ${named.length} tensors would be longer than 100 MB`,
    );
  }
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded));
  yield length;
  yield header;
  yield ' '.repeat(padded - header.length);
  for (const [, t] of named) {
    const data = t.elementsToRead();
    yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    checkFile(data); // else zeros were written in the place of what is lost
  }
}

function readHeader(path: string, buffer: ArrayBuffer) {
  const fail = (reason: string): never => {
    throw new FileError(path, reason);
  };
  if (buffer.byteLength === 0) fail('is empty');
  if (buffer.byteLength < 8) fail(`is no safetensors file: it has ${buffer.byteLength} bytes, fewer than 8`);
  const length = new DataView(buffer).getBigUint64(0, true);
  if (length > headerLimit) {
    // What other kinds of files begin with is a length beyond the limit, too.
    const other = otherKind(Buffer.from(buffer, 0, Math.min(buffer.byteLength, 64)), 'safetensors');
    if (other !== null) fail(other);
    fail(
      `is no safetensors file: its header would be ${length.toString()} bytes long, the limit is ${headerLimit}`,
    );
  }
  const dataStart = 8 + Number(length);
  if (dataStart > buffer.byteLength) {
    fail(`is truncated: its header should end at byte ${dataStart}, the file has ${buffer.byteLength} bytes`);
  }
  const bytes = Buffer.from(buffer, 8, Number(length));
  if (!isUtf8(bytes)) fail('has a damaged header: it is not valid UTF-8');
  const { entries, metadata } = parseHeader(bytes, fail);
  checkFile(bytes);
  checkCoverage(entries, buffer.byteLength - dataStart, fail);
  return { entries, metadata, dataStart };
}

/** The tensors must lie in the data one after another, from its first byte to its last. */
function checkCoverage(
  entries: ReadonlyMap<string, Entry>,
  length: number,
  fail: (reason: string) => never,
): void {
  const ordered = [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let expected = 0;
  for (const [name, { begin, end }] of ordered) {
    if (begin < expected) fail(`has overlapping tensors: '${name}' begins at ${begin}, before ${expected}`);
    if (begin > expected) fail(`has a hole in its data: '${name}' begins at ${begin} instead of ${expected}`);
    expected = end;
  }
  if (expected > length) fail(`is truncated: its tensors need ${expected} bytes of data, it has ${length}`);
  if (expected < length) fail(`has ${length - expected} bytes after its last tensor`);
}
