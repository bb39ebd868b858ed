import { execFileSync } from 'node:child_process';
import {
  createWriteStream,
  existsSync,
  mkdtempSync,
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { TokenFile } from '../../../src/data/index.js';
import { AutoTokenizer, trainBpe } from '../../../src/tokenizers/index.js';
import { compiled, root, tsgpt, type Outcome } from '../../support/cli.js';

const corpus = readFileSync(join(root, 'examples/data/tinyshakespeare.txt'), 'utf8').slice(0, 60_000);
const speeches = corpus.split('\n\n');
let folder: string;
const at = (name: string): string => join(folder, name);
const jsonl = (texts: readonly string[]): string => texts.map((text) => JSON.stringify({ text })).join('\n');

beforeAll(async () => {
  await compiled();
  folder = mkdtempSync(join(tmpdir(), 'tsgpt-cli-tokens-'));
  (await trainBpe([corpus], { vocabSize: 400, specialTokens: ['<|endoftext|>'] })).save(at('bpe.json'));
  (await trainBpe([corpus], { vocabSize: 300, specialTokens: ['<|endoftext|>'] })).save(at('other.json'));
  writeFileSync(at('a.jsonl.gz'), gzipSync(jsonl(speeches.slice(0, 100))));
  writeFileSync(at('b.jsonl'), jsonl(speeches.slice(100)));
  for (const [data, out] of [
    ['a.jsonl.gz', 'a.bin'],
    ['b.jsonl', 'b.bin'],
  ] as const) {
    const made = await tsgpt([
      'tokenize',
      '--data',
      at(data),
      '--tokenizer',
      at('bpe.json'),
      '--out',
      at(out),
    ]);
    expect(made).toMatchObject({ code: 0, stdout: '' });
  }
}, 180_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const toy = '--layers 1 --embed 16 --heads 2 --seq 16 --batch 4 --seed 1 --gen-samples 0 --lr 1e-2'.split(
  ' ',
);
const train = (model: string, ...args: string[]): Promise<Outcome> =>
  tsgpt(['train', ...toy, '--model', at(model), ...args]);
const weights = (model: string): Buffer => readFileSync(join(at(model), 'model.safetensors'));
/** The one line of an error. */
function problem({ code, stderr, stdout }: Outcome): [number | string, string] {
  expect(stdout).toBe('');
  expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  return [code, stderr.trimEnd()];
}

describe('tsgpt tokenize', () => {
  it('writes the tokens of documents and says what it did', async () => {
    const { code, stdout, stderr } = await tsgpt(
      [
        'tokenize',
        '--data',
        '-',
        '--format',
        'jsonl',
        '--tokenizer',
        at('bpe.json'),
        '--out',
        at('c.bin'),
        '--json',
      ],
      { input: jsonl(speeches.slice(0, 7)) },
    );
    expect(code).toBe(0);
    expect(stderr).toMatch(/^7\S* documents of 1 file, .* tokens in 0 s; saved in \S+c\.bin\n$/);
    using file = new TokenFile(at('c.bin'));
    expect(JSON.parse(stdout)).toMatchObject({
      documents: 7,
      tokens: file.length,
      vocab_size: 400,
      path: at('c.bin'),
    });
    const ids = new Int32Array(file.length);
    file.read(0, ids);
    const text = AutoTokenizer.fromPretrained(at('bpe.json')).decode(ids);
    expect(text).toBe(
      speeches
        .slice(0, 7)
        .map((speech) => `${speech}<|endoftext|>`)
        .join(''),
    );
  });

  it('leaves nothing behind after Ctrl-C, while it reads too', async () => {
    const out = at('never.bin');
    const outcome = await tsgpt(['tokenize', '--data', '-', '--tokenizer', at('bpe.json'), '--out', out], {
      input: corpus,
      inputStaysOpen: true,
      started: (child) => {
        const timer = setInterval(() => {
          if (!readdirSync(folder).some((name) => name.startsWith('.never.bin.'))) return;
          clearInterval(timer);
          setTimeout(() => child.kill('SIGINT'), 200);
        }, 20);
      },
    });
    expect([outcome.code, outcome.stderr.trim()]).toEqual([130, 'stopped; nothing was written']);
    expect(readdirSync(folder).filter((name) => name.includes('never.bin'))).toEqual([]);
  });

  it('reads a named pipe, waits for its writer, and ends at once when that never comes', async () => {
    const [pipe, args] = [
      at('pipe'),
      ['tokenize', '--data', at('pipe'), '--tokenizer', at('bpe.json'), '--out'],
    ];
    execFileSync('mkfifo', [pipe]);
    const write = (): void => void createWriteStream(pipe).end(gzipSync(corpus));
    const read = await tsgpt([...args, at('piped.bin')], { started: () => void setTimeout(write, 300) });
    expect(read.code, read.stderr).toBe(0);
    await tsgpt([...args.with(2, '-'), at('straight.bin')], { input: corpus });
    expect(readFileSync(at('piped.bin'))).toEqual(readFileSync(at('straight.bin')));

    const waiting = await tsgpt([...args, at('never.bin')], {
      started: (child) => {
        const timer = setInterval(() => {
          if (!readdirSync(folder).some((name) => name.startsWith('.never.bin.'))) return;
          clearInterval(timer);
          child.kill('SIGINT');
        }, 20);
      },
    });
    expect([waiting.code, waiting.stderr.trim()]).toEqual([130, 'stopped; nothing was written']);
  });

  it('says in one line what is wrong', async () => {
    writeFileSync(at('bad.jsonl'), '{"text":"a"}\n{"body":"b"}\n');
    const run = (...args: string[]): Promise<Outcome> =>
      tsgpt(['tokenize', '--tokenizer', at('bpe.json'), '--out', at('x.bin'), ...args]);
    expect(problem(await run('--data', at('bad.jsonl')))).toEqual([
      1,
      `tsgpt: ${at('bad.jsonl')}: line 2 has no text under "text", it has body; say where the text is (--text-field)`,
    ]);
    expect(problem(await run('--data', at('none')))[1]).toMatch(
      /none: cannot be read: there is no such file or folder/,
    );
    expect(problem(await run('--format', 'csv'))[1]).toMatch(
      /--format must be one of auto, text, jsonl, tsv, got "csv"/,
    );
    expect(existsSync(at('x.bin'))).toBe(false);
  });
});

describe('tsgpt train on token files', () => {
  it('brings the tokenizer along, learns, and resumes with the same bits after a kill', async () => {
    const data = `${at('a.bin')}:0.7,${at('b.bin')}:0.3`;
    const args = [
      '--data',
      data,
      '--steps',
      '60',
      '--eval-interval',
      '20',
      '--save-interval',
      '3',
      '--documents',
    ];
    const [whole, killed] = await Promise.all([
      train('whole', ...args, '--json'),
      tsgpt(['train', ...toy, '--model', at('killed'), ...args], {
        started: (child) =>
          child.stderr!.on('data', (text: string) => /^step [2-5]\d\//m.test(text) && child.kill('SIGKILL')),
      }),
    ]);
    expect([whole.code, killed.code]).toEqual([0, 'SIGKILL']);
    expect(whole.stderr).toMatch(
      /^tokens: \S+a\.bin \(0\.7\), \S+b\.bin \(0\.3\), vocabulary 400; \S+ tokens to train on, \S+ to validate\n/,
    );
    const { val_loss: loss } = JSON.parse(whole.stdout) as { val_loss: number };
    expect(loss).toBeLessThan(Math.log(400) - 0.3);
    const resumed = await tsgpt(['train', '--model', at('killed'), '--resume'], { cwd: folder });
    expect(resumed.code).toBe(0);
    expect(resumed.stderr).not.toContain('not go on exactly');
    expect(weights('killed').equals(weights('whole'))).toBe(true);
    expect(AutoTokenizer.fromPretrained(at('whole')).vocabSize).toBe(400);
  });

  it('validates on another file, on so many tokens, or not at all', async () => {
    const counts = async (...args: string[]): Promise<string> => {
      const { code, stderr } = await train(
        `v${args.join('')}`.replaceAll(/\W/g, ''),
        '--data',
        at('a.bin'),
        '--steps',
        '2',
        ...args,
      );
      expect(code).toBe(0);
      return /(\S+) to validate/.exec(stderr)![1];
    };
    const length = new TokenFile(at('b.bin')).length;
    expect(Number(await counts('--val-data', at('b.bin'), '--val-tokens', '101'))).toBe(100);
    expect(await counts('--val-data', at('b.bin'))).toBe(`${(length / 1000 - 0.0005).toPrecision(3)}k`);
    expect(await counts('--val-split', '0')).toBe('0');
  });

  it('reads the uint16 files of others with a tokenizer that is given, and notices the wrong one', async () => {
    const ids = AutoTokenizer.fromPretrained(at('bpe.json')).encode(corpus);
    writeFileSync(at('raw.bin'), Buffer.from(Uint16Array.from(ids).buffer));
    const right = await train('raw', '--data', at('raw.bin'), '--tokenizer', at('bpe.json'), '--steps', '3');
    expect(right.code).toBe(0);
    const none = await train('raw2', '--data', at('raw.bin'), '--steps', '3');
    expect(problem(none)[1]).toMatch(
      /raw\.bin does not bring its tokenizer along; say which it was made with \(--tokenizer\)/,
    );
    const small = await train(
      'raw3',
      '--data',
      at('raw.bin'),
      '--tokenizer',
      at('other.json'),
      '--steps',
      '30',
    );
    expect(small.stderr).toMatch(
      /raw\.bin: token \d+ is id 3\d\d, outside the vocabulary of 300; was the file made with another tokenizer\?/,
    );
    const wrong = await train('wrong', '--data', at('a.bin'), '--tokenizer', at('other.json'));
    expect(problem(wrong)).toEqual([
      1,
      `tsgpt: ${at('a.bin')}: was made with another tokenizer than that of ${at('other.json')}; tokenize the texts with that one, or use the file's own`,
    ]);
  });

  it('says in one line what is wrong', async () => {
    const short = await train('short', '--data', at('a.bin'), '--seq', '100000');
    expect(problem(short)[1]).toMatch(/a\.bin has \d+ tokens to train on, too few for a sequence of 100000/);
    const mixed = await train('mixed', '--data', `${at('a.bin')},${at('b.jsonl')}`);
    expect(problem(mixed)).toEqual([
      2,
      expect.stringMatching(/b\.jsonl is no token file, the others are; make one of it with tsgpt tokenize/),
    ]);
    const text = await train('text', '--data', at('b.jsonl'), '--documents');
    expect(problem(text)[1]).toMatch(/--documents is for token files; make one with tsgpt tokenize/);
    writeFileSync(at('cut.bin'), readFileSync(at('a.bin')).subarray(0, 3000));
    const cut = await train('cut', '--data', at('cut.bin'));
    expect(problem(cut)[1]).toMatch(
      /cut\.bin: is damaged: it should have \d+ bytes at least and has 3000; tokenize again/,
    );
  });

  it('takes under 200 MB more for 2 GB of tokens than for little', { timeout: 120_000 }, async (context) => {
    if (process.platform !== 'linux') return context.skip('sparse files and the peak of memory are Linux');
    const peak = async (tokens: number): Promise<number> => {
      const handle = openSync(at('large.bin'), 'w');
      writeSync(handle, Buffer.alloc(2), 0, 2, 2 * (tokens - 1));
      closeSync(handle);
      truncateSync(at('large.bin'), 2 * tokens);
      rmSync(at('large'), { recursive: true, force: true });
      const { code, stdout } = await train(
        'large',
        ...[
          '--data',
          at('large.bin'),
          '--tokenizer',
          at('bpe.json'),
          '--steps',
          '400',
          '--batch',
          '32',
          '--seq',
          '64',
        ],
        ...['--eval-interval', '200', '--val-tokens', '20000', '--json'],
      );
      expect(code).toBe(0);
      return (JSON.parse(stdout) as { peak_rss_bytes: number }).peak_rss_bytes;
    };
    const [small, large] = [await peak(2 ** 20), await peak(2 ** 30 + 2 ** 20)];
    expect((large - small) / 1e6).toBeLessThan(200);
  });
});
