import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { CharTokenizer } from '../../../src/tokenizers/index.js';
import { compiled, root, tsgpt } from '../../support/cli.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-generate-'));
const model = join(folder, 'model');

beforeAll(async () => {
  await compiled();
  const data = join(folder, 'text.txt');
  writeFileSync(data, 'the quick brown fox jumps over the lazy dog\n'.repeat(60));
  const toy = [
    '--layers',
    '1',
    '--heads',
    '2',
    '--embed',
    '16',
    '--seq',
    '16',
    '--batch',
    '4',
    '--steps',
    '20',
  ];
  const { code, stderr } = await tsgpt([
    'train',
    '--data',
    data,
    '--model',
    model,
    ...toy,
    '--gen-samples',
    '0',
  ]);
  if (code !== 0) throw new Error(stderr);
  const alphabet = Array.from({ length: 100 }, (_, i) => String.fromCodePoint(0x370 + i));
  mkdirSync(join(folder, 'greek'));
  new CharTokenizer(alphabet).save(join(folder, 'greek'));
  mkdirSync(join(folder, 'small'));
  CharTokenizer.fromText('the ').save(join(folder, 'small'));
}, 180_000);
afterAll(() => rmSync(folder, { recursive: true }));

/** The text of a JSON report. */
const text = (output: string): { text: string } => ({ text: (JSON.parse(output) as { text: string }).text });

const generate = (...args: string[]) => tsgpt(['generate', '--model', model, ...args]);

