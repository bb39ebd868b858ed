/**
 * The dependency rule of docs/architecture.md: a file imports from its own stratum or a lower one, `lib` never imports
 * `src`, tokenizers and data never import models, training and generation never import each other, and nothing imports
 * in a circle. Read from the import statements, type-only ones apart (they vanish when compiled).
 */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');

/** Strata from the bottom up; the first pattern that fits a path decides. */
const strata: [RegExp, number][] = [
  [/^lib\/(errors|dtype|shape|native-addon)\.ts$/, 0],
  [/^lib\/(native|kernels|storage|packed-weights|pool|half|format|threads)\.ts$/, 1],
  [
    /^lib\/formats\/(atomic-file|system-error|mapped-file|file-kind|json-file|safetensors-header|gguf-header)\.ts$/,
    1,
  ],
  [/^lib\/(tensor|op|autocast|autograd|random|saved)\.ts$/, 2],
  [/^lib\/(ops|formats)\//, 3],
  [/^lib\/process-group\.ts$/, 3],
  [/^lib\/(methods|index|settings)\.ts$/, 3],
  [/^src\/nn\//, 4],
  [/^src\/(models|tokenizers|data)\//, 5],
  [/^src\/(training|generation|embedding|evaluation|visualize)\//, 6],
  [/^src\/serving\//, 7],
  [/^src\/index\.ts$/, 7],
  [/^src\/cli\//, 8],
];

/** Pairs of folders on the same stratum that must not see each other. */
const apart: [string, string][] = [
  ['src/tokenizers/', 'src/models/'],
  ['src/data/', 'src/models/'],
  ['src/training/', 'src/generation/'],
  ['src/generation/', 'src/training/'],
];

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort();
}

/** Paths that a file imports at run time. */
function imports(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  const found: string[] = [];
  const statement = /^\s*(?:import|export)\s+(?!type\b)(?:([^'"]*?)\s+from\s+)?['"](\.[^'"]+)['"]/gm;
  for (const [, clause = '', path] of text.matchAll(statement)) {
    const names = /\{([^}]*)\}/.exec(clause)?.[1].split(',') ?? [];
    const onlyTypes =
      names.length > 0 && !/^[^{]*\w/.test(clause) && names.every((n) => !n.trim() || /^\s*type\s/.test(n));
    if (!onlyTypes) found.push(relative(root, resolve(root, dirname(file), path)).replace(/\.js$/, '.ts'));
  }
  return found;
}

const stratumOf = (file: string): number | undefined => strata.find(([pattern]) => pattern.test(file))?.[1];
const files = [...sources('lib'), ...sources('src')];
const graph = new Map(files.map((file) => [file, imports(file)]));

describe('layers', () => {
  it('finds the sources and their imports', () => {
    expect(files).toContain('lib/tensor.ts');
    expect(graph.get('lib/tensor.ts')).toContain('lib/storage.ts');
    expect(graph.get('src/models/gpt.ts')).toContain('src/nn/index.ts');
  });

  it('gives every file a stratum', () => {
    expect(files.filter((file) => stratumOf(file) === undefined)).toEqual([]);
  });

  it('never imports upward', () => {
    const upward = files.flatMap((file) =>
      graph
        .get(file)!
        .filter((target) => stratumOf(target)! > stratumOf(file)!)
        .map((target) => `${file} -> ${target}`),
    );
    expect(upward).toEqual([]);
  });

  it('keeps apart what must not know each other', () => {
    const crossing = apart.flatMap(([from, to]) =>
      files
        .filter((file) => file.startsWith(from))
        .flatMap((file) =>
          graph
            .get(file)!
            .filter((t) => t.startsWith(to))
            .map((t) => `${file} -> ${t}`),
        ),
    );
    expect(crossing).toEqual([]);
  });

  it('has no cycles', () => {
    const state = new Map<string, 'open' | 'done'>();
    const cycles: string[] = [];
    const visit = (file: string, path: string[]): void => {
      if (state.get(file) === 'done') return;
      if (state.get(file) === 'open') {
        cycles.push([...path.slice(path.indexOf(file)), file].join(' -> '));
        return;
      }
      state.set(file, 'open');
      for (const target of graph.get(file) ?? []) visit(target, [...path, file]);
      state.set(file, 'done');
    };
    for (const file of files) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it('has folders that do not need each other in a circle: each becomes one file', () => {
    const folderOf = (file: string): string => /^(lib|src\/[^/]+)/.exec(file)![1];
    const needed = new Map<string, Set<string>>();
    for (const [file, targets] of graph) {
      const of = needed.get(folderOf(file)) ?? new Set();
      needed.set(folderOf(file), of);
      for (const target of targets) if (folderOf(target) !== folderOf(file)) of.add(folderOf(target));
    }
    // A folder that needs nothing that is left can go; with circles some remain.
    for (let gone = true; gone;) {
      const free = [...needed].filter(([, of]) => [...of].every((folder) => !needed.has(folder)));
      for (const [folder] of free) needed.delete(folder);
      gone = free.length > 0;
    }
    expect([...needed.keys()]).toEqual([]);
  });

  it('has no kernel file that knows JavaScript', () => {
    const native = readdirSync(join(root, 'native'), { recursive: true, encoding: 'utf8' });
    const leaks = native
      .filter((file) => /\.(cpp|h)$/.test(file) && !file.startsWith('binding/'))
      .filter((file) => /node_api|napi/.test(readFileSync(join(root, 'native', file), 'utf8')));
    expect(leaks).toEqual([]);
  });
});
