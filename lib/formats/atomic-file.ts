/**
 * Files that are there whole or not at all, whatever happens while they are written: a kill, a full disk, a
 * power cut.
 *
 * One file: written beside its place, flushed to the disk, renamed over the old one. Several files that
 * belong together: written into a staging folder, which is renamed to `.commit` (the moment that counts) and
 * whose files are then moved to their places. Whoever opens the folder first finishes moves that were
 * interrupted, as a database replays its log.
 */

import {
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';

import { FileError } from '../errors.js';
import { fileError, systemCode } from './system-error.js';

/** The folder of complete files on their way to their places. */
const commitName = '.commit';

/**
 * A name that no other writer uses. Writers that died leave theirs behind; the next {@link replaceFiles}
 * removes them.
 */
const stagingName = (name: string): string => `.${name}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`;

/**
 * Writes a file so that `path` holds the old content or the new one, never something between. A symbolic link
 * is followed.
 *
 * @param content Text, written as UTF-8, or pieces of text and bytes in order.
 * @throws FileError when it cannot be written (full disk, read-only folder, ...): the old file is still there
 * then.
 */
export function writeFileAtomic(path: string, content: string | Iterable<Uint8Array | string>): void {
  using file = new AtomicFile(path);
  for (const chunk of typeof content === 'string' ? [content] : content) file.write(chunk);
  file.commit();
}

/**
 * A file that is written piece by piece beside its place and put there by {@link commit}; without that nothing is left
 * of it when it is disposed. A symbolic link is followed.
 *
 * Every method throws FileError when the file cannot be written.
 */
export class AtomicFile implements Disposable {
  readonly #path: string;
  readonly #target: string;
  readonly #temporary: string;
  readonly #file: number;
  #size = 0;
  #open = true;

  constructor(path: string) {
    this.#path = path;
    try {
      this.#target = resolveTarget(path);
      this.#temporary = join(dirname(this.#target), stagingName(basename(this.#target).slice(0, 200)));
      this.#file = openSync(this.#temporary, 'wx+');
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** Bytes written so far. */
  get size(): number {
    return this.#size;
  }

  /** Adds text, as UTF-8, or bytes at the end. */
  write(chunk: Uint8Array | string): void {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    this.#attempt(() => writeAll(this.#file, bytes, null));
    this.#size += bytes.byteLength;
  }

  /** Writes over bytes that are there, a header say. */
  overwrite(position: number, bytes: Uint8Array): void {
    this.#attempt(() => writeAll(this.#file, bytes, position));
  }

  /** Reads bytes back, as many as `into` holds. */
  readBack(position: number, into: Uint8Array): void {
    this.#attempt(() => {
      for (let done = 0; done < into.length;) {
        const count = readSync(this.#file, into, done, into.length - done, position + done);
        if (count === 0) throw new FileError(this.#path, 'cannot be written: somebody else shortened it');
        done += count;
      }
    });
  }

  /** Flushes the file to the disk and puts it in its place. */
  commit(): void {
    this.#attempt(() => {
      fsyncSync(this.#file);
      this.#close();
      renameSync(this.#temporary, this.#target);
      syncFolder(dirname(this.#target));
    });
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#close();
    rmSync(this.#temporary, { force: true });
  }

  #close(): void {
    this.#open = false;
    closeSync(this.#file);
  }

  #attempt(body: () => void): void {
    try {
      body();
    } catch (error) {
      rmSync(this.#temporary, { force: true });
      throw this.#failure(error);
    }
  }

  #failure(error: unknown): unknown {
    return systemCode(error) === '' ? error : fileError(this.#path, 'cannot be written', error);
  }
}

/**
 * Where a file is to be put: links followed; only a regular file may be replaced (a device or a pipe would be
 * lost).
 */
function resolveTarget(path: string): string {
  const kind = lstatSync(path, { throwIfNoEntry: false });
  if (kind === undefined) return path;
  const target = kind.isSymbolicLink() ? realpathSync(path) : path;
  const stats = statSync(target);
  if (stats.isDirectory()) throw new FileError(path, 'cannot be written: it is a folder');
  if (!stats.isFile()) throw new FileError(path, 'cannot be written: it is not a regular file');
  return target;
}

/** Bytes handed to the system at once: below the 2 GiB that one write takes. */
const writeLimit = 2 ** 30;

/** @param position Where the bytes go; null: to the end of what was written before. */
function writeAll(file: number, bytes: Uint8Array, position: number | null): void {
  for (let done = 0; done < bytes.byteLength;) {
    const at = position === null ? null : position + done;
    done += writeSync(file, bytes, done, Math.min(bytes.byteLength - done, writeLimit), at);
  }
}

/**
 * Makes renames in a folder last through a power cut. Not every system can flush a folder; that is no
 * failure.
 */
function syncFolder(path: string): void {
  let folder: number;
  try {
    folder = openSync(path, 'r');
  } catch {
    return;
  }
  try {
    fsyncSync(folder);
  } catch (error) {
    if (systemCode(error) === 'EIO') throw error;
  } finally {
    closeSync(folder);
  }
}

/** Creates a folder and those above it. */
export function makeFolder(path: string): void {
  if (isFolder(path)) return;
  // Not `recursive`: where the system answers ENOENT for a folder whose parent exists (below /proc), Node never returns.
  const parent = dirname(path);
  if (parent !== path && !existsSync(parent)) makeFolder(parent);
  try {
    mkdirSync(path);
  } catch (error) {
    if (isFolder(path)) return; // somebody else was faster
    if (systemCode(error) === 'EEXIST') throw new FileError(path, 'is not a folder', { cause: error });
    throw fileError(path, 'cannot be created', error);
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/**
 * Replaces several files of one folder together: after a failure or a kill at any moment the folder holds all
 * of the old ones or all of the new ones (for readers that call {@link finishReplacement} before they open
 * them).
 *
 * @param write Writes the new files into the folder that it is given. Files that it does not write stay as
 * they are, but for those that are:
 * @param stale Files that go when the new ones come, where they are not among these.
 */
export function replaceFiles(
  folder: string,
  write: (staging: string) => void,
  stale: (name: string) => boolean = () => false,
): void {
  makeFolder(folder);
  finishReplacement(folder);
  removeLeftovers(folder);
  const old = readdirSync(folder).filter(stale);
  const commit = (staging: string): void => {
    write(staging);
    const written = new Set(readdirSync(staging));
    // A folder in the place of a file: the file goes.
    for (const name of old) if (!written.has(name)) mkdirSync(join(staging, name));
  };
  createFolder(join(folder, commitName), commit, folder);
  finishReplacement(folder);
}

/**
 * Makes a folder that is there with all its files or not at all; one of that name is removed first.
 *
 * @param write Writes the files into the folder that it is given.
 * @param name What to call the folder in messages.
 */
export function createFolder(path: string, write: (staging: string) => void, name = path): void {
  const staging = join(dirname(path), stagingName(basename(path)));
  try {
    mkdirSync(staging);
    write(staging);
    syncFolder(staging);
    rmSync(path, { recursive: true, force: true });
    renameSync(staging, path);
    syncFolder(dirname(path));
  } catch (error) {
    rmSync(staging, { recursive: true, force: true });
    if (error instanceof FileError)
      throw new FileError(name, `cannot be saved: ${unnamed(error)}`, { cause: error });
    if (systemCode(error) === '') throw error;
    throw fileError(name, 'cannot be saved', error);
  }
}

/** The reason of an error without the file's name: a staging file's means nothing to anybody. */
const unnamed = (error: FileError): string =>
  error.message.replace(`${error.file}: `, `${basename(error.file)} `);

/**
 * Finishes a {@link replaceFiles} that was interrupted after its files were complete. To be called before the
 * files of such a folder are read.
 *
 * @throws FileError when there is something to finish and the folder cannot be written.
 */
export function finishReplacement(folder: string): void {
  const commit = join(folder, commitName);
  let names: string[];
  try {
    names = readdirSync(commit);
  } catch {
    return; // The usual case: there is none. Whoever reads a folder that is missing or unreadable will say so.
  }
  try {
    for (const name of names) move(join(commit, name), join(folder, name));
    syncFolder(folder);
    rmdirSync(commit);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return; // Another process finished it meanwhile.
    throw fileError(folder, 'holds an interrupted save that cannot be finished', error);
  }
}

function move(from: string, to: string): void {
  try {
    if (lstatSync(from).isDirectory()) {
      rmSync(to, { force: true });
      rmdirSync(from);
    } else {
      renameSync(from, to);
    }
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

/**
 * Removes what writers that were killed have left: staging folders and files whose process is gone.
 * @param name Only those of files of this name.
 */
export function removeLeftovers(folder: string, name?: string): void {
  for (const entry of readdirSync(folder)) {
    const [, of, pid] = /^\.(.*)\.(\d+)\.[0-9a-f]{8}\.tmp$/.exec(entry) ?? [];
    if (pid === undefined || (name !== undefined && of !== name) || isRunning(Number(pid))) continue;
    rmSync(join(folder, entry), { recursive: true, force: true });
  }
}

/** Whether there is a process of that number. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}
