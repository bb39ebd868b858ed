import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, it } from 'vitest';

import { FileError } from '../../../lib/index.js';
import { checkUnlocked, lockFile, lockRun } from '../../../src/training/run-lock.js';
import { compiledModule, runNode } from '../../support/cli.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-lock-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const path = (): string => join(folder, lockFile);

it('is held by one at a time and leaves nothing behind', () => {
  const lock = lockRun(folder);
  expect(() => lockRun(folder)).toThrow(FileError);
  expect(() => lockRun(folder)).toThrow(
    `${folder}: another run trains in it (process ${process.pid}); wait for its end or choose another folder`,
  );
  expect(() => checkUnlocked(folder)).toThrow('another run trains in it');
  lock[Symbol.dispose]();
  expect(readdirSync(folder)).toEqual([]);
  checkUnlocked(folder);
  const next = lockRun(folder);
  lock[Symbol.dispose](); // a second time: it is not its own any more
  expect(() => lockRun(folder)).toThrow('another run trains in it');
  next[Symbol.dispose]();
});

it('makes the folder', () => {
  using lock = lockRun(join(folder, 'a', 'b'));
  expect(existsSync(join(lock.folder, lockFile))).toBe(true);
});

it.each([
  ['of a process that is gone', () => JSON.stringify({ pid: spawnSync(process.execPath, ['-e', '']).pid })],
  ['of a process whose number another has', () => JSON.stringify({ pid: process.pid, started: 'long ago' })],
  ['that a power cut left empty', () => ''],
  ['that is no lock', () => '{"pid": "x"}'],
])('a lock %s is taken over', (_, content) => {
  // Where the system does not tell when processes started, the number alone has to do.
  if (content().includes('long ago') && process.platform !== 'linux') return;
  writeFileSync(path(), content());
  checkUnlocked(folder);
  using _lock = lockRun(folder);
  expect(JSON.parse(readFileSync(path(), 'utf8'))).toMatchObject({ pid: process.pid });
  expect(readdirSync(folder)).toEqual([lockFile]);
});

it('is given back when its process exits, and taken over when it was killed', async () => {
  const module = await compiledModule('src/training/run-lock.ts');
  const child = (end: string) =>
    runNode([
      '--input-type=module',
      '-e',
      `import { lockRun } from '${module}';
       lockRun(process.argv[1]); ${end}`,
      folder,
    ]);
  expect((await child('process.exit(3)')).code).toBe(3);
  expect(readdirSync(folder)).toEqual([]);
  expect((await child("process.kill(process.pid, 'SIGKILL'); for (;;);")).code).toBe('SIGKILL');
  expect(readdirSync(folder)).toEqual([lockFile]);
  using _lock = lockRun(folder);
}, 120_000);

it('of many that try at once one gets it', async () => {
  const module = await compiledModule('src/training/run-lock.ts');
  writeFileSync(path(), JSON.stringify({ pid: spawnSync(process.execPath, ['-e', '']).pid }));
  const script = `import { lockRun } from '${module}';
    try { lockRun(process.argv[1]); console.log('mine'); } catch {}
    setTimeout(() => {}, 3000);`;
  const outcomes = await Promise.all(
    Array.from({ length: 4 }, () => runNode(['--input-type=module', '-e', script, folder])),
  );
  expect(outcomes.filter(({ stdout }) => stdout === 'mine\n')).toHaveLength(1);
}, 120_000);
