/**
 * Runs `tsgpt` as users do: as a child process. The command line is compiled JavaScript, so what is older than its
 * sources is compiled first, by one of the test files that run at the same time.
 */

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, linkSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';

export const root = fileURLToPath(new URL('../../', import.meta.url));
const main = join(root, 'dist', 'src', 'cli', 'main.js');
const lock = join(root, 'node_modules', '.compiling');

/** Compiles dist if a source is newer. For `beforeAll`; give it two minutes. */
export async function compiled(): Promise<void> {
  while (isLocked() || isStale()) {
    if (takeLock()) {
      try {
        if (!isStale()) return; // another was faster
        const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
        for (const args of [['scripts/bundle.mjs'], [tsc, '-p', 'tsconfig.build.json']]) {
          spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' }); // as `npm run build:ts`
        }
        return;
      } finally {
        rmSync(lock);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Compiles a module that no entry point gives, for a program that imports it. Gives its path. */
export async function compiledModule(source: string): Promise<string> {
  await compiled(); // it clears dist
  const file = join(root, 'dist', 'test', source.replace(/\.ts$/, '.js'));
  await build({
    input: join(root, source),
    platform: 'node',
    external: /^node:/,
    transform: { target: 'node20.19' },
    output: { file },
  });
  return file;
}

/** What compiling makes first and last; a compilation that was killed leaves some of it. */
const made = ['src/cli/main.js', 'src/visualize/browser/main.js', 'src/index.d.ts', 'src/cli/main.d.ts'];
const settings = ['package.json', 'tsconfig.json', 'tsconfig.build.json', 'scripts/bundle.mjs'];

function isStale(): boolean {
  const files = made.map((file) => join(root, 'dist', file));
  if (!files.every((file) => existsSync(file))) return true;
  const built = statSync(main).mtimeMs;
  const sources = ['lib', 'src', 'bench', 'examples'].flatMap((folder) =>
    existsSync(join(root, folder))
      ? readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
          .filter((entry) => entry.name.endsWith('.ts'))
          .map((entry) => join(entry.parentPath, entry.name))
      : [],
  );
  return [...sources, ...settings.map((file) => join(root, file))].some(
    (file) => statSync(file).mtimeMs > built,
  );
}

/** Whether another process compiles. A lock whose owner was killed goes. */
function isLocked(): boolean {
  let owner: string;
  try {
    owner = readFileSync(lock, 'utf8');
  } catch {
    return false;
  }
  try {
    process.kill(Number(owner), 0);
    return true;
  } catch {
    rmSync(lock, { force: true });
    return false;
  }
}

/** The lock appears whole, with its owner's number in it. */
function takeLock(): boolean {
  const own = `${lock}-${process.pid}`;
  writeFileSync(own, String(process.pid));
  try {
    linkSync(own, lock);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(own);
  }
}

export interface Outcome {
  /** The exit code, or the signal that ended the process. */
  readonly code: number | NodeJS.Signals;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string | Uint8Array;
  /** Whether standard input stays open behind it, as if more were to come. */
  readonly inputStaysOpen?: boolean;
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  /** Sees the process right after its start, to send signals or to read along. */
  readonly started?: (child: ChildProcess) => void;
}

/** Runs `tsgpt` with `args` to its end. */
export function tsgpt(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return runNode([main, ...args], options);
}

/** Runs Node with `args` to its end. */
export function runNode(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      cwd: options.cwd ?? root,
      env: { ...process.env, TSGPT_DEBUG: '', ...options.env },
      stdio: 'pipe',
    });
    const output = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text));
    child.stdin.on('error', () => undefined); // a child that failed early does not read its input
    if (options.inputStaysOpen === true) child.stdin.write(options.input ?? '');
    else child.stdin.end(options.input ?? '');
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code: code ?? signal!, ...output }));
    options.started?.(child);
  });
}
