/**
 * What encoding answers beside ids, and how encodings are cut and filled up: truncation and padding by the rules (and
 * in the words) of Hugging Face's transformers.
 */

import { ArgumentError } from '../../lib/errors.js';
import type { PostProcessor } from './post-processors.js';

/** One encoded text, or pair of texts. All arrays have an entry for each token. */
export interface Encoding {
  readonly ids: Int32Array;
  readonly tokens: readonly string[];
  /**
   * The part of the text that each token stands for: UTF-16 positions, as `text.slice(start, end)` takes them. Special
   * tokens that were put there have [0, 0]; tokens of the second text of a pair point into that.
   */
  readonly offsets: readonly (readonly [start: number, end: number])[];
  /** 0 and 1 for the parts of a pair, as the tokenizer's template says. */
  readonly typeIds: Int32Array;
  /** 1 for special tokens that were put there, and for padding. */
  readonly specialTokensMask: Uint8Array;
  /** 0 for padding. */
  readonly attentionMask: Uint8Array;
}

/** Options of encoding. */
export interface EncodeOptions {
  /** Puts the special tokens there that the tokenizer's file asks for: bos, [CLS], ... Default true. */
  readonly addSpecialTokens?: boolean;
  /** A second text: [CLS] text [SEP] textPair [SEP]. */
  readonly textPair?: string;
  /**
   * Whether the spelling of a special token in the text is read as that token. Default true, as in Hugging Face's
   * libraries; false for text of strangers that must not end their turn or begin another.
   */
  readonly parseSpecialTokens?: boolean;
  /** What to cut where there are more than `maxLength` tokens: true is `longest_first`. Default false. */
  readonly truncation?: boolean | TruncationStrategy;
  /** Default: the `model_max_length` of the tokenizer's configuration. */
  readonly maxLength?: number;
  /** Which end is cut. Default: what the configuration says, else right. */
  readonly truncationSide?: Side;
}

/** Options of encoding several texts. */
export interface EncodeBatchOptions extends Omit<EncodeOptions, 'textPair'> {
  /** The second texts, one for each text. */
  readonly textPairs?: readonly string[];
  /** Fills all up to the longest (true, `longest`) or to `maxLength`. Default false. */
  readonly padding?: boolean | 'longest' | 'max_length';
  /** Where padding goes. Default: what the configuration says, else right. Decoders generate with it at the left. */
  readonly paddingSide?: Side;
  /** Pads to a multiple of this. */
  readonly padToMultipleOf?: number;
}

export type Side = 'left' | 'right';
/** Which text of a pair is cut: the longer one, token by token, or always the same. */
export type TruncationStrategy = 'longest_first' | 'only_first' | 'only_second';

/** The names of {@link EncodeOptions} and {@link EncodeBatchOptions}, for checks. */
export const encodeOptionNames = [
  'addSpecialTokens',
  'textPair',
  'parseSpecialTokens',
  'truncation',
  'maxLength',
  'truncationSide',
] as const;
export const batchOptionNames = [
  ...encodeOptionNames.filter((name) => name !== 'textPair'),
  'textPairs',
  'padding',
  'paddingSide',
  'padToMultipleOf',
] as const;

/** The tokens of one text before anything is put around them. */
export interface Segment {
  readonly ids: Int32Array;
  /** Positions in the text; null where nobody asked. */
  readonly starts: Int32Array | null;
  readonly ends: Int32Array | null;
}

/**
 * How many tokens of each text stay.
 * @param most For all texts together.
 */
