import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { ArgumentError, FileError, TokenizerError } from '../../../lib/index.js';
import {
  readTexts,
  streamDocuments,
  TokenFile,
  tokenizeFiles,
  type DocumentOptions,
} from '../../../src/data/index.js';
import { CharTokenizer, type PretrainedTokenizer, type Tokenizer } from '../../../src/tokenizers/index.js';
import { root } from '../../support/cli.js';
import { trainedKinds, trainTokenizers } from '../../support/trained-tokenizers.js';

const corpus = readFileSync(join(root, 'examples/data/tinyshakespeare.txt'), 'utf8');

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-tokenize-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, content: string | Buffer): string {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

async function documents(path: string, options: DocumentOptions = {}): Promise<string[]> {
  const found: string[] = [];
  let text = '';
  for await (const piece of streamDocuments([path], options)) {
    text += piece.text;
    if (!piece.ends) continue;
    found.push(text);
    text = '';
  }
  expect(text).toBe('');
  return found;
}

const errorOf = async (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => new Error('no error'),
    (error: unknown) => error as Error,
  );

describe('documents', () => {
  it('of text are files, or what stands between separators', async () => {
    const path = write('a.txt', 'one<|end|>two\n<|end|>');
    expect(await documents(path)).toEqual(['one<|end|>two\n<|end|>']);
    expect(await documents(path, { separator: '<|end|>' })).toEqual(['one', 'two\n', '']);
    const many = Array.from({ length: 400_000 }, (_, i) => `document ${i}`);
    expect(await documents(write('b.txt', many.join('<|end|>')), { separator: '<|end|>' })).toEqual(many);
  });

  it('of JSON Lines are lines, whatever surrounds them', async () => {
    const texts = ['a', 'two\nlines\t"quoted"', '', 'é😀', 'x'.repeat(3_000_000)];
    const lines = texts.map((text) => JSON.stringify({ id: 1, text }));
    for (const end of ['\n', '\r\n']) {
      const path = write('a.jsonl', lines.join(end) + end + end);
      expect(await documents(path)).toEqual(texts);
      expect(await documents(write('a.ndjson.gz', gzipSync(readFileSync(path))))).toEqual(texts);
    }
    expect(
      await documents(write('b.txt', '"x"\n{"body":"y"}'), { format: 'jsonl', textField: 'body' }),
    ).toEqual(['x', 'y']);
  });

  it('of tab-separated files are a column by name or number', async () => {
    const path = write('a.tsv', 'id\ttext\tlang\n1\tHello world\ten\n2\tSalut\tfr\n');
    expect(await documents(path)).toEqual(['Hello world', 'Salut']);
    expect(await documents(path, { textField: 'lang' })).toEqual(['en', 'fr']);
    expect(await documents(path, { textField: '2' })).toEqual(['text', 'Hello world', 'Salut']);
  });

  it('that are none name file, line and remedy', async () => {
    const cases: [string, string, DocumentOptions, RegExp][] = [
      ['a.jsonl', '{"text":"a"}\n{"text":', {}, /a\.jsonl: line 2 is not JSON: /],
      [
        'b.jsonl',
        '\n{"body":"a","n":1}',
        {},
        /b\.jsonl: line 2 has no text under "text", it has body, n; say where .*--text-field/,
      ],
      ['c.jsonl', '7', {}, /line 1 has no text under "text", it has number/],
      ['a.tsv', 'id\tbody\n', {}, /line 1 names no column "text", it has id, body; say which/],
      ['b.tsv', 'a\tb\na\n', { textField: '2' }, /b\.tsv: line 2 has 1 columns, column 2 is to be read/],
      ['a.txt', Buffer.from([0x61, 0xff]).toString('latin1'), {}, /^no error/],
    ];
    for (const [name, content, options, message] of cases) {
      const error = await errorOf(documents(write(name, content), options));
      expect(error.message).toMatch(message);
    }
    const gzip = gzipSync(corpus);
    for (const bytes of [
      gzip.subarray(0, 1000),
      Buffer.concat([gzip.subarray(0, 1000), Buffer.alloc(5000, 7)]),
    ]) {
      const path = write('a.txt.gz', bytes);
      for (const read of [documents, readTexts]) {
        const error = await errorOf(read(path));
        expect(error).toBeInstanceOf(FileError);
        expect(error.message).toMatch(/a\.txt\.gz: is a damaged gzip file: /);
      }
    }
  });

  it('are unpacked from gzip files for whoever reads texts', async () => {
    const path = write('a.txt.gz', Buffer.concat([gzipSync('one '), gzipSync('two')]));
    expect((await readTexts(path)).text).toBe('one two');
    expect((await readTexts(folder)).text).toBe('one two');
    expect(await documents(path)).toEqual(['one two']);
  });
});

describe('tokenizeFiles', () => {
  let tokenizers: Map<string, Tokenizer>;
  beforeAll(async () => {
    tokenizers = await trainTokenizers(corpus.slice(0, 200_000), corpus);
  });

  it.each(trainedKinds)('gives the tokens of whole texts: %s', async (name) => {
    const tokenizer = tokenizers.get(name)!;
    const out = join(folder, 'out.bin');
    const progress: number[] = [];
    const path = write('a.txt', corpus); // 1.1 million characters: pieces of several sizes
    const result = await tokenizeFiles(path, {
      tokenizer,
      out,
      appendEos: false,
      onProgress: ({ bytes }) => progress.push(bytes),
    });
    const expected =
      name === 'char'
        ? tokenizer.encode(corpus)
        : (tokenizer as PretrainedTokenizer).encode(corpus, { addSpecialTokens: false });
    using file = new TokenFile(out);
    const ids = new Int32Array(file.length);
    file.read(0, ids);
    expect(Buffer.from(ids.buffer).equals(Buffer.from(expected.slice().buffer))).toBe(true);
    expect(result).toEqual({
      documents: 1,
      tokens: expected.length,
      bytes: Buffer.byteLength(corpus),
      files: [path],
    });
    expect(progress.at(-1)).toBe(result.bytes);
    file.verify();
  });

  it('ends each document with the end-of-text token, and reads none from the text', async () => {
    const tokenizer = tokenizers.get('bpe')!;
    const path = write(
      'a.jsonl',
      ['To be', '', 'or<|endoftext|>not'].map((text) => JSON.stringify({ text })).join('\n'),
    );
    const out = join(folder, 'out.bin');
    expect(await tokenizeFiles(path, { tokenizer, out })).toMatchObject({ documents: 2 });
    using file = new TokenFile(out);
    const ids = new Int32Array(file.length);
    file.read(0, ids);
    expect(tokenizer.decode(ids)).toBe('To be<|endoftext|>or<|endoftext|>not<|endoftext|>');
    const { eosId } = tokenizer;
    expect(Array.from(ids.keys()).filter((at) => ids[at] === eosId)).toEqual([
      file.documentEnd(0) - 1,
      file.documentEnd(1) - 1,
    ]);
  });

  it('lets others have their turn, and ends when it is told', async () => {
    const tokenizer = tokenizers.get('wordpiece')!;
    const path = write('a.txt', corpus.repeat(2));
    const out = join(folder, 'out.bin');
    const controller = new AbortController();
    let turns = 0;
    const timer = setInterval(() => ++turns === 5 && controller.abort(new Error('enough')), 1);
    await expect(tokenizeFiles(path, { tokenizer, out, signal: controller.signal })).rejects.toThrow(
      'enough',
    );
    clearInterval(timer);
    expect(readdirSync(folder)).toEqual(['a.txt']);
  });

  it('keeps the old file where the new one cannot be', async () => {
    const out = write('out.bin', 'old');
    const tokenizer = CharTokenizer.fromText('abc');
    const unknown = await errorOf(tokenizeFiles(write('a.txt', 'abcabX'), { tokenizer, out }));
    expect(unknown).toBeInstanceOf(TokenizerError);
    expect(unknown.message).toMatch(/a\.txt: document 1: encode: 'X' \(U\+0058\) at position 5/);
    await expect(tokenizeFiles(write('b.txt', ''), { tokenizer, out })).rejects.toThrow(
      /b\.txt: is empty: there is no text/,
    );
    await expect(tokenizeFiles(write('c.jsonl', '{'), { tokenizer, out })).rejects.toThrow(
      /c\.jsonl: line 1 is not JSON/,
    );
    expect(readFileSync(out, 'utf8')).toBe('old');
    expect(readdirSync(folder).sort()).toEqual(['a.txt', 'b.txt', 'c.jsonl', 'out.bin']);
    const wrong = { tokenizer, out, format: 'csv' as 'tsv' };
    await expect(tokenizeFiles(folder, wrong)).rejects.toThrow(ArgumentError);
    expect(existsSync(join(folder, 'nowhere'))).toBe(false);
  });
});
