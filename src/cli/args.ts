/**
 * Command line flags, declared as tables: `{ layers: integer({ default: 2, min: 1, help: 'blocks' }), ... }`. The table
 * gives the parser its rules, `--help` its text and TypeScript the type of the values. A flag that is not in the table
 * is an error with the nearest known name; a bad value is one line that says the rule and what was given.
 */

import { readFileSync } from 'node:fs';

import { didYouMean, oneLine } from '../../lib/errors.js';

/** A command line that cannot be run: exit code 2. */
export class UsageError extends Error {}

/** One flag of a command. */
export interface Flag<T> {
  /** What `--help` shows after the name; empty for a switch, which takes no value. */
  readonly hint: string;
  readonly help: string;
  readonly fallback: T;
  /** The heading of `--help` under which the flag stands. */
  readonly section: string;
  /** A flag that says the same in another way: only one of the two can be given. */
  readonly instead?: string;
  /** Its value when it is given without one; a value follows it otherwise. */
  readonly bare?: Exclude<T, undefined>;
  /** Whether it is no flag but the words that are not flags, by the name that `--help` calls one. */
  readonly operand?: boolean;
  /** Names by which people look for it; they get the right one as a suggestion. */
  readonly sought: readonly string[];
  /** Checks a value from the command line (a string) or from a configuration file; throws {@link UsageError}. */
  read(name: string, value: unknown): Exclude<T, undefined>;
}

/** What flags hold. */
export type FlagValue = string | number | boolean | readonly string[] | undefined;

export type FlagTable = Readonly<Record<string, Flag<FlagValue>>>;

/** The values of a table's flags. */
export type FlagValues<Table extends FlagTable> = {
  -readonly [Name in keyof Table]: Table[Name] extends Flag<infer T> ? T : never;
};

interface Common<D> {
  readonly help: string;
  readonly hint?: string;
  readonly default?: D;
  readonly instead?: string;
  readonly sought?: readonly string[];
}

/** Words that are not flags: files, folders. */
export function operands(options: { readonly help: string }): Flag<readonly string[]> {
  return {
    ...common<readonly string[]>({ ...options, default: [] }, 'PATH'),
    operand: true,
    read(name, value) {
      const words: unknown[] = Array.isArray(value) ? value : [value];
      if (!words.every((word) => typeof word === 'string' && word !== '')) throw mustBe(name, 'paths', value);
      return words as string[];
    },
  };
}

interface Range {
  readonly min?: number;
  readonly max?: number;
  /** The value must be greater than this. */
  readonly above?: number;
  /** The value must be less than this. */
  readonly below?: number;
}

/** A whole number. */
export function integer<D extends number | undefined = undefined>(
  options: Common<D> & Range & { readonly bare?: number },
): Flag<number | D> {
  const flag = numeric('a whole number', Number.isSafeInteger, options);
  return options.bare === undefined ? flag : { ...flag, bare: options.bare };
}

/** A finite number. */
export function number<D extends number | undefined = undefined>(
  options: Common<D> & Range,
): Flag<number | D> {
  return numeric('a number', Number.isFinite, options);
}

function numeric<D extends number | undefined>(
  kind: string,
  valid: (value: number) => boolean,
  options: Common<D> & Range,
): Flag<number | D> {
  const { min = -Infinity, max = Infinity, above = -Infinity, below = Infinity } = options;
  const rule = [kind, rangeText(options)].filter(Boolean).join(' ');
  return {
    ...common(options, 'N'),
    read(name, value) {
      const parsed = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
      const fits =
        typeof parsed === 'number' &&
        valid(parsed) &&
        parsed >= min &&
        parsed <= max &&
        parsed > above &&
        parsed < below;
      if (!fits) throw mustBe(name, rule, value);
      return parsed;
    },
  };
}

