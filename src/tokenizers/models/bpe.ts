/**
 * Byte pair encoding (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909): a word begins as its characters, or in
 * the byte-level form of GPT-2 as its bytes, and neighbours are merged in the order that training found. Serves GPT-2,
 * Llama 3 and Qwen2 (bytes), Llama 2, Phi-3 and Mistral (SentencePiece: characters with byte fallback) and the classic
 * form with `</w>` or `@@`. Results equal those of Hugging Face's tokenizers, whose options are named as there.
 */

import { TokenizerError } from '../../../lib/errors.js';
import { byteCharacters, byteToken, tokenOfBytes, utf8Length, writeUtf8 } from '../bytes.js';
import { show, type Fields } from '../fields.js';
import { NativeBpe } from '../native-bpe.js';
import { PairTable } from '../pair-table.js';
import { unitsAt } from '../aligned-text.js';
import { Merger } from './merge.js';
import {
  readVocabulary,
  WordCache,
  type IdBuffer,
  type Model,
  type Segments,
  type Vocabulary,
} from './model.js';

/** Options of a {@link BpeModel}. */
export interface BpeOptions {
  /** Pieces are taken as UTF-8 bytes, each written as a character of GPT-2's byte alphabet. */
  readonly byteLevel?: boolean;
  /** The token for characters that the vocabulary lacks; without one they are dropped. */
  readonly unkToken?: string | null;
  /** Neighbouring unknown characters become one unknown token. */
  readonly fuseUnk?: boolean;
  /** Unknown characters become tokens `<0x0A>` of their bytes where the vocabulary has these. */
  readonly byteFallback?: boolean;
  /** A piece that is in the vocabulary is a token at once, whatever the merges say (Llama 3). */
  readonly ignoreMerges?: boolean;
  /** Before every character of a word but the first: `##`. */
  readonly continuingSubwordPrefix?: string | null;
  /** After the last character of a word: `</w>`. */
  readonly endOfWordSuffix?: string | null;
  /**
   * Merges that make the same token have the same rank, so that the leftmost comes first: the rule of tiktoken and
   * SentencePiece, whose files rank tokens. Otherwise the merges are ranked one by one, as in a `tokenizer.json`.
   */
  readonly rankByToken?: boolean;
}

/** The parts of a merge as they are written in the vocabulary. */
export type Merge = readonly [left: string, right: string];

export class BpeModel implements Model {
  readonly byteLevel: boolean;
  readonly options: Required<BpeOptions>;
  /** The fast way for whole texts; null where only this class knows the options. */
  readonly native: NativeBpe | null;
  /** As given: lines are taken apart only when somebody asks for their parts. */
  readonly #merges: readonly (Merge | string)[];
  #ownMerger: Merger | undefined;
  readonly #cache = new WordCache();
  #ownByteIds: Int32Array | undefined;
  #ownFallbackIds: Int32Array | undefined;
  /** Places of a word's characters that are in no token, and how many units they have. */
  #dropped: [at: number, units: number][] = [];
  /** Whether a word can be cut before each ▁ that follows something else, as no token reaches across. */
  readonly #cutsAtSpaces: boolean;
  #bytes = new Uint8Array(256);

  /**
   * @param merges In the order of their ranks; a string is two tokens with a space between them.
   * @throws TokenizerError when a merge names a token that is not in the vocabulary.
   */
  constructor(
    readonly vocab: Vocabulary,
    merges: readonly (Merge | string)[],
    options: BpeOptions = {},
  ) {
    this.#merges = merges;
    this.options = { ...defaults, ...options };
    this.byteLevel = this.options.byteLevel;
    this.#cutsAtSpaces = !this.byteLevel && cutsAtSpaces(vocab, this.options);
    this.native = this.#makeNative();
    if (this.native === null) void this.#merger; // checks the merges, as native code does
  }

