/**
 * Token files: the ids of a corpus that need not fit in memory. A file of tsgpt's own has, in little-endian order,
 *
 *      0  8 bytes   "TSGPTTOK"
 *      8  uint32    version, 1
 *     12  uint32    bytes of a token, 2 or 4
 *     16  uint64    number of tokens
 *     24  uint64    number of documents
 *     32  uint64    where the ends of the documents stand: a uint64 each, counted in tokens
 *     40  uint64    where the tokenizer stands, as JSON (see packTokenizer); 0: there is none
 *     48  uint64    bytes of it
 *     56  uint32    vocabulary: ids are below it
 *     60  uint32    the id that ends a document, 2^32 - 1 where none does
 *     64  32 bytes  SHA-256 of the tokenizer's tokenizer.json
 *     96  32 bytes  SHA-256 of the tokens
 *    128            the tokens, unsigned
 *
 * Files of other programs can be read as well: bare uint16 (nanoGPT) and those with llm.c's header.
 */

import { createHash, type Hash } from 'node:crypto';
import { basename, dirname } from 'node:path';

import { ArgumentError, FileError, IndexError } from '../../lib/errors.js';
import { AtomicFile, makeFolder, removeLeftovers } from '../../lib/formats/atomic-file.js';
import { FileBytes } from '../../lib/formats/file-bytes.js';

const magic = 'TSGPTTOK';
const version = 1;
const headerBytes = 128;
const noEos = 2 ** 32 - 1;
/** llm.c's headers: 256 int32, of which three say something. */
const llmcBytes = 1024;
const llmcTokenBytes: Readonly<Record<string, 2 | 4>> = { '20240520,1': 2, '20240801,7': 4 };

/** What a token file says of itself. */
export interface TokenFileInfo {
  /** Who writes such files: `tsgpt`, `llm.c`, or `raw` for bare uint16. */
  readonly format: 'tsgpt' | 'llm.c' | 'raw';
  readonly tokens: number;
  readonly bytesPerToken: 2 | 4;
  /** Number of documents; null where the file does not say where they end. */
  readonly documents: number | null;
  /** The vocabulary's size; null where the file does not say. */
  readonly vocabSize: number | null;
  /** The id that ends a document; null where there is none. */
  readonly eosId: number | null;
  /** SHA-256 of the tokenizer's tokenizer.json, in hexadecimal; null where the file does not say. */
  readonly tokenizerHash: string | null;
  /** SHA-256 of the tokens as they stand in the file; null where the file does not say. */
  readonly tokensHash: string | null;
}

interface Layout extends TokenFileInfo {
  /** Bytes at which tokens, ends and tokenizer begin. */
  readonly start: number;
  readonly ends: number;
  readonly tokenizer: number;
  readonly tokenizerBytes: number;
}

/** A token file that is open for reading. */
export class TokenFile implements Disposable {
  readonly path: string;
  readonly #bytes: FileBytes;
  readonly #layout: Layout;
  /** What a read brings in before it is widened. */
  #scratch = new ArrayBuffer(0);

  /**
   * @throws FileError when it is missing, no token file, or damaged as far as its header and size show; {@link verify}
   * reads everything.
   */
  constructor(path: string) {
    this.path = path;
    this.#bytes = new FileBytes(path, 'token');
    this.#layout = readLayout(this.#bytes);
  }

  get info(): TokenFileInfo {
    const { start: _, ends: __, tokenizer: ___, tokenizerBytes: ____, ...info } = this.#layout;
    return info;
  }

  /** Number of tokens. */
  get length(): number {
    return this.#layout.tokens;
  }

