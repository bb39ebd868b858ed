/**
 * Text for training: from files, folders, glob patterns or standard input, always in the same order, unpacked where they
 * are gzip files, checked to be UTF-8. What cannot be read says which file and why.
 */

import { constants, isUtf8 } from 'node:buffer';
import {
  constants as fs,
  createReadStream,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  type Stats,
} from 'node:fs';
import { Socket } from 'node:net';
import { extname, join, relative } from 'node:path';
import { pipeline, Readable } from 'node:stream';
import { createGunzip, gunzipSync } from 'node:zlib';

import { FileError } from '../errors.js';
import { compilePattern, isPattern } from './glob.js';
import { fileError, systemCode } from './system-error.js';

/** Endings of the files that are taken from a folder, also with `.gz` behind them. */
export const textExtensions: readonly string[] = ['.txt', '.text', '.md', '.markdown', '.rst', '.adoc'];

/** The ending of a file's name, that of a gzip file apart: `.txt` of `a.txt.gz`. */
export const extensionOf = (path: string): string => extname(path.replace(/\.gz$/i, '')).toLowerCase();

/** What {@link readTexts} found. */
export interface Texts {
  /** The texts one after another; each ends in a line break when another follows. */
  readonly text: string;
  /** The files in the order in which they were read; `-` for standard input. */
  readonly files: readonly string[];
}

/**
 * Reads text.
 *
 * @param sources Files, folders (their text files, recursively, sorted by path; see {@link textExtensions}),
 * glob patterns (`*`, `**`, `?`, `[abc]`, `{a,b}`) or `-` for standard input.
 * @throws FileError for sources that are missing, unreadable, empty or not UTF-8.
 * @example
 * const { text } = await readTexts('books/*.txt');
 */
export async function readTexts(sources: string | readonly string[]): Promise<Texts> {
  const found = await readFiles(sources);
  const files = found.map(({ file }) => file);
  const text = found
    .map(({ text: t }, i) => (i === found.length - 1 || t === '' || t.endsWith('\n') ? t : `${t}\n`))
    .join('');
  if (text === '') {
    const name = files.length === 1 ? files[0] : `${files[0]} and ${files.length - 1} more`;
    throw new FileError(name === '-' ? 'standard input' : name, 'is empty: there is no text to read');
  }
  return { text, files };
}

/** The same files, each with its text. */
export async function readFiles(
  sources: string | readonly string[],
): Promise<{ readonly file: string; readonly text: string }[]> {
  const files = listFiles(sources);
  const found: { file: string; text: string }[] = [];
  let length = 0;
  for (const file of files) {
    const bytes = unpacked(file, file === '-' ? await readStandardInput() : readBytes(file));
    const text = decodeUtf8(bytes, file === '-' ? 'standard input' : file);
    length += text.length + 1;
    if (length > constants.MAX_STRING_LENGTH) {
      throw new FileError(
        file,
        `is too much text: together more than ${constants.MAX_STRING_LENGTH} characters`,
      );
    }
    found.push({ file, text });
  }
  return found;
}

/** A piece of a file's text. */
export interface TextPiece {
  readonly text: string;
  /** Whether the file ends with it. */
  readonly ends: boolean;
  /** What it is of: a path, or `standard input`. */
  readonly file: string;
}

/** Options of {@link streamTexts}. */
export interface StreamOptions {
  /** Told of the bytes that were read, before they are unpacked. */
  readonly onBytes?: (bytes: number) => void;
  /** Ends the reading with the signal's reason, also while it waits for more to read. */
  readonly signal?: AbortSignal;
}

/**
 * Reads the same text as {@link readTexts} piece by piece, for texts that need not fit in memory. Pieces end anywhere
 * between two characters.
 *
 * @throws FileError as {@link readTexts} does, when the reading comes to the place.
 */
export async function* streamTexts(
  sources: string | readonly string[],
  options: StreamOptions = {},
): AsyncGenerator<TextPiece> {
  for (const path of listFiles(sources)) {
    const file = path === '-' ? 'standard input' : path;
    const decoder = new TextDecoder('utf-8', { fatal: true });
    const decode = (bytes: Buffer, stream: boolean): string => {
      try {
        return decoder.decode(bytes, { stream });
      } catch (error) {
        throw new FileError(file, 'is not UTF-8 text; convert it, with iconv for example', { cause: error });
      }
    };
    try {
      const bytes: AsyncIterable<Buffer> = path === '-' ? process.stdin : bytesOf(path);
      for await (const chunk of unpackedStream(bytes, options))
        yield { text: decode(chunk, true), ends: false, file };
    } catch (error) {
      if (options.signal?.aborted === true) throw error;
      throw isOfGzip(error) ? damagedGzip(file, error) : fileError(file, 'cannot be read', error);
    }
    yield { text: decode(Buffer.alloc(0), false), ends: true, file };
  }
}

/**
 * The bytes of a file, or of a named pipe (`<(zcat a.gz)`). A pipe is opened without waiting for somebody to write to it and
 * read as a socket: a thread that waits in `open` would hold up the end of the process.
 */
function bytesOf(path: string): AsyncIterable<Buffer> {
  if (statOf(path)?.isFIFO() !== true) return createReadStream(path, { highWaterMark: 1 << 20 });
  return new Socket({ fd: openSync(path, fs.O_RDONLY | fs.O_NONBLOCK), readable: true, writable: false });
}

const isGzip = (bytes: Uint8Array): boolean => bytes[0] === 0x1f && bytes[1] === 0x8b;
/** zlib's errors, `Z_DATA_ERROR` say. */
const isOfGzip = (error: unknown): boolean => String((error as NodeJS.ErrnoException).code).startsWith('Z_');
const damagedGzip = (file: string, cause: unknown): FileError =>
  new FileError(file, `is a damaged gzip file: ${(cause as Error).message}`, { cause });

