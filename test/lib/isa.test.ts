/** Repeats the table of operations and the large products on every instruction set that this machine has, each in a process of its own. */

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { describe, expect, it } from 'vitest';

import { nativeInfo } from '../../lib/index.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const { isa, availableIsas } = nativeInfo();

describe('instruction sets', () => {
  const others = availableIsas.split(',').filter((name) => name !== isa);

  it.skipIf(others.length === 0).each(others)(
    '%s passes the table of operations and the large products',
    async (name) => {
      const vitest = fileURLToPath(new URL('vitest.mjs', import.meta.resolve('vitest/package.json')));
      const env = { ...process.env, TSGPT_ISA: name, NO_COLOR: '1' };
      const { stdout } = await run(
        process.execPath,
        [vitest, 'run', 'test/lib/ops.test.ts', 'test/lib/products.test.ts', '--reporter=dot'],
        {
          cwd: root,
          env,
          maxBuffer: 2 ** 26,
        },
      );
      expect(stdout).toMatch(/Tests\s+\d+ passed/);
      expect(stdout).not.toContain('failed');
    },
    180_000,
  );

  it.each([
    ['TSGPT_ISA', 'abacus', 'but this machine and build have: '],
    ['TSGPT_GEMM', 'mkl', "use 'embedded' (the default) or 'openblas'"],
    ['TSGPT_BF16', 'fast', "use 'dot' or 'convert'"],
    ['TSGPT_THREADS', 'two', 'use a whole number from 1 on'],
    ['TSGPT_THREADS', '0', 'use a whole number from 1 on'],
  ])('%s=%s is refused when the module is loaded', async (name, value, remedy) => {
    const env = { ...process.env, [name]: value };
    const built = fileURLToPath(new URL('../../build/Release/tsgpt.node', import.meta.url));
    const addon = JSON.stringify(process.env.TSGPT_ADDON ?? built);
    const loading = run(process.execPath, ['-e', `require(${addon})`], { env });
    await expect(loading).rejects.toThrow(`${name} is '${value}'`);
    await expect(loading).rejects.toThrow(remedy);
  });
});