  /**
   * Copies tokens from `first` on until `into` is full.
   * @throws FileError when the file became shorter meanwhile, ArgumentError when they reach beyond its end.
   */
  read(first: number, into: Int32Array): void {
    const { tokens, bytesPerToken, start } = this.#layout;
    if (!(Number.isSafeInteger(first) && first >= 0 && first + into.length <= tokens)) {
      throw new ArgumentError(
        `TokenFile: tokens ${first} to ${first + into.length} are asked for, ${this.path} has ${tokens}`,
      );
    }
    const bytes = into.length * bytesPerToken;
    if (bytesPerToken === 4) {
      this.#bytes.read(start + 4 * first, new Uint8Array(into.buffer, into.byteOffset, bytes));
      return;
    }
    if (this.#scratch.byteLength < bytes) this.#scratch = new ArrayBuffer(bytes);
    this.#bytes.read(start + 2 * first, new Uint8Array(this.#scratch, 0, bytes));
    into.set(new Uint16Array(this.#scratch, 0, into.length));
  }

  /** The number of tokens up to the end of a document. */
  documentEnd(document: number): number {
    const { documents, ends } = this.#layout;
    if (documents === null || !(Number.isSafeInteger(document) && document >= 0 && document < documents)) {
      throw new IndexError(
        `TokenFile: ${this.path} has ${documents ?? 'no'} documents, not document ${document}`,
      );
    }
    const word = new BigUint64Array(1);
    this.#bytes.read(ends + 8 * document, new Uint8Array(word.buffer));
    return Number(word[0]);
  }

  /** The first document that ends behind a token: the one that the token is in. */
  documentAt(token: number): number {
    let [low, high] = [0, this.#layout.documents ?? 0];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.documentEnd(middle) > token) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The tokenizer that the file brings along, as {@link packTokenizer} wrote it; null where there is none. */
  tokenizerJson(): string | null {
    const { tokenizer, tokenizerBytes } = this.#layout;
    if (tokenizer === 0) return null;
    const bytes = new Uint8Array(tokenizerBytes);
    this.#bytes.read(tokenizer, bytes);
    return Buffer.from(bytes.buffer).toString('utf8');
  }

  /**
   * Reads all tokens and compares their checksum; a file without one is read only.
   * @throws FileError when it does not fit, or an id is outside the vocabulary.
   */
  verify(): void {
    const { start, tokens, bytesPerToken, tokensHash, vocabSize } = this.#layout;
    const hash = createHash('sha256');
    const ids = new Int32Array(2 ** 18);
    const bytes = new Uint8Array(ids.length * bytesPerToken);
    for (let first = 0; first < tokens; first += ids.length) {
      const count = Math.min(ids.length, tokens - first);
      this.#bytes.read(start + first * bytesPerToken, bytes.subarray(0, count * bytesPerToken));
      hash.update(bytes.subarray(0, count * bytesPerToken));
      this.read(first, ids.subarray(0, count));
      if (vocabSize !== null) checkIds(this, ids.subarray(0, count), first, vocabSize);
    }
    if (tokensHash !== null && hash.digest('hex') !== tokensHash) {
      throw new FileError(this.path, 'is damaged: the checksum of its tokens differs; tokenize again');
    }
  }

  [Symbol.dispose](): void {
    this.#bytes[Symbol.dispose]();
  }
}

/** Throws IndexError for an id that is none of the vocabulary's. */
export function checkIds(file: TokenFile, ids: Int32Array, first: number, vocabSize: number): void {
  const at = ids.findIndex((id) => id < 0 || id >= vocabSize);
  if (at < 0) return;
  throw new IndexError(
    `${file.path}: token ${first + at} is id ${ids[at] >>> 0}, outside the vocabulary of ${vocabSize}; ` +
      'was the file made with another tokenizer?',
  );
}

/** Whether a path looks like a token file: by its first bytes, or as a `.bin` file. */
export function isTokenFile(path: string): boolean {
  if (path.endsWith('.bin')) return true;
  try {
    using bytes = new FileBytes(path, 'token');
    const head = new Uint8Array(Math.min(bytes.size, magic.length));
    bytes.read(0, head);
    return Buffer.from(head).toString('latin1') === magic;
  } catch {
    return false; // Whoever opens it will say what is wrong with it.
  }
}

function readLayout(bytes: FileBytes): Layout {
  const head = new Uint8Array(Math.min(bytes.size, headerBytes));
  bytes.read(0, head);
  const view = new DataView(head.buffer);
  if (Buffer.from(head.subarray(0, 8)).toString('latin1') === magic) return ownLayout(bytes, view);
  const foreign = {
    ...{ documents: null, vocabSize: null, eosId: null, tokenizerHash: null, tokensHash: null },
    ...{ ends: 0, tokenizer: 0, tokenizerBytes: 0 },
  };
  const llmc =
    head.length >= 12 ? llmcTokenBytes[`${view.getInt32(0, true)},${view.getInt32(4, true)}`] : undefined;
  if (llmc !== undefined) {
    const tokens = view.getUint32(8, true);
    checkSize(bytes, llmcBytes + tokens * llmc);
    return { ...foreign, format: 'llm.c', tokens, bytesPerToken: llmc, start: llmcBytes };
  }
  if (bytes.size === 0 || bytes.size % 2 !== 0) {
    throw new FileError(
      bytes.path,
      bytes.size === 0
        ? 'is empty: there are no tokens in it'
        : `is no token file: it does not begin with ${magic}, and ${bytes.size} bytes are no whole number of uint16`,
    );
  }
  return { ...foreign, format: 'raw', tokens: bytes.size / 2, bytesPerToken: 2, start: 0 };
}

function ownLayout(bytes: FileBytes, view: DataView): Layout {
  const damaged = (what: string): FileError =>
    new FileError(bytes.path, `is damaged: ${what}; tokenize again`);
  if (view.byteLength < headerBytes) throw damaged('its header is cut off');
  if (view.getUint32(8, true) !== version) {
    throw new FileError(
      bytes.path,
      `is a token file of version ${view.getUint32(8, true)}, this release reads ${version}`,
    );
  }
  const [tokens, documents, ends, tokenizer, tokenizerBytes] = [16, 24, 32, 40, 48].map((at) =>
    Number(view.getBigUint64(at, true)),
  );
  const bytesPerToken = view.getUint32(12, true);
  if (bytesPerToken !== 2 && bytesPerToken !== 4) throw damaged(`it has tokens of ${bytesPerToken} bytes`);
  const eosId = view.getUint32(60, true);
  const hash = (at: number): string => Buffer.from(view.buffer, at, 32).toString('hex');
  checkSize(bytes, headerBytes + tokens * bytesPerToken);
  checkSize(bytes, ends + 8 * documents);
  checkSize(bytes, tokenizer + tokenizerBytes);
  return {
    ...{ format: 'tsgpt', tokens, bytesPerToken, documents, vocabSize: view.getUint32(56, true) },
    ...{ eosId: eosId === noEos ? null : eosId, tokenizerHash: hash(64), tokensHash: hash(96) },
    ...{ start: headerBytes, ends, tokenizer, tokenizerBytes },
  };
}

/** Throws FileError when a file ends too early. */
function checkSize(bytes: FileBytes, least: number): void {
  if (least <= bytes.size) return;
  throw new FileError(
    bytes.path,
    `is damaged: it should have ${least} bytes at least and has ${bytes.size}; tokenize again`,
  );
}

/** What a new token file says of itself. */
export interface TokenFileOptions {
  /** Ids are below it; up to 65536 they take two bytes, else four. */
  readonly vocabSize: number;
  /** The id that ends a document, where one does. */
  readonly eosId?: number | undefined;
  /** SHA-256 of the tokenizer, in hexadecimal; zeros by default. */
  readonly tokenizerHash?: string;
  /** The tokenizer to bring along (packTokenizer). */
  readonly tokenizerJson?: string;
}

/** Tokens and ends are handed to the system in pieces of so many bytes. */
const bufferBytes = 2 ** 20;

/** A token file that is being written: beside its place, until {@link finish} puts it there. */
export class TokenFileWriter implements Disposable {
  readonly #options: TokenFileOptions;
  readonly #bytesPerToken: 2 | 4;
  readonly #file: AtomicFile;
  /** The documents' ends, which come after the tokens; on the disk, as they may be many. */
  readonly #ends: AtomicFile;
  readonly #tokenBuffer: Uint16Array | Uint32Array;
  readonly #endBuffer = new BigUint64Array(bufferBytes / 8);
  readonly #hash: Hash = createHash('sha256');
  #tokens = 0;
  #documents = 0;
  /** How much of the buffers is used. */
  #buffered = 0;
  #bufferedEnds = 0;

  /** @throws FileError when it cannot be written there. */
  constructor(path: string, options: TokenFileOptions) {
    const { vocabSize } = options;
    if (!Number.isSafeInteger(vocabSize) || vocabSize < 1 || vocabSize > 2 ** 31) {
      throw new ArgumentError(`TokenFileWriter: vocabSize must be from 1 to 2^31, got ${vocabSize}`);
    }
    this.#options = options;
    this.#bytesPerToken = vocabSize <= 2 ** 16 ? 2 : 4;
    makeFolder(dirname(path));
    removeLeftovers(dirname(path), basename(path));
    this.#file = new AtomicFile(path);
    this.#ends = new AtomicFile(path);
    const count = bufferBytes / this.#bytesPerToken;
    this.#tokenBuffer = this.#bytesPerToken === 2 ? new Uint16Array(count) : new Uint32Array(count);
    this.#file.write(new Uint8Array(headerBytes));
  }

  /** Tokens so far. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Documents so far. */
  get documents(): number {
    return this.#documents;
  }

  /**
   * Adds tokens to the document.
   * @throws IndexError for an id that is none of the vocabulary's.
   */
  append(ids: ArrayLike<number>): void {
    const buffer = this.#tokenBuffer;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i];
      if (!(id >= 0 && id < this.#options.vocabSize)) {
        throw new IndexError(
          `TokenFileWriter: id ${id} is outside the vocabulary of ${this.#options.vocabSize}`,
        );
      }
      buffer[this.#buffered++] = id;
      if (this.#buffered === buffer.length) this.#flushTokens();
    }
    this.#tokens += ids.length;
  }

  /** Ends the document; one without any tokens does not count. */
  endDocument(): void {
    const last = this.#bufferedEnds === 0 ? this.#lastEnd : Number(this.#endBuffer[this.#bufferedEnds - 1]);
    if (this.#tokens === last) return;
    this.#endBuffer[this.#bufferedEnds++] = BigInt(this.#tokens);
    this.#documents++;
    if (this.#bufferedEnds === this.#endBuffer.length) this.#flushEnds();
  }

  /** Completes the file, flushes it to the disk and puts it in its place. */
  finish(): void {
    this.endDocument();
    this.#flushTokens();
    this.#flushEnds();
    const { vocabSize, eosId, tokenizerHash = '0'.repeat(64), tokenizerJson = '' } = this.#options;
    this.#file.write(new Uint8Array(-this.#file.size & 7)); // the ends stand at a multiple of 8
    const ends = this.#file.size;
    const piece = new Uint8Array(bufferBytes);
    for (let at = 0; at < this.#ends.size; at += piece.length) {
      const bytes = piece.subarray(0, Math.min(piece.length, this.#ends.size - at));
      this.#ends.readBack(at, bytes);
      this.#file.write(bytes);
    }
    const tokenizer = this.#file.size;
    this.#file.write(tokenizerJson);
    const header = new DataView(new ArrayBuffer(headerBytes));
    const bytes = new Uint8Array(header.buffer);
    bytes.set(Buffer.from(magic, 'latin1'));
    header.setUint32(8, version, true);
    header.setUint32(12, this.#bytesPerToken, true);
    const words = [this.#tokens, this.#documents, ends, tokenizerJson === '' ? 0 : tokenizer];
    words.push(this.#file.size - tokenizer);
    words.forEach((word, i) => header.setBigUint64(16 + 8 * i, BigInt(word), true));
    header.setUint32(56, vocabSize, true);
    header.setUint32(60, eosId ?? noEos, true);
    bytes.set(Buffer.from(tokenizerHash, 'hex'), 64);
    bytes.set(this.#hash.digest(), 96);
    this.#file.overwrite(0, bytes);
    this.#file.commit();
    this.#ends[Symbol.dispose]();
  }

  /** Leaves nothing behind of a file that is not finished. */
  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
    this.#ends[Symbol.dispose]();
  }

  /** The end of the last document that is no longer in the buffer. */
  #lastEnd = 0;

  #flushTokens(): void {
    const { buffer } = this.#tokenBuffer;
    const bytes = new Uint8Array(buffer, 0, this.#buffered * this.#bytesPerToken);
    this.#hash.update(bytes);
    this.#file.write(bytes);
    this.#buffered = 0;
  }

  #flushEnds(): void {
    if (this.#bufferedEnds === 0) return;
    this.#lastEnd = Number(this.#endBuffer[this.#bufferedEnds - 1]);
    this.#ends.write(new Uint8Array(this.#endBuffer.buffer, 0, this.#bufferedEnds * 8));
    this.#bufferedEnds = 0;
  }
}
