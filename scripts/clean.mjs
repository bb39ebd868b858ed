// Removes what the build makes: everything, or the folders named as arguments.
import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const made = ['dist', 'build', 'prebuilds', 'docs/api', 'coverage'];
const asked = process.argv.slice(2);
const unknown = asked.filter((folder) => !made.includes(folder));
if (unknown.length > 0) {
  console.error(`clean: ${unknown.join(', ')} is not made by the build; choose from ${made.join(', ')}`);
  process.exit(2);
}
for (const folder of asked.length > 0 ? asked : made)
  rmSync(join(root, folder), { recursive: true, force: true });
