/** Who competes: tsgpt, OpenBLAS below it, PyTorch; and what measures the machine's ceilings. */

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { Contender, Peaks } from './harness.js';
import type { Part } from './parts.js';

export const root = fileURLToPath(new URL('../../', import.meta.url)); // this file runs as dist/bench/contenders.js

/** One of our measured programs, named by its path below bench without its ending. */
export const own = (program: string): Contender => ({
  name: 'tsgpt',
  command: [process.execPath, join(root, 'dist/bench', `${program}.js`)],
});

/** PyTorch, by the program of the part in bench/peers. */
export const torch = (part: Part, python: string): Contender => ({
  name: 'PyTorch',
  command: [python, '-B', join(root, 'bench/peers', part.peer)],
  // Freed memory is kept: fresh buffers of 150 MB would cost page faults in every step.
  env: {
    GLIBC_TUNABLES:
      'glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=0xfffffffffff:glibc.malloc.hugetlb=1',
  },
});

/** The rivals that this machine has. */
export interface Rivals {
  /** A Python that has PyTorch. */
  readonly python: string | null;
  readonly openblas: boolean;
  /** Whether torch.compile competes too. */
  readonly compiled: boolean;
}

/** The contenders of a part, ours first. */
export function contendersOf(part: Part, { python, openblas, compiled }: Rivals): Contender[] {
  const contenders = [own(part.program)];
  if (part.openblas && openblas) {
    contenders.push({ ...own(part.program), name: 'OpenBLAS', env: { TSGPT_GEMM: 'openblas' } });
  }
  if (python === null) return contenders;
  const peer = torch(part, python);
  contenders.push(peer);
  if (part.compilable && compiled) {
    contenders.push({ ...peer, name: 'PyTorch compiled', extra: { compiled: true } });
  }
  // To keep freed memory is PyTorch's faster way, and may be its larger one.
  if (part.memory) contenders.push({ ...peer, name: 'PyTorch, default heap', env: {} });
  return contenders;
}

/** TSGPT_PYTHON, else python3, when it has PyTorch; else null, or an error when it is `required`. */
export function findPython(required: boolean, note: (line: string) => void): string | null {
  const python = process.env.TSGPT_PYTHON ?? 'python3';
  if (spawnSync(python, ['-c', 'import torch'], { stdio: 'ignore' }).status === 0) return python;
  const remedy = `${python} cannot import torch; install PyTorch, or name a Python that has it with TSGPT_PYTHON`;
  if (required) throw new Error(remedy);
  note(`without PyTorch: ${remedy}`);
  return null;
}

/** Whether the addon finds OpenBLAS. */
export function hasOpenblas(note: (line: string) => void): boolean {
  const [file, program] = own('ops/gemm').command;
  const child = spawnSync(file, [program, JSON.stringify({ threads: 1, cases: [] })], {
    encoding: 'utf8',
    env: { ...process.env, TSGPT_GEMM: 'openblas' },
  });
  if (child.status !== 0) note(`without OpenBLAS: ${/Error: .*/.exec(child.stderr)?.[0] ?? child.stderr}`);
  return child.status === 0;
}

/** Compiles bench/peaks.cpp into `folder`; without a compiler results have no share of the ceiling. */
export function buildPeaks(
  folder: string,
  threads: number,
  note: (line: string) => void,
): () => Peaks | null {
  const program = join(folder, 'peaks');
  const flags = ['-O3', '-march=native', '-ffp-contract=fast', '-std=c++20', '-pthread'];
  const built = spawnSync(
    process.env.CXX ?? 'c++',
    [...flags, join(root, 'bench/peaks.cpp'), '-o', program],
    {
      encoding: 'utf8',
    },
  );
  if (built.status !== 0) {
    note(`without ceilings: ${built.error?.message ?? built.stderr}`);
    return () => null;
  }
  return () => JSON.parse(spawnSync(program, [`${threads}`], { encoding: 'utf8' }).stdout) as Peaks;
}
