/** Who competes: tsgpt, OpenBLAS below it, PyTorch, packages of npm; and what measures the machine's ceilings. */

import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { nativeInfo } from '../lib/index.js';
import { runTrial, type Contender, type Peaks } from './harness.js';
import type { Part } from './parts.js';

export const root = fileURLToPath(new URL('../../', import.meta.url)); // this file is a part of dist/bench/run.js

type Note = (line: string) => void;

/** One of our measured programs, named by its path below bench without its ending. */
export const own = (program: string): Contender => ({
  name: 'tsgpt',
  command: [process.execPath, join(root, 'dist/bench', `${program}.js`)],
});

const inFloat32 = ({ dtype = 'float32' }: { readonly dtype?: unknown }): boolean => dtype === 'float32';

/**
 * OpenBLAS's best kernels for this processor. Its own choice may be its oldest ones, where it does not know the
 * processor; undefined leaves it that choice.
 */
function bestCore(): string | undefined {
  const sets = nativeInfo().availableIsas.split(',');
  if (sets.includes('avx512')) return 'SkylakeX';
  return sets.includes('avx2') ? 'Haswell' : undefined;
}

/** Our program with OpenBLAS below it; what the environment says of OpenBLAS's kernels does not count. */
const openblas = (program: string): Contender => ({
  ...own(program),
  name: 'OpenBLAS',
  env: { TSGPT_GEMM: 'openblas', OPENBLAS_CORETYPE: bestCore(), OPENBLAS_L2_SIZE: undefined },
  serves: inFloat32, // half types would run on our kernels
});

/** PyTorch, by the part's program in bench/peers. */
export const torch = (program: string, python: string): Contender => ({
  name: 'PyTorch',
  command: [python, '-B', join(root, 'bench/peers', program)],
  // Freed memory is kept: fresh buffers of 150 MB would cost page faults in every step.
  env: {
    GLIBC_TUNABLES:
      'glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=0xfffffffffff:glibc.malloc.hugetlb=1',
  },
});

/** Part tokenizers also trains, which these packages do not. */
const encodes = (task: Readonly<Record<string, unknown>>): boolean => 'folder' in task;

/** Rivals that are npm packages. They are no dependencies: a variable names a node_modules folder that has them. */
const packages = {
  onnxruntime: {
    module: 'onnxruntime-node',
    variable: 'TSGPT_ONNXRUNTIME',
    contender: { ...own('peers/gemm-onnxruntime'), name: 'ONNX Runtime', serves: inFloat32 },
  },
  llama: {
    module: 'node-llama-cpp',
    variable: 'TSGPT_LLAMA',
    contender: { ...own('peers/decode-llama'), name: 'llama.cpp', serves: inFloat32 },
  },
  gptTokenizer: {
    module: 'gpt-tokenizer/encoding/r50k_base',
    variable: 'TSGPT_GPT_TOKENIZER',
    contender: { ...own('peers/encode-gpt-tokenizer'), name: 'gpt-tokenizer', serves: encodes },
  },
  tiktoken: {
    module: 'tiktoken',
    variable: 'TSGPT_TIKTOKEN',
    contender: { ...own('peers/encode-tiktoken'), name: 'tiktoken', serves: encodes },
  },
  huggingfaceTokenizers: {
    module: '@huggingface/tokenizers',
    variable: 'TSGPT_HUGGINGFACE_TOKENIZERS',
    contender: { ...own('peers/encode-huggingface'), name: '@huggingface/tokenizers', serves: encodes },
  },
} satisfies Record<string, { module: string; variable: string; contender: Contender }>;

export type PackageName = keyof typeof packages;

/** The rivals that this machine has. */
export interface Rivals {
  /** A Python that has PyTorch. */
  readonly python: string | null;
  readonly openblas: boolean;
  /** The files that the packages found are imported from. */
  readonly packages: Partial<Record<PackageName, string>>;
  /** Whether torch.compile competes too. */
  readonly compiled: boolean;
}

