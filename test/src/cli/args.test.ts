import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import {
  describeFlags,
  integer,
  number,
  parseFlags,
  section,
  text,
  toggle,
  UsageError,
} from '../../../src/cli/args.js';
import { commandHelp, commands, overview, type CommandName } from '../../../src/cli/commands.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-args-'));
afterAll(() => rmSync(folder, { recursive: true }));

const table = section('Things', {
  layers: integer({ default: 2, min: 1, help: 'blocks' }),
  steps: integer({ min: 1, instead: 'epochs', help: 'steps' }),
  epochs: number({ default: 2, above: 0, help: 'passes' }),
  dropout: number({ default: 0, min: 0, below: 1, help: 'dropout' }),
  'top-p': number({ default: 0.9, above: 0, max: 1, help: 'nucleus' }),
  share: number({ default: 0.5, min: 0, max: 1, help: 'part' }),
  data: text({ default: '.', help: 'path', sought: ['input'] }),
  file: text({ filled: true, help: 'path' }),
  kind: text({ default: 'char', choices: ['char', 'byte'], help: 'kind' }),
  json: toggle({ help: 'JSON' }),
  config: text({ help: 'file' }),
});
const values = (...args: string[]) => parseFlags(table, args).values;
const problem = (...args: string[]) => {
  try {
    parseFlags(table, args);
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    return (error as Error).message;
  }
  throw new Error('accepted');
};
const config = (content: unknown) => {
  const path = join(folder, 'config.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
};

describe('parseFlags', () => {
  it('gives defaults, and the type of each flag', () => {
    const { layers, steps, json }: { layers: number; steps: number | undefined; json: boolean } = values();
    expect([layers, steps, json]).toEqual([2, undefined, false]);
    expect(parseFlags(table, []).given.size).toBe(0);
  });

  it('reads --name value, --name=value and switches', () => {
    const parsed = parseFlags(table, ['--layers', '4', '--dropout=1e-1', '--json', '--data', '-']);
    expect(parsed.values).toMatchObject({ layers: 4, dropout: 0.1, json: true, data: '-' });
    expect([...parsed.given]).toEqual(['layers', 'dropout', 'json', 'data']);
    expect(values('--data=a=b').data).toBe('a=b');
    expect(values('--data=').data).toBe('');
    expect(values('--json', '--no-json').json).toBe(false);
    expect(values('--layers', '3', '--layers', '5').layers).toBe(5);
  });

  it.each([
    [['--layer', '2'], "unknown flag --layer (did you mean '--layers'?)"],
    [['--top_p', '0.5'], "unknown flag --top_p (did you mean '--top-p'?)"],
    [['--xylophone'], 'unknown flag --xylophone'],
    [['--drop', '0.1'], "unknown flag --drop (did you mean '--dropout'?)"],
    [['--input', 'a'], "unknown flag --input (did you mean '--data'?)"],
    [['--no-jsom'], "unknown flag --no-jsom (did you mean '--no-json'?)"],
    [['--temp', '3'], 'unknown flag --temp'],
    [['--file='], '--file must not be empty'],
    [['--no-layers'], "unknown flag --no-layers (did you mean '--layers'?)"],
    [['--layers'], '--layers needs a value (N)'],
    [['--layers', '--json'], '--layers needs a value (N)'],
    [['--layers', 'two'], '--layers must be a whole number of at least 1, got "two"'],
    [['--layers', '0'], '--layers must be a whole number of at least 1, got "0"'],
    [['--layers', '1.5'], '--layers must be a whole number of at least 1, got "1.5"'],
    [['--layers', ''], '--layers must be a whole number of at least 1, got ""'],
    [['--dropout', '1'], '--dropout must be a number of at least 0 and below 1, got "1"'],
    [['--dropout', 'NaN'], '--dropout must be a number of at least 0 and below 1, got "NaN"'],
    [['--top-p', '0'], '--top-p must be a number above 0 and at most 1, got "0"'],
    [['--share', '-1'], '--share must be a number from 0 to 1, got "-1"'],
    [['--kind', 'bpe'], '--kind must be one of char, byte, got "bpe"'],
    [['--json=yes'], '--json takes no value'],
    [['--no-json=yes'], '--no-json takes no value'],
    [
      ['a.txt'],
      "unexpected argument 'a.txt'; every value follows its flag, and a glob must be quoted: --data '*.txt'",
    ],
  ])('%j: %s', (args, message) => {
    expect(problem(...args)).toBe(message);
  });
});

describe('--config', () => {
  it('gives way to a flag that says the same in another way', () => {
    const path = config({ epochs: 3 });
    expect([...parseFlags(table, ['--steps', '5', '--config', path]).given].sort()).toEqual([
      'config',
      'steps',
    ]);
    const other = config({ steps: 3 });
    expect([...parseFlags(table, ['--epochs', '5', '--config', other]).given].sort()).toEqual([
      'config',
      'epochs',
    ]);
  });

  it('gives values that the command line overrides', () => {
    const path = config({ layers: 6, json: true, data: 'x.txt', dropout: 0.2 });
    const parsed = parseFlags(table, ['--layers', '3', '--config', path, '--no-json']);
    expect(parsed.values).toMatchObject({ layers: 3, json: false, data: 'x.txt', dropout: 0.2 });
    expect([...parsed.given].sort()).toEqual(['config', 'data', 'dropout', 'json', 'layers']);
  });

  it.each([
    [{ layer: 1 }, "unknown name layer (did you mean 'layers'?)"],
    [{ layers: 'many' }, 'layers must be a whole number of at least 1, got "many"'],
    [{ layers: true }, 'layers must be a whole number of at least 1, got true'],
    [{ json: 'yes' }, 'json must be true or false, got "yes"'],
    [{ data: 3 }, 'data must be a string, got 3'],
    [[1], 'must be a JSON object of flag names and values'],
  ])('%j: %s', (content, message) => {
    const path = config(content);
    expect(problem('--config', path)).toBe(`--config ${path}: ${message}`);
  });

  it('names the file that is missing or no JSON', () => {
    expect(problem('--config', join(folder, 'none.json'))).toContain('none.json: no such file');
    expect(problem('--config', config('{"layers": '))).toMatch(/config\.json: .*JSON/);
    expect(problem('--config', config('{\n  "layers": two\n}'))).toMatch(/^.*config\.json: .*JSON$/);
  });
});

describe('the flags of the commands', () => {
  const suggestion = (name: CommandName, flag: string): string | undefined => {
    try {
      parseFlags(commands[name].flags, [flag, '1']);
    } catch (error) {
      return /did you mean '(.*)'/.exec((error as Error).message)?.[1];
    }
    throw new Error('accepted');
  };

  it.each([
    ['generate', '--temp', '--temperature'],
    ['generate', '--tokens', '--max-tokens'],
    ['generate', '--max_new_tokens', '--max-tokens'],
    ['train', '--temp', undefined],
    ['train', '--wd', '--weight-decay'],
    ['train', '--batch-size', '--batch'],
    ['train', '--learning-rate', '--lr'],
    ['train', '--eval', '--eval-interval'],
    ['train', '--no-resum', '--no-resume'],
    ['train', '--block-size', '--seq'],
  ] as const)('%s %s: %s', (name, flag, expected) => expect(suggestion(name, flag)).toBe(expected));

  it('refuse empty paths, and more threads than the kernels run on', () => {
    for (const [name, flag] of [
      ['train', 'data'],
      ['train', 'model'],
      ['train', 'tokenizer'],
      ['train', 'config'],
      ['generate', 'model'],
      ['generate', 'tokenizer'],
      ['generate', 'stop'],
    ] as const) {
      expect(() => parseFlags(commands[name].flags, [`--${flag}=`]), flag).toThrow(
        `--${flag} must not be empty`,
      );
    }
    expect(() => parseFlags(commands.train.flags, ['--threads', '257'])).toThrow('from 1 to 256');
  });

  it('have no name of another flag among the names by which they are sought', () => {
    for (const { flags } of Object.values(commands)) {
      const sought = Object.values(flags).flatMap((flag) => flag.sought);
      expect(sought.filter((name) => Object.hasOwn(flags, name))).toEqual([]);
      expect(new Set(sought).size).toBe(sought.length);
    }
  });
});

describe('help', () => {
  it('shows every flag with its default under its heading', () => {
    const lines = describeFlags(table);
    expect(lines).toContain('Things:');
    for (const name of Object.keys(table)) expect(lines).toContain(`--${name}`);
    expect(lines).toContain('blocks (default 2)');
  });

  it.each(Object.keys(commands) as CommandName[])('%s fits on a terminal and its examples parse', (name) => {
    const shown = commandHelp(name);
    expect(shown).toContain(commands[name].summary);
    for (const line of shown.split('\n')) expect(line.length, line).toBeLessThanOrEqual(120);
    for (const example of commands[name].examples) {
      const words = example
        .match(/"[^"]*"|'[^']*'|\S+/g)!
        .map((word) => word.replace(/^(["'])(.*)\1$/, '$2'));
      const args = words.slice(words.lastIndexOf(name.split(' ').at(-1)!) + 1);
      expect(() => parseFlags(commands[name].flags, args), example).not.toThrow();
    }
    expect(overview('1.2.3')).toContain(name);
  });
});
