/** Peers in Python: TSGPT_PYTHON, else python3. Tests that need a package skip where it is missing. */

import { execFileSync, spawnSync } from 'node:child_process';

const python = process.env.TSGPT_PYTHON ?? 'python3';

/** For `it.skipIf(lacksPython('peft'))`: whether Python or the package is missing, which is said once. */
export function lacksPython(packageName: string): boolean {
  const missing = spawnSync(python, ['-c', `import ${packageName}`]).status !== 0;
  if (missing)
    console.warn(`skipped: ${python} cannot import ${packageName}; TSGPT_PYTHON names another Python`);
  return missing;
}

/** Runs a program and reads the JSON that it prints last. */
export function runPython<T>(program: string, ...args: string[]): T {
  const output = execFileSync(python, ['-c', program, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return JSON.parse(output.trimEnd().split('\n').at(-1)!) as T;
}
