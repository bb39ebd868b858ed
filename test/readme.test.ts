/** Every TypeScript snippet of the documentation compiles and runs, and every `tsgpt` command in it is a valid one. */

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import ts from 'typescript';
import { beforeAll, describe, expect, it } from 'vitest';

import { parseFlags } from '../src/cli/args.js';
import { commands, type CommandName } from '../src/cli/commands.js';
import { compiled, root, runNode } from './support/cli.js';

const documents = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)].filter(
  (name) => name.endsWith('.md'),
);

/** The fenced blocks of one language, named by file and line. */
function blocks(language: string): [name: string, code: string][] {
  return documents.flatMap((file) => {
    const text = readFileSync(join(root, file), 'utf8');
    return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)]
      .filter((match) => match[1] === language)
      .map((match): [string, string] => [
        `${file}:${text.slice(0, match.index).split('\n').length}`,
        match[2],
      ]);
  });
}

describe('TypeScript snippets', () => {
  const snippets = blocks('ts');
  beforeAll(compiled, 120_000);

  it('are there', () => expect(snippets.length).toBeGreaterThan(0));

  it('compile', () => {
    const sources = new Map(
      snippets.map(([, code], i) => [join(root, 'examples', `snippet-${i}.ts`), `${code}\nexport {};`]),
    );
    const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile);
    const { options } = ts.parseJsonConfigFileContent(
      { ...config, include: [], files: ['x.ts'] },
      ts.sys,
      root,
    );
    const host = ts.createCompilerHost(options);
    const { fileExists, readFile, getSourceFile } = host;
    host.fileExists = (file) => sources.has(file) || fileExists(file);
    host.readFile = (file) => sources.get(file) ?? readFile(file);
    host.getSourceFile = (file, target, ...rest) =>
      sources.has(file)
        ? ts.createSourceFile(file, sources.get(file)!, target)
        : getSourceFile.call(host, file, target, ...rest);
    const program = ts.createProgram([...sources.keys()], options, host);
    const problems = [...sources.keys()].flatMap((file) => {
      const source = program.getSourceFile(file)!;
      return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    });
    expect(problems.map((problem) => ts.flattenDiagnosticMessageText(problem.messageText, '\n'))).toEqual([]);
  });

  it.each(snippets)('%s runs', async (name, code) => {
    const folder = join(root, 'dist', 'snippets'); // inside the package, so that `tsgpt` is this package
    mkdirSync(folder, { recursive: true });
    const file = join(folder, `${name.replaceAll(/\W/g, '-')}-${process.pid}.mjs`);
    const { outputText } = ts.transpileModule(code, {
      compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext },
    });
    writeFileSync(file, outputText);
    const { code: exitCode, stdout, stderr } = await runNode([file]);
    rmSync(file, { force: true });
    expect(exitCode, stderr).toBe(0);
    expect(stdout).not.toBe('');
  });
});

describe('docs/troubleshooting.md', () => {
  const rows = [
    ...readFileSync(join(root, 'docs/troubleshooting.md'), 'utf8').matchAll(
      /^\| `(.+?)`\s+\|.*?\| `(test\/.+?)`\s+\|$/gm,
    ),
  ].map(([, message, file]) => [message, file]);

  it('has rows', () => expect(rows.length).toBeGreaterThan(10));

  it.each(rows)('%s: is expected by %s', (message, file) => {
    // Without escapes of regular expressions, and texts in one piece.
    const source = readFileSync(join(root, file), 'utf8')
      .replaceAll(/\\(.)/g, '$1')
      .replaceAll(/['"`]\s*\+?\s*\n\s*['"`]/g, '');
    const parts = message.split(/\.\.\.|\d+|;/).map((part) => part.trim());
    expect(parts.filter((part) => part.length > 12 && source.includes(part))).not.toEqual([]);
  });
});

describe('shell snippets', () => {
  const lines = blocks('sh').flatMap(([name, code]) =>
    code.split('\n').flatMap((line): [string, string][] => (/\btsgpt \w/.test(line) ? [[name, line]] : [])),
  );

  it.each(lines)('%s: %s', (_, line) => {
    const [, name, rest] = /\btsgpt (tokenizer \w+|[\w-]+)([^|#]*)/.exec(line)!;
    expect(Object.keys(commands)).toContain(name);
    const words = rest.match(/"[^"]*"|'[^']*'|\S+/g) ?? [];
    const args = words.map((word) => word.replace(/^(["'])(.*)\1$/, '$2'));
    expect(() => parseFlags(commands[name as CommandName].flags, args)).not.toThrow();
  });

  it('npm scripts exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const named = blocks('sh').flatMap(([, code]) =>
      [...code.matchAll(/npm run ([\w:]+)/g)].map((match) => match[1]),
    );
    for (const name of named) expect(Object.keys(scripts)).toContain(name);
  });
});
