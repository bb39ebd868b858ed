/** Repeats the tests of kernels on every instruction set that this machine has, each in a process of its own. */

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { describe, expect, it } from 'vitest';

import { nativeInfo } from '../../lib/index.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const { isa, availableIsas } = nativeInfo();

/** Loads the module in a process with these settings. */
function load(settings: Record<string, string>): Promise<unknown> {
  const env = { ...process.env, TSGPT_ISA: '', TSGPT_BF16: '', ...settings };
  const built = fileURLToPath(new URL('../../build/Release/tsgpt.node', import.meta.url));
  const addon = JSON.stringify(process.env.TSGPT_ADDON ?? built);
  return run(process.execPath, ['-e', `require(${addon})`], { env });
}

/** Runs these test files in a process with these settings. */
async function expectToPass(files: readonly string[], settings: Record<string, string>): Promise<void> {
  const vitest = fileURLToPath(new URL('vitest.mjs', import.meta.resolve('vitest/package.json')));
  const env = { ...process.env, TSGPT_ISA: '', TSGPT_BF16: '', NO_COLOR: '1', ...settings };
  const args = [vitest, 'run', ...files, '--reporter=dot'];
  const { stdout } = await run(process.execPath, args, { cwd: root, env, maxBuffer: 2 ** 26 });
  expect(stdout).toMatch(/Tests\s+\d+ passed/);
  expect(stdout).not.toContain('failed');
}

describe('instruction sets', () => {
  const others = availableIsas.split(',').filter((name) => name !== isa);

  it.skipIf(others.length === 0).each(others)(
    '%s passes the tests of kernels',
    (name) =>
      expectToPass(
        [
          'test/lib/ops.test.ts',
          'test/lib/products.test.ts',
          'test/lib/attention-bfloat16.test.ts',
          'test/lib/linear-finish.test.ts',
          'test/lib/packed-weights.test.ts',
        ],
        { TSGPT_ISA: name },
      ),
    180_000,
  );

  it('OpenBLAS passes the tests of what follows a product', async (context) => {
    const settings = { TSGPT_GEMM: 'openblas' };
    try {
      await load(settings);
    } catch (error) {
      if (String(error).includes('OpenBLAS cannot be opened')) context.skip('OpenBLAS is not installed');
      throw error;
    }
    await expectToPass(['test/lib/linear-finish.test.ts'], settings);
  }, 180_000);

  it.each([
    ['TSGPT_ISA', 'abacus', 'but this machine and build have: '],
    ['TSGPT_GEMM', 'mkl', "use 'embedded' (the default) or 'openblas'"],
    ['TSGPT_BF16', 'fast', "use 'dot' or 'convert'"],
    ['TSGPT_THREADS', 'two', 'use a whole number from 1 on'],
    ['TSGPT_THREADS', '0', 'use a whole number from 1 on'],
  ])('%s=%s is refused when the module is loaded', async (name, value, remedy) => {
    const loading = load({ [name]: value });
    await expect(loading).rejects.toThrow(`${name} is '${value}'`);
    await expect(loading).rejects.toThrow(remedy);
  });

  it.skipIf(!availableIsas.split(',').includes('amx'))('amx does not go with TSGPT_BF16', async () => {
    const loading = load({ TSGPT_ISA: 'amx', TSGPT_BF16: 'dot' });
    await expect(loading).rejects.toThrow('TSGPT_BF16 chooses between ways of avx512: leave it out');
  });
});
