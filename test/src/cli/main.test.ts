import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { beforeAll, describe, expect, it } from 'vitest';

import { compiled, root, tsgpt } from '../../support/cli.js';

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

beforeAll(compiled, 120_000);

describe('tsgpt', () => {
  it.each([['--help'], ['-h'], ['help']])('%s shows the commands', async (flag) => {
    const { code, stdout, stderr } = await tsgpt([flag]);
    expect([code, stderr]).toEqual([0, '']);
    for (const command of ['train', 'generate', 'info']) expect(stdout).toContain(`  ${command} `);
  });

  it.each(['train', 'generate', 'info'])(
    '%s --help shows flags and examples without the native module',
    async (name) => {
      const { code, stdout, stderr } = await tsgpt([name, '--help'], {
        env: { TSGPT_ADDON: '/nowhere.node' },
      });
      expect([code, stderr]).toEqual([0, '']);
      expect(stdout).toContain(`Usage: tsgpt ${name} [flags]`);
      expect(stdout).toContain('Examples:');
      expect(stdout).toContain('--json');
    },
  );

  it('--version is the version alone', async () => {
    expect(await tsgpt(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it.each([
    [[], 'tsgpt: no command given'],
    [['trian'], "tsgpt: unknown command 'trian' (did you mean 'train'?)"],
    [['info', '--jsno'], "tsgpt: unknown flag --jsno (did you mean '--json'?)"],
    [['info', 'x'], "tsgpt: unexpected argument 'x'"],
    [['info', 'two\nlines'], "tsgpt: unexpected argument 'two lines'"],
  ])('%j exits with 2', async (args, message) => {
    const { code, stdout, stderr } = await tsgpt(args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr.startsWith(message), stderr).toBe(true);
    expect(stderr).toMatch(/^.*; see tsgpt (info )?--help\n$/);
  });

  it('shows a stack only with TSGPT_DEBUG=1', async () => {
    const args = ['generate', '--model', '/nowhere'];
    expect((await tsgpt(args)).stderr).not.toContain('    at ');
    const { code, stderr } = await tsgpt(args, { env: { TSGPT_DEBUG: '1' } });
    expect(code).toBe(1);
    expect(stderr).toContain('    at ');
  });
});

describe('tsgpt info', () => {
  it('says what runs here', async () => {
    const { code, stdout, stderr } = await tsgpt(['info']);
    expect([code, stderr]).toEqual([0, '']);
    for (const part of [version, process.version, 'instruction set', 'threads', 'embedded']) {
      expect(stdout).toContain(part);
    }
  });

  it('as JSON, and obeys the environment', async () => {
    const { stdout } = await tsgpt(['info', '--json'], { env: { TSGPT_ISA: 'base', TSGPT_THREADS: '1' } });
    expect(JSON.parse(stdout)).toMatchObject({
      version,
      instruction_set: 'base',
      threads: 1,
      gemm: 'embedded',
    });
  });

  it('an instruction set that is not there is one clear line', async () => {
    const { code, stderr } = await tsgpt(['info'], { env: { TSGPT_ISA: 'avx1024' } });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^tsgpt: .*avx1024.*\n$/);
  });
});
