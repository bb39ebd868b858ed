// Checks the package as a stranger gets it: packs it with the prebuilt module of this platform, installs the tarball
// into an empty project (no network, an empty npm cache, no compiler on PATH, install scripts both off and on) and runs
// it there. Then removes the prebuilt module and expects the repair guide; with --rebuild also runs the guide's command.
//
//   node scripts/check-package.mjs [--rebuild] [--keep]
//
// Prints a line for each check; the last line is `N passed, N failed`.
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const maxPackedBytes = 4e6;
const { values: options } = parseArgs({
  options: { rebuild: { type: 'boolean', default: false }, keep: { type: 'boolean', default: false } },
});
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const temporary = mkdtempSync(join(tmpdir(), 'tsgpt-package-'));
const npmCli = findNpm();
let passed = 0;
let failed = 0;

try {
  main();
} finally {
  if (!options.keep) rmSync(temporary, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

function main() {
  const built = check('prebuildify makes the module of this platform', () => {
    rmSync(join(root, 'prebuilds'), { recursive: true, force: true });
    npm(root, ['run', 'prebuildify'], process.env);
  });
  const tarball = built && check('npm pack', pack);
  if (!tarball) return;
  check('the tarball holds what it must, and nothing else', () => checkContents(tarball));
  check('the published manifest has no install script', checkManifest);

  const project = check('installs offline with scripts off', () => install(tarball, ['--ignore-scripts']));
  if (!project) return;
  check('installs offline with scripts on', () => install(tarball, []));
  check('every entry point can be imported and computes', () => runSnippet(project));
  check('`npx tsgpt info` runs', () => {
    const info = npm(project, ['exec', '--offline', '--', 'tsgpt', 'info'], bareEnvironment());
    expect(info.includes(manifest.version), `the version is missing in\n${info}`);
  });
  check('TypeScript finds the types', () => checkTypes(project));
  const installed = join(project, 'node_modules', 'tsgpt');
  check('without a prebuilt module the first import fails with the repair guide', () => {
    rmSync(join(installed, 'prebuilds'), { recursive: true });
    expectRepairGuide(project, installed);
  });
  if (options.rebuild) {
    check("the repair guide's command builds a module that works", () => {
      run(process.execPath, [join(installed, 'scripts', 'build-native.mjs')], project, process.env);
      runSnippet(project);
    });
  }
}

function pack() {
  const output = npm(
    root,
    ['pack', '--json', '--ignore-scripts', '--pack-destination', temporary],
    process.env,
  );
  const [tarball] = JSON.parse(output.slice(output.indexOf('[')));
  return tarball;
}

function checkContents(tarball) {
  const files = tarball.files.map((file) => file.path);
  const wanted = [
    'package.json',
    'README.md',
    'LICENSE',
    'CHANGELOG.md',
    'CMakeLists.txt',
    'binding.gyp',
    'native/kernels.h',
    'scripts/build-native.mjs',
    'node_modules/@huggingface/jinja/package.json',
    'node_modules/node-gyp-build/package.json',
    'node_modules/uplot/dist/uPlot.iife.min.js',
    'node_modules/uplot/LICENSE',
    'dist/src/visualize/browser/main.js',
    ...[...Object.values(manifest.exports), ...Object.values(manifest.bin)].map((path) =>
      path.replace('./', ''),
    ),
  ];
  const missing = wanted.filter((file) => !files.includes(file));
  expect(missing.length === 0, `missing: ${missing.join(', ')}`);
  const prebuilt = new RegExp(`^prebuilds/${process.platform}-${process.arch}/tsgpt\\.[.\\w]*node$`);
  expect(files.filter((file) => prebuilt.test(file)).length === 1, 'the prebuilt module is missing');

  const allowed = [
    /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|CMakeLists\.txt|binding\.gyp|scripts\/build-native\.mjs)$/,
    /^native\/.*\.(cpp|h|cu|mm|metal)$/,
    /^(lib|src)\/.*\.ts$/,
    /^dist\/(lib|src)\/.*\.d\.ts(\.map)?$/,
    // What scripts/bundle.mjs makes, and no single modules.
    /^dist\/lib\/(index|bundle|errors|rolldown-runtime)\.js(\.map)?$/,
    /^dist\/src\/(index|\w+\/(index|bundle)|cli\/[\w-]+|visualize\/browser\/main)\.js(\.map)?$/,
    /^prebuilds\//,
    /^node_modules\/(node-gyp-build|@huggingface\/jinja|uplot)\//,
  ];
  const foreign = files.filter((file) => !allowed.some((pattern) => pattern.test(file)));
  expect(foreign.length === 0, `not meant to be published: ${foreign.join(', ')}`);
  const stale = files
    .filter((file) => /^dist\/.*\.d\.ts$/.test(file))
    .filter((file) => !files.includes(file.replace(/^dist\//, '').replace(/\.d\.ts$/, '.ts')));
  expect(stale.length === 0, `of a source that is gone (npm run build:ts): ${stale.join(', ')}`);
  expect(tarball.size <= maxPackedBytes, `${tarball.size} bytes packed, the limit is ${maxPackedBytes}`);
  console.log(`  ${files.length} files, ${tarball.size} bytes packed, ${tarball.unpackedSize} unpacked`);
}

function checkManifest() {
  for (const script of ['preinstall', 'install', 'postinstall']) {
    expect(!(script in manifest.scripts), `package.json has the script '${script}'`);
  }
  expect(manifest.gypfile === false, 'without "gypfile": false npm runs node-gyp because of binding.gyp');
}

function install(tarball, flags) {
  const project = mkdtempSync(join(temporary, 'project-'));
  writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  const cache = mkdtempSync(join(temporary, 'cache-'));
  const file = join(temporary, tarball.filename);
  npm(project, ['install', '--offline', '--cache', cache, ...flags, file], bareEnvironment());
  return project;
}

function runSnippet(project) {
  const specifiers = Object.keys(manifest.exports)
    .filter((path) => path !== './package.json')
    .map((path) => path.replace(/^\./, 'tsgpt'));
  writeFileSync(
    join(project, 'snippet.mjs'),
    `import { Tensor, tensor } from 'tsgpt';
for (const specifier of ${JSON.stringify(specifiers)}) await import(specifier);
const product = tensor([[1, 2], [3, 4]]).matmul(tensor([[1, 0], [0, 1]]));
if (!(product instanceof Tensor)) throw new Error('matmul gave no Tensor');
console.log(JSON.stringify(product.toArray()));`,
  );
  const output = run(process.execPath, ['snippet.mjs'], project, bareEnvironment());
  expect(output.trim() === '[[1,2],[3,4]]', `the product is ${output}`);
}

function checkTypes(project) {
  writeFileSync(
    join(project, 'types.ts'),
    `import { Tensor, tensor } from 'tsgpt';\nexport const sum: Tensor = tensor([1, 2]).sum();\n`,
  );
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules', '@types')];
  const flags = [
    '--noEmit',
    '--strict',
    '--module',
    'NodeNext',
    '--target',
    'ES2022',
    '--lib',
    'ES2023,ESNext.Disposable',
  ];
  run(process.execPath, [tsc, ...flags, ...types, 'types.ts'], project, bareEnvironment());
}

function expectRepairGuide(project, installed) {
  writeFileSync(
    join(project, 'broken.mjs'),
    `try { await import('tsgpt'); console.log('loaded'); } catch (error) { console.log(error.code, error.message); }`,
  );
  const text = run(process.execPath, ['broken.mjs'], project, bareEnvironment());
  const parts = [
    'ERR_NATIVE_LOAD',
    join(installed, 'build', 'Release', 'tsgpt.node'),
    join(installed, 'prebuilds', `${process.platform}-${process.arch}`),
    `node ${join(installed, 'scripts', 'build-native.mjs')}`,
  ];
  const missing = parts.filter((part) => !text.includes(part));
  expect(missing.length === 0, `the text lacks ${missing.join(' and ')}:\n${text}`);
}

/** Node, npm and the shell that npm calls; no compiler, no CMake, no settings of the user. */
function bareEnvironment() {
  const bin = join(temporary, 'bin');
  if (!existsSync(bin)) {
    mkdirSync(bin);
    symlinkSync(process.execPath, join(bin, 'node'));
    symlinkSync('/bin/sh', join(bin, 'sh'));
  }
  return { PATH: bin, HOME: temporary, npm_config_update_notifier: 'false' };
}

function findNpm() {
  const inPath = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'npm'));
  const npm = inPath.find((file) => existsSync(file));
  if (!npm) throw new Error('check-package: npm is not on PATH');
  return realpathSync(npm);
}

function npm(cwd, args, env) {
  return run(process.execPath, [npmCli, '--no-audit', '--no-fund', ...args], cwd, env);
}

function run(command, args, cwd, env) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 900_000,
    maxBuffer: 64 << 20,
  });
  if (status !== 0) {
    throw new Error(
      `${args.join(' ')} failed (${error?.message ?? `exit code ${status}`})\n${stdout}${stderr}`,
    );
  }
  return stdout;
}

function check(name, body) {
  try {
    const value = body() ?? true;
    passed++;
    console.log(`ok      ${name}`);
    return value;
  } catch (error) {
    failed++;
    console.log(`FAILED  ${name}\n${error.message}`);
    return undefined;
  }
}

function expect(condition, message) {
  if (!condition) throw new Error(message);
}
