/**
 * Parsing a `tokenizer.json` quickly. Most of what `JSON.parse` takes for one of BPE is its vocabulary, an object with fifty or
 * two hundred thousand members; here that object is read into two lists, and the rest is left to `JSON.parse`.
 */

import { VocabularyMembers } from '../models/model.js';

/**
 * What `JSON.parse(text)` gives, but that the `vocab` of a BPE model is a {@link VocabularyMembers} where it is an object of
 * whole numbers.
 *
 * @throws SyntaxError as `JSON.parse` does.
 */
export function parseTokenizerJson(text: string): unknown {
  const from = vocabularyBegin(text);
  const vocab = from < 0 ? null : readVocabulary(text, from);
  // A second one would be another object's, or come instead of the first.
  if (vocab === null || vocabularyBegin(text, vocab.end) >= 0) return JSON.parse(text);
  try {
    const json = JSON.parse(`${text.slice(0, from)}}${text.slice(vocab.end)}`) as Tokenizer;
    const model = json?.model;
    if (model?.type === 'BPE' && !Array.isArray(model.vocab) && JSON.stringify(model.vocab) === '{}') {
      model.vocab = vocab.members;
      return json;
    }
  } catch {
    // The places in the message are to be those of the whole text.
  }
  return JSON.parse(text);
}

type Tokenizer = { model?: { type?: unknown; vocab?: unknown } | null } | null;

/** Where the members of the object `vocab` begin at or after `from`, -1 where there is none. Quotes in strings are escaped. */
function vocabularyBegin(text: string, from = 0): number {
  const key = /(?<!\\)"vocab"\s*:\s*\{/g;
  key.lastIndex = from;
  return key.test(text) ? key.lastIndex : -1;
}

const [quote, comma, colon, brace, zero] = [0x22, 0x2c, 0x3a, 0x7d, 0x30];

/**
 * The members that begin at `from`, and where the text goes on behind them; null where they are not plain. `indexOf` goes
 * over tokens, as it is compiled code from the first token on.
 */
function readVocabulary(text: string, from: number): { members: VocabularyMembers; end: number } | null {
  const members = new VocabularyMembers();
  let [at, backslash] = [from, from - 1];
  const skipSpace = (): number => {
    let unit = text.charCodeAt(at);
    while (isSpace(unit)) unit = text.charCodeAt(++at);
    return unit;
  };
  for (;;) {
    if (skipSpace() !== quote) return null;
    const begin = at;
    if (backslash < begin) backslash = indexOf(text, '\\', begin);
    at = text.indexOf('"', begin + 1);
    const isEscaped = backslash < at;
    if (isEscaped) at = endOfString(text, begin);
    if (at < 0) return null;
    at++;
    const token = isEscaped ? unescape(text.slice(begin, at)) : text.slice(begin + 1, at - 1);
    if (token === null || (!isEscaped && controls.test(token)) || skipSpace() !== colon) return null;
    at++;
    skipSpace();
    const first = at;
    let id = 0;
    for (let digit; (digit = text.charCodeAt(at) - zero) >= 0 && digit <= 9; at++) id = id * 10 + digit;
    const digits = at - first;
    if (digits < 1 || digits > 9 || (digits > 1 && text.charCodeAt(first) === zero)) return null;
    members.tokens.push(token);
    members.ids.push(id);
    const next = skipSpace();
    at++;
    if (next === brace) return { members, end: at };
    if (next !== comma) return null;
  }
}

/** Characters that JSON has escaped only. */
const controls = /[\0-\x1f]/;

const indexOf = (text: string, part: string, from: number): number => {
  const at = text.indexOf(part, from);
  return at < 0 ? text.length : at;
};

/** Where the string that begins at `begin` has its closing quote, the first without a backslash of its own; -1 without one. */
function endOfString(text: string, begin: number): number {
  for (let at = text.indexOf('"', begin + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let first = at;
    while (text[first - 1] === '\\') first--;
    if ((at - first) % 2 === 0) return at;
  }
  return -1;
}

const isSpace = (unit: number): boolean => unit === 0x20 || unit === 0x0a || unit === 0x0d || unit === 0x09;

function unescape(literal: string): string | null {
  try {
    return JSON.parse(literal) as string;
  } catch {
    return null;
  }
}
