/**
 * Decoders of a `tokenizer.json`: from the tokens of a text to the text. Each step takes the tokens and answers tokens;
 * what is left at the end is joined. Named and parametrized as in Hugging Face's tokenizers.
 */

import { TokenizerError } from '../../lib/errors.js';
import { byteOfToken, textOfBytes, writeBytesOfToken, writeUtf8 } from './bytes.js';
import { Fields, show } from './fields.js';
import { readPattern } from './patterns.js';

export type Decoder = (tokens: readonly string[]) => readonly string[];

const readers: Readonly<Record<string, (fields: Fields) => Decoder>> = {
  BPEDecoder: (fields) => {
    const suffix = fields.string('suffix', '</w>');
    return (tokens) =>
      tokens.map((token, at) => token.replaceAll(suffix, () => (at === tokens.length - 1 ? '' : ' ')));
  },
  ByteFallback: () => byteFallback,
  ByteLevel: () => byteLevel,
  CTC: readCtc,
  Fuse: () => (tokens) => [tokens.join('')],
  Metaspace: readMetaspace,
  Replace: readReplace,
  Sequence: readSequence,
  Strip: readStrip,
  WordPiece: readWordPiece,
};

/** The decoder that an object of a `tokenizer.json` describes. */
export function readDecoder(where: string, json: unknown): Decoder {
  const fields = Fields.of(where, json);
  const type = fields.string('type');
  const read = Object.hasOwn(readers, type) ? readers[type] : undefined;
  if (read === undefined) throw new TokenizerError(`${where}: a decoder of type ${show(type)} is not known`);
  return read(fields);
}

function readSequence(fields: Fields): Decoder {
  const steps = fields
    .list('decoders')
    .map((step, at) => readDecoder(`${fields.where}.decoders[${at}]`, step));
  return (tokens) => steps.reduce((changed, step) => step(changed), tokens);
}

/** The bytes that the characters of the tokens stand for, as UTF-8; tokens with other characters as they are. */
function byteLevel(tokens: readonly string[]): readonly string[] {
  const units = tokens.reduce((sum, token) => sum + token.length, 0);
  const bytes = new Uint8Array(units * 3);
  let count = 0;
  for (const token of tokens) {
    const written = writeBytesOfToken(token, bytes, count);
    count = written >= 0 ? written : count + writeUtf8(token, bytes.subarray(count));
  }
  return [textOfBytes(bytes.subarray(0, count))];
}

/** Neighbouring tokens `<0x0A>` as UTF-8 together; if that is none, each as U+FFFD. */
function byteFallback(tokens: readonly string[]): readonly string[] {
  const result: string[] = [];
  let bytes: number[] = [];
  const flush = (): void => {
    if (bytes.length === 0) return;
    const text = textOfBytes(Uint8Array.from(bytes));
    const valid = Buffer.compare(Buffer.from(text), Uint8Array.from(bytes)) === 0;
    if (valid) result.push(text);
    else for (let i = 0; i < bytes.length; i++) result.push('\ufffd');
    bytes = [];
  };
  for (const token of tokens) {
    const byte = byteOfToken(token);
    if (byte >= 0) {
      bytes.push(byte);
      continue;
    }
    flush();
    result.push(token);
  }
  flush();
  return result;
}

function readMetaspace(fields: Fields): Decoder {
  const replacement = fields.string('replacement', '▁');
  const scheme = fields.string(
    'prepend_scheme',
    fields.boolean('add_prefix_space', true) ? 'always' : 'never',
  );
  return (tokens) =>
    tokens.map((token, at) => token.replaceAll(replacement, at === 0 && scheme !== 'never' ? '' : ' '));
}

function readReplace(fields: Fields): Decoder {
  const pattern = readPattern(fields, 'pattern');
  const content = fields.string('content');
  if (pattern.literal !== null) {
    const { literal } = pattern;
    return (tokens) =>
      literal === '' ? tokens : tokens.map((token) => token.replaceAll(literal, () => content));
  }
  return (tokens) =>
    tokens.map((token) => {
      let result = '';
      let copied = 0;
      pattern.matches(token, (from, to) => {
        result += token.slice(copied, from) + content;
        copied = to;
      });
      return result + token.slice(copied);
    });
}

function readStrip(fields: Fields): Decoder {
  const content = fields.string('content', ' ');
  const start = fields.integer('start', 0, 2 ** 31, 0);
  const stop = fields.integer('stop', 0, 2 ** 31, 0);
  const cut = (token: string): string => {
    let from = 0;
    for (let n = 0; n < start && content !== '' && token.startsWith(content, from); n++)
      from += content.length;
    let to = token.length;
    for (let n = 0; n < stop && content !== '' && to > from && token.endsWith(content, to); n++)
      to -= content.length;
    return token.slice(from, Math.max(from, to));
  };
  return (tokens) => tokens.map(cut);
}

function readWordPiece(fields: Fields): Decoder {
  const prefix = fields.string('prefix', '##');
  const cleanup = fields.boolean('cleanup', true);
  return (tokens) =>
    tokens.map((token, at) => {
      let text = token;
      if (at > 0) text = token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
      return cleanup ? cleanUp(text).replaceAll(' do not', " don't") : text;
    });
}

/** Connectionist temporal classification: repeated tokens once, blanks dropped. */
function readCtc(fields: Fields): Decoder {
  const pad = fields.string('pad_token', '<pad>');
  const delimiter = fields.string('word_delimiter_token', '|');
  const cleanup = fields.boolean('cleanup', true);
  return (tokens) =>
    tokens
      .filter((token, at) => token !== tokens[at - 1])
      .map((token) => {
        const text = token.replaceAll(pad, '');
        return cleanup ? cleanUp(text).replaceAll(delimiter, ' ') : text;
      })
      .filter((text) => text !== '');
}

/** Spaces that tokenization put before punctuation and contractions taken away: `clean_up_tokenization_spaces`. */
export function cleanUp(text: string): string {
  return text
    .replaceAll(' .', '.')
    .replaceAll(' ?', '?')
    .replaceAll(' !', '!')
    .replaceAll(' ,', ',')
    .replaceAll(" ' ", "'")
    .replaceAll(" n't", "n't")
    .replaceAll(" 'm", "'m")
    .replaceAll(" 's", "'s")
    .replaceAll(" 've", "'ve")
    .replaceAll(" 're", "'re");
}
