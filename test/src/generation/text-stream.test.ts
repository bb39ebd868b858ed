/** Ids to text piece by piece: nothing too early, nothing lost, in linear time; stop texts wherever tokens cut them. */

import { describe, expect, it } from 'vitest';

import { ArgumentError, Generator, TextStream, type TextDecoder as Decoder } from '../../../src/index.js';
import { StopStrings } from '../../../src/generation/stop-strings.js';

const utf8 = new TextDecoder();
/** Ids are bytes, as in a byte-level vocabulary. */
const bytes: Decoder = { vocabSize: 256, decode: (ids) => utf8.decode(Uint8Array.from(ids)) };

/**
 * As SentencePiece with byte fallback: ids below 256 are bytes, shown by one U+FFFD each where they make no character; the
 * others are words, of which the first of a text loses its space; id 999 is special and has no text.
 */
const words = ['▁Hello', '▁world', ',', '▁the', 're', '▁'];
const sentencePiece: Decoder = {
  vocabSize: 1000,
  decode(ids) {
    let text = '';
    let run: number[] = [];
    const flush = (): void => {
      const decoded = utf8.decode(Uint8Array.from(run));
      text += decoded.includes('\ufffd') ? '\ufffd'.repeat(run.length) : decoded;
      run = [];
    };
    for (const id of Array.from(ids)) {
      if (id < 256) run.push(id);
      else {
        flush();
        if (id !== 999) text += words[id - 256];
      }
    }
    flush();
    return text.replaceAll('▁', ' ').replace(/^ /, '');
  },
};

function pieces(
  decoder: Decoder,
  ids: ArrayLike<number>,
  stops: string[] = [],
  before: number[] = [],
): string[] {
  const stream = new TextStream(decoder, stops, before);
  return [...Array.from(ids, (id) => stream.push(id)), stream.end()];
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('TextStream', () => {
  it('hands out whole characters only', () => {
    expect(pieces(bytes, encode('a€!'))).toEqual(['a', '', '', '€', '!', '']);
    expect(pieces(bytes, encode('😀é'))).toEqual(['', '', '', '😀', '', 'é', '']);
    expect(pieces(bytes, encode('a€').subarray(0, 3))).toEqual(['a', '', '', '\ufffd']);
    expect(pieces(sentencePiece, [0xe2, 0x82, 0xac, 256])).toEqual(['', '', '€', ' Hello', '']);
  });

  it('keeps the spaces between words, and after a prompt', () => {
    expect(pieces(sentencePiece, [256, 257, 258, 259, 260]).join('')).toBe('Hello world, there');
    expect(pieces(sentencePiece, [257, 258], [], [256]).join('')).toBe(' world,');
    expect(pieces(sentencePiece, [256, 257], [], [999]).join('')).toBe('Hello world');
    expect(pieces(sentencePiece, [256, 999, 999, 257]).join('')).toBe('Hello world');
    expect(pieces(bytes, encode('€').subarray(1), [], Array.from(encode('a€').subarray(0, 2))).join('')).toBe(
      '€',
    );
  });

  it('is not held up by characters that are U+FFFD', () => {
    expect(pieces(bytes, encode('a\ufffdb')).join('')).toBe('a\ufffdb');
    const stuck = pieces(bytes, new Uint8Array(1000).fill(0xff));
    expect(stuck.join('')).toBe('\ufffd'.repeat(1000));
    expect(stuck.indexOf('\ufffd')).toBe(3);
    expect(pieces(sentencePiece, new Array<number>(500).fill(0x80)).join('')).toBe('\ufffd'.repeat(500));
    expect(pieces(sentencePiece, new Array<number>(500).fill(999)).join('')).toBe('');
  });

  it('gives the text of random characters, however many tokens each takes', () => {
    const random = new Generator(2);
    const alphabet = Array.from('aé€😀 \n߿ࠀ𐀀');
    const text = Array.from({ length: 3000 }, () => alphabet[random.nextInt(alphabet.length)]).join('');
    expect(pieces(bytes, encode(text)).join('')).toBe(text);
  });

  it('decodes a bounded number of ids for each token', () => {
    let decoded = 0;
    const counting: Decoder = {
      vocabSize: 256,
      decode: (ids) => ((decoded += ids.length), bytes.decode(ids)),
    };
    for (const text of ['word '.repeat(2000), '\ufffd'.repeat(3000)]) {
      decoded = 0;
      pieces(counting, encode(text));
      expect(decoded / encode(text).length).toBeLessThan(40);
    }
  });

  it('stops before a stop text, whatever tokens cut it', () => {
    const stop = 'END';
    for (const ids of [[...encode('one END two')], [...encode('one EN'), ...encode('D')]]) {
      const stream = new TextStream(bytes, [stop]);
      const out = ids.map((id) => stream.push(id)).join('') + stream.end();
      expect(out).toBe('one ');
      expect(stream.stopped).toBe(true);
      expect(stream.push(65) + stream.end()).toBe('');
    }
    expect(pieces(bytes, encode('one EN'), ['END']).join('')).toBe('one EN');
    expect(pieces(bytes, encode('ababac'), ['abac']).join('')).toBe('ab');
    expect(pieces(sentencePiece, [256, 257], ['lo wor']).join('')).toBe('Hel');
  });
});

describe('StopStrings', () => {
  it('finds what a plain search finds, the first to be complete', () => {
    const random = new Generator(9);
    const letters = (n: number): string => Array.from({ length: n }, () => 'ab'[random.nextInt(2)]).join('');
    for (let round = 0; round < 300; round++) {
      const text = letters(40);
      const stops = Array.from({ length: 1 + random.nextInt(4) }, () => letters(2 + random.nextInt(7)));
      const ends = stops
        .map((stop) => text.indexOf(stop) + stop.length)
        .filter((end, i) => end >= stops[i].length);
      const expected = ends.length === 0 ? null : Math.min(...ends);
      const search = new StopStrings(stops);
      let found: number | null = null;
      for (let at = 0; at < text.length && found === null; at += 3) {
        const match = search.push(text.slice(at, at + 3));
        if (match !== null) found = at + match.end;
      }
      expect(found).toBe(expected);
    }
  });

  it('takes a thousand stop texts, long ones too', () => {
    const stops = Array.from({ length: 1000 }, (_, i) => `${'a'.repeat(1000)}${i}!`);
    const search = new StopStrings(stops);
    const started = performance.now();
    expect(search.push('a'.repeat(5000))).toBeNull();
    expect(search.pending).toBe(1000);
    expect(search.push('77!b')).toEqual({ end: 3, length: 1003 });
    expect(performance.now() - started).toBeLessThan(5000);
  });

  it('refuses an empty text', () => {
    expect(() => new StopStrings(['a', ''])).toThrow(ArgumentError);
    expect(() => new StopStrings([''])).toThrow('generate: a stop text must not be empty');
  });
});
