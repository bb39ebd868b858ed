import { spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { FileError } from '../../lib/errors.js';
import {
  finishReplacement,
  makeFolder,
  replaceFiles,
  writeFileAtomic,
} from '../../lib/formats/atomic-file.js';
import { compiledModule, runNode } from '../support/cli.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-atomic-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const read = (...path: string[]): string => readFileSync(join(folder, ...path), 'utf8');

describe('writeFileAtomic', () => {
  it('writes text and bytes in order', () => {
    writeFileAtomic(join(folder, 'a'), 'plain');
    writeFileAtomic(join(folder, 'b'), ['é', new Uint8Array([10, 0x78])]);
    expect(read('a')).toBe('plain');
    expect(read('b')).toBe('é\nx');
    expect(readdirSync(folder).sort()).toEqual(['a', 'b']);
  });

  it('keeps the old file and leaves nothing behind when writing fails midway', () => {
    const path = join(folder, 'a');
    writeFileSync(path, 'old');
    function* failing(): Iterable<string> {
      yield 'new';
      throw new Error('no more');
    }
    expect(() => writeFileAtomic(path, failing())).toThrow('no more');
    expect(read('a')).toBe('old');
    expect(readdirSync(folder)).toEqual(['a']);
  });

  it('follows a symbolic link', () => {
    writeFileSync(join(folder, 'real'), 'old');
    symlinkSync('real', join(folder, 'link'));
    writeFileAtomic(join(folder, 'link'), 'new');
    expect(read('real')).toBe('new');
    expect(lstatSync(join(folder, 'link')).isSymbolicLink()).toBe(true);
  });

  it.each([
    ['a folder', () => folder, 'it is a folder'],
    ['a device', () => '/dev/null', 'it is not a regular file'],
    ['a missing folder', () => join(folder, 'none', 'a'), 'there is no such file or folder'],
    [
      'a path below a file',
      () => (writeFileSync(join(folder, 'f'), ''), join(folder, 'f', 'a')),
      'not a folder',
    ],
  ])('refuses %s', (_, path, reason) => {
    const target = path();
    expect(() => writeFileAtomic(target, 'x')).toThrow(FileError);
    expect(() => writeFileAtomic(target, 'x')).toThrow(`${target}: cannot be written: `);
    expect(() => writeFileAtomic(target, 'x')).toThrow(reason);
  });

  it('says so when the disk is full, and keeps the old file', (context) => {
    const disk = smallDisk();
    if (disk === null) return context.skip('not allowed to mount a small disk');
    try {
      writeFileSync(join(disk, 'a'), 'old');
      expect(() => writeFileAtomic(join(disk, 'a'), [new Uint8Array(1 << 20)])).toThrow(
        `${join(disk, 'a')}: cannot be written: no space is left on the device`,
      );
      expect(readFileSync(join(disk, 'a'), 'utf8')).toBe('old');
      expect(readdirSync(disk)).toEqual(['a']);
    } finally {
      spawnSync('umount', [disk]);
    }
  });
});

/** A file system of 256 KB, or null where this process may not mount one. */
function smallDisk(): string | null {
  const disk = join(folder, 'disk');
  mkdirSync(disk);
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', disk]);
  return status === 0 ? disk : null;
}

describe('replaceFiles', () => {
  const put = (content: string) => (staging: string) => {
    for (const name of ['model', 'state']) writeFileSync(join(staging, name), content);
  };

  it('creates the folder and replaces its files', () => {
    const target = join(folder, 'deep', 'run');
    replaceFiles(target, put('1'));
    writeFileSync(join(target, 'other'), 'stays');
    replaceFiles(target, put('2'));
    expect(readdirSync(target).sort()).toEqual(['model', 'other', 'state']);
    expect([read('deep', 'run', 'model'), read('deep', 'run', 'state')]).toEqual(['2', '2']);
  });

  it('changes nothing when writing fails', () => {
    replaceFiles(folder, put('1'));
    const failing = (staging: string): void => {
      put('2')(staging);
      throw new FileError(join(staging, 'state'), 'cannot be written: no space is left on the device');
    };
    expect(() => replaceFiles(folder, failing)).toThrow(
      `${folder}: cannot be saved: state cannot be written: no space is left on the device`,
    );
    expect(readdirSync(folder).sort()).toEqual(['model', 'state']);
    expect(read('model') + read('state')).toBe('11');
  });

  it('finishes a save that was interrupted between its files', () => {
    replaceFiles(folder, put('1'));
    // What a kill after the first of two moves leaves.
    mkdirSync(join(folder, '.commit'));
    writeFileSync(join(folder, 'model'), '2');
    writeFileSync(join(folder, '.commit', 'state'), '2');
    finishReplacement(folder);
    expect(readdirSync(folder).sort()).toEqual(['model', 'state']);
    expect(read('model') + read('state')).toBe('22');
  });

  it('removes stale files with the same commit, also when it was interrupted', () => {
    for (const name of ['old-1', 'old-2', 'mine']) writeFileSync(join(folder, name), '');
    const stale = (name: string): boolean => /^old|^model/.test(name);
    replaceFiles(folder, put('1'), stale);
    expect(readdirSync(folder).sort()).toEqual(['mine', 'model', 'state']);
    // What a kill leaves: one to write, one to remove, one that is gone already.
    writeFileSync(join(folder, 'old-1'), '');
    mkdirSync(join(folder, '.commit'));
    for (const name of ['old-1', 'old-2']) mkdirSync(join(folder, '.commit', name));
    writeFileSync(join(folder, '.commit', 'model'), '2');
    finishReplacement(folder);
    expect(readdirSync(folder).sort()).toEqual(['mine', 'model', 'state']);
    expect(read('model') + read('state')).toBe('21');
  });

  it('removes what killed writers left, not what living ones write', () => {
    const gone = spawnSync(process.execPath, ['-e', '']).pid;
    mkdirSync(join(folder, `.commit.${gone}.0123abcd.tmp`));
    mkdirSync(join(folder, `.commit.${process.pid}.0123abcd.tmp`));
    replaceFiles(folder, put('1'));
    expect(existsSync(join(folder, `.commit.${gone}.0123abcd.tmp`))).toBe(false);
    expect(existsSync(join(folder, `.commit.${process.pid}.0123abcd.tmp`))).toBe(true);
  });

  it('refuses a path that is a file', () => {
    writeFileSync(join(folder, 'f'), '');
    expect(() => replaceFiles(join(folder, 'f'), put('1'))).toThrow(`${join(folder, 'f')}: is not a folder`);
    expect(() => replaceFiles(join(folder, 'f', 'g'), put('1'))).toThrow(
      'a part of the path is not a folder',
    );
  });
});

it('a folder is always whole, however often its writer is killed', async () => {
  const module = await compiledModule('lib/formats/atomic-file.ts');
  const script = `
    import { writeFileSync } from 'node:fs';
    import { replaceFiles } from '${module}';
    process.stdout.write('ready');
    for (let i = 0; ; i++) {
      replaceFiles(process.argv[1], (staging) => {
        for (const name of ['model', 'state']) writeFileSync(staging + '/' + name, String(i).repeat(1000));
      });
    }`;
  replaceFiles(folder, (staging) => {
    for (const name of ['model', 'state']) writeFileSync(join(staging, name), 'x'.repeat(1000));
  });
  for (let round = 0; round < 8; round++) {
    await runNode(['--input-type=module', '-e', script, folder], {
      started: (child) => {
        child.stdout!.once('data', () => setTimeout(() => child.kill('SIGKILL'), 20 + 7 * round));
      },
    });
    finishReplacement(folder);
    const model = read('model');
    expect(model.length % 1000).toBe(0);
    expect(read('state')).toBe(model);
  }
  expect(read('model')).not.toContain('x');
}, 120_000);

describe('makeFolder', () => {
  it('makes the folders above it too, and leaves those that are there', () => {
    makeFolder(join(folder, 'a', 'b', 'c'));
    makeFolder(join(folder, 'a', 'b', 'c'));
    expect(lstatSync(join(folder, 'a', 'b', 'c')).isDirectory()).toBe(true);
  });

  it('refuses a path below a file', () => {
    writeFileSync(join(folder, 'file'), '');
    expect(() => makeFolder(join(folder, 'file'))).toThrow('is not a folder');
    expect(() => makeFolder(join(folder, 'file', 'x'))).toThrow(FileError);
  });

  it.runIf(process.platform === 'linux')(
    'fails where the system makes none, instead of trying for ever',
    () => {
      expect(() => makeFolder('/proc/x/y')).toThrow('/proc/x: cannot be created');
    },
  );
});
