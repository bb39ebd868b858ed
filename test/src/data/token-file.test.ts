import { createHash } from 'node:crypto';
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import fc from 'fast-check';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { ArgumentError, FileError, IndexError } from '../../../lib/index.js';
import { TokenFile, TokenFileWriter } from '../../../src/data/index.js';
import {
  CharTokenizer,
  packTokenizer,
  tokenizerHash,
  unpackTokenizer,
} from '../../../src/tokenizers/index.js';
import { compiled, root, runNode } from '../../support/cli.js';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsgpt-tokens-'));
  path = join(folder, 'tokens.bin');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function write(documents: readonly (readonly number[])[], vocabSize = 1000): void {
  using writer = new TokenFileWriter(path, { vocabSize });
  for (const ids of documents) {
    writer.append(ids);
    writer.endDocument();
  }
  writer.finish();
}

function readAll(file: TokenFile): number[] {
  const ids = new Int32Array(file.length);
  file.read(0, ids);
  return Array.from(ids);
}

describe('a token file', () => {
  it('gives back tokens and documents of both widths, from any place', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(300, 65536, 65537, 200_000),
        fc.array(fc.array(fc.nat(), { maxLength: 9 }), { minLength: 1, maxLength: 30 }),
        (vocabSize, raw) => {
          const documents = raw.map((ids) => ids.map((id) => id % vocabSize));
          write(documents, vocabSize);
          using file = new TokenFile(path);
          const all = documents.flat();
          expect(readAll(file)).toEqual(all);
          const full = documents.filter((ids) => ids.length > 0);
          expect(file.info).toMatchObject({
            documents: full.length,
            vocabSize,
            format: 'tsgpt',
            eosId: null,
          });
          let end = 0;
          full.forEach((ids, i) => {
            expect(file.documentAt(end)).toBe(i);
            end += ids.length;
            expect(file.documentEnd(i)).toBe(end);
            expect(file.documentAt(end - 1)).toBe(i);
          });
          const middle = new Int32Array(Math.floor(all.length / 2));
          file.read(all.length - middle.length, middle);
          expect(Array.from(middle)).toEqual(all.slice(all.length - middle.length));
          file.verify();
        },
      ),
      { numRuns: 40 },
    );
  });

  it('stands as it is documented', () => {
    const tokenizer = CharTokenizer.fromText('abc');
    const hash = tokenizerHash(tokenizer);
    const options = { vocabSize: 3, eosId: 2, tokenizerHash: hash, tokenizerJson: packTokenizer(tokenizer) };
    using writer = new TokenFileWriter(path, options);
    writer.append([0, 1, 2]);
    writer.endDocument();
    writer.append([1]);
    writer.finish();
    const bytes = readFileSync(path);
    expect(bytes.toString('latin1', 0, 8)).toBe('TSGPTTOK');
    expect([bytes.readUInt32LE(8), bytes.readUInt32LE(12)]).toEqual([1, 2]);
    const words = [16, 24, 32, 40, 48].map((at) => Number(bytes.readBigUInt64LE(at)));
    expect(words).toEqual([4, 2, 136, 152, options.tokenizerJson.length]);
    expect([bytes.readUInt32LE(56), bytes.readUInt32LE(60)]).toEqual([3, 2]);
    expect(bytes.toString('hex', 64, 96)).toBe(hash);
    const tokens = bytes.subarray(128, 136);
    expect(bytes.toString('hex', 96, 128)).toBe(createHash('sha256').update(tokens).digest('hex'));
    expect([0, 2, 4, 6].map((at) => tokens.readUInt16LE(at))).toEqual([0, 1, 2, 1]);
    expect([136, 144].map((at) => Number(bytes.readBigUInt64LE(at)))).toEqual([3, 4]);
    using file = new TokenFile(path);
    expect(file.info).toMatchObject({ eosId: 2, tokenizerHash: hash });
    expect(tokenizerHash(unpackTokenizer(path, file.tokenizerJson()!))).toBe(hash);
    expect(readdirSync(folder)).toEqual(['tokens.bin']);
  });

  it('is not there before it is whole, and leaves nothing behind when it never is', () => {
    {
      using writer = new TokenFileWriter(path, { vocabSize: 10 });
      writer.append([1, 2, 3]);
    }
    expect(readdirSync(folder)).toEqual([]);
    using writer = new TokenFileWriter(path, { vocabSize: 10 });
    expect(() => writer.append([3, 10])).toThrow(
      new IndexError('TokenFileWriter: id 10 is outside the vocabulary of 10'),
    );
    expect(() => new TokenFileWriter(path, { vocabSize: 0 })).toThrow(ArgumentError);
    expect(() => new TokenFileWriter(join(folder), { vocabSize: 5 })).toThrow(
      /cannot be written: it is a folder/,
    );
  });

  it('of other programs can be read: bare uint16, and with the headers of llm.c', () => {
    const ids = [50256, 1, 65535, 7];
    writeFileSync(path, Buffer.from(Uint16Array.from(ids).buffer));
    expect(readAll(new TokenFile(path))).toEqual(ids);
    expect(new TokenFile(path).info).toMatchObject({ format: 'raw', vocabSize: null, documents: null });
    for (const [magic, version, array] of [
      [20240520, 1, Uint16Array],
      [20240801, 7, Uint32Array],
    ] as const) {
      const header = new Int32Array(256);
      header.set([magic, version, ids.length]);
      writeFileSync(path, Buffer.concat([Buffer.from(header.buffer), Buffer.from(array.from(ids).buffer)]));
      expect(readAll(new TokenFile(path))).toEqual(ids);
      expect(new TokenFile(path).info.format).toBe('llm.c');
      truncateSync(path, 1024 + 4);
      expect(() => new TokenFile(path)).toThrow(
        /tokens\.bin: is damaged: it should have 10\d\d bytes at least/,
      );
    }
  });

  it('that is damaged says so', () => {
    write([[1, 2, 3], [4]]);
    const whole = readFileSync(path);
    const changed = (at: number, value: number): Buffer => {
      const copy = Buffer.from(whole);
      copy[at] = value;
      return copy;
    };
    const cases: [Buffer, RegExp][] = [
      [whole.subarray(0, 50), /is damaged: its header is cut off; tokenize again/],
      [whole.subarray(0, 140), /is damaged: it should have \d+ bytes at least and has 140/],
      [changed(8, 9), /is a token file of version 9, this release reads 1/],
      [changed(12, 3), /is damaged: it has tokens of 3 bytes/],
      [changed(22, 200), /is damaged: it should have/],
      [changed(30, 200), /is damaged: it should have/],
      [Buffer.alloc(0), /is empty: there are no tokens in it/],
      [
        Buffer.from('abc'),
        /is no token file: it does not begin with TSGPTTOK, and 3 bytes are no whole number/,
      ],
    ];
    for (const [bytes, message] of cases) {
      writeFileSync(path, bytes);
      expect(() => new TokenFile(path), message.source).toThrow(FileError);
      expect(() => new TokenFile(path)).toThrow(message);
    }
    writeFileSync(path, changed(128, 77));
    expect(() => new TokenFile(path).verify()).toThrow(/is damaged: the checksum of its tokens differs/);
    writeFileSync(path, changed(129, 77));
    expect(() => new TokenFile(path).verify()).toThrow(
      `${path}: token 0 is id ${77 * 256 + 1}, outside the vocabulary of 1000; was the file made with another tokenizer?`,
    );
    expect(() => new TokenFile(join(folder, 'none'))).toThrow(/cannot be read: there is no such file/);
    expect(() => new TokenFile(folder)).toThrow(/is a folder, not a token file/);
  });

  it('answers questions beyond its end with errors', () => {
    write([[1, 2, 3]]);
    using file = new TokenFile(path);
    expect(() => file.read(2, new Int32Array(2))).toThrow(ArgumentError);
    expect(() => file.read(-1, new Int32Array(2))).toThrow(ArgumentError);
    expect(() => file.documentEnd(1)).toThrow(IndexError);
  });
});