  #makeNative(): NativeBpe | null {
    if (!this.byteLevel || this.#hasAffixes) return null;
    const { tokens, ids } = this.vocab.columns();
    try {
      const native = new NativeBpe(tokens, ids, this.#mergeLines(), this.options);
      return native.hasAllBytes ? native : null;
    } catch (error) {
      if (error instanceof TokenizerError) return null; // the merge table says what is wrong with the merges
      throw error;
    }
  }

  /** Ids of the 256 characters of the byte alphabet, -1 where there is none. */
  get #byteIds(): Int32Array {
    return (this.#ownByteIds ??= Int32Array.from(byteCharacters, (name) => this.vocab.id(name) ?? -1));
  }

  /** Ids of the tokens `<0x00>` to `<0xFF>`. */
  get #fallbackIds(): Int32Array {
    const idOf = (_: string, byte: number): number => this.vocab.id(byteToken(byte)) ?? -1;
    return (this.#ownFallbackIds ??= Int32Array.from(byteCharacters, idOf));
  }

  /** Made when a piece is first merged here: whole texts that go the native way never need it. */
  get #merger(): Merger {
    return (this.#ownMerger ??= new Merger(this.#mergeTable()));
  }

  /** The merges in the order of their ranks. */
  get merges(): readonly Merge[] {
    return this.#merges.map((merge) => (typeof merge === 'string' ? partsOf(merge) : merge));
  }

  #mergeLines(): readonly string[] {
    return this.#merges.map((merge) => (typeof merge === 'string' ? merge : merge.join(' ')));
  }

  /** The model of a `tokenizer.json`. */
  static fromJSON(fields: Fields, byteLevel: boolean): BpeModel {
    // Files cut down to their added tokens have {} there.
    const isEmpty = !Array.isArray(fields.raw('merges')) && JSON.stringify(fields.raw('merges')) === '{}';
    const merges = (isEmpty ? [] : fields.list('merges', [])).map((merge, rank): Merge | string => {
      if (typeof merge === 'string' && isLine(merge)) return merge;
      if (Array.isArray(merge) && merge.length === 2 && merge.every((part) => typeof part === 'string')) {
        return merge as unknown as Merge;
      }
      throw new TokenizerError(
        `${fields.where}.merges: merge ${rank} must be 'a b' or ['a', 'b'], got ${show(merge)}`,
      );
    });
    return new BpeModel(readVocabulary(fields), merges, {
      byteLevel,
      unkToken: fields.optionalString('unk_token'),
      fuseUnk: fields.boolean('fuse_unk', false),
      byteFallback: fields.boolean('byte_fallback', false),
      ignoreMerges: fields.boolean('ignore_merges', false),
      continuingSubwordPrefix: fields.optionalString('continuing_subword_prefix'),
      endOfWordSuffix: fields.optionalString('end_of_word_suffix'),
      rankByToken: fields.boolean('rank_by_token', false),
    });
  }

  toJSON(): object {
    const { options } = this;
    return {
      type: 'BPE',
      dropout: null,
      unk_token: options.unkToken,
      continuing_subword_prefix: options.continuingSubwordPrefix,
      end_of_word_suffix: options.endOfWordSuffix,
      fuse_unk: options.fuseUnk,
      byte_fallback: options.byteFallback,
      ignore_merges: options.ignoreMerges,
      // Hugging Face's library passes over what it does not know.
      ...(options.rankByToken ? { rank_by_token: true } : {}),
      vocab: this.vocab.toJSON(),
      merges: this.#merges.some((merge) => typeof merge !== 'string' && !isLine(merge.join(' ')))
        ? this.merges
        : this.#mergeLines(),
    };
  }

  encode(piece: string, ids: IdBuffer): void {
    if (!this.#cutsAtSpaces) {
      this.#encodeWord(piece, ids);
      return;
    }
    for (let from = 0; from < piece.length;) {
      const to = wordEnd(piece, from);
      this.#encodeWord(from === 0 && to === piece.length ? piece : piece.slice(from, to), ids);
      from = to;
    }
  }

