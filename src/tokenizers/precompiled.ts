/**
 * SentencePiece's precompiled character map: which character sequences a normalizer replaces, as a Darts double array
 * (Yata et al., https://github.com/s-yata/darts-clone) over UTF-8 bytes, followed by the replacements. T5's and ALBERT's
 * normalization is one (`nmt_nfkc`). The bytes come from a file, so every step is checked against their length.
 */

import { TokenizerError } from '../../lib/errors.js';
import { unitsAt, type AlignedText, type Rewriter } from './aligned-text.js';
import { writeUtf8 } from './bytes.js';

/** Longer graphemes are mapped character by character, as Hugging Face's library does. */
const longestGrapheme = 5;

const blockUnits = 256;

export class PrecompiledMap {
  readonly #units: Uint32Array;
  readonly #replacements: Uint8Array;
  readonly #decoder = new TextDecoder();
  readonly #graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
  /** Replacements found before, by the text that they replace; null for texts that stay. */
  readonly #known = new Map<string, string | null>();
  #bytes = new Uint8Array(96);

  /** @throws TokenizerError when the bytes are cut short. */
  constructor(charsmap: Uint8Array) {
    const size =
      charsmap.length < 4 ? -1 : new DataView(charsmap.buffer, charsmap.byteOffset).getUint32(0, true);
    if (size < 4 || size % 4 !== 0 || size + 4 > charsmap.length) {
      throw new TokenizerError(
        `the precompiled character map is damaged: it has ${charsmap.length} bytes` +
          (size < 0 ? '' : ` and says that its trie has ${size}`),
      );
    }
    // A copy, as the units must be aligned.
    this.#units = new Uint32Array(Uint8Array.from(charsmap.subarray(4, 4 + size)).buffer);
    this.#replacements = charsmap.subarray(4 + size);
    if (this.#replacements.length > 0 && this.#replacements.at(-1) !== 0) {
      throw new TokenizerError('the precompiled character map is damaged: its last replacement has no end');
    }
  }

  /**
   * Hugging Face's way: a grapheme that begins with a sequence of the map becomes the replacement of the shortest
   * such, else its characters are looked up one by one.
   */
  normalizeGraphemes(input: AlignedText): AlignedText {
    const { text } = input;
    if (!this.#changes(text)) return input;
    return input.rewrite((writer) => {
      for (let at = 0; at < text.length;) {
        const next = text.charCodeAt(at + 1);
        if (text.charCodeAt(at) < 0x80 && !(next >= 0x80)) {
          // The only grapheme of several ASCII characters is a line break.
          const end = at + (text.startsWith('\r\n', at) ? 2 : 1);
          this.#grapheme(writer, text, at, end);
          at = end;
        } else {
          at = this.#run(writer, text, at);
        }
      }
    });
  }

  /** SentencePiece's way: at each place the longest sequence of the map is replaced. */
  normalizeLongest(input: AlignedText): AlignedText {
    const { text } = input;
    if (!this.#changes(text)) return input;
    return input.rewrite((writer) => {
      let copied = 0;
      for (let at = 0; at < text.length;) {
        const found = this.#longest(text, at);
        if (found === null) {
          at += unitsAt(text, at);
          continue;
        }
        writer.copy(copied, at);
        putAligned(writer, found.replacement, text, at, found.end);
        copied = at = found.end;
      }
      writer.copy(copied, text.length);
    });
  }

  /** The graphemes from a place up to the next two ASCII characters, or the end of a block; answers where it ended. */
  #run(writer: Rewriter, text: string, from: number): number {
    let end = from + 1;
    // In blocks: the segmenter takes a time that grows with the square of its text's length.
    const most = Math.min(text.length, from + blockUnits);
    while (end < most && !(text.charCodeAt(end - 1) < 0x80 && text.charCodeAt(end) < 0x80)) end++;
    let at = from;
    for (const { index, segment } of this.#graphemes.segment(text.slice(from, end))) {
      // The last grapheme of a block may go on behind it.
      if (index > 0 && from + index + segment.length === most && most < text.length) break;
      at = from + index + segment.length;
      this.#grapheme(writer, text, from + index, at);
    }
    return at;
  }

  #grapheme(writer: Rewriter, text: string, from: number, to: number): void {
    const part = text.slice(from, to);
    const isShort = part.length <= longestGrapheme && writeUtf8(part, this.#bytes) <= longestGrapheme;
    const whole = isShort ? this.#replacement(part) : null;
    if (whole !== null) putAligned(writer, whole, text, from, to);
    else this.#characters(writer, text, from, to);
  }

  /** A quick test that most texts fail: whether any character may begin a sequence of the map. */
  #changes(text: string): boolean {
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      if (unit >= 0x80 || this.#startsAscii[unit] === 1) return true;
    }
    return false;
  }

