/** Runs `tsgpt` in several processes, as `mpirun` starts them. */

import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { root, type Outcome } from './cli.js';
import { sanitized } from './sanitized.js';

/** Open MPI's mpirun; undefined where there is none, and under sanitizers, which complain about Open MPI itself. */
export const mpirun = sanitized ? undefined : ['mpirun.openmpi', 'mpirun'].find(isOpenMpi);

function isOpenMpi(name: string): boolean {
  const { status, stdout } = spawnSync(name, ['--version'], { encoding: 'utf8', timeout: 20_000 });
  return status === 0 && stdout.includes('Open MPI');
}

/** What a run under mpirun is told beside its arguments. */
export interface MpiOptions {
  /** Called with mpirun's process number after its start. */
  readonly started?: (pid: number) => void;
  readonly env?: Record<string, string>;
}

/** Runs `tsgpt` with `args` in so many processes of one thread each. */
export function mpiTsgpt(count: number, args: readonly string[], options: MpiOptions = {}): Promise<Outcome> {
  const flags = ['--allow-run-as-root', '--oversubscribe', '--bind-to', 'none', '-n', String(count)];
  const main = join(root, 'dist', 'src', 'cli', 'main.js');
  return new Promise((resolve, reject) => {
    const child = spawn(mpirun!, [...flags, process.execPath, main, ...args], {
      cwd: root,
      env: { ...process.env, TSGPT_THREADS: '1', TSGPT_DEBUG: '', ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text));
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code: code ?? signal!, ...output }));
    options.started?.(child.pid!);
  });
}

/** The number of the process with a rank under an mpirun; undefined until there is one. */
export function processOfRank(parent: number, rank: number): number | undefined {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .find((pid) => {
      try {
        const [, owner] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
        if (owner !== String(parent)) return false;
        return readFileSync(`/proc/${pid}/environ`, 'utf8')
          .split('\0')
          .includes(`OMPI_COMM_WORLD_RANK=${rank}`);
      } catch {
        return false; // it has ended
      }
    });
}
