/**
 * Normalizers of a `tokenizer.json`: what is changed in a text before it is split. Named and parametrized as in Hugging
 * Face's tokenizers, whose results (and offsets) they give.
 */

import { TokenizerError } from '../../lib/errors.js';
import { unitsAt, type AlignedText, type Rewriter } from './aligned-text.js';
import { byteCharacters } from './bytes.js';
import { Fields, show } from './fields.js';
import { readPattern } from './patterns.js';
import { PrecompiledMap, putAligned } from './precompiled.js';
import { afterWhitespace, beforeWhitespace, ideographClass } from './unicode.js';

export type Normalizer = (text: AlignedText) => AlignedText;

const readers: Readonly<Record<string, (fields: Fields) => Normalizer>> = {
  BertNormalizer: readBert,
  ByteLevel: () => toByteCharacters,
  Lowercase: () => lowercase,
  NFC: () => unicodeForm('NFC'),
  NFD: () => unicodeForm('NFD'),
  NFKC: () => unicodeForm('NFKC'),
  NFKD: () => unicodeForm('NFKD'),
  Nmt: () => replaceCharacters(nmt.any, (character) => (nmt.removed.test(character) ? '' : ' ')),
  Precompiled: readPrecompiled,
  Prepend: (fields) => prepend(fields.string('prepend')),
  Replace: readReplace,
  Sequence: readSequence,
  Strip: (fields) => strip(fields.boolean('strip_left', true), fields.boolean('strip_right', true)),
  StripAccents: () => replaceCharacters(/\p{M}/gu, () => ''),
};

/** The normalizer that an object of a `tokenizer.json` describes. */
export function readNormalizer(where: string, json: unknown): Normalizer {
  const fields = Fields.of(where, json);
  const type = fields.string('type');
  const read = Object.hasOwn(readers, type) ? readers[type] : undefined;
  if (read === undefined)
    throw new TokenizerError(`${where}: a normalizer of type ${show(type)} is not known`);
  return read(fields);
}

function readSequence(fields: Fields): Normalizer {
  const steps = fields
    .list('normalizers')
    .map((step, at) => readNormalizer(`${fields.where}.normalizers[${at}]`, step));
  return (text) => steps.reduce((changed, step) => step(changed), text);
}

function readReplace(fields: Fields): Normalizer {
  const pattern = readPattern(fields, 'pattern');
  const content = fields.string('content');
  return (input) => {
    let copied = 0;
    if (!input.tracked && pattern.literal !== null) {
      return input.text.includes(pattern.literal)
        ? input.withText(input.text.replaceAll(pattern.literal, () => content))
        : input;
    }
    const { text } = input;
    const rewritten = input.rewrite((writer) => {
      pattern.matches(text, (from, to) => {
        writer.copy(copied, from);
        writer.put(content, to - 1);
        copied = to;
      });
      writer.copy(copied, text.length);
    });
    return copied === 0 ? input : rewritten;
  };
}

function readPrecompiled(fields: Fields): Normalizer {
  const base64 = fields.optionalString('precompiled_charsmap') ?? '';
  if (base64 === '') return (text) => text;
  const map = new PrecompiledMap(Buffer.from(base64, 'base64'));
  // SentencePiece's own way, for its `.model` files; Hugging Face's library passes over the member.
  if (fields.boolean('longest_match', false)) return (text) => map.normalizeLongest(text);
  return (text) => map.normalizeGraphemes(text);
}

function readBert(fields: Fields): Normalizer {
  const lower = fields.boolean('lowercase', true);
  const steps: Normalizer[] = [];
  if (fields.boolean('clean_text', true)) {
    steps.push(
      replaceCharacters(/[\0\ufffd]|[^\P{C}\t\n\r\p{Cs}]/gu, () => ''),
      replaceCharacters(/[^\P{White_Space} ]/gu, () => ' '),
    );
  }
  if (fields.boolean('handle_chinese_chars', true)) {
    steps.push(replaceCharacters(new RegExp(`[${ideographClass}]`, 'gu'), (character) => ` ${character} `));
  }
  const stripAccents = fields.has('strip_accents') ? fields.boolean('strip_accents') : lower;
  if (stripAccents)
    steps.push(
      unicodeForm('NFD'),
      replaceCharacters(/\p{Mn}/gu, () => ''),
    );
  if (lower) steps.push(lowercase);
  return (text) => steps.reduce((changed, step) => step(changed), text);
}