describe('tsgpt generate', () => {
  it('continues the prompt on standard output, the same way with the same seed', async () => {
    const args = ['--prompt', 'the ', '--max-tokens', '40', '--seed', '3'];
    const [first, second, other] = await Promise.all([
      generate(...args),
      generate(...args),
      generate('--prompt', 'the ', '--max-tokens', '40', '--seed', '4'),
    ]);
    expect(first.code).toBe(0);
    expect(first.stdout).toMatch(/^the /);
    expect(first.stdout).toHaveLength('the '.length + 40 + 1);
    expect(first.stderr).toMatch(/^40 tokens, \S+ tok\/s\n$/);
    expect(second.stdout).toBe(first.stdout);
    expect(other.stdout).not.toBe(first.stdout);
  });

  it('reports in JSON', async () => {
    const { code, stdout, stderr } = await generate('--prompt', 'the ', '--max-tokens', '10', '--json');
    expect([code, stderr]).toEqual([0, '']);
    const result = JSON.parse(stdout) as Record<string, unknown>;
    expect(Object.keys(result).sort()).toEqual([
      'prefill_tokens_per_second',
      'text',
      'tokens',
      'tokens_per_second',
    ]);
    expect(result.tokens).toBe(10);
    expect(result.text).toHaveLength(10);
    expect(result.tokens_per_second).toBeGreaterThan(0);
  });

  it('is greedy at temperature 0, stops at --stop, and goes on beyond the context', async () => {
    const greedy = await generate('--temperature', '0', '--prompt', 'the ', '--max-tokens', '60', '--json');
    const again = await generate('--temperature', '0', '--prompt', 'the ', '--max-tokens', '60', '--json');
    const { text, tokens } = JSON.parse(greedy.stdout) as { text: string; tokens: number };
    expect((JSON.parse(again.stdout) as { text: string }).text).toBe(text);
    expect(tokens).toBe(60); // the context is 16
    const stop = text.slice(4, 6);
    const stopped = await generate('--temperature', '0', '--prompt', 'the ', '--stop', stop, '--json');
    expect((JSON.parse(stopped.stdout) as { text: string }).text).toBe(text.slice(0, text.indexOf(stop)));
  });

  it('needs no prompt, and reads one from standard input', async () => {
    expect((await generate('--max-tokens', '3')).stdout).toHaveLength(1 + 3 + 1);
    const { stdout } = await tsgpt(['generate', '--model', model, '--prompt', '-', '--max-tokens', '3'], {
      input: 'the fox',
    });
    expect(stdout).toMatch(/^the fox/);
    const other = (input: string | Uint8Array) =>
      tsgpt(['generate', '--model', model, '--prompt', '-', '--max-tokens', '3'], { input });
    const [marked, latin] = await Promise.all([other('\ufeffthe fox'), other(Uint8Array.of(0x66, 0xe9))]);
    expect(marked.stdout).toMatch(/^the fox/);
    expect([latin.code, latin.stderr]).toEqual([
      1,
      expect.stringMatching(/^.*input: is not UTF-8 text: byte 1 .*\n$/),
    ]);
  });

  it('says when the model saw only the end of the prompt, or has ids without a text', async () => {
    const [long, small] = await Promise.all([
      generate('--prompt', 'the fox the fox the', '--max-tokens', '3'),
      generate('--tokenizer', join(folder, 'small'), '--prompt', 'the', '--max-tokens', '50'),
    ]);
    expect(long.stderr).toMatch(
      /^note: the prompt has 19 tokens, more than the model's context; it saw the last 8\n3 tokens, .*\n$/,
    );
    expect(small.stderr).toMatch(/^note: the tokenizer has 4 tokens, the model \d+; .*\n50 tokens, .*\n$/);
    expect([small.code, small.stdout]).toEqual([0, expect.stringMatching(/^the[ eht]{50}\n$/)]);
  });

  it('continues the prompts of a file side by side, each as alone', async () => {
    const file = join(folder, 'prompts.txt');
    writeFileSync(file, 'the fox\nover\r\n\nlazy dog\n');
    const args = ['--prompts', file, '--max-tokens', '7', '--batch', '2', '--seed', '4'];
    const [plain, lines, piped, alone] = await Promise.all([
      generate(...args),
      generate(...args, '--json'),
      tsgpt(['generate', '--model', model, ...args.slice(2), '--prompts', '-'], { input: 'over\n' }),
      generate('--prompt', 'lazy dog', '--max-tokens', '7', '--seed', '6', '--json'),
    ]);
    const found = lines.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { prompt: string; text: string });
    expect(found.map(({ prompt }) => prompt)).toEqual(['the fox', 'over', 'lazy dog']);
    expect(found[2]).toMatchObject({ tokens: 7, finish_reason: 'length', ...text(alone.stdout) });
    expect(plain.stdout).toBe(found.map(({ prompt, text }) => `${prompt}${text}\n---\n`).join(''));
    expect(plain.stderr).toMatch(/^18 tokens, \S+ tok\/s\n$/);
    expect(piped.stdout).toMatch(/^over.{7}\n---\n$/s);
  });

  it('gives several texts, by draws or by beams', async () => {
    const args = ['--prompt', 'the ', '--max-tokens', '6', '--sequences', '3', '--json'];
    const [draws, beams, one] = await Promise.all([
      generate(...args, '--seed', '1'),
      generate(...args, '--beams', '4', '--length-penalty', '0.5', '--early-stopping'),
      generate('--prompt', 'the ', '--max-tokens', '6', '--beams', '4', '--json'),
    ]);
    const parse = (output: string) =>
      output
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as { text: string; score?: number });
    expect(parse(draws.stdout)).toHaveLength(3);
    const scores = parse(beams.stdout).map(({ score }) => score!);
    expect(scores).toEqual([...scores].sort((a, b) => b - a));
    expect(parse(beams.stdout)[0].text).toBe(parse(one.stdout)[0].text);
    expect(new Set(parse(beams.stdout).map(({ text }) => text)).size).toBe(3);
  });

  it('passes every way of drawing on', async () => {
    const greedy = await generate('--prompt', 'the ', '--max-tokens', '12', '--temperature', '0', '--json');
    for (const args of [
      ['--top-k', '1'],
      ['--top-p', '0.0001', '--top-k', '0'],
      ['--min-p', '1'],
      ['--temperature', '1', '--top-k', '0', '--top-p', '1', '--typical-p', '1', '--min-p', '1'],
      [
        '--temperature',
        '0',
        '--repetition-penalty',
        '1',
        '--no-repeat-ngram',
        '0',
        '--frequency-penalty',
        '0',
      ],
    ]) {
      const { stdout } = await generate('--prompt', 'the ', '--max-tokens', '12', '--json', ...args);
      expect(text(stdout), args.join(' ')).toEqual(text(greedy.stdout));
    }
    const apart = [
      '--temperature',
      '0',
      '--no-repeat-ngram',
      '1',
      '--presence-penalty',
      '0.1',
      '--min-tokens',
      '12',
    ];
    const { stdout } = await generate('--prompt', 'the ', '--max-tokens', '12', '--json', ...apart);
    expect(new Set((JSON.parse(stdout) as { text: string }).text).size).toBe(12);
  });

  it.runIf(existsSync('/dev/full'))('complains once when the text cannot be written', () => {
    const main = join(root, 'dist', 'src', 'cli', 'main.js');
    const command = `"${process.execPath}" "${main}" generate --model "${model}" --max-tokens 5 >/dev/full`;
    const { status, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([
      1,
      'tsgpt: standard output: cannot be written: no space is left on the device\n',
    ]);
  });

  it('ends quietly when nobody reads on', async () => {
    const main = join(root, 'dist', 'src', 'cli', 'main.js');
    const command = `"${process.execPath}" "${main}" generate --model "${model}" --prompt the --max-tokens 20000 | head -c 10`;
    const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (chunk) => (output += String(chunk)));
    child.stderr.on('data', (chunk) => (output += `stderr: ${String(chunk)}`));
    await new Promise((resolve) => child.on('close', resolve));
    expect(output).toMatch(/^the/);
    expect(output).toHaveLength(10);
  });

  it.each([
    [['--model', join(folder, 'none')], 1, 'none'],
    [['--prompt', '€'], 1, "'€' (U+20AC)"],
    [['--tokenizer', join(folder, 'greek')], 1, 'its tokenizer has 100 tokens, the model in'],
    [['--temperature', '-1'], 2, '--temperature must be a number of at least 0, got "-1"'],
    [['--max_tokens', '5'], 2, "unknown flag --max_tokens (did you mean '--max-tokens'?)"],
    [['--interactive', '--json'], 2, '--interactive and --json exclude each other'],
    [['--interactive', '--prompt', 'a'], 2, 'leave out --prompt'],
    [['--interactive', '--sequences', '2'], 2, 'leave out --prompts and --sequences'],
    [['--prompts', 'a.txt', '--prompt', 'a'], 2, '--prompt and --prompts exclude each other'],
    [['--prompts', join(folder, 'none.txt')], 1, 'none.txt: cannot be read: there is no such file'],
    [['--prompts', '/dev/null'], 1, '/dev/null: holds no prompt'],
    [['--beams', '2', '--sequences', '3'], 2, '--sequences 3 must be at most --beams 2'],
    [['--beams', '2', '--top-k', '3'], 2, '--beams takes the likeliest texts; leave out --top-k'],
    [['--early-stopping'], 2, '--length-penalty and --early-stopping need --beams'],
    [['--beams', '0'], 2, '--beams must be a whole number from 1 to 256, got "0"'],
    [['--min-p', '2'], 2, '--min-p must be a number from 0 to 1, got "2"'],
  ])('%j: exit code %i', async (args, expected, part) => {
    const { code, stdout, stderr } = await generate(...args);
    expect([code, stdout]).toEqual([expected, '']);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stderr).toContain(part);
    expect(stderr).not.toContain('internal error');
  });
});

