/**
 * Pre-tokenizers of a `tokenizer.json`: they cut a text into the pieces that the model encodes one by one. Named and
 * parametrized as in Hugging Face's tokenizers. Each hands its pieces on as it finds them, so that a long text is never
 * held in pieces.
 */

import { TokenizerError } from '../../lib/errors.js';
import type { AlignedText } from './aligned-text.js';
import { Fields, show } from './fields.js';
import { prepend, replaceSpaces, toByteCharacters } from './normalizers.js';
import { gpt2Pattern, quickPattern, readPattern, regexPattern, type Pattern } from './patterns.js';
import { punctuationClass, wordClass } from './unicode.js';

/**
 * Cuts a text.
 * @param atStart Whether the text begins where the caller's text begins.
 * @param emit Takes the pieces that are not empty, in order.
 */
export type PreTokenizer = (
  text: AlignedText,
  atStart: boolean,
  emit: (piece: AlignedText, atStart: boolean) => void,
) => void;

/** A pre-tokenizer, and whether the model has to take its pieces as bytes. */
export interface PreTokenization {
  readonly split: PreTokenizer;
  /** The last step is byte-level, and is left to the model. */
  readonly byteLevel: boolean;
}

const behaviors = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'] as const;
/** What becomes of the text that a pattern matches. */
export type SplitBehavior = (typeof behaviors)[number];

const classPattern = (content: string): Pattern => quickPattern(new RegExp(`[${content}]`, 'gu'));
const whitespace = quickPattern(/\p{White_Space}+/gu);
const wordsAndSigns = quickPattern(new RegExp(`[${wordClass}]+|[^${wordClass}\\p{White_Space}]+`, 'gu'));
const punctuation = classPattern(punctuationClass);
const digit = classPattern('\\p{N}');

const readers: Readonly<Record<string, (fields: Fields) => PreTokenizer>> = {
  BertPreTokenizer: () => sequence([splitter(whitespace, 'Removed'), splitter(punctuation, 'Isolated')]),
  ByteLevel: (fields) => {
    const split = byteLevelSplit(fields);
    return (text, atStart, emit) =>
      split(text, atStart, (piece, first) => emit(toByteCharacters(piece), first));
  },
  CharDelimiterSplit: (fields) => {
    const delimiter = fields.string('delimiter');
    return splitter(classPattern(`\\u{${(delimiter.codePointAt(0) ?? 0).toString(16)}}`), 'Removed');
  },
  Digits: (fields) => splitter(digit, fields.boolean('individual_digits', false) ? 'Isolated' : 'Contiguous'),
  Metaspace: readMetaspace,
  Punctuation: (fields) => splitter(punctuation, fields.oneOf('behavior', behaviors, 'Isolated')),
  Sequence: (fields) => sequence(steps(fields).map(({ where, json }) => readOne(where, json))),
  Split: (fields) =>
    splitter(
      readPattern(fields, 'pattern'),
      fields.oneOf('behavior', behaviors),
      fields.boolean('invert', false),
    ),
  Whitespace: () => splitter(wordsAndSigns, 'Removed', true),
  WhitespaceSplit: () => splitter(whitespace, 'Removed'),
};

/** The pre-tokenizer that an object of a `tokenizer.json` describes. */
export function readPreTokenizer(where: string, json: unknown): PreTokenization {
  const fields = Fields.of(where, json);
  const type = fields.string('type');
  if (type === 'ByteLevel') return { split: byteLevelSplit(fields), byteLevel: true };
  if (type !== 'Sequence') return { split: readOne(where, json), byteLevel: false };
  const all = steps(fields);
  const last = all.pop();
  if (last === undefined) return { split: sequence([]), byteLevel: false };
  const { split, byteLevel } = readPreTokenizer(last.where, last.json);
  return { split: sequence([...all.map((step) => readOne(step.where, step.json)), split]), byteLevel };
}

function steps(fields: Fields): { where: string; json: unknown }[] {
  return fields
    .list('pretokenizers')
    .map((json, at) => ({ where: `${fields.where}.pretokenizers[${at}]`, json }));
}