function unpacked(file: string, bytes: Buffer): Buffer {
  if (!isGzip(bytes)) return bytes;
  try {
    return gunzipSync(bytes);
  } catch (error) {
    if (isOfGzip(error)) throw damagedGzip(file, error);
    throw fileError(file, 'cannot be unpacked', error);
  }
}

/** The bytes of a stream, unpacked (in a thread of Node's) where they begin as those of a gzip file. */
async function* unpackedStream(
  stream: AsyncIterable<Buffer>,
  { onBytes, signal }: StreamOptions,
): AsyncGenerator<Buffer> {
  const chunks = stream[Symbol.asyncIterator]();
  const stopped = new Promise<never>((_, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
  stopped.catch(() => undefined);
  const read = (): Promise<IteratorResult<Buffer>> => Promise.race([chunks.next(), stopped]);
  signal?.throwIfAborted();
  const first = await read();
  async function* all(): AsyncGenerator<Buffer> {
    for (let next = first; next.done !== true; next = await read()) {
      onBytes?.(next.value.length);
      yield next.value;
    }
  }
  try {
    if (first.done === true || !isGzip(first.value)) {
      yield* all();
    } else {
      const unpacker = createGunzip({ chunkSize: 1 << 20 });
      pipeline(Readable.from(all()), unpacker, () => undefined); // who reads the unpacker gets the error
      yield* unpacker as AsyncIterable<Buffer>;
    }
  } finally {
    const closed = chunks.return?.(); // the stream, when its reader has enough
    if (signal?.aborted !== true) await closed; // a read that waits would hold it up
  }
}

/**
 * The files that sources name, in the order in which they are read; `-` for standard input.
 * @param extensions Those of the files that are taken from folders.
 * @throws FileError for a source that names none.
 */
export function listFiles(
  sources: string | readonly string[],
  extensions: readonly string[] = textExtensions,
): string[] {
  return [sources].flat().flatMap((source) => (source === '-' ? ['-'] : findFiles(source, extensions)));
}

/** The files that a source names, at least one. */
function findFiles(source: string, extensions: readonly string[]): string[] {
  const stats = statOf(source);
  if (stats?.isDirectory()) {
    const files = walk(source).filter((file) => extensions.includes(extensionOf(file)));
    if (files.length > 0) return files;
    throw new FileError(source, `has no text files in it (${extensions.join(', ')})`);
  }
  if (stats !== undefined) return [source];
  if (!isPattern(source)) throw new FileError(source, 'cannot be read: there is no such file or folder');
  const { folder, matches } = compilePattern(source);
  const files = statOf(folder)?.isDirectory()
    ? walk(folder).filter((file) => matches(relative(folder, file)))
    : [];
  if (files.length === 0) throw new FileError(source, 'matches no file');
  return files;
}

/** The file's stats, undefined when there is no such file. */
function statOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw fileError(path, 'cannot be read', error);
  }
}

/**
 * All files below a folder, sorted by path; hidden ones and node_modules apart. Links to folders are not
 * followed, broken links left out.
 */
function walk(folder: string): string[] {
  let entries;
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    throw fileError(folder, 'cannot be read', error);
  }
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.name.startsWith('.') || entry.name === 'node_modules') return [];
    if (entry.isDirectory()) return walk(path);
    return entry.isFile() || (entry.isSymbolicLink() && leadsToFile(path)) ? [path] : [];
  });
}

/** Links that lead nowhere, or in a circle, are no files. */
function leadsToFile(link: string): boolean {
  try {
    return statSync(link, { throwIfNoEntry: false })?.isFile() ?? false;
  } catch (error) {
    if (systemCode(error) === 'ELOOP') return false;
    throw fileError(link, 'cannot be read', error);
  }
}

function readBytes(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_FS_FILE_TOO_LARGE') {
      throw new FileError(file, 'is larger than 2 GiB; split it', { cause: error });
    }
    throw fileError(file, 'cannot be read', error);
  }
}

async function readStandardInput(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  } catch (error) {
    throw fileError('standard input', 'cannot be read', error);
  }
  return Buffer.concat(chunks);
}

/**
 * The text of UTF-8 bytes, without a byte order mark.
 *
 * @param name What to call the bytes in messages.
 * @throws FileError naming the first byte that is not valid.
 */
export function decodeUtf8(bytes: Uint8Array, name: string): string {
  if (!isUtf8(bytes)) {
    const at = invalidByte(bytes);
    const value = bytes[at].toString(16).toUpperCase().padStart(2, '0');
    throw new FileError(
      name,
      `is not UTF-8 text: byte ${at} (0x${value}) is not valid there; convert it, with iconv for example`,
    );
  }
  if (bytes.length > constants.MAX_STRING_LENGTH) {
    throw new FileError(
      name,
      `is too long: ${bytes.length} bytes, the limit is ${constants.MAX_STRING_LENGTH}`,
    );
  }
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  return text.startsWith('\ufeff') ? text.slice(1) : text;
}

/** Offset of the first sequence of bytes that is not UTF-8 (The Unicode Standard, table 3-7). */
function invalidByte(bytes: Uint8Array): number {
  let at = 0;
  for (let size = 1; size > 0 && at < bytes.length; at += size) size = sequenceLength(bytes, at);
  return at;
}

/** Number of bytes of the character that begins at `at`, 0 when it is not valid. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at];
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  // Limits of the second byte: no overlong forms, no surrogates, nothing above U+10FFFF.
  let low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  let high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  for (let i = 1; i < size; i++) {
    const byte = bytes[at + i] ?? 0;
    if (byte < low || byte > high) return 0;
    [low, high] = [0x80, 0xbf];
  }
  return size;
}
