// Builds the native module, in a clone and in an installed package alike:
//
//   node scripts/build-native.mjs [--sanitize address|undefined|address,undefined] [--werror] [--clean]
//
// CMakeLists.txt describes the build; cmake-js finds the compiler and hands over the Node-API headers. CMake works in
// build/cmake; the finished module then replaces build/Release/tsgpt.node (with a sanitizer: build/<its name>/) at
// once, so a process that runs meanwhile sees the old module or the new one, never half of it. An installed package does not
// contain cmake-js and the headers (they are development tools), so they are then fetched into build/tools first.
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values: options } = parseArgs({
  options: {
    sanitize: { type: 'string', default: '' },
    werror: { type: 'boolean', default: process.env.TSGPT_WERROR === '1' },
    clean: { type: 'boolean', default: false },
  },
});
if (!['', 'address', 'undefined', 'address,undefined'].includes(options.sanitize)) {
  fail(`unknown sanitizer '${options.sanitize}'; choose address, undefined or address,undefined`);
}

checkTools();
const tools = findBuildTools(root) ?? fetchBuildTools();
const kind = options.sanitize.replace(',', '-');
const work = join(root, 'build', kind ? `cmake-${kind}` : 'cmake');
const output = join(root, 'build', kind || 'Release');
const common = [
  `--directory=${root}`,
  `--out=${work}`,
  '--log-level=warn',
  `--CDTSGPT_NODE_ADDON_API=${tools.nodeAddonApi}`,
  `--CDTSGPT_SANITIZE=${options.sanitize}`,
  `--CDTSGPT_WERROR=${options.werror ? 'ON' : 'OFF'}`,
];

if (options.clean) rmSync(work, { recursive: true, force: true });
// A cache left by another generator, compiler or a failed first run makes CMake refuse: start over once.
if (!cmake('configure')) {
  rmSync(work, { recursive: true, force: true });
  if (!cmake('configure')) fail('CMake could not configure the build; its messages are above');
}
const jobs = process.env.CMAKE_BUILD_PARALLEL_LEVEL ?? String(availableParallelism());
if (!cmake('build', `--parallel=${jobs}`)) fail('the compiler reported errors; they are above');
mkdirSync(output, { recursive: true });
const module = join(output, 'tsgpt.node');
copyFileSync(join(work, 'module', 'tsgpt.node'), `${module}.new`);
renameSync(`${module}.new`, module);
console.log(`built ${module}`);

function cmake(command, ...extra) {
  const run = spawnSync(process.execPath, [tools.cmakeJs, command, ...common, ...extra], {
    cwd: root,
    stdio: 'inherit',
  });
  return run.status === 0;
}

function checkTools() {
  const onPath = (name) =>
    (process.env.PATH ?? '')
      .split(delimiter)
      .some((folder) => existsSync(join(folder, name)) || existsSync(join(folder, `${name}.exe`)));
  const missing = [];
  if (!onPath('cmake')) missing.push('cmake');
  if (!process.env.CXX && !['c++', 'g++', 'clang++'].some(onPath))
    missing.push('a C++20 compiler (g++ or clang++)');
  if (!['ninja', 'make'].some(onPath)) missing.push('make or ninja');
  if (missing.length > 0) {
    fail(
      `the build needs ${missing.join(' and ')}, not found on PATH.\n` +
        '  Debian, Ubuntu:  apt-get install cmake g++ make\n' +
        '  Fedora:          dnf install cmake gcc-c++ make\n' +
        '  macOS:           xcode-select --install; brew install cmake',
    );
  }
}

/** cmake-js's command line and node-addon-api's folder, seen from `folder`; undefined when they are not installed. */
function findBuildTools(folder) {
  const { resolve } = createRequire(join(folder, 'package.json'));
  try {
    const manifest = resolve('cmake-js/package.json');
    return {
      cmakeJs: join(dirname(manifest), JSON.parse(readFileSync(manifest, 'utf8')).bin['cmake-js']),
      nodeAddonApi: dirname(resolve('node-addon-api/package.json')),
    };
  } catch {
    return undefined;
  }
}

function fetchBuildTools() {
  const folder = join(root, 'build', 'tools');
  const versions = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).devDependencies;
  const dependencies = { 'cmake-js': versions['cmake-js'], 'node-addon-api': versions['node-addon-api'] };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies }));
  console.log(`fetching the build tools into ${folder}`);
  const run = spawnSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: folder,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  if (run.status !== 0) fail('npm could not install cmake-js and node-addon-api; its messages are above');
  return findBuildTools(folder) ?? fail(`${folder} does not hold the build tools after npm install`);
}

function fail(message) {
  console.error(`build-native: ${message}`);
  process.exit(1);
}