describe('tsgpt generate --interactive', () => {
  it('answers prompts and commands until the input ends', async () => {
    const lines = [
      '/tokens 5',
      'the fox',
      '/temp 0',
      '/topk 3',
      '/topp 0.5',
      '/config',
      '/help',
      '/temp hot',
      '/tmp 1',
      '€',
    ];
    const { code, stdout, stderr } = await tsgpt(['generate', '--model', model, '--interactive'], {
      input: `${lines.join('\n')}\n`,
    });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^max-tokens 5\n/); // no prompts where nobody types
    expect(stdout).not.toContain('> ');
    expect(stdout).toMatch(/the fox.{5}\n/s);
    expect(stdout).toMatch(/temperature +0\n/);
    expect(stdout).toMatch(/top-k +3\n/);
    expect(stdout).toContain('/quit');
    expect(stderr).toContain('/temp must be a number of at least 0, got "hot"');
    expect(stderr).toContain("unknown command /tmp (did you mean '/temp'?)");
    expect(stderr).toContain('U+20AC');
  });

  it('ends at /quit', async () => {
    const { code, stdout } = await tsgpt(['generate', '--model', model, '--interactive'], {
      input: '/quit now\nthe fox\n',
    });
    expect(code).toBe(0);
    expect(stdout).not.toContain('the fox');
  });
});
