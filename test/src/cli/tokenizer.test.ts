import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { compiled, root, tsgpt } from '../../support/cli.js';

let folder: string;
const at = (...path: string[]): string => join(folder, ...path);
const tokenizer = (...args: string[]) => tsgpt(['tokenizer', ...args]);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tsgpt-cli-tokenizer-'));
  const text = readFileSync(join(root, 'examples/data/tinyshakespeare.txt'), 'utf8');
  writeFileSync(at('text.txt'), text.slice(0, 100_000));
  await compiled();
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

describe('tsgpt tokenizer', () => {
  it('trains, encodes, decodes and tells', async () => {
    const out = at('bpe');
    const trained = await tokenizer(
      ...['train', '--data', at('text.txt'), '--vocab-size', '500', '--out', out, '--json'],
    );
    expect(trained.code).toBe(0);
    expect(trained.stderr).toMatch(/^bpe, 500 tokens from 100k characters in \d+ s; saved in .*bpe\n$/);
    const report = { type: 'bpe', vocab_size: 500, characters: 100_000, path: out };
    expect(JSON.parse(trained.stdout)).toMatchObject(report);

    const text = 'First Citizen: hé 😀';
    const encoded = await tokenizer('encode', '--tokenizer', out, '--text', text);
    expect(encoded).toMatchObject({ code: 0, stderr: '' });
    expect(encoded.stdout).toMatch(/^\d+( \d+)+\n$/);
    const decoded = await tsgpt(['tokenizer', 'decode', '--tokenizer', out], { input: encoded.stdout });
    expect(decoded).toEqual({ code: 0, stdout: `${text}\n`, stderr: '' });
    const ids = encoded.stdout.trim().replaceAll(' ', ', ');
    const json = await tokenizer('decode', '--tokenizer', out, '--ids', ids, '--json');
    expect(JSON.parse(json.stdout)).toEqual({ text });

    const details = await tokenizer('encode', '--tokenizer', out, '--text', text, '--json');
    const { ids: list, tokens, offsets } = JSON.parse(details.stdout) as Record<string, unknown[]>;
    expect(list.join(', ')).toBe(ids);
    expect(tokens.length).toBe(list.length);
    expect(offsets.at(-1)).toEqual([18, 20]);
    const lines = (await tokenizer('encode', '--tokenizer', out, '--text', 'First', '--tokens')).stdout;
    expect(lines).toMatch(/^\d+\t"First"\t0-5\n$/);

    const info = await tokenizer('info', '--tokenizer', out);
    expect(info.stdout).toMatch(/^type +bpe\nvocab size +500\nspecial tokens +.*eos <\|endoftext\|>/);
    const parts = JSON.parse((await tokenizer('info', '--tokenizer', out, '--json')).stdout) as object;
    expect(parts).toMatchObject({ type: 'bpe', vocab_size: 500, added_tokens: 1, normalizer: null });
  });

  it.each([
    ['wordpiece', ['--vocab-size', '300'], 'Bert'],
    ['unigram', ['--vocab-size', '300'], 'Metaspace'],
    ['char', [], 'Split'],
    ['bpe', ['--split', 'spaces', '--special-tokens', '<unk>,<pad>', '--min-frequency', '3'], 'Whitespace'],
  ])('trains %s', async (type, more, preTokenizer) => {
    const file = at('folder', `${type}.json`);
    const trained = await tokenizer(
      ...['train', '--data', at('text.txt'), '--type', type, '--out', file, ...more],
    );
    expect([trained.code, trained.stdout]).toEqual([0, '']);
    const info = await tokenizer('info', '--tokenizer', file);
    expect(info.stdout).toContain(preTokenizer);
    const encoded = await tokenizer('encode', '--tokenizer', file, '--text', 'First Citizen', '--tokens');
    expect(encoded.code).toBe(0);
    expect(encoded.stdout.trimEnd().split('\n').at(-1)).toMatch(/^\d+\t".*"\t\d+-13$/);
  });

  it.each([
    [[], 'tokenizer is followed by train, encode, decode or info'],
    [['trian'], "unknown command 'tokenizer trian' (did you mean 'tokenizer train'?)"],
    [['train', '--type', 'char', '--split', 'gpt2'], '--split is for bpe, not for --type char'],
    [['train', '--type', 'unigram', '--min-frequency', '2'], '--min-frequency is for bpe and wordpiece'],
    [['train', '--vocab-size', '0'], '--vocab-size must be a whole number of at least 1'],
    [['encode', '--text', 'a', '--data', 'b'], '--text and --data exclude each other'],
    [['encode', '--tokens', '--json'], '--tokens and --json exclude each other'],
  ])('%j exits with 2', async (args, message) => {
    const { code, stdout, stderr } = await tokenizer(...args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(message);
  });

  it('says what is wrong with files and ids in one line', async () => {
    for (const [args, code, message] of [
      [['encode', '--tokenizer', at('none'), '--text', 'a'], 1, 'none: cannot be read'],
      [['train', '--data', at('none.txt')], 1, 'there is no such file or folder'],
      [['train', '--data', at('text.txt'), '--type', 'unigram', '--vocab-size', '10'], 1, 'has no room for'],
      [['decode', '--tokenizer', at('bpe'), '--ids', '1 x'], 2, "got 'x'"],
      [
        ['decode', '--tokenizer', at('bpe'), '--ids', '500'],
        1,
        'id 500 at position 0 is outside the vocabulary',
      ],
    ] as const) {
      const outcome = await tokenizer(...args);
      expect([outcome.code, outcome.stdout], args.join(' ')).toEqual([code, '']);
      expect(outcome.stderr).toContain(message);
      expect(outcome.stderr.trimEnd()).not.toContain('\n');
    }
  });

  it.each(['train', 'encode', 'decode', 'info'])('%s --help shows flags and examples', async (name) => {
    const { code, stdout } = await tokenizer(name, '--help');
    expect(code).toBe(0);
    expect(stdout).toContain(`Usage: tsgpt tokenizer ${name} [flags]`);
    expect((await tokenizer('--help')).stdout).toContain(`tokenizer ${name}`);
  });
});
