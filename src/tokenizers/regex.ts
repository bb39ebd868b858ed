/**
 * Regular expressions of tokenizer files in JavaScript. The files are written for Oniguruma and Rust's engines; this
 * translates what splitting patterns use: `(?i:...)`, possessive quantifiers and atomic groups, `\s \d \w \h` and POSIX
 * classes as those engines draw them, scripts, anchors. What has no exact translation is an error that names it.
 */

import { TokenizerError } from '../../lib/errors.js';
import { wordClass } from './unicode.js';

/** Case variants beyond a letter's own upper and lower case: sets of letters that fold to one. */
const folded: Readonly<Record<string, string>> = { s: 'ſ', k: '\u212a' };

/** Sets as the content of a JavaScript character class. */
const sets: Readonly<Record<string, string>> = {
  d: '\\p{Nd}',
  s: '\\p{White_Space}',
  w: wordClass,
  h: '0-9A-Fa-f',
};

const posixSets: Readonly<Record<string, string>> = {
  alnum: '\\p{Alphabetic}\\p{M}\\p{Nd}',
  alpha: '\\p{Alphabetic}\\p{M}',
  ascii: '\\x00-\\x7f',
  blank: '\\p{Zs}\\t',
  cntrl: '\\p{Cc}',
  digit: '\\p{Nd}',
  lower: '\\p{Lowercase}',
  punct: '\\p{P}\\p{S}',
  space: '\\p{White_Space}',
  upper: '\\p{Uppercase}',
  word: wordClass,
  xdigit: '0-9A-Fa-f',
};

/** Escaped characters that stand for one character. */
const controls: Readonly<Record<string, string>> = {
  t: '\\t',
  n: '\\n',
  r: '\\r',
  f: '\\f',
  v: '\\v',
  a: '\\x07',
  e: '\\x1b',
};

/**
 * The JavaScript expression (flags `gu`) for an Oniguruma one.
 * @throws TokenizerError when it is no expression, or uses what cannot be translated.
 */
export function translateRegex(source: string): RegExp {
  const translated = new Translator(source).translate();
  try {
    return new RegExp(translated, 'gu');
  } catch (error) {
    throw new TokenizerError(
      `the regular expression ${JSON.stringify(source)} cannot be used: ${(error as Error).message}`,
    );
  }
}

class Translator {
  #at = 0;
  #groups = 0;
  #ignoreCase = false;

  constructor(private readonly source: string) {}