  #encodeWord(word: string, ids: IdBuffer): void {
    const known = this.#cache.get(word);
    if (known !== undefined) {
      ids.pushAll(known);
      return;
    }
    this.#merge(word);
    const { ids: symbols, count } = this.#merger;
    const result = symbols.slice(0, count);
    this.#cache.set(word, result);
    ids.pushAll(result);
  }

  segment(piece: string): Segments {
    this.#merge(piece);
    const spans = this.#spans();
    return this.byteLevel ? inUnits(spans, piece) : spans;
  }

  /** Leaves the tokens of a word in the merger; their lengths are in bytes for byte level, else in UTF-16 units. */
  #merge(word: string): void {
    const merger = this.#merger;
    if (this.byteLevel) this.#beginWithBytes(word);
    else this.#beginWithCharacters(word);
    if (this.options.ignoreMerges) {
      const whole = this.vocab.id(this.byteLevel ? tokenOfBytes(this.#bytes, this.#byteCount) : word);
      if (whole !== undefined) {
        merger.begin(1);
        merger.add(whole, this.byteLevel ? this.#byteCount : word.length);
        return;
      }
    }
    merger.merge();
  }

  /** Where the tokens in the merger are in their word, in the unit of their lengths. */
  #spans(): Segments {
    const { ids, lengths, count } = this.#merger;
    const [starts, ends] = [new Array<number>(count), new Array<number>(count)];
    let [at, next] = [0, 0];
    for (let token = 0; token < count; token++) {
      if (lengths[token] === 0) {
        // A later byte of the character before it.
        starts[token] = starts[token - 1];
        ends[token] = ends[token - 1];
        continue;
      }
      while (next < this.#dropped.length && this.#dropped[next][0] === at) at += this.#dropped[next++][1];
      starts[token] = at;
      at += lengths[token];
      // What was dropped inside the token makes it longer.
      while (next < this.#dropped.length && this.#dropped[next][0] < at) at += this.#dropped[next++][1];
      ends[token] = at;
    }
    return { ids: Array.from(ids.subarray(0, count)), starts, ends };
  }

  #byteCount = 0;

  #beginWithBytes(word: string): void {
    if (this.#bytes.length < word.length * 3) this.#bytes = new Uint8Array(word.length * 3);
    const bytes = this.#bytes;
    const count = writeUtf8(word, bytes);
    this.#byteCount = count;
    // Byte fallback may make two tokens of a byte's character.
    this.#merger.begin(this.#isPlainByteLevel ? count : count * 2);
    if (this.#isPlainByteLevel) {
      for (let at = 0; at < count; at++) this.#merger.add(this.#byteIds[bytes[at]], 1);
    } else {
      this.#addSymbols(tokenOfBytes(bytes, count));
    }
  }

  /** All bytes are in the vocabulary and nothing is put before or after them: the rule, except in toys. */
  get #isPlainByteLevel(): boolean {
    return (this.#plain ??= this.byteLevel && !this.#hasAffixes && !this.#byteIds.includes(-1));
  }
  #plain: boolean | undefined;

  get #hasAffixes(): boolean {
    return this.#affix('prefix') !== '' || this.#affix('suffix') !== '';
  }

  #affix(which: 'prefix' | 'suffix'): string {
    const { continuingSubwordPrefix, endOfWordSuffix } = this.options;
    return (which === 'prefix' ? continuingSubwordPrefix : endOfWordSuffix) ?? '';
  }

  #beginWithCharacters(word: string): void {
    // Byte fallback may make three tokens of a unit.
    this.#merger.begin(this.options.byteFallback ? word.length * 3 : word.length);
    this.#addSymbols(word);
  }

  /** The characters of a word as ids, unknown ones as the options say. */
  #addSymbols(word: string): void {
    const merger = this.#merger;
    const { fuseUnk, byteFallback, unkToken } = this.options;
    const [prefix, suffix] = [this.#affix('prefix'), this.#affix('suffix')];
    let unknown = 0;
    this.#dropped = [];
    for (let at = 0; at < word.length;) {
      const units = unitsAt(word, at);
      const character = word.slice(at, at + units);
      let symbol = character;
      if (at > 0) symbol = prefix + symbol;
      if (at + units === word.length) symbol += suffix;
      at += units;
      const id = this.vocab.id(symbol);
      if (id === undefined && byteFallback && this.#addBytes(symbol, units)) continue;
      if (id === undefined && unkToken === null) {
        this.#dropped.push([at - units, units]);
        continue;
      }
      if (unknown > 0 && (id !== undefined || !fuseUnk)) {
        merger.add(this.#unknownId(), unknown);
        unknown = 0;
      }
      if (id === undefined) unknown += units;
      else merger.add(id, units);
    }
    if (unknown > 0) merger.add(this.#unknownId(), unknown);
  }

  /** A symbol as its bytes' tokens, the first of which covers it; false if the vocabulary lacks one. */
  #addBytes(symbol: string, units: number): boolean {
    const bytes = new TextEncoder().encode(symbol);
    if (bytes.some((byte) => this.#fallbackIds[byte] < 0)) return false;
    bytes.forEach((byte, at) => this.#merger.add(this.#fallbackIds[byte], at === 0 ? units : 0));
    return true;
  }

  #unknownId(): number {
    const { unkToken } = this.options;
    const id = unkToken === null ? undefined : this.vocab.id(unkToken);
    if (id === undefined) {
      throw new TokenizerError(
        `encode: the vocabulary lacks a character and the unknown token ${show(unkToken)} too`,
      );
    }
    return id;
  }

  #mergeTable(): PairTable {
    const { vocab, merges } = this;
    const table = new PairTable(merges.length);
    const skipped = this.#affix('prefix').length;
    const ranks = new Map<number, number>();
    merges.forEach(([left, right], rank) => {
      const [first, second] = [vocab.id(left), vocab.id(right)];
      const token = left + right.slice(skipped);
      const merged = vocab.id(token);
      const absent = first === undefined ? left : second === undefined ? right : token;
      if (first === undefined || second === undefined || merged === undefined) {
        throw new TokenizerError(
          `merge ${rank} (${show(left)} and ${show(right)}) needs the token ${show(absent)}, which is not in the vocabulary`,
        );
      }
      let order = rank;
      if (this.options.rankByToken) {
        order = ranks.get(merged) ?? rank;
        ranks.set(merged, order);
      }
      // Of a pair that is there twice, Hugging Face's library keeps the later.
      table.set(first, second, order, merged);
    });
    return table;
  }
}

/** Whether a merge's line has one space, which is then between its parts. */
const isLine = (merge: string): boolean => {
  const at = merge.indexOf(' ');
  return at >= 0 && !merge.includes(' ', at + 1);
};

function partsOf(line: string): Merge {
  const at = line.indexOf(' ');
  return [line.slice(0, at), line.slice(at + 1)];
}

const defaults: Required<BpeOptions> = {
  byteLevel: false,
  unkToken: null,
  fuseUnk: false,
  byteFallback: false,
  ignoreMerges: false,
  continuingSubwordPrefix: null,
  endOfWordSuffix: null,
  rankByToken: false,
};

const space = '▁';

/** Whether no token holds a ▁ after something else, and ▁ itself is known and not treated apart. */
function cutsAtSpaces(vocab: Vocabulary, options: Required<BpeOptions>): boolean {
  if (vocab.id(space) === undefined || options.ignoreMerges) return false;
  if ((options.continuingSubwordPrefix ?? '') !== '' || (options.endOfWordSuffix ?? '') !== '') return false;
  for (const [token] of vocab.entries()) if (/[^▁]▁/u.test(token)) return false;
  return true;
}

/** Where the word ends that begins at `from`: before the next ▁ that follows something else. */
function wordEnd(text: string, from: number): number {
  let at = from;
  while (at < text.length && text.startsWith(space, at)) at++;
  const end = text.indexOf(space, at);
  return end < 0 ? text.length : end;
}

/** Places that are counted in bytes in UTF-16 units. A token of a part of a character stands for the whole character. */
function inUnits({ ids, starts, ends }: Segments, piece: string): Segments {
  const [first, after]: [number[], number[]] = [[], []];
  for (let at = 0; at < piece.length;) {
    const next = at + unitsAt(piece, at);
    for (let bytes = utf8Length(piece.codePointAt(at)!); bytes > 0; bytes--) {
      first.push(at);
      after.push(next);
    }
    at = next;
  }
  return { ids, starts: starts.map((byte) => first[byte]), ends: ends.map((byte) => after[byte - 1]) };
}
