/**
 * One run a folder: a run that is going on holds `training.lock`, which names its process. A lock whose process is gone
 * (killed, power cut) is taken over without a word. Processes of other machines are not seen.
 */

import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';

import { FileError } from '../../lib/errors.js';
import { isRunning, makeFolder } from '../../lib/formats/atomic-file.js';
import { fileError, systemCode } from '../../lib/formats/system-error.js';

/** Name of the file that a run holds in its folder. */
export const lockFile = 'training.lock';

/** The right to train in a folder; dispose it to let others. */
export interface RunLock extends Disposable {
  readonly folder: string;
}

/**
 * Takes the lock of a folder, which is created where it is missing; given back when it is disposed, or when the process
 * exits.
 * @throws FileError when another run holds it, or the folder cannot be written.
 */
export function lockRun(folder: string): RunLock {
  makeFolder(folder);
  const path = join(folder, lockFile);
  const { pid } = process;
  const text = `${JSON.stringify({ pid, started: startOf(pid)?.started, id: randomBytes(8).toString('hex') })}\n`;
  try {
    while (!create(path, text)) {
      const holder = readLock(path);
      if (holder === null) continue; // it was given back just now
      if (isHeld(holder)) throw inUse(folder, holder.pid);
      takeAway(path, holder.text);
    }
  } catch (error) {
    throw fileError(folder, 'cannot be written', error);
  }
  const release = (): void => {
    process.off('exit', release);
    try {
      if (readLock(path)?.text === text) rmSync(path, { force: true });
    } catch {
      // It stays, and is taken over once this process has ended.
    }
  };
  process.on('exit', release);
  return { folder, [Symbol.dispose]: release };
}

/** Throws FileError when a run that is going on holds a folder. */
export function checkUnlocked(folder: string): void {
  let holder: Holder | null;
  try {
    holder = readLock(join(folder, lockFile));
  } catch {
    return; // Whoever reads or writes the folder will say what is wrong with it.
  }
  if (holder !== null && isHeld(holder)) throw inUse(folder, holder.pid);
}

interface Holder {
  readonly text: string;
  readonly pid: number;
  /** When the process started, in the system's units; undefined where it does not tell. */
  readonly started: string | undefined;
}

const inUse = (folder: string, pid: number): FileError =>
  new FileError(
    folder,
    `another run trains in it (process ${pid}); wait for its end or choose another folder`,
  );

/** A name of this process alone; what a kill leaves of them goes with the next save. */
const aside = (path: string): string =>
  join(dirname(path), `.${lockFile}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`);

/** Creates a file with its content at once; false when there is one. */
function create(path: string, text: string): boolean {
  const temporary = aside(path);
  try {
    writeFileSync(temporary, text, { flag: 'wx' });
    linkSync(temporary, path);
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(systemCode(error))) throw error;
    return createWithoutLink(path, text); // not every file system has hard links
  } finally {
    rmSync(temporary, { force: true });
  }
}

function createWithoutLink(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: 'wx' });
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Removes a lock whose holder is gone, unless somebody else did and holds it already. */
function takeAway(path: string, text: string): void {
  const moved = aside(path);
  try {
    renameSync(path, moved);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    throw error;
  }
  try {
    if (readLock(moved)?.text !== text) linkSync(moved, path);
  } finally {
    rmSync(moved, { force: true });
  }
}

function readLock(path: string): Holder | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
  try {
    const { pid, started } = JSON.parse(text) as { pid: unknown; started: unknown };
    if (Number.isSafeInteger(pid)) {
      return { text, pid: pid as number, started: typeof started === 'string' ? started : undefined };
    }
  } catch {
    // A lock that a power cut has left empty.
  }
  return { text, pid: 0, started: undefined };
}

/** Whether the process that wrote a lock still runs, and is not another one that got its number. */
function isHeld({ pid, started }: Holder): boolean {
  if (pid <= 0 || !isRunning(pid)) return false;
  const now = startOf(pid);
  if (now === undefined) return true;
  return !now.dead && (started === undefined || started === now.started);
}

/** When a process started, and whether it only waits to be buried; undefined where the system does not tell. */
function startOf(pid: number): { started: string; dead: boolean } | undefined {
  try {
    // The name of the program, in parentheses, may have anything in it; after it come the state and 18 numbers.
    const [state, ...numbers] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return { started: `${boot} ${numbers[18]}`, dead: state === 'Z' || state === 'X' };
  } catch {
    return undefined;
  }
}
