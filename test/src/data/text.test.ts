import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import fc from 'fast-check';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { FileError } from '../../../lib/errors.js';
import { decodeUtf8, readTexts, streamTexts } from '../../../src/data/index.js';
import { compiled, root, runNode } from '../../support/cli.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-text-'))));
afterEach(() => rmSync(folder, { recursive: true }));

function put(files: Record<string, string | Uint8Array>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
}

async function reason(source: string | string[]): Promise<string> {
  const error: unknown = await readTexts(source).then(
    () => null,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(FileError);
  return (error as FileError).message;
}

describe('readTexts', () => {
  it('reads a file of any name, without a byte order mark', async () => {
    put({ 'a.dat': '\ufeffhé\r\n' });
    expect(await readTexts(join(folder, 'a.dat'))).toEqual({
      text: 'hé\r\n',
      files: [join(folder, 'a.dat')],
    });
  });

  it('reads the text files of a folder in the order of their paths', async () => {
    put({
      'b.txt': 'b',
      'a/z.md': 'z\n',
      'a/y.TXT': 'y',
      'c.png': 'no',
      '.git/d.txt': 'no',
      'node_modules/e.txt': 'no',
    });
    symlinkSync(join(folder, 'b.txt'), join(folder, 'link.txt'));
    symlinkSync(folder, join(folder, 'loop'));
    symlinkSync('circle.txt', join(folder, 'circle.txt'));
    symlinkSync('nowhere.txt', join(folder, 'broken.txt'));
    const { text, files } = await readTexts(folder);
    expect(text).toBe('y\nz\nb\nb');
    expect(files.map((file) => file.slice(folder.length + 1))).toEqual([
      'a/y.TXT',
      'a/z.md',
      'b.txt',
      'link.txt',
    ]);
  });

  it('reads what a pattern matches, and several sources in the order given', async () => {
    put({ 'b.txt': 'b', 'a.txt': 'a', 'deep/c.txt': 'c', '[x].txt': 'x' });
    expect((await readTexts(join(folder, '*.txt'))).text).toBe('x\na\nb');
    expect((await readTexts(join(folder, '**/*.txt'))).text).toBe('x\na\nb\nc');
    expect((await readTexts(join(folder, '[x].txt'))).text).toBe('x');
    expect((await readTexts([join(folder, 'b.txt'), join(folder, 'a.*')])).text).toBe('b\na');
  });

  it('says what is wrong', async () => {
    put({
      empty: '',
      'e/a.txt': '',
      'e/b.txt': '',
      'bad.txt': new Uint8Array([0x61, 0xc3, 0xa9, 0xff, 0x62]),
      'p/x.png': '',
    });
    const at = (name: string): string => join(folder, name);
    expect(await reason(at('none'))).toBe(`${at('none')}: cannot be read: there is no such file or folder`);
    expect(await reason(at('empty'))).toBe(`${at('empty')}: is empty: there is no text to read`);
    expect(await reason(at('e'))).toBe(`${at('e/a.txt')} and 1 more: is empty: there is no text to read`);
    expect(await reason(at('p'))).toContain(`${at('p')}: has no text files in it (.txt, `);
    expect(await reason(at('*.json'))).toBe(`${at('*.json')}: matches no file`);
    expect(await reason(at('none/*.txt'))).toBe(`${at('none/*.txt')}: matches no file`);
    expect(await reason(at('empty/x'))).toContain('a part of the path is not a folder');
    expect(await reason(at('bad.txt'))).toContain(
      `${at('bad.txt')}: is not UTF-8 text: byte 3 (0xFF) is not valid there`,
    );
    expect(await reason([at('bad.txt'), at('none')])).toContain('none');
  });
});

describe('streamTexts', () => {
  const read = async (source: string): Promise<string[]> => {
    const texts = [''];
    for await (const { text, ends } of streamTexts(source)) {
      texts[texts.length - 1] += text;
      if (ends) texts.push('');
    }
    expect(texts.pop()).toBe('');
    return texts;
  };

  it('gives the texts of files in pieces', async () => {
    // Characters of three bytes lie across the borders of what is read at once.
    const long = `x${'日本語'.repeat(400_000)}`;
    put({ 'a.txt': `\ufeff${long}`, 'b.md': '', 'c.txt': 'hé' });
    expect(await read(folder)).toEqual([long, '', 'hé']);
  });

  it('says what is wrong', async () => {
    put({ 'bad.txt': new Uint8Array([0x61, 0xff]), 'cut.txt': new Uint8Array([0x61, 0xe6]) });
    for (const name of ['bad.txt', 'cut.txt']) {
      await expect(read(join(folder, name))).rejects.toThrow(FileError);
      await expect(read(join(folder, name))).rejects.toThrow(`${name}: is not UTF-8 text`);
    }
    await expect(read(join(folder, 'none'))).rejects.toThrow('there is no such file or folder');
  });
});

describe('standard input', () => {
  beforeAll(compiled, 120_000);
  const script = `
    import { readTexts } from '${join(root, 'dist/src/data/index.js')}';
    readTexts('-').then(({ text }) => console.log(text.length, text.slice(0, 2)), (e) => console.log(e.message));`;
  const read = async (input: string | Uint8Array): Promise<string> =>
    (await runNode(['--input-type=module', '-e', script], { input })).stdout.trim();

  it('is read to its end', async () => {
    expect(await read('né'.repeat(500_000))).toBe('1000000 né');
    expect(await read('')).toBe('standard input: is empty: there is no text to read');
    expect(await read(new Uint8Array([0xc3]))).toContain('standard input: is not UTF-8 text: byte 0 (0xC3)');
  });
});

describe('decodeUtf8', () => {
  it('takes exactly what UTF-8 is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
        let valid = true;
        try {
          new TextDecoder('utf-8', { fatal: true }).decode(bytes);
        } catch {
          valid = false;
        }
        if (valid) expect(Buffer.from(decodeUtf8(bytes, 'x'))).toEqual(Buffer.from(bytes));
        else expect(() => decodeUtf8(bytes, 'x')).toThrow(/x: is not UTF-8 text: byte \d+ /);
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['a stray continuation', [0x61, 0x80], 1],
    ['an overlong form', [0x61, 0xc0, 0x80], 1],
    ['a long overlong form', [0xe0, 0x80, 0x80], 0],
    ['a surrogate', [0x61, 0x62, 0xed, 0xa0, 0x80], 2],
    ['beyond Unicode', [0xf4, 0x90, 0x80, 0x80], 0],
    ['Latin-1', [0x63, 0x61, 0x66, 0xe9, 0x20], 3],
    ['cut off', [0xf0, 0x9f, 0x98], 0],
  ])('says where %s is', (_, bytes, at) => {
    expect(() => decodeUtf8(new Uint8Array(bytes), 'x')).toThrow(`byte ${at} (0x`);
  });
});
