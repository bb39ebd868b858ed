// Compiles the sources to the JavaScript in dist; tsc checks them and writes the declarations (`npm run build:ts`).
//
// Every folder with a public entry point becomes one file, bundle.js, and its index.js says what of it is public: opening
// and compiling each of two hundred modules took more than half of an import. The command line's modules stay apart, since
// a command loads only its own. Benchmarks and examples are compiled in the same pass, so they run what is published.
import { chmodSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const read = (file) => readFileSync(join(root, file), 'utf8');
const { exports, bin } = JSON.parse(read('package.json'));
const target = 'node20.19'; // the oldest Node that package.json takes

/** Entry points as package.json has them, by their paths without ending. */
const published = [...Object.values(exports), ...Object.values(bin)]
  .filter((file) => file.endsWith('.js'))
  .map((file) => file.replace(/^(\.\/)?dist\/(.*)\.js$/, '$2'));

/** Programs that run from a clone; a file that exports values is a module of them. */
const programs = ['bench', 'examples']
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true }).map(
      (file) => `${folder}/${file.replaceAll('\\', '/')}`,
    ),
  )
  .filter((file) => file.endsWith('.ts') && !/^export (?!type|interface)/m.test(read(file)))
  .map((file) => file.slice(0, -'.ts'.length));

const shared = {
  cwd: root,
  logLevel: 'warn',
  transform: { target },
};

await build({
  ...shared,
  input: Object.fromEntries([...published, ...programs].map((file) => [file, join(root, `${file}.ts`)])),
  platform: 'node',
  external: [/^node:/, /^tsgpt/, 'node-gyp-build'],
  preserveEntrySignatures: 'allow-extension', // the option that modules may be grouped at will asks for it
  output: {
    dir: join(root, 'dist'),
    cleanDir: true,
    sourcemap: true,
    sourcemapExcludeSources: true, // they are published beside it
    keepNames: true, // of classes too: a configuration file names its model's
    minifyInternalExports: false,
    entryFileNames: '[name].js',
    chunkFileNames,
    codeSplitting: {
      includeDependenciesRecursively: false,
      groups: [{ debugName: 'folder', name: bundleOf }],
    },
  },
});

// The page of runs: one script, which is put into it.
await build({
  ...shared,
  input: join(root, 'src/visualize/browser/main.ts'),
  platform: 'browser',
  output: { file: join(root, 'dist/src/visualize/browser/main.js') },
});

for (const file of Object.values(bin)) chmodSync(join(root, file), 0o755);

/** The bundle that a module is in; null where it stays apart. What the compiler adds is with the lowest folder. */
function bundleOf(module) {
  if (module.startsWith('\0')) return 'lib/errors';
  if (/[/\\]lib[/\\](errors|formats[/\\]system-error)\.ts$/.test(module)) return 'lib/errors'; // help needs no addon
  const [, folder] = /^(lib|src\/(?!cli\/)[^/]+)\//.exec(relative(root, module).replaceAll('\\', '/')) ?? [];
  return folder === undefined ? null : `${folder}/bundle`;
}

/** Where modules go that no entry point has alone: bundles by their name, others beside their source. */
function chunkFileNames({ name, moduleIds }) {
  if (name.includes('/')) return '[name].js';
  const [module] = moduleIds;
  return `${module.startsWith('\0') ? 'lib' : dirname(relative(root, module))}/[name].js`;
}
