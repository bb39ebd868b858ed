/**
 * Examples from tables: TSV files (columns by number, or by the names of a first line) and JSONL files (columns by key).
 * What is wrong with a row is said with its number: a table of thousands has one such row, and its author wants to see it.
 */

import { ArgumentError, FileError } from '../../lib/errors.js';
import { readFiles } from '../../lib/formats/text-files.js';

/** Which columns of a table hold what: a number counts the columns of a TSV file from 1, a name is that of its first line or a key. */
export interface ExampleColumns {
  /** Default 1 of a TSV file, `text` of a JSONL file. */
  readonly text?: number | string;
  /** The second text of pairs; default none, that is each text stands alone. */
  readonly pair?: number | string;
  /** Default 2 of a TSV file, `label` of a JSONL file. */
  readonly label?: number | string;
}

/** A text, or a pair of texts, and what it is. */
export interface LabelledText {
  readonly text: string;
  readonly pair?: string;
  readonly label: string;
  /** Where it stands: `reviews.tsv: row 17`. */
  readonly place: string;
}

/** Columns of texts and what is to be written for them. */
export interface TextPairColumns {
  /** Default 1 of a TSV file, `source` of a JSONL file. */
  readonly source?: number | string;
  /** Default 2 of a TSV file, `target` of a JSONL file. */
  readonly target?: number | string;
}

/** A text and what is to be written for it. */
export interface TextPair {
  readonly source: string;
  readonly target: string;
  readonly place: string;
}

/**
 * Texts with labels.
 *
 * @param sources TSV and JSONL (`.jsonl`, `.ndjson`) files, found as `readTexts` finds them.
 * @throws FileError for files that cannot be read or hold no row, and with the row's number for a missing column and an
 *   empty text or label.
 * @example
 * const examples = await readLabelledTexts('reviews.tsv'); // text TAB label
 */
export async function readLabelledTexts(
  sources: string | readonly string[],
  columns: ExampleColumns = {},
): Promise<LabelledText[]> {
  return readRows(sources, columns, (row) => {
    const text = row.filled(columns.text ?? row.byDefault(1, 'text'), 'text');
    const pair = columns.pair === undefined ? {} : { pair: row.filled(columns.pair, 'second text') };
    const label = row.filled(columns.label ?? row.byDefault(2, 'label'), 'label');
    return { text, ...pair, label, place: row.place };
  });
}

/** Texts with what is to be written for them; as {@link readLabelledTexts}. */
export async function readTextPairs(
  sources: string | readonly string[],
  columns: TextPairColumns = {},
): Promise<TextPair[]> {
  return readRows(sources, columns, (row) => ({
    source: row.filled(columns.source ?? row.byDefault(1, 'source'), 'source'),
    target: row.filled(columns.target ?? row.byDefault(2, 'target'), 'target'),
    place: row.place,
  }));
}

/** The labels that occur, numbers by size, names in alphabetical order. */
export function labelsOf(examples: readonly LabelledText[]): string[] {
  const labels = [...new Set(examples.map(({ label }) => label))];
  return labels.every(isWhole) ? labels.sort((a, b) => +a - +b) : labels.sort();
}

/**
 * The class of each example: its label's place among `labels`. Where none of these is a number, numbers of a table count them
 * from 0.
 *
 * @throws ArgumentError naming the row of a label that is unknown or out of range.
 */
export function classesOf(examples: readonly LabelledText[], labels: readonly string[]): number[] {
  const byNumber = !labels.some(isWhole);
  const named = new Map(labels.map((label, i) => [label, i]));
  const shown = `${labels.slice(0, 8).join(', ')}${labels.length > 8 ? ', ...' : ''}`;
  return examples.map(({ label, place }) => {
    const found = named.get(label);
    if (found !== undefined) return found;
    if (!byNumber || !isWhole(label)) {
      throw new ArgumentError(`${place}: label '${label}' is unknown; known are ${shown}`);
    }
    if (+label < labels.length) return +label;
    throw new ArgumentError(
      `${place}: label ${label} is out of range, there are ${labels.length} classes (${shown})`,
    );
  });
}

const isWhole = (label: string): boolean => /^\d+$/.test(label);

/** One row of a table. */
interface Row {
  readonly place: string;
  byDefault(position: number, key: string): number | string;
  /** The text in a column. @throws FileError when there is no such column, or nothing in it. */
  filled(column: number | string, what: string): string;
}

async function readRows<T>(
  sources: string | readonly string[],
  columns: object,
  read: (row: Row) => T,
): Promise<T[]> {
  const isNamed = Object.values(columns).some((column) => typeof column === 'string');
  const found: T[] = [];
  const files = await readFiles(sources);
  for (const { file, text } of files) {
    const name = file === '-' ? 'standard input' : file;
    const rows = /\.(jsonl|ndjson)$/i.test(file) ? jsonRows(name, text) : tabRows(name, text, isNamed);
    for (const row of rows) found.push(read(row));
  }
  if (found.length > 0) return found;
  throw new FileError(files[0]?.file ?? String(sources), 'holds no row');
}

/** The lines that hold something, with their numbers from 1. */
function* linesOf(text: string): Generator<[number: number, line: string]> {
  let number = 0;
  for (const line of text.split(/\r?\n/)) {
    number++;
    if (line.trim() !== '') yield [number, line];
  }
}

/** @param isNamed Whether the first line names the columns. */
function* tabRows(file: string, text: string, isNamed: boolean): Generator<Row> {
  let names: string[] | undefined;
  for (const [number, line] of linesOf(text)) {
    const cells = line.split('\t').map((cell) => cell.trim());
    if (isNamed && names === undefined) {
      names = cells;
      continue;
    }
    const place = `${file}: row ${number}`;
    yield {
      place,
      byDefault: (position) => position,
      filled: (column, what) => filled(place, what, cells[placeOf(file, column, names)], column),
    };
  }
}

/** The index of a column. */
function placeOf(file: string, column: number | string, names: readonly string[] | undefined): number {
  if (typeof column === 'number') return column - 1;
  const found = names!.indexOf(column);
  if (found >= 0) return found;
  throw new FileError(file, `row 1: has no column '${column}'; the columns are ${names!.join(', ')}`);
}

function* jsonRows(file: string, text: string): Generator<Row> {
  for (const [number, line] of linesOf(text)) {
    const place = `${file}: row ${number}`;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (cause) {
      throw new FileError(file, `row ${number}: is not JSON`, { cause });
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new FileError(file, `row ${number}: must be a JSON object`);
    }
    const cells = value as Record<string, unknown>;
    yield {
      place,
      byDefault: (_, key) => key,
      filled: (column, what) => {
        const cell = Object.hasOwn(cells, column) ? cells[column] : undefined;
        if (cell === undefined || typeof cell === 'string') return filled(place, what, cell?.trim(), column);
        if (typeof cell === 'number' || typeof cell === 'boolean') return String(cell);
        throw new FileError(file, `row ${number}: the ${what} in '${column}' must be a text or a number`);
      },
    };
  }
}

function filled(place: string, what: string, cell: string | undefined, column: number | string): string {
  const [file, row] = [place.slice(0, place.lastIndexOf(': ')), place.slice(place.lastIndexOf(': ') + 2)];
  const where = typeof column === 'number' ? `column ${column}` : `'${column}'`;
  if (cell === undefined) throw new FileError(file, `${row}: has no ${where}, where the ${what} should be`);
  if (cell === '') throw new FileError(file, `${row}: the ${what} in ${where} is empty`);
  return cell;
}
