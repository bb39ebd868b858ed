/**
 * The bytes of a file of any size, read here and there: mapped in parts, so that reading costs a copy and no call to the
 * system. What was read lately stays mapped, up to a limit; a file of terabytes takes no more of the process's memory than
 * one of megabytes. (What the system keeps in its page cache is the system's, and goes when others need it.)
 */

import { statSync } from 'node:fs';

import { FileError } from '../errors.js';
import { native } from '../native.js';
import { checkFile } from './mapped-file.js';
import { fileError } from './system-error.js';

/** Bytes of a part. Buffers of some releases of Node end at 4 GiB. */
const partBytes = 2 ** 30;
/** What the system maps around an address that is touched, at most. */
const faultBytes = 2 ** 16;
/** Bytes that reading may have brought in before all are let go. */
const mostResident = 2 ** 26;

export class FileBytes implements Disposable {
  readonly path: string;
  /** Bytes of the file when it was opened. */
  readonly size: number;
  /** The parts that were touched so far, by their number. */
  readonly #parts = new Map<number, Uint8Array>();
  #resident = 0;

  /**
   * @param kind What it should be, for messages: `token`.
   * @throws FileError for anything but a regular file.
   */
  constructor(path: string, kind: string) {
    this.path = path;
    try {
      const stats = statSync(path);
      if (stats.isDirectory()) throw new FileError(path, `is a folder, not a ${kind} file`);
      if (!stats.isFile()) throw new FileError(path, 'is not a regular file');
      this.size = stats.size;
    } catch (error) {
      throw fileError(path, 'cannot be read', error);
    }
  }

  /**
   * Copies bytes from `offset` on until `into` is full.
   * @throws FileError when they reach beyond the end, or the file became shorter since it was opened.
   */
  read(offset: number, into: Uint8Array): void {
    if (offset < 0 || offset + into.length > this.size) {
      throw new FileError(
        this.path,
        `is damaged or unfinished: bytes ${offset} to ${offset + into.length} are asked for, it has ${this.size}`,
      );
    }
    for (let done = 0; done < into.length;) {
      const at = offset + done;
      const part = this.#part(Math.floor(at / partBytes));
      const begin = at % partBytes;
      const bytes = part.subarray(begin, begin + into.length - done);
      if (bytes.length === 0) throw new FileError(this.path, 'became shorter while it was in use');
      into.set(bytes, done);
      checkFile(part);
      done += bytes.length;
    }
    this.#account(into.length);
  }

  [Symbol.dispose](): void {
    this.#parts.clear(); // the garbage collector unmaps them
  }

  #part(index: number): Uint8Array {
    let part = this.#parts.get(index);
    if (part !== undefined) return part;
    try {
      const buffer = native.mapFile(this.path, index * partBytes, partBytes);
      native.adviseFile(buffer, 0);
      part = new Uint8Array(buffer);
    } catch (error) {
      throw fileError(this.path, 'cannot be read', error);
    }
    this.#parts.set(index, part);
    return part;
  }

  /** Lets go of all pages when reading may have brought in many. */
  #account(bytes: number): void {
    this.#resident += Math.ceil(bytes / faultBytes) * faultBytes + faultBytes;
    if (this.#resident < mostResident) return;
    for (const part of this.#parts.values()) native.adviseFile(part.buffer as ArrayBuffer, 1);
    this.#resident = 0;
  }
}
