/**
 * The commands of docs/training-workflows.md, run as they stand there, in order, in a folder of their own: texts, sizes and
 * lengths are those of toys, in the two tables below, and everything else is the page's.
 */

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { compiled, root, tsgpt } from './support/cli.js';
import { sanitized } from './support/sanitized.js';

const page = readFileSync(join(root, 'docs/training-workflows.md'), 'utf8');

/** What a test can wait for, in place of what the page asks for. */
const toySizes: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  '--vocab-size': { 8000: '300', 4000: '300' },
  '--layers': { 6: '1', 4: '1', 3: '1' },
  '--heads': { 6: '2', 4: '2' },
  '--embed': { 384: '16', 256: '16' },
  '--seq': { 256: '16', 64: '64' },
  '--batch': { 16: '4' },
  '--steps': { 5000: '6', 8000: '9' },
  '--epochs': { 10: '0.02', 20: '0.5', 4: '0.5', 3: '0.02' },
};

const read = (name: string): string => readFileSync(join(root, 'examples/data', name), 'utf8');
const plays = read('tinyshakespeare.txt');
const reviews = read('sentiment.tsv')
  .replaceAll(/\t0$/gm, '\tbad')
  .replaceAll(/\t1$/gm, '\tgood')
  .split('\n');
const pairs = read('eng-fra.tsv').split('\n');
const lines = (all: readonly string[], from: number, to: number): string =>
  `${all.slice(from, to).join('\n')}\n`;

/** The files that the page takes as given. */
const files: Readonly<Record<string, string>> = {
  'corpus.txt': plays.slice(0, 60_000),
  'test.txt': plays.slice(60_000, 61_000),
  'plays.txt': plays.slice(70_000, 90_000),
  'reviews.tsv': lines(reviews, 0, 40),
  'reviews-test.tsv': lines(reviews, 40, 50),
  'eng-fra.tsv': lines(pairs, 0, 40),
  'eng-fra-test.tsv': lines(pairs, 40, 44),
};

const commands = [...page.matchAll(/^```sh\n(.*?)^```$/gms)].flatMap(([, code]) =>
  code.trimEnd().split('\n'),
);

/** The words of a command behind `tsgpt`, in toy sizes. */
function toyWords(command: string): string[] {
  const [name, ...words] = (command.match(/"[^"]*"|\S+/g) ?? []).map((word) => word.replaceAll('"', ''));
  expect(name).toBe('tsgpt');
  return words.map((word, i) => {
    const sizes = toySizes[words[i - 1]];
    if (sizes === undefined) return word;
    expect(sizes, `${words[i - 1]} ${word} has no toy size`).toHaveProperty([word]);
    return sizes[word];
  });
}

it('every toy size is one of the page, and so is every file', () => {
  const text = commands.join('\n');
  for (const [flag, sizes] of Object.entries(toySizes)) {
    for (const size of Object.keys(sizes)) expect(`${text}\n`).toMatch(new RegExp(`${flag} ${size}\\s`));
  }
  for (const name of Object.keys(files)) expect(text).toContain(` ${name}`);
});

describe.skipIf(sanitized)('the workflows', () => {
  let folder: string;
  beforeAll(async () => {
    await compiled();
    folder = mkdtempSync(join(tmpdir(), 'tsgpt-workflows-'));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each(commands)('%s', async (command) => {
    const words = toyWords(command);
    const { code, stdout, stderr } = await tsgpt(words, { cwd: folder });
    expect(code, stderr).toBe(0);
    const valueOf = (flag: string): string | undefined => words[words.indexOf(flag) + 1 || words.length];
    const trains = words[0] === 'train' && !words.includes('--dry-run');
    const made = trains ? [valueOf('--model'), valueOf('--metrics')] : [valueOf('--out')];
    for (const name of made) if (name !== undefined) expect(existsSync(join(folder, name)), name).toBe(true);
    const steps = valueOf('--steps');
    if (trains && steps !== undefined) expect(stderr).toMatch(new RegExp(`^${steps} steps, `, 'm'));
    if (/^(eval|classify|fill-mask)$/.test(words[0])) expect(stdout.trim()).not.toBe('');
  });
});
