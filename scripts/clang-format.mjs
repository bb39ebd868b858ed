// Formats the C++ sources, or with --check fails when one differs from .clang-format. Without clang-format on the
// machine it says so and does nothing: its version decides details, so the check is binding in CI only.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const files = ['native', 'bench'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true })
    .filter((file) => /\.(cpp|h|cu)$/.test(file))
    .map((file) => join(folder, file)),
);
const mode = process.argv.includes('--check') ? ['--dry-run', '--Werror'] : ['-i'];
const run = spawnSync('clang-format', [...mode, ...files], { cwd: root, stdio: 'inherit' });
if (run.error?.code === 'ENOENT')
  console.log('clang-format is not installed: the C++ sources were not checked');
else process.exit(run.status ?? 1);
