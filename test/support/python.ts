/** Peers in Python: TSGPT_PYTHON, else python3, when it has the packages that a test needs. */

import { spawnSync } from 'node:child_process';

/** A Python that imports all `packages`, or null, which is said once. */
export function pythonWith(...packages: string[]): string | null {
  const python = process.env.TSGPT_PYTHON ?? 'python3';
  const found = spawnSync(python, ['-c', `import ${packages.join(', ')}`], { stdio: 'ignore' }).status === 0;
  if (!found)
    console.warn(`skipped: ${python} has no ${packages.join(', ')}; TSGPT_PYTHON names a Python that has`);
  return found ? python : null;
}

/** Runs a program that prints JSON. */
export function runPython<T>(python: string, program: string, ...args: string[]): T {
  const env = { ...process.env, TRANSFORMERS_OFFLINE: '1', TRANSFORMERS_VERBOSITY: 'error' };
  const { status, stdout, stderr } = spawnSync(python, ['-c', program, ...args], {
    encoding: 'utf8',
    env,
    maxBuffer: 2 ** 28,
  });
  if (status !== 0) throw new Error(`${python} ended with ${status}:\n${stderr.slice(-2000)}`);
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as T;
}
