// Runs the tests on a build of the native module with a sanitizer, which stops at the first wrong memory access or
// undefined operation of a kernel:
//
//   npm run test:sanitized -- address [vitest's arguments]
import { execFileSync, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [sanitizer, ...rest] = process.argv.slice(2);
const runtimes = { address: 'libasan.so', undefined: 'libubsan.so', thread: 'libtsan.so' };
if (!Object.hasOwn(runtimes, sanitizer ?? '')) {
  console.error(`test-sanitized: name a sanitizer: ${Object.keys(runtimes).join(', ')}`);
  process.exit(2);
}

execFileSync(process.execPath, [join(root, 'scripts', 'build-native.mjs'), '--sanitize', sanitizer], {
  stdio: 'inherit',
});
// Node itself is built without the sanitizer, so its runtime library has to be loaded first.
const compiler = process.env.CXX ?? 'c++';
const library = execFileSync(compiler, [`-print-file-name=${runtimes[sanitizer]}`], {
  encoding: 'utf8',
}).trim();
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
const { status } = spawnSync(process.execPath, [vitest, 'run', ...rest], {
  cwd: root,
  stdio: 'inherit',
  env: {
    ...process.env,
    TSGPT_ADDON: join(root, 'build', sanitizer, 'tsgpt.node'),
    LD_PRELOAD: library,
    ASAN_OPTIONS: 'detect_leaks=0', // V8 frees nothing at exit
    UBSAN_OPTIONS: 'print_stacktrace=1',
  },
});
process.exit(status ?? 1);
