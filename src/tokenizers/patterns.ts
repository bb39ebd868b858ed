/**
 * Patterns of tokenizer files, as `Split` and `Replace` have them: a text, or a regular expression. Files come from
 * strangers, and an expression like `(a+)+b` takes forever on some texts. The expressions that published tokenizers
 * use are known to be quick; any other one runs under a time limit that grows with the text.
 */

import { createContext, Script } from 'node:vm';

import { TokenizerError } from '../../lib/errors.js';
import { show, type Fields } from './fields.js';
import { translateRegex } from './regex.js';

/** What a pattern does: calls `found` with the place of each match that is not empty, from left to right. */
export interface Pattern {
  /** The text that is looked for, null for an expression. */
  readonly literal: string | null;
  matches(text: string, found: (from: number, to: number) => void): void;
}

/** GPT-2's splitting of text into words, numbers, other signs and white space. */
export const gpt2Pattern =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const words = '[^\\r\\n\\p{L}\\p{N}]?\\p{L}+';
const rest = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

/** Llama 3's, which is also cl100k's in Hugging Face's files. */
export const llama3Pattern = `${contractions}|${words}|\\p{N}{1,3}|${rest}`;
/** Qwen2's: digits one by one. */
export const qwen2Pattern = `${contractions}|${words}|\\p{N}|${rest}`;
/** cl100k_base as tiktoken has it, with the end of the text as Oniguruma writes it. */
export const cl100kPattern =
  "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++\\z|\\s*[\\r\\n]|\\s+(?!\\S)|\\s";
const cased = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
const uncased = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
/** o200k_base (GPT-4o). */
export const o200kPattern =
  `[^\\r\\n\\p{L}\\p{N}]?${cased}*${uncased}+${contractions}?|[^\\r\\n\\p{L}\\p{N}]?${cased}+${uncased}*${contractions}?` +
  '|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

/** Expressions whose time is known to grow with the text only. */
const quick = new Set([
  gpt2Pattern,
  llama3Pattern,
  qwen2Pattern,
  cl100kPattern,
  o200kPattern,
  // The same in the spellings of other files.
  cl100kPattern.replace("'(?i:[sdmt]|ll|ve|re)", '(?i:[sdmt]|ll|ve|re)'),
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
  ' {2,}',
  '\\A | \\z',
  '\\s+',
  '\\s',
  ' ',
  '[0-9]',
  '\\d',
  '\\p{N}',
  '\\p{N}{1,3}',
  '[\\r\\n]',
  '\\s?\\p{L}+',
  '[\\s\\S]',
  '\\w+|[^\\w\\s]+',
]);

/** Milliseconds for a text, and for each million units of it. */
const timeLimit = { fixed: 1000, perMillion: 2000 };

/** The pattern of a member: a text, or an object with `String` or `Regex`. */
export function readPattern(fields: Fields, name: string): Pattern {
  const value = fields.raw(name);
  if (typeof value === 'string') return literalPattern(value);
  const pattern = fields.object(name);
  return pattern.has('Regex')
    ? regexPattern(pattern.string('Regex'))
    : literalPattern(pattern.string('String'));
}

function literalPattern(literal: string): Pattern {
  return {
    literal,
    matches(text, found) {
      if (literal === '') return;
      for (let at = text.indexOf(literal); at >= 0; at = text.indexOf(literal, at + literal.length)) {
        found(at, at + literal.length);
      }
    },
  };
}

/** The pattern of an expression in Oniguruma's writing. */
export function regexPattern(source: string): Pattern {
  const expression = translateRegex(source);
  return quick.has(source) ? quickPattern(expression) : guardedPattern(expression, source);
}

/** The pattern of an expression of our own. */
export function quickPattern(expression: RegExp): Pattern {
  const search = new RegExp(expression.source, 'gu');
  // Where a match begins at once there is no need for an object that says where.
  const here = new RegExp(expression.source, 'yu');
  return {
    literal: null,
    matches(text, found) {
      for (let at = 0; at < text.length;) {
        here.lastIndex = at;
        if (here.test(text) && here.lastIndex > at) {
          const to = here.lastIndex;
          found(at, to);
          at = to;
          continue;
        }
        search.lastIndex = at;
        let match = search.exec(text);
        while (match !== null && match[0] === '') {
          search.lastIndex = match.index + 1;
          match = search.exec(text);
        }
        if (match === null) return;
        const to = match.index + match[0].length;
        found(match.index, to);
        at = to;
      }
    },
  };
}

const guard = new Script('run()');
let guarded: { run: () => void } | undefined;

function guardedPattern(expression: RegExp, source: string): Pattern {
  const pattern = quickPattern(expression);
  return {
    literal: null,
    matches(text, found) {
      const places: number[] = [];
      const milliseconds = Math.ceil(timeLimit.fixed + (timeLimit.perMillion * text.length) / 1e6);
      guarded ??= createContext({ run: () => undefined }) as { run: () => void };
      guarded.run = () => pattern.matches(text, (from, to) => places.push(from, to));
      try {
        // Only a script can be given a time limit; V8 then also leaves an expression that is backtracking.
        guard.runInContext(guarded, { timeout: milliseconds });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
        throw new TokenizerError(
          `encode: the regular expression ${show(source)} took more than ${milliseconds} ms on ${text.length} characters; ` +
            'it backtracks without end',
        );
      }
      for (let i = 0; i < places.length; i += 2) found(places[i], places[i + 1]);
    },
  };
}