/** Control characters that NMT's normalization drops, and characters that it takes for spaces. */
const nmt = {
  removed: /[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]/u,
  any: /[\x01-\x1f\x7f\x8f\x9f\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/gu,
};

/** Replaces each character that a pattern (global, one character) matches. */
function replaceCharacters(pattern: RegExp, replacement: (character: string) => string): Normalizer {
  return (input) => {
    const { text } = input;
    if (text.search(pattern) < 0) return input;
    if (!input.tracked) return input.withText(text.replace(pattern, replacement));
    return input.rewrite((writer) => {
      let copied = 0;
      for (const match of text.matchAll(pattern)) {
        writer.copy(copied, match.index);
        writer.put(replacement(match[0]), match.index);
        copied = match.index + match[0].length;
      }
      writer.copy(copied, text.length);
    });
  };
}

/** Character by character, so that a sigma at a word's end is lower-cased as any other. */
function lowercase(input: AlignedText): AlignedText {
  const { text } = input;
  const lower = text.replaceAll('Σ', 'σ').toLowerCase();
  if (lower === text) return input;
  if (!input.tracked || lower.length === text.length) return input.withText(lower);
  return input.rewrite((writer) => {
    for (let at = 0; at < text.length;) {
      const end = at + unitsAt(text, at);
      writer.put(text.slice(at, end).replace('Σ', 'σ').toLowerCase(), at);
      at = end;
    }
  });
}

/** A character with the marks, and the parts of a Hangul syllable, that a Unicode form may join to it. */
const joined = /[^][\p{M}\u1160-\u11ff]*/gu;

function unicodeForm(form: 'NFC' | 'NFD' | 'NFKC' | 'NFKD'): Normalizer {
  return (input) => {
    const { text } = input;
    const normal = text.normalize(form);
    if (normal === text) return input;
    if (!input.tracked) return input.withText(normal);
    return input.rewrite((writer) => {
      for (const { 0: part, index } of text.matchAll(joined)) {
        const changed = part.normalize(form);
        if (changed === part) writer.copy(index, index + part.length);
        else if (form.endsWith('D')) putDecomposed(writer, changed, part, index, form);
        else putAligned(writer, changed, text, index, index + part.length);
      }
    });
  };
}

/** Where characters are only taken apart, each part stands for the character it came from. */
function putDecomposed(writer: Rewriter, changed: string, part: string, index: number, form: string): void {
  const places = [];
  let apart = '';
  for (let at = 0; at < part.length; at += unitsAt(part, at)) {
    const parts = part.slice(at, at + unitsAt(part, at)).normalize(form);
    apart += parts;
    for (const _ of parts) places.push(index + at);
  }
  // Marks that changed their order cannot be told apart.
  let next = 0;
  for (const character of changed) writer.put(character, apart === changed ? places[next++] : places[0]);
}

function strip(left: boolean, right: boolean): Normalizer {
  return (input) => {
    const { text } = input;
    const from = left ? afterWhitespace(text, 0) : 0;
    const to = right ? Math.max(from, beforeWhitespace(text, text.length)) : text.length;
    return input.slice(from, to);
  };
}

/** Puts a text before one that is not empty. */
export function prepend(prefix: string): Normalizer {
  return (input) => {
    if (input.text === '') return input;
    return input.rewrite((writer) => {
      writer.put(prefix, 0);
      writer.copy(0, input.text.length);
    });
  };
}

const encoder = new TextEncoder();

/** Each byte of the text as a character of GPT-2's byte alphabet. */
export function toByteCharacters(input: AlignedText): AlignedText {
  const { text } = input;
  return input.rewrite((writer) => {
    for (let at = 0; at < text.length;) {
      const end = at + unitsAt(text, at);
      for (const byte of encoder.encode(text.slice(at, end))) writer.put(byteCharacters[byte], at);
      at = end;
    }
  });
}

/** Spaces become `replacement`, as the Metaspace pre-tokenizer has it. */
export function replaceSpaces(replacement: string): Normalizer {
  return replaceCharacters(/ /gu, () => replacement);
}
