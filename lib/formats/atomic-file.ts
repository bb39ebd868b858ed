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
  let temporary = '';
  try {
    const target = resolveTarget(path);
    temporary = join(dirname(target), stagingName(basename(target).slice(0, 200)));
    writeNew(temporary, typeof content === 'string' ? [content] : content);
    renameSync(temporary, target);
    syncFolder(dirname(target));
  } catch (error) {
    if (temporary !== '') rmSync(temporary, { force: true });
    if (systemCode(error) === '') throw error;
    throw fileError(path, 'cannot be written', error);
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

function writeNew(path: string, chunks: Iterable<Uint8Array | string>): void {
  const file = openSync(path, 'wx');
  try {
    for (const chunk of chunks) writeAll(file, typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Bytes handed to the system at once: below the 2 GiB that one write takes. */
const writeLimit = 2 ** 30;

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.byteLength;) {
    done += writeSync(file, bytes, done, Math.min(bytes.byteLength - done, writeLimit));
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

/** Removes what writers that were killed have left: staging folders and files whose process is gone. */
function removeLeftovers(folder: string): void {
  for (const name of readdirSync(folder)) {
    const pid = /^\..*\.(\d+)\.[0-9a-f]{8}\.tmp$/.exec(name)?.[1];
    if (pid === undefined || isRunning(Number(pid))) continue;
    rmSync(join(folder, name), { recursive: true, force: true });
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
