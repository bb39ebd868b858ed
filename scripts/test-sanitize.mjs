// Runs the tests with sanitizers, which find wrong memory accesses, undefined operations and data races:
//
//   npm run test:sanitize                                        all of it
//   npm run test:sanitize -- address test/lib/ops.test.ts        one sanitizer, with vitest's arguments
//   npm run test:sanitize -- thread
//
// address, undefined: vitest's tests on a module built with the sanitizer. Without arguments it is one module with both,
// which do not disturb each other: one build and one run instead of two.
// thread: native/test/threads.cpp, a program of its own (it says why), on the thread pool and the kernels.
//
// The last line is `N passed, N failed`.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { machine, tmpdir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const compiler = process.env.CXX ?? 'c++';
const [chosen, ...rest] = process.argv.slice(2);
if (chosen !== undefined && !['address', 'undefined', 'thread'].includes(chosen)) {
  console.error(`test-sanitize: unknown sanitizer '${chosen}'; choose address, undefined or thread`);
  process.exit(2);
}
if (chosen === 'thread' && rest.length > 0) {
  console.error(`test-sanitize: thread takes no arguments, got ${rest.join(' ')}`);
  process.exit(2);
}

const results = [];
if (chosen !== 'thread') results.push(testModule(chosen ?? 'address,undefined'));
if (chosen === undefined || chosen === 'thread') results.push(testThreads());
const [passed, failed] = [0, 1].map((i) => results.reduce((total, counts) => total + counts[i], 0));
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

/** Numbers of tests passed and failed, of vitest on a module with `sanitizers`. */
function testModule(sanitizers) {
  execFileSync(process.execPath, [join(root, 'scripts', 'build-native.mjs'), '--sanitize', sanitizers], {
    stdio: 'inherit',
  });
  const address = sanitizers.includes('address');
  const folder = mkdtempSync(join(tmpdir(), 'tsgpt-sanitize-'));
  const report = join(folder, 'report.json');
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  const reporters = ['--reporter=dot', '--reporter=json', `--outputFile.json=${report}`];
  const timeout = '--testTimeout=300000'; // the kernels take several times as long
  const { status } = run(process.execPath, [vitest, 'run', timeout, ...reporters, ...rest], {
    TSGPT_ADDON: join(root, 'build', sanitizers.replace(',', '-'), 'tsgpt.node'),
    // Node itself is built without the sanitizer, so its runtime library has to be loaded first.
    LD_PRELOAD: runtime(address ? 'libasan.so' : 'libubsan.so'),
    ...(address && {
      ASAN_OPTIONS: [
        'detect_leaks=0', // V8 frees nothing at exit
        'allocator_may_return_null=1', // tests ask for more memory than there is, and expect an error
        'quarantine_size_mb=64', // tests measure the process's memory: less that is freed but kept
      ].join(':'),
    }),
    UBSAN_OPTIONS: 'print_stacktrace=1',
  });
  try {
    const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, 'utf8'));
    return counts(numPassedTests, numFailedTests, status);
  } catch {
    return counts(0, 0, status);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The same of native/test/threads.cpp. */
function testThreads() {
  const program = join(root, 'build', 'thread', 'threads');
  mkdirSync(dirname(program), { recursive: true });
  const kernels = readdirSync(join(root, 'native', 'cpu')).filter((file) => file.endsWith('.cpp'));
  const sources = ['test/threads.cpp', 'runtime/parallel.cpp', ...kernels.map((file) => `cpu/${file}`)];
  const flags = ['-O1', '-g', '-std=c++20', '-Wall', '-Wextra', '-ffp-contract=off', '-pthread'];
  if (process.env.TSGPT_WERROR === '1') flags.push('-Werror');
  console.log(`building ${program}`);
  execFileSync(
    compiler,
    [
      ...flags,
      '-fsanitize=thread',
      '-DTSGPT_NS=base',
      ...sources.map((file) => join('native', file)),
      '-o',
      program,
    ],
    { cwd: root, stdio: 'inherit' },
  );
  // It takes some 10 s; where a lock is missing it may hang.
  const { status, stdout } = run(program, [], {}, { stdio: ['ignore', 'pipe', 'inherit'], timeout: 300_000 });
  process.stdout.write(stdout);
  const [, passed = 0, failed = 0] = /^(\d+) passed, (\d+) failed$/m.exec(stdout) ?? [];
  return counts(Number(passed), Number(failed), status);
}

/**
 * Runs `file`, where the system allows it at the same addresses each time: the sanitizers of GCC 12 lay claim to fixed
 * ones, and end a process at random where Linux spreads its libraries widely (vm.mmap_rnd_bits of 32).
 */
function run(file, args, env, options = { stdio: 'inherit' }) {
  const fixed = ['setarch', machine(), '-R'];
  const allowed = spawnSync(fixed[0], [...fixed.slice(1), 'true']).status === 0;
  const [command, ...all] = [...(allowed ? fixed : []), file, ...args];
  return spawnSync(command, all, {
    cwd: root,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    ...options,
  });
}

/** The path of the compiler's sanitizer library. */
function runtime(name) {
  const path = execFileSync(compiler, [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
  if (isAbsolute(path)) return path;
  console.error(`test-sanitize: ${compiler} has no ${name}; set CXX to a GCC with its sanitizers`);
  process.exit(1);
}

/** A run that ended before it could count has one failure. */
function counts(passed, failed, status) {
  return [passed, status !== 0 && failed === 0 ? 1 : failed];
}