  get #startsAscii(): Uint8Array {
    if (this.#ascii === undefined) {
      this.#ascii = new Uint8Array(128);
      for (let byte = 1; byte < 128; byte++) {
        this.#ascii[byte] = this.#search(Uint8Array.of(byte), 1, () => undefined) ? 1 : 0;
      }
    }
    return this.#ascii;
  }
  #ascii: Uint8Array | undefined;

  #characters(writer: Rewriter, text: string, from: number, to: number): void {
    for (let at = from; at < to;) {
      const end = at + unitsAt(text, at);
      const replacement = this.#replacement(text.slice(at, end));
      if (replacement === null) writer.copy(at, end);
      else putAligned(writer, replacement, text, at, end);
      at = end;
    }
  }

  /** The replacement of the shortest sequence of the map that the text begins with. */
  #replacement(text: string): string | null {
    let found = this.#known.get(text);
    if (found === undefined) {
      const length = writeUtf8(text, this.#bytes);
      let offset = -1;
      this.#search(this.#bytes, length, (value) => {
        if (offset < 0) offset = value;
      });
      found = offset < 0 ? null : this.#at(offset);
      if (this.#known.size > 2 ** 16) this.#known.clear();
      this.#known.set(text, found);
    }
    return found;
  }

  #longest(text: string, from: number): { replacement: string; end: number } | null {
    // A sequence of the map has a few characters at most; 24 units are enough for any.
    const length = writeUtf8(text.slice(from, from + 24), this.#bytes);
    let offset = -1;
    let bytes = 0;
    this.#search(this.#bytes, length, (value, count) => {
      offset = value;
      bytes = count;
    });
    if (offset < 0) return null;
    let end = from;
    for (let seen = 0; seen < bytes;) {
      const code = text.codePointAt(end)!;
      seen += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
      end += code < 0x10000 ? 1 : 2;
    }
    return { replacement: this.#at(offset), end };
  }

  /** Calls `found` with the value and length of each sequence that the bytes begin with; whether the first byte leads on. */
  #search(bytes: Uint8Array, length: number, found: (value: number, bytes: number) => void): boolean {
    const units = this.#units;
    let node = offsetOf(units[0]);
    for (let at = 0; at < length; at++) {
      const byte = bytes[at];
      node ^= byte;
      if (byte === 0 || node >= units.length || (units[node] & labelMask) >>> 0 !== byte) return at > 0;
      const unit = units[node];
      node ^= offsetOf(unit);
      if ((unit & 0x100) === 0) continue;
      if (node >= units.length) return at > 0;
      found(units[node] & 0x7fffffff, at + 1);
    }
    return true;
  }

  #at(offset: number): string {
    const end = this.#replacements.indexOf(0, offset);
    if (offset >= this.#replacements.length || end < 0) {
      throw new TokenizerError(
        `the precompiled character map is damaged: it has no replacement at ${offset}`,
      );
    }
    return this.#decoder.decode(this.#replacements.subarray(offset, end));
  }
}

/** The label of a unit; the top bit marks a value, which no byte equals. */
const labelMask = 0x800000ff;

const offsetOf = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);

/** Writes `replacement` for a part of a text: its characters stand for those of the part in order, the last for the rest. */
export function putAligned(
  writer: Rewriter,
  replacement: string,
  text: string,
  from: number,
  to: number,
): void {
  let at = from;
  for (const character of replacement) {
    writer.put(character, at);
    const next = at + unitsAt(text, at);
    if (next < to) at = next;
  }
}