describe('a large token file', () => {
  beforeAll(compiled, 120_000);

  /** Runs a script that has `file` open, of 1.2 billion tokens with nothing but zeros on the disk. */
  async function withLarge(script: string): Promise<string[]> {
    const handle = openSync(path, 'w');
    writeSync(handle, Buffer.from(Uint16Array.of(1, 2).buffer), 0, 4, 2 ** 30 - 2); // across two parts of the mapping
    closeSync(handle);
    truncateSync(path, 2_400_000_000);
    const text = `
      import { TokenFile } from '${join(root, 'dist/src/index.js')}';
      import { readFileSync, truncateSync } from 'node:fs';
      const path = ${JSON.stringify(path)};
      const file = new TokenFile(path);
      const resident = () => Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
      ${script}`;
    const { code, stdout, stderr } = await runNode(['--input-type=module', '-e', text]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return stdout.trim().split('\n');
  }

  it(
    'takes little memory however much of it is read, and none of it is far',
    { timeout: 120_000 },
    async (context) => {
      if (process.platform !== 'linux') return context.skip('the peak of resident memory is read from /proc');
      const [ids, growth] = await withLarge(`
      const window = new Int32Array(1025);
      const two = new Int32Array(2);
      file.read(2 ** 29 - 1, two);
      console.log(Array.from(two).join());
      const before = resident();
      for (let i = 0; i < 1_000_000; i++) file.read((i * 1_171_003) % (file.length - window.length), window);
      console.log(resident() - before);`);
      expect(ids).toBe('1,2');
      expect(Number(growth)).toBeLessThan(150); // MiB; of 2,400 MB read
    },
  );

  it('that becomes shorter gives an error, and no signal', async () => {
    const [lost] = await withLarge(`
      truncateSync(path, 1000);
      try { file.read(1_000_000, new Int32Array(10)); } catch (error) { console.log(error.constructor.name, error.message); }`);
    expect(lost).toMatch(/^FileError .*tokens\.bin: became shorter/);
  });
});
