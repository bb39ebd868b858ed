/**
 * Finds and loads the native module: the only file that knows where it is.
 *
 * The first of these that exists is loaded: the file named by TSGPT_ADDON (a sanitizer build, say), what
 * `npm run build:native` made (build/Release), the prebuilt module of this platform (prebuilds/). A module that is
 * there but does not load is reported, never skipped for the next. The failure text says what was looked for, where,
 * what is wrong, and the command that repairs it.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { NativeLoadError } from './errors.js';
import type { NativeAddon } from './native-addon.js';

const require = createRequire(import.meta.url);

/** The package's folder: the nearest one above this file whose package.json is ours. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const manifest = join(folder, 'package.json');
    if (existsSync(manifest) && manifestName(manifest) === 'tsgpt') return folder;
    const parent = dirname(folder);
    if (parent === folder) {
      throw new NativeLoadError(
        `tsgpt: no package.json named 'tsgpt' above ${import.meta.url}; install the package again`,
      );
    }
    folder = parent;
  }
}

function manifestName(path: string): unknown {
  return (JSON.parse(readFileSync(path, 'utf8')) as { name?: unknown }).name;
}

/**
 * Loads the native module of the package in `root`.
 * @throws {@link NativeLoadError} with a repair guide when there is none that fits this machine, and with the module's
 * own words when it refuses to start (a TSGPT_ISA that this machine does not have, for example).
 */
export function loadNative(root: string = packageRoot()): NativeAddon {
  const chosen = process.env.TSGPT_ADDON;
  const path = chosen ? resolve(chosen) : findModule(root);
  if (path === undefined) throw new NativeLoadError(repairGuide(root, listPlaces(root)));
  try {
    return require(path) as NativeAddon;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'ERR_DLOPEN_FAILED' && code !== 'MODULE_NOT_FOUND') {
      throw new NativeLoadError(`tsgpt: ${message}`, { cause: error });
    }
    const problem = existsSync(path)
      ? `does not load: ${message.replace(`${path}: `, '')}`
      : 'does not exist';
    const place = chosen ? `${path} (named by TSGPT_ADDON; unset it to use the package's own)` : path;
    throw new NativeLoadError(repairGuide(root, [`${place}: ${problem}`]), { cause: error });
  }
}

function findModule(root: string): string | undefined {
  const nodeGypBuild = require('node-gyp-build') as { resolve(root: string): string };
  try {
    return nodeGypBuild.resolve(root);
  } catch {
    return undefined; // its text names neither the places nor a remedy: the repair guide does
  }
}

function listPlaces(root: string): string[] {
  const names = (folder: string) => (existsSync(folder) ? readdirSync(folder) : []);
  const prebuilds = names(join(root, 'prebuilds'))
    .flatMap((platform) => names(join(root, 'prebuilds', platform)).map((file) => `${platform}/${file}`))
    .join(', ');
  return [
    `${join(root, 'build', 'Release', 'tsgpt.node')}: does not exist`,
    `${join(root, 'prebuilds', `${process.platform}-${process.arch}`, '*.node')}: ` +
      (prebuilds === '' ? 'does not exist' : `none fits this machine; the package has ${prebuilds}`),
  ];
}

function repairGuide(root: string, places: readonly string[]): string {
  return [
    `tsgpt: no native module could be loaded for ${machine()}. Looked for:`,
    ...places.map((place) => `  - ${place}`),
    'Build it with this command (it needs CMake, a C++20 compiler and make or ninja):',
    `  node ${quote(join(root, 'scripts', 'build-native.mjs'))}`,
  ].join('\n');
}

function machine(): string {
  Object.assign(process.report, { excludeNetwork: true }); // else the report looks up host names
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  const libc = header.glibcVersionRuntime;
  const system = process.platform === 'linux' ? ` (${libc ? `glibc ${libc}` : 'musl'})` : '';
  return `${process.platform}-${process.arch}${system}, Node ${process.version}`;
}

function quote(path: string): string {
  return /^[\w./:\\-]+$/.test(path) ? path : JSON.stringify(path);
}

/** The loaded module. */
export const native: NativeAddon = loadNative();
