/**
 * The documents of a corpus, streamed: a text file is one, or several with a separator between them; of JSON Lines and
 * tab-separated files each line is one. Long documents come in pieces, so that memory stays bounded.
 */

import { FileError } from '../../lib/errors.js';
import {
  extensionOf,
  streamTexts,
  textExtensions,
  type StreamOptions,
} from '../../lib/formats/text-files.js';

/** Kinds of files with documents in them. */
export const documentFormats = ['auto', 'text', 'jsonl', 'tsv'] as const;
export type DocumentFormat = (typeof documentFormats)[number];

/** Endings of the files with documents that are taken from a folder, also with `.gz` behind them. */
export const documentExtensions: readonly string[] = [...textExtensions, '.jsonl', '.ndjson', '.tsv'];

/** How documents are read. */
export interface DocumentOptions extends StreamOptions {
  /** What the files are; `auto`, the default, goes by their endings: `.jsonl` and `.ndjson`, `.tsv`, all else text. */
  readonly format?: DocumentFormat;
  /**
   * Where the text of a line is: the key of a JSON object, or the column of a tab-separated file by its name in the first
   * line, or by its number from 1 on, when the file has no such line. `text` by default.
   */
  readonly textField?: string;
  /** What stands between the documents of a text file: `<|endoftext|>`, say. None by default: a file is a document. */
  readonly separator?: string;
}

/** A document, or a piece of one. */
export interface DocumentPiece {
  readonly text: string;
  /** Whether the document ends with it. */
  readonly ends: boolean;
  /** The file that it is from. */
  readonly file: string;
}

/** Characters of a line at most: more is no file of lines. */
const longestLine = 2 ** 27;

/**
 * The documents of files, in order.
 * @param files Paths as listFiles gives them.
 * @throws FileError naming file and line where a line is not what it should be.
 */
export async function* streamDocuments(
  files: readonly string[],
  { format = 'auto', textField = 'text', separator, ...stream }: DocumentOptions = {},
): AsyncGenerator<DocumentPiece> {
  for (const path of files) {
    const kind = format === 'auto' ? formatOf(path) : format;
    if (kind === 'text') {
      for await (const piece of splitText(path, separator, stream)) yield piece;
    } else {
      const read = kind === 'jsonl' ? jsonReader(textField) : columnReader(textField);
      for await (const { line, number, file } of streamLines(path, stream)) {
        const text = read(line, (problem) => new FileError(file, `line ${number} ${problem}`), number);
        if (text !== null) yield { text, ends: true, file };
      }
    }
  }
}

function formatOf(path: string): Exclude<DocumentFormat, 'auto'> {
  const extension = extensionOf(path);
  if (extension === '.jsonl' || extension === '.ndjson') return 'jsonl';
  return extension === '.tsv' ? 'tsv' : 'text';
}

async function* splitText(
  path: string,
  separator: string | undefined,
  stream: StreamOptions,
): AsyncGenerator<DocumentPiece> {
  let rest = '';
  for await (const { text, ends, file } of streamTexts(path, stream)) {
    if (separator === undefined || separator === '') {
      yield { text, ends, file };
      continue;
    }
    const parts = (rest + text).split(separator);
    rest = parts.pop()!;
    for (const part of parts) yield { text: part, ends: true, file };
    // What may be the beginning of a separator waits for the next piece.
    const sure = ends ? rest.length : Math.max(0, rest.length - separator.length + 1);
    yield { text: rest.slice(0, sure), ends, file };
    rest = rest.slice(sure);
  }
}

interface Line {
  readonly line: string;
  /** From 1 on. */
  readonly number: number;
  readonly file: string;
}

/** The lines of a file without their ends, empty ones left out. */
async function* streamLines(path: string, stream: StreamOptions): AsyncGenerator<Line> {
  let number = 0;
  let begun: string[] = []; // pieces of a line that goes on
  let length = 0;
  for await (const { text, ends, file } of streamTexts(path, stream)) {
    const lines = text.split('\n');
    const rest = lines.pop()!;
    if (lines.length > 0) {
      lines[0] = begun.join('') + lines[0];
      [begun, length] = [[], 0];
    }
    begun.push(rest);
    length += rest.length;
    if (length > longestLine) {
      throw new FileError(file, `line ${number + lines.length + 1} has more than ${longestLine} characters`);
    }
    if (ends) lines.push(begun.join(''));
    for (const whole of lines) {
      number++;
      const line = whole.endsWith('\r') ? whole.slice(0, -1) : whole;
      if (line !== '') yield { line, number, file };
    }
  }
}

/** Gives the text of a line; null where the line has none because it names the columns. */
type LineReader = (line: string, problem: (what: string) => FileError, number: number) => string | null;

function jsonReader(field: string): LineReader {
  return (line, problem) => {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (error) {
      throw problem(`is not JSON: ${(error as Error).message}`);
    }
    if (typeof value === 'string') return value;
    const text = (value as Record<string, unknown> | null)?.[field];
    if (typeof text === 'string') return text;
    const names = typeof value === 'object' && value !== null ? Object.keys(value).join(', ') : typeof value;
    throw problem(`has no text under "${field}", it has ${names}; say where the text is (--text-field)`);
  };
}

function columnReader(field: string): LineReader {
  let column = /^[1-9]\d*$/.test(field) ? Number(field) - 1 : -1;
  return (line, problem) => {
    const cells = line.split('\t');
    if (column < 0) {
      column = cells.indexOf(field);
      if (column >= 0) return null;
      throw problem(
        `names no column "${field}", it has ${cells.slice(0, 20).join(', ')}; ` +
          'say which column is the text, by name or by number from 1 on (--text-field)',
      );
    }
    if (column < cells.length) return cells[column];
    throw problem(`has ${cells.length} columns, column ${column + 1} is to be read`);
  };
}