function readOne(where: string, json: unknown): PreTokenizer {
  const fields = Fields.of(where, json);
  const type = fields.string('type');
  const read = Object.hasOwn(readers, type) ? readers[type] : undefined;
  if (read === undefined) {
    throw new TokenizerError(`${where}: a pre-tokenizer of type ${show(type)} is not known`);
  }
  return read(fields);
}

function sequence(all: readonly PreTokenizer[]): PreTokenizer {
  return all.reduceRight<PreTokenizer>(
    (rest, step) => (text, atStart, emit) => step(text, atStart, (piece, first) => rest(piece, first, emit)),
    (text, atStart, emit) => emit(text, atStart),
  );
}

/** GPT-2's: a space before the text where asked for, and the split into words. */
function byteLevelSplit(fields: Fields): PreTokenizer {
  const addSpace = fields.boolean('add_prefix_space', true);
  const split = fields.boolean('use_regex', true)
    ? splitter(regexPattern(gpt2Pattern), 'Isolated')
    : sequence([]);
  const prefix = prepend(' ');
  return (text, atStart, emit) =>
    split(addSpace && !text.text.startsWith(' ') ? prefix(text) : text, atStart, emit);
}

/** SentencePiece's: spaces become ▁, one is put before the text, and each ▁ begins a piece. */
function readMetaspace(fields: Fields): PreTokenizer {
  const replacement = fields.string('replacement', '▁');
  const written = fields.string('str_rep', replacement);
  // Files before 2024 say `add_prefix_space` instead of `prepend_scheme`.
  const scheme = fields.oneOf(
    'prepend_scheme',
    ['always', 'first', 'never'],
    fields.boolean('add_prefix_space', true) ? 'always' : 'never',
  );
  const split = fields.boolean('split', true)
    ? splitter(readPattern(Fields.of(fields.where, { pattern: replacement }), 'pattern'), 'MergedWithNext')
    : sequence([]);
  const replaceAll = replaceSpaces(written);
  const prefix = prepend(written);
  return (input, atStart, emit) => {
    const text = replaceAll(input);
    const wanted = scheme === 'always' || (scheme === 'first' && atStart);
    split(wanted && !text.text.startsWith(replacement) ? prefix(text) : text, atStart, emit);
  };
}

/** Cuts at the matches of a pattern (or, inverted, at what lies between them). */
function splitter(pattern: Pattern, behavior: SplitBehavior, invert = false): PreTokenizer {
  return (text, atStart, emit) => {
    const end = text.text.length;
    const piece = (from: number, to: number): void => emit(text.slice(from, to), atStart && from === 0);
    const collect = collector(behavior, piece);
    let done = 0;
    pattern.matches(text.text, (from, to) => {
      if (from > done) collect(done, from, invert);
      collect(from, to, !invert);
      done = to;
    });
    if (end > done) collect(done, end, invert);
    collect(end, end, null);
  };
}

/**
 * Takes the parts of a text in order, each marked as a delimiter or not, and joins them as a behavior says. The last
 * call has null for the mark.
 */
function collector(
  behavior: SplitBehavior,
  piece: (from: number, to: number) => void,
): (from: number, to: number, isDelimiter: boolean | null) => void {
  if (behavior === 'Isolated' || behavior === 'Removed') {
    const keep = behavior === 'Isolated';
    return (from, to, isDelimiter) => {
      if (isDelimiter === false || (isDelimiter === true && keep)) piece(from, to);
    };
  }
  let start = 0;
  let last: boolean | null = null;
  return (from, _to, isDelimiter) => {
    const joins =
      last !== null &&
      isDelimiter !== null &&
      ((behavior === 'Contiguous' && isDelimiter === last) ||
        (behavior === 'MergedWithPrevious' && isDelimiter && !last) ||
        (behavior === 'MergedWithNext' && !isDelimiter && last));
    if (!joins) {
      if (last !== null) piece(start, from);
      start = from;
    }
    last = isDelimiter;
  };
}
