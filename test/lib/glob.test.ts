import { expect, it } from 'vitest';

import { compilePattern, isPattern } from '../../lib/formats/glob.js';

it.each([
  ['*.txt', '.', 'a.txt', true],
  ['*.txt', '.', 'a/b.txt', false],
  ['*.txt', '.', 'a.txt.gz', false],
  ['books/*.{txt,md}', 'books', 'a.md', true],
  ['books/*.{txt,md}', 'books', 'a.rst', false],
  ['/data/**/*.txt', '/data', 'a.txt', true],
  ['/data/**/*.txt', '/data', 'x/y/a.txt', true],
  ['/*.txt', '/', 'a.txt', true],
  ['**', '.', 'x/y', true],
  ['a?c', '.', 'a😀c', true],
  ['a?c', '.', 'a/c', false],
  ['[a-c]x', '.', 'bx', true],
  ['[!a-c]x', '.', 'bx', false],
  ['[!a-c]x', '.', 'dx', true],
  ['x[', '.', 'x[', true],
  ['x{', '.', 'x{', true],
  ['[z-a]*', '.', '[z-a]b', true],
  ['a+(b).*', '.', 'a+(b).c', true],
  ['a{b*,[cd]}e', '.', 'abbe', true],
  ['a{b*,[cd]}e', '.', 'ade', true],
])('%s in %s: %s is %s', (pattern, folder, path, expected) => {
  const compiled = compilePattern(pattern);
  expect(compiled.folder).toBe(folder);
  expect(compiled.matches(path)).toBe(expected);
});

it('tells patterns from paths', () => {
  expect(['a.txt', '/x/y', 'a b'].some(isPattern)).toBe(false);
  expect(['*', 'a?', '[x]', '{a,b}'].every(isPattern)).toBe(true);
});
