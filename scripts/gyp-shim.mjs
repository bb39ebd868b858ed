#!/usr/bin/env node
// prebuildify calls `node-gyp rebuild --target=... --arch=...`; given this file as --node-gyp it runs the real build
// instead, which needs neither Node's headers nor Python. A Node-API module fits every Node version: the target is ignored.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const build = join(dirname(fileURLToPath(import.meta.url)), 'build-native.mjs');
const arch = process.argv.find((argument) => argument.startsWith('--arch='))?.slice('--arch='.length);
if (arch && arch !== process.arch) {
  console.error(`gyp-shim: this machine builds for ${process.arch} only, asked for ${arch}`);
  process.exit(1);
}
process.exit(spawnSync(process.execPath, [build], { stdio: 'inherit' }).status ?? 1);
