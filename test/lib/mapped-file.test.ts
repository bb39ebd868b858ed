/** What happens to those who use a mapped file while somebody shortens it: in child processes, as the danger is a signal. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { saveSafetensors, tensor, zeros } from '../../lib/index.js';
import { compiled, root, runNode } from '../support/cli.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-mapped-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a script that has `a` and `b` open, of 4 MB each, and then sees the file cut to its first 64 KB. */
async function afterCut(script: string): Promise<string[]> {
  const path = join(folder, 'x.safetensors');
  saveSafetensors(path, { a: zeros([1024, 1024]), b: zeros([1024, 1024]) });
  const text = `
    import * as t from '${join(root, 'dist/lib/index.js')}';
    import { truncateSync } from 'node:fs';
    const path = ${JSON.stringify(path)};
    const attempt = (body) => {
      try { console.log('done', body() ?? ''); } catch (error) { console.log(error.constructor.name, error.message); }
    };
    const file = t.openSafetensors(path);
    const [a, b] = ['a', 'b'].map((name) => file.tensor(name));
    truncateSync(path, 65536);
    ${script}`;
  const { code, stdout, stderr } = await runNode(['--input-type=module', '-e', text]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout.trim().split('\n');
}

describe('a file that becomes shorter while it is mapped', () => {
  beforeAll(compiled, 120_000);

  it('gives an error in every kernel call on it, and no signal', async () => {
    const path = join(folder, 'x.safetensors');
    const lost = `FileError ${path}: became shorter, or its disk failed, while its tensors were in use; load it again`;
    const lines = await afterCut(`
      attempt(() => t.sum(b).item());
      attempt(() => t.sum(b).item());
      attempt(() => t.matmul(a, b).dtype);
      attempt(() => t.sum(t.ones([3])).item());`);
    expect(lines).toEqual([lost, lost, lost, 'done 3']);
  });

  it('is not saved with zeros in the place of what is gone', async () => {
    const copy = join(folder, 'copy.safetensors');
    saveSafetensors(copy, { c: tensor([1]) });
    const before = readFileSync(copy);
    const lines = await afterCut(`
      attempt(() => t.saveSafetensors(${JSON.stringify(copy)}, { b }));
      attempt(() => b.data[0]);
      attempt(() => t.saveSafetensors(${JSON.stringify(copy)}, { b }));`);
    expect(lines[0]).toMatch(/^FileError .*copy\.safetensors: cannot be written: a part of the mapped file/);
    expect(lines[1]).toBe('done 0');
    expect(lines[2]).toMatch(/^FileError .*x\.safetensors: became shorter/);
    expect(readFileSync(copy)).toEqual(before);
  });

  it('does not hinder the signal for others', async () => {
    const { code } = await runNode(['-e', "process.kill(process.pid, 'SIGBUS'); setTimeout(() => {}, 5000)"]);
    expect(code).toBe('SIGBUS');
    const lines = afterCut(
      `process.kill(process.pid, 'SIGBUS'); await new Promise((r) => setTimeout(r, 5000));`,
    );
    await expect(lines).rejects.toThrow('SIGBUS');
  });
});