/** The contenders of a part, ours first. */
export function contendersOf(part: Part, rivals: Rivals): Contender[] {
  const contenders = [own(part.program)];
  if (part.openblas && rivals.openblas) contenders.push(openblas(part.program));
  for (const name of part.packages ?? []) {
    const module = rivals.packages[name];
    if (module !== undefined) contenders.push({ ...packages[name].contender, extra: { module } });
  }
  if (part.peer === undefined || rivals.python === null) return contenders;
  const peer = torch(part.peer, rivals.python);
  contenders.push(peer);
  if (part.compilable && rivals.compiled) {
    const serves = ({ compilable = true }: { readonly compilable?: unknown }): boolean => compilable === true;
    contenders.push({ ...peer, name: 'PyTorch compiled', extra: { compiled: true }, serves });
  }
  // To keep freed memory is PyTorch's faster way, and may be its larger one.
  if (part.memory) contenders.push({ ...peer, name: 'PyTorch, default heap', env: {} });
  return contenders;
}

/** TSGPT_PYTHON, else python3, when it has PyTorch; else null, or an error when it is `required`. */
export function findPython(required: boolean, note: Note): string | null {
  const python = process.env.TSGPT_PYTHON ?? 'python3';
  if (spawnSync(python, ['-c', 'import torch'], { stdio: 'ignore' }).status === 0) return python;
  const remedy = `${python} cannot import torch; install PyTorch, or name a Python that has it with TSGPT_PYTHON`;
  if (required) throw new Error(remedy);
  note(`without PyTorch: ${remedy}`);
  return null;
}

/** Whether the addon finds OpenBLAS; says whose kernels answer. */
export function hasOpenblas(note: Note): boolean {
  const forced = bestCore();
  try {
    const { version } = runTrial(openblas('ops/gemm'), { threads: 1, dtype: 'float32', cases: [] });
    const core = version.split(' ').at(-1)!;
    const other = forced === undefined || core === forced ? '' : `, though ${forced} was asked for`;
    note(`OpenBLAS answers with its ${core} kernels${other}`);
    return true;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    note(`without OpenBLAS: ${/Error: .*/.exec(reason)?.[0] ?? reason}`);
    return false;
  }
}

/** Finds the packages that compete in `parts`. */
export function findPackages(parts: readonly Part[], note: Note): Rivals['packages'] {
  const wanted = new Set(parts.flatMap((part) => part.packages ?? []));
  const found: Partial<Record<PackageName, string>> = {};
  for (const name of wanted) {
    const { module, variable, contender } = packages[name];
    const folder = process.env[variable];
    try {
      found[name] = createRequire(join(folder ?? root, '_')).resolve(module);
    } catch {
      const place = folder === undefined ? '' : ` below ${folder}`;
      note(
        `without ${contender.name}: no ${module}${place}; install it and name the node_modules folder with ${variable}`,
      );
    }
  }
  return found;
}

/** Compiles a file of bench/ into `folder` and gives the program, or null without a compiler. */
export function compile(source: string, folder: string, flags: readonly string[], note: Note): string | null {
  const program = join(folder, basename(source, '.cpp'));
  const built = spawnSync(
    process.env.CXX ?? 'c++',
    ['-O3', '-march=native', '-ffp-contract=fast', '-std=c++20']
      .concat(flags)
      .concat([join(root, 'bench', source), '-o', program]),
    { encoding: 'utf8' },
  );
  if (built.status === 0) return program;
  note(`without bench/${source}: ${built.error?.message ?? built.stderr}`);
  return null;
}

/** What measures the ceilings; without a compiler results have no share of them. */
export function buildPeaks(folder: string, threads: number, note: Note): () => Peaks | null {
  const program = compile('peaks.cpp', folder, ['-pthread'], note);
  if (program === null) return () => null;
  return () => JSON.parse(spawnSync(program, [`${threads}`], { encoding: 'utf8' }).stdout) as Peaks;
}