export function truncatedLengths(
  lengths: readonly number[],
  most: number,
  strategy: TruncationStrategy,
): readonly number[] {
  const total = lengths.reduce((sum, length) => sum + length, 0);
  if (total <= most) return lengths;
  if (lengths.length === 1) {
    if (strategy === 'only_second') {
      throw new ArgumentError("encode: truncation 'only_second' needs a second text (textPair)");
    }
    return [Math.max(0, most)];
  }
  const [first, second] = lengths;
  if (strategy === 'longest_first') {
    // The shorter one is kept whole as long as it is not more than half.
    const shorter = Math.min(first, second);
    let [small, large] = [shorter, shorter > most ? shorter : Math.max(shorter, most - shorter)];
    if (small + large > most) [small, large] = [Math.floor(most / 2), Math.floor(most / 2) + (most % 2)];
    return first > second ? [large, small] : [small, large];
  }
  const cut = strategy === 'only_first' ? 0 : 1;
  const left = lengths[cut] - (total - most);
  if (left <= 0) {
    throw new ArgumentError(
      `encode: with truncation '${strategy}' and maxLength the ${cut === 0 ? 'first' : 'second'} text has too few tokens to cut`,
    );
  }
  return cut === 0 ? [left, second] : [first, left];
}

/** A part of a segment: the first or last tokens. */
export function truncate(segment: Segment, length: number, side: Side): Segment {
  const { ids, starts, ends } = segment;
  if (length >= ids.length) return segment;
  const [from, to] = side === 'right' ? [0, length] : [ids.length - length, ids.length];
  return {
    ids: ids.subarray(from, to),
    starts: starts?.subarray(from, to) ?? null,
    ends: ends?.subarray(from, to) ?? null,
  };
}

/** How many special tokens a template puts there. */
export function countAdded(template: PostProcessor['single']): number {
  return template.reduce((sum, part) => sum + (part.kind === 'special' ? part.ids.length : 0), 0);
}

/** The ids of a template filled with texts. */
export function fillIds(template: PostProcessor['single'], segments: readonly Segment[]): Int32Array {
  if (template.length === 1 && template[0].kind === 'text') return segments[template[0].text].ids;
  const parts = template.map((part) => (part.kind === 'text' ? segments[part.text].ids : part.ids));
  const result = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

/** A template filled with texts, with everything that an encoding tells. */
export function fill(
  template: PostProcessor['single'],
  segments: readonly Segment[],
  token: (id: number) => string,
): Encoding {
  const ids = fillIds(template, segments);
  const typeIds = new Int32Array(ids.length);
  const specialTokensMask = new Uint8Array(ids.length);
  const offsets: (readonly [number, number])[] = [];
  for (const part of template) {
    const from = offsets.length;
    if (part.kind === 'special') {
      part.ids.forEach(() => offsets.push([0, 0]));
      specialTokensMask.fill(1, from, offsets.length);
    } else {
      const { ids: own, starts, ends } = segments[part.text];
      own.forEach((_, at) => offsets.push([starts![at], ends![at]]));
    }
    typeIds.fill(part.typeId, from, offsets.length);
  }
  return {
    ids,
    tokens: Array.from(ids, token),
    offsets,
    typeIds,
    specialTokensMask,
    attentionMask: new Uint8Array(ids.length).fill(1),
  };
}

/** An encoding filled up to a length. */
export function pad(encoding: Encoding, length: number, side: Side, id: number, token: string): Encoding {
  const count = length - encoding.ids.length;
  if (count <= 0) return encoding;
  const at = side === 'right' ? 0 : count;
  const filled = <T extends Int32Array | Uint8Array>(array: T, result: T): T => {
    result.set(array, at);
    return result;
  };
  const around = <T>(list: readonly T[], value: T): T[] => {
    const padding = new Array<T>(count).fill(value);
    return side === 'right' ? [...list, ...padding] : [...padding, ...list];
  };
  return {
    ids: filled(encoding.ids, new Int32Array(length).fill(id)),
    tokens: around(encoding.tokens, token),
    offsets: around<readonly [number, number]>(encoding.offsets, [0, 0]),
    typeIds: filled(encoding.typeIds, new Int32Array(length)),
    specialTokensMask: filled(encoding.specialTokensMask, new Uint8Array(length).fill(1)),
    attentionMask: filled(encoding.attentionMask, new Uint8Array(length)),
  };
}