/** A string; with `choices`, one of them; with `filled`, not an empty one. */
export function text<D extends string | undefined = undefined>(
  options: Common<D> & { readonly choices?: readonly string[]; readonly filled?: boolean },
): Flag<string | D> {
  const { choices, filled = false } = options;
  return {
    ...common(options, choices?.join('|') ?? 'TEXT'),
    read(name, value) {
      if (typeof value !== 'string') throw mustBe(name, 'a string', value);
      if (filled && value === '') throw new UsageError(`${name} must not be empty`);
      if (choices !== undefined && !choices.includes(value)) {
        throw mustBe(name, choices.length === 1 ? choices[0] : `one of ${choices.join(', ')}`, value);
      }
      return value;
    },
  };
}

/** A switch: off unless it is given. `--no-NAME` switches off what a configuration file switched on. */
export function toggle(options: { readonly help: string; readonly sought?: string[] }): Flag<boolean> {
  return {
    ...common({ ...options, default: false }, ''),
    read(name, value) {
      if (typeof value !== 'boolean') throw mustBe(name, 'true or false', value);
      return value;
    },
  };
}

function common<D>(options: Common<D>, hint: string) {
  const { help, instead, sought = [] } = options;
  return { hint: options.hint ?? hint, help, fallback: options.default as D, section: '', instead, sought };
}

/** Puts flags under a heading of `--help`. */
export function section<Table extends FlagTable>(title: string, table: Table): Table {
  return Object.fromEntries(
    Object.entries(table).map(([name, flag]) => [name, { ...flag, section: title }]),
  ) as Table;
}

/** What a command line said. */
export interface ParsedFlags<Table extends FlagTable> {
  readonly values: FlagValues<Table>;
  /** The flags that were given, on the command line or in the configuration file; the others have their defaults. */
  readonly given: ReadonlySet<string>;
}

/**
 * Reads a command's arguments. A `--config FILE` in them is read first, so that the command line wins.
 * @throws {@link UsageError} naming the flag and the rule.
 */
export function parseFlags<Table extends FlagTable>(
  table: Table,
  args: readonly string[],
): ParsedFlags<Table> {
  const spoken = readArguments(table, args);
  const config = spoken.get('config');
  const fromFile = typeof config === 'string' ? readConfig(table, config) : new Map<string, unknown>();
  for (const [name, { instead }] of Object.entries(table)) {
    if (instead === undefined) continue;
    if (spoken.has(name)) fromFile.delete(instead);
    if (spoken.has(instead)) fromFile.delete(name);
  }
  return resolveFlags(table, new Map([...fromFile, ...spoken]));
}

/** Fills up given values with the defaults. */
export function resolveFlags<Table extends FlagTable>(
  table: Table,
  given: ReadonlyMap<string, unknown>,
): ParsedFlags<Table> {
  const values = Object.fromEntries(
    Object.entries(table).map(([name, flag]) => [name, given.has(name) ? given.get(name) : flag.fallback]),
  ) as FlagValues<Table>;
  return { values, given: new Set(given.keys()) };
}

function readArguments(table: FlagTable, args: readonly string[]): Map<string, unknown> {
  const values = new Map<string, unknown>();
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    const operand = Object.keys(table).find((key) => table[key].operand);
    if (operand !== undefined && !arg.startsWith('--')) {
      const earlier = (values.get(operand) ?? []) as readonly string[];
      values.set(operand, table[operand].read(operand, [...earlier, arg]));
      continue;
    }
    if (!arg.startsWith('--') || arg === '--') {
      throw new UsageError(
        `unexpected argument '${arg}'; every value follows its flag, and a glob must be quoted: --data '*.txt'`,
      );
    }
    const [, name, inline] = /^--([^=]*)(?:=(.*))?$/s.exec(arg)!;
    if (name.startsWith('no-') && !Object.hasOwn(table, name) && isSwitch(table, name.slice(3))) {
      if (inline !== undefined) throw new UsageError(`--${name} takes no value`);
      values.set(name.slice(3), false);
      continue;
    }
    const flag = findFlag(table, name, 'unknown flag --');
    if (flag.hint === '') {
      if (inline !== undefined) throw new UsageError(`--${name} takes no value`);
      values.set(name, true);
      continue;
    }
    const next = args[i + 1];
    if (flag.bare !== undefined && inline === undefined && (next === undefined || next.startsWith('--'))) {
      values.set(name, flag.bare);
      continue;
    }
    const value = inline ?? args[++i];
    const isFlag =
      inline === undefined && value?.startsWith('--') && Object.hasOwn(table, value.slice(2).split('=')[0]);
    if (value === undefined || isFlag) throw new UsageError(`--${name} needs a value (${flag.hint})`);
    values.set(name, flag.read(`--${name}`, value));
  }
  return values;
}

