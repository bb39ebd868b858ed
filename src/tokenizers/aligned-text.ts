/**
 * Text that remembers where it came from. Normalizers and pre-tokenizers change a text; offsets of tokens must still
 * point into the text that the caller gave. An AlignedText carries, for each of its UTF-16 units, the span of the
 * original text that the unit stands for. Where nobody asks for offsets the spans are left out, and only strings flow.
 * The rules of which span a new character gets are those of Hugging Face's NormalizedString.
 */

export class AlignedText {
  private constructor(
    readonly text: string,
    /** First original position of each unit; null when offsets are not tracked. */
    readonly starts: Int32Array | null,
    /** Position after the last original one of each unit. */
    readonly ends: Int32Array | null,
  ) {}

  /** The original text itself. */
  static of(text: string, tracked: boolean): AlignedText {
    if (!tracked) return new AlignedText(text, null, null);
    const starts = new Int32Array(text.length);
    const ends = new Int32Array(text.length);
    for (let at = 0; at < text.length;) {
      const next = at + unitsAt(text, at);
      for (let unit = at; unit < next; unit++) {
        starts[unit] = at;
        ends[unit] = next;
      }
      at = next;
    }
    return new AlignedText(text, starts, ends);
  }

  get tracked(): boolean {
    return this.starts !== null;
  }

  slice(from: number, to: number): AlignedText {
    if (from === 0 && to === this.text.length) return this;
    const text = this.text.slice(from, to);
    if (this.starts === null) return new AlignedText(text, null, null);
    return new AlignedText(text, this.starts.subarray(from, to), this.ends!.subarray(from, to));
  }

  /** A changed text: `build` copies and puts its parts in order. */
  rewrite(build: (writer: Rewriter) => void): AlignedText {
    const parts: string[] = [];
    const from: number[] = [];
    const to: number[] = [];
    const { text, starts, ends } = this;
    build({
      copy(first, after) {
        parts.push(text.slice(first, after));
        for (let at = first; starts !== null && at < after; at++) {
          from.push(starts[at]);
          to.push(ends![at]);
        }
      },
      put(piece, at) {
        parts.push(piece);
        for (let unit = 0; starts !== null && unit < piece.length; unit++) {
          from.push(starts[at]);
          to.push(ends![at]);
        }
      },
    });
    if (starts === null) return new AlignedText(parts.join(''), null, null);
    return new AlignedText(parts.join(''), Int32Array.from(from), Int32Array.from(to));
  }

  /** Another text of the same length, unit by unit in the same places. */
  withText(text: string): AlignedText {
    return new AlignedText(text, this.starts, this.ends);
  }
}

/** What {@link AlignedText.rewrite} builds a text with. */
export interface Rewriter {
  /** The units from `first` up to `after` as they are. */
  copy(first: number, after: number): void;
  /** New text that stands for what the unit `at` stands for. */
  put(text: string, at: number): void;
}

/** The number of UTF-16 units of the character at a position: 2 for a surrogate pair. */
export function unitsAt(text: string, at: number): 1 | 2 {
  const unit = text.charCodeAt(at);
  if ((unit & 0xfc00) !== 0xd800 || at + 1 >= text.length) return 1;
  return (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00 ? 2 : 1;
}