  translate(): string {
    const result = this.#alternatives();
    if (this.#at < this.source.length) this.#fail('a bracket is closed that was not opened');
    return result;
  }

  /** Up to the end or the bracket that closes the group. */
  #alternatives(): string {
    let result = '';
    while (this.#at < this.source.length && this.source[this.#at] !== ')') {
      if (this.source[this.#at] === '|') {
        result += '|';
        this.#at++;
        continue;
      }
      const options = /^\(\?(-?)i\)/.exec(this.source.slice(this.#at, this.#at + 5));
      if (options !== null) {
        // Until the end of the group, alternatives included.
        this.#at += options[0].length;
        const before = this.#ignoreCase;
        this.#ignoreCase = options[1] === '';
        result += `(?:${this.#alternatives()})`;
        this.#ignoreCase = before;
        continue;
      }
      result += this.#quantified(this.#atom());
    }
    return result;
  }

  #quantified(atom: string): string {
    const rest = this.source.slice(this.#at, this.#at + 24);
    const [whole, quantifier, mode] = /^([*+?]|\{\d+(?:,\d*)?\}|\{,\d+\})([+?]?)/.exec(rest) ?? [''];
    if (quantifier === undefined) return atom;
    this.#at += whole.length;
    const count = quantifier.startsWith('{,') ? quantifier.replace('{,', '{0,') : quantifier;
    const result = `${atom}${count}`;
    if (mode === '?') return `${result}?`;
    // Oniguruma reads {n,m}+ as a repetition of the repetition.
    if (mode === '+') return count.startsWith('{') ? `(?:${result})+` : this.#atomic(result);
    return result;
  }

  /** A group that gives nothing back: captured in a lookahead, then consumed. */
  #atomic(inner: string): string {
    const name = `atomic${++this.#groups}`;
    return `(?:(?=(?<${name}>${inner}))\\k<${name}>)`;
  }

  #atom(): string {
    const character = this.#take();
    switch (character) {
      case '(':
        return this.#group();
      case '[':
        return this.#class();
      case '\\':
        return this.#escape();
      case '.':
        return '[^\\n]';
      case '^':
        return '(?<![^\\n])';
      case '$':
        return '(?![^\\n])';
      case '*':
      case '+':
      case '?':
        return this.#fail('a quantifier has nothing to repeat');
      default:
        return this.#literal(character);
    }
  }

  #group(): string {
    const rest = this.source.slice(this.#at, this.#at + 64);
    const opening = /^\?(:|=|!|<=|<!|>|-?i:|<[A-Za-z_]\w*>)/.exec(rest)?.[0];
    if (opening === undefined && rest.startsWith('?')) {
      return this.#fail(`the group '(${rest.slice(0, 4)}' has no translation`);
    }
    this.#at += opening?.length ?? 0;
    const before = this.#ignoreCase;
    if (opening === '?i:') this.#ignoreCase = true;
    if (opening === '?-i:') this.#ignoreCase = false;
    const inner = this.#alternatives();
    if (this.#take() !== ')') this.#fail('a bracket is not closed');
    this.#ignoreCase = before;
    if (opening === '?>') return this.#atomic(inner);
    if (opening !== undefined && /^\?<?[=!]$/.test(opening)) return `(${opening}${inner})`;
    return `(?:${inner})`;
  }

  /** An escape outside a class. */
  #escape(): string {
    const character = this.source[this.#at] ?? this.#fail('it ends with a backslash');
    const word = `[${wordClass}]`;
    const anchors: Readonly<Record<string, string>> = {
      A: '(?<![^])',
      z: '(?![^])',
      Z: '(?!\\n?[^]|[^])(?:)|(?=\\n(?![^]))',
      b: `(?:(?<=${word})(?!${word})|(?<!${word})(?=${word}))`,
      B: `(?:(?<=${word})(?=${word})|(?<!${word})(?!${word}))`,
      R: '(?:\\r\\n|[\\n-\\r\\x85\\u2028\\u2029])',
    };
    if (Object.hasOwn(anchors, character)) {
      this.#at++;
      return character === 'Z' ? `(?:${anchors.Z})` : anchors[character];
    }
    if (/[1-9GKkXyYgN]/.test(character)) return this.#fail(`'\\${character}' has no translation`);
    const set = this.#setEscape();
    if (set !== null) return set.negated ? `[^${set.content}]` : `[${set.content}]`;
    return this.#literal(this.#characterEscape());
  }

  /** `\s`, `\P{L}` and the like: the content of a class, or null when it is another escape. */
  #setEscape(): { content: string; negated: boolean } | null {
    const character = this.source[this.#at];
    const name = character.toLowerCase();
    if (Object.hasOwn(sets, name)) {
      this.#at++;
      return { content: sets[name], negated: character !== name };
    }
    if (name !== 'p') return null;
    const rest = this.source.slice(this.#at, this.#at + 64);
    const match = /^[pP](?:\{(\^?)([\w &=-]+)\}|([A-Z]))/.exec(rest);
    if (match === null) return this.#fail(`'\\${rest.slice(0, 8)}' is no property`);
    this.#at += match[0].length;
    return {
      content: this.#property(match[2] ?? match[3]),
      negated: (character === 'P') !== (match[1] === '^'),
    };
  }

  #property(name: string): string {
    const posix = name.toLowerCase();
    if (Object.hasOwn(posixSets, posix)) return posixSets[posix];
    if (this.#ignoreCase && /^(Lu|Ll|Lt|Uppercase|Lowercase)/.test(name)) {
      return this.#fail(`\\p{${name}} where case is ignored has no translation`);
    }
    for (const candidate of [name, `Script=${name}`]) {
      try {
        new RegExp(`\\p{${candidate}}`, 'u');
        return `\\p{${candidate}}`;
      } catch {
        // Not a name of that kind.
      }
    }
    return this.#fail(`\\p{${name}} is not known`);
  }

  /** The character that an escape stands for. */
  #characterEscape(): string {
    const rest = this.source.slice(this.#at, this.#at + 12);
    const hex = /^(?:x\{([0-9A-Fa-f]{1,6})\}|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4}))/.exec(rest);
    if (hex !== null) {
      this.#at += hex[0].length;
      const code = Number.parseInt(hex[1] ?? hex[2] ?? hex[3], 16);
      if (code > 0x10ffff) this.#fail(`'\\${hex[0]}' is no character`);
      return String.fromCodePoint(code);
    }
    if (/^0[0-7]{0,2}/.test(rest)) {
      const octal = /^0[0-7]{0,2}/.exec(rest)![0];
      this.#at += octal.length;
      return String.fromCharCode(Number.parseInt(octal, 8));
    }
    const character = this.#take();
    if (Object.hasOwn(controls, character)) {
      return { t: '\t', n: '\n', r: '\r', f: '\f', v: '\v', a: '\x07', e: '\x1b' }[character]!;
    }
    if (/[A-Za-z0-9]/.test(character)) return this.#fail(`'\\${character}' has no translation`);
    return character;
  }

