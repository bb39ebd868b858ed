/**
 * Whether a save is whole, and what to do when it is not: a disk that fails, a cable, a careless editor. Every save has
 * checksums of its large files (`sha256sum -c checksums.sha256` checks them too); a damaged save gives way to the newest
 * whole one among the `checkpoint-<step>` folders.
 */

import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';

import { FileError, TsgptError } from '../../lib/errors.js';
import { finishReplacement, replaceFiles, writeFileAtomic } from '../../lib/formats/atomic-file.js';
import { fileError } from '../../lib/formats/system-error.js';
import { readTrainingProgress, shareFiles, snapshotsOf, trainingStateFile } from './checkpoint.js';

/** Name of the file with the checksums of a save. */
export const checksumFile = 'checksums.sha256';

/** A damaged save and what took its place. */
export interface Recovery {
  /** What is wrong with the newest save: `model.safetensors: its checksum differs`. */
  readonly damage: string;
  /** The save that took its place. */
  readonly from: string;
  /** Its step. */
  readonly step: number;
}

/** Writes the checksums of the weights and states in a folder, in sha256sum's form. */
export function writeChecksums(folder: string): void {
  const names = readdirSync(folder).filter((name) => name.endsWith('.safetensors'));
  const lines = names.map((name) => `${hashFile(join(folder, name))}  ${name}\n`);
  writeFileAtomic(join(folder, checksumFile), lines.join(''));
}

/**
 * Puts the newest whole save in the place of a damaged one. Take the folder's lock first ({@link lockRun}), and call it
 * before the model is loaded.
 *
 * @returns null when the newest save is whole.
 * @throws FileError when none is whole.
 * @example
 * const recovery = recoverRun('models/shakespeare');
 * if (recovery !== null) console.error(`${recovery.damage}; going on from ${recovery.from}`);
 */
export function recoverRun(folder: string): Recovery | null {
  finishReplacement(folder);
  const damage = damageOf(folder);
  if (damage === null) return null;
  const from = snapshotsOf(folder).find((snapshot) => damageOf(snapshot) === null);
  if (from === undefined) {
    throw new FileError(
      folder,
      `its save is damaged (${damage}), and no earlier one is there that is whole; start again in another folder`,
    );
  }
  const isOfSave = (name: string): boolean => name.endsWith('.safetensors') || name.endsWith('.index.json');
  replaceFiles(folder, (staging) => shareFiles(from, staging), isOfSave);
  return { damage, from, step: readTrainingProgress(folder).step };
}

/** What is wrong with a save, null when it is whole. Saves of earlier releases have no checksums; they are opened only. */
function damageOf(folder: string): string | null {
  for (const name of [trainingStateFile, 'config.json']) {
    if (!existsSync(join(folder, name))) return `${name} is missing`;
  }
  const sums = join(folder, checksumFile);
  try {
    if (existsSync(sums)) {
      for (const line of readFileSync(sums, 'utf8').split('\n').filter(Boolean)) {
        const [, hash, name] = /^([0-9a-f]{64}) [ *](.+)$/.exec(line) ?? [];
        if (name === undefined) return `${checksumFile} is no list of checksums`;
        if (!existsSync(join(folder, name))) return `${name} is missing`;
        if (hashFile(join(folder, name)) !== hash) return `${name}: its checksum differs`;
      }
    }
    readTrainingProgress(folder);
    JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
    return null;
  } catch (error) {
    if (error instanceof SyntaxError) return 'config.json is not JSON';
    if (error instanceof TsgptError) return error.message.replace(`${folder}/`, '');
    throw fileError(folder, 'cannot be read', error);
  }
}

function hashFile(path: string): string {
  const hash = createHash('sha256');
  const piece = new Uint8Array(2 ** 22);
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    throw fileError(path, 'cannot be read', error);
  }
  try {
    for (let count; (count = readSync(file, piece, 0, piece.length, null)) > 0;) {
      hash.update(piece.subarray(0, count));
    }
    return hash.digest('hex');
  } catch (error) {
    throw fileError(path, 'cannot be read', error);
  } finally {
    closeSync(file);
  }
}