/** Reads a JSON object of flag names and values, checked against the table. */
export function readConfig(table: FlagTable, path: string): Map<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new UsageError(`--config ${path}: ${code === 'ENOENT' ? 'no such file' : oneLine(message)}`);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new UsageError(`--config ${path}: must be a JSON object of flag names and values`);
  }
  return checkValues(table, parsed, `--config ${path}: `);
}

/** Checks an object of flag names and values; `source` stands before each complaint. */
export function checkValues(table: FlagTable, object: object, source: string): Map<string, unknown> {
  const values = new Map<string, unknown>();
  for (const [name, value] of Object.entries(object)) {
    const flag = findFlag(table, name, `${source}unknown name `);
    values.set(name, flag.read(`${source}${name}`, value));
  }
  return values;
}

function findFlag(table: FlagTable, name: string, complaint: string): Flag<FlagValue> {
  if (Object.hasOwn(table, name)) return table[name];
  const dashes = complaint.endsWith('--') ? '--' : '';
  const wanted = name.replaceAll('_', '-');
  const sought = Object.keys(table).find((flag) => table[flag].sought.includes(wanted.toLowerCase()));
  const switches = dashes === '' ? [] : Object.keys(table).filter((flag) => table[flag].hint === '');
  const known = [...Object.keys(table), ...switches.map((flag) => `no-${flag}`)].map((flag) => dashes + flag);
  const hint =
    sought === undefined ? didYouMean(dashes + wanted, known) : didYouMean(sought, [dashes + sought]);
  throw new UsageError(`${complaint}${name}${hint}`);
}

const isSwitch = (table: FlagTable, name: string): boolean =>
  Object.hasOwn(table, name) && table[name].hint === '';

function mustBe(name: string, rule: string, value: unknown): UsageError {
  return new UsageError(`${name} must be ${rule}, got ${JSON.stringify(value)}`);
}

function rangeText({ min, max, above, below }: Range): string {
  if (min !== undefined && max !== undefined) return `from ${min} to ${max}`;
  const low = min !== undefined ? `of at least ${min}` : above !== undefined ? `above ${above}` : '';
  const high = max !== undefined ? `at most ${max}` : below !== undefined ? `below ${below}` : '';
  return [low, high].filter(Boolean).join(' and ');
}

/** The lines of `--help` about a table's flags, under their headings. */
export function describeFlags(table: FlagTable): string {
  const lines: string[] = [];
  let heading = '';
  for (const [name, flag] of Object.entries(table)) {
    if (flag.section !== heading) lines.push('', `${flag.section}:`);
    heading = flag.section;
    const hint = flag.bare === undefined ? flag.hint : `[${flag.hint}]`;
    const left = flag.operand ? `  ${name}` : `  --${name} ${hint}`;
    const shown =
      flag.fallback === undefined || flag.hint === '' || flag.operand
        ? ''
        : ` (default ${String(flag.fallback)})`;
    lines.push(`${left.padEnd(28)} ${flag.help}${shown}`);
  }
  return lines.join('\n');
}