  #class(): string {
    let content = '';
    const negated = this.source[this.#at] === '^';
    if (negated) this.#at++;
    for (let first = true; ; first = false) {
      const character = this.#take();
      if (character === '') return this.#fail('a character class is not closed');
      if (character === ']' && !first) break;
      if (character === '[') {
        content += this.#nestedClass();
        continue;
      }
      if (character === '&' && this.source[this.#at] === '&') {
        return this.#fail("the intersection '&&' of classes has no translation");
      }
      if (character === '\\') {
        const set = this.source[this.#at] === 'b' ? null : this.#setEscape();
        if (set !== null) {
          content += set.negated ? this.#complement(set.content) : set.content;
          continue;
        }
      }
      content += this.#range(character === '\\' ? this.#characterEscape() : character);
    }
    return negated ? `[^${content}]` : `[${content}]`;
  }

  /** `[:alpha:]`, or a bracket that stands for itself where nothing closes it. */
  #nestedClass(): string {
    const posix = /^:(\^?)([a-z]+):\]/.exec(this.source.slice(this.#at, this.#at + 16));
    if (posix === null || !Object.hasOwn(posixSets, posix[2])) {
      return this.#fail('a class inside a class has no translation');
    }
    this.#at += posix[0].length;
    return posix[1] === '' ? posixSets[posix[2]] : this.#complement(posixSets[posix[2]]);
  }

  /** What a class must list for everything outside a set, which is possible for single properties. */
  #complement(content: string): string {
    const property = /^\\p(\{[^}]*\})$/.exec(content);
    return property === null
      ? this.#fail('this negated set inside a class has no translation')
      : `\\P${property[1]}`;
  }

  /** A character of a class, or a range that begins with it. */
  #range(from: string): string {
    const next = this.source[this.#at + 1];
    if (this.source[this.#at] !== '-' || next === ']' || next === undefined) return this.#member(from);
    this.#at++;
    let to = this.#take();
    if (to === '\\') {
      if (/[sSdDwWhHpP]/.test(this.source[this.#at])) return this.#fail('a range ends in a set');
      to = this.#characterEscape();
    }
    if (from > to && from.codePointAt(0)! > to.codePointAt(0)!)
      this.#fail(`the range ${from}-${to} is empty`);
    let result = `${escaped(from)}-${escaped(to)}`;
    if (!this.#ignoreCase) return result;
    const [first, last] = [from.codePointAt(0)!, to.codePointAt(0)!];
    if (last > 0x7f) this.#fail('a range beyond ASCII where case is ignored has no translation');
    for (let code = first; code <= last; code++) result += this.#member(String.fromCodePoint(code));
    return result;
  }

  #member(character: string): string {
    return this.#ignoreCase ? variants(character).map(escaped).join('') : escaped(character);
  }

  #literal(character: string): string {
    const all = this.#ignoreCase ? variants(character) : [character];
    return all.length > 1 ? `[${all.map(escaped).join('')}]` : escaped(character);
  }

  #take(): string {
    const code = this.source.codePointAt(this.#at);
    if (code === undefined) return '';
    const character = String.fromCodePoint(code);
    this.#at += character.length;
    return character;
  }

  #fail(reason: string): never {
    throw new TokenizerError(
      `the regular expression ${JSON.stringify(this.source)} cannot be used: ${reason}`,
    );
  }
}

/** The characters that are the same as one where case is ignored. */
function variants(character: string): string[] {
  const all = new Set([character, character.toLowerCase(), character.toUpperCase()]);
  const extra = folded[character.toLowerCase()];
  if (extra !== undefined) all.add(extra);
  return [...all].filter((variant) => Array.from(variant).length === 1);
}

/** A character as it must be written to stand for itself, inside and outside a class. */
const escaped = (character: string): string =>
  /[\p{L}\p{N}]/u.test(character) ? character : `\\u{${character.codePointAt(0)!.toString(16)}}`;
