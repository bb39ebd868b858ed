/** The bundled JavaScript in dist gives what the sources give: scripts/bundle.mjs. */

import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { beforeAll, expect, it } from 'vitest';

import { compiled, root, runNode } from './support/cli.js';

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, string>;
};
const entries = Object.values(manifest.exports).filter((file) => file.endsWith('.js'));

/** What is exported: a line for each name, with the name that a function or class knows itself by. */
const described = (module: object): string[] =>
  Object.entries(module)
    .map(
      ([key, value]) => `${key}: ${typeof value === 'function' ? (value as () => void).name : typeof value}`,
    )
    .sort();

beforeAll(compiled, 120_000);

it.each(entries)(
  '%s exports the names of its source, and functions and classes have theirs',
  async (entry) => {
    const source = entry.replace('./dist/', '../').replace(/\.js$/, '.ts');
    const script = `console.log(JSON.stringify((${String(described)})(await import('${join(root, entry)}'))))`;
    const { code, stdout, stderr } = await runNode(['--input-type=module', '-e', script]);
    expect([code, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toEqual(described((await import(source)) as object));
  },
);

/** Files that are loaded with one. */
function loadedWith(file: string, loaded = new Set<string>()): Set<string> {
  if (loaded.has(file)) return loaded;
  loaded.add(file);
  const statement = /^(?:import|export) (?:[^"']* from )?["'](\.[^"']+)["'];$/gm;
  for (const [, path] of readFileSync(file, 'utf8').matchAll(statement))
    loadedWith(join(dirname(file), path), loaded);
  return loaded;
}

it('an import opens one file for each folder, and what all have in common', () => {
  const loaded = [...loadedWith(join(root, 'dist/src/index.js'))].map((file) => relative(root, file)).sort();
  const folders = entries
    .map((entry) => dirname(entry.slice('./'.length)))
    .filter((folder) => folder !== 'dist/src');
  const expected = folders.map((folder) => `${folder}/bundle.js`);
  expected.push('dist/src/index.js', 'dist/lib/errors.js', 'dist/lib/rolldown-runtime.js');
  expect(loaded).toEqual(expected.sort());
});

it('the command line shows its help without the addon', () => {
  const loaded = [...loadedWith(join(root, 'dist/src/cli/main.js'))].map((file) => relative(root, file));
  expect(loaded).toContain('dist/lib/errors.js');
  expect(loaded.filter((file) => file.endsWith('bundle.js'))).toEqual([]);
});
