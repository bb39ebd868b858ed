/**
 * The way from text to tokens and back that a `tokenizer.json` describes: added tokens are found, what lies between them
 * is normalized, split and given to the model. All other files (vocab.txt, SentencePiece, tiktoken, GGUF) are read into
 * the same parts.
 */

import { TokenizerError } from '../../lib/errors.js';
import { AddedTokenFinder, checkAddedTokens, type AddedToken, type SearchOptions } from './added-tokens.js';
import { AlignedText } from './aligned-text.js';
import { readDecoder, type Decoder } from './decoders.js';
import type { Segment } from './encoding.js';
import { show } from './fields.js';
import { BpeModel } from './models/bpe.js';
import { IdBuffer, type Model } from './models/model.js';
import { nativeWordsOf, type NativeBpe, type NativeSplit } from './native-bpe.js';
import { prepend, readNormalizer, toByteCharacters, type Normalizer } from './normalizers.js';
import { plainPostProcessor, readPostProcessor, type PostProcessor } from './post-processors.js';
import { readPreTokenizer, type PreTokenizer } from './pre-tokenizers.js';
import { isWhitespace } from './unicode.js';

/** What a tokenizer is made of; the parts other than the model are objects of a `tokenizer.json`, or null. */
export interface PipelineParts {
  readonly model: Model;
  readonly addedTokens: readonly AddedToken[];
  readonly normalizer: object | null;
  readonly preTokenizer: object | null;
  readonly postProcessor: object | null;
  readonly decoder: object | null;
  readonly truncation?: object | null;
  readonly padding?: object | null;
}

const halfPairs = /\p{Surrogate}/gu;

/** Native code that takes whole texts. */
interface NativeWay {
  readonly bpe: NativeBpe;
  readonly split: NativeSplit;
  /** What the pre-tokenizer does before it cuts. */
  readonly prepare: Normalizer;
}

const withSpace = prepend(' ');
const prependSpace: Normalizer = (text) => (text.text.startsWith(' ') ? text : withSpace(text));

export class Pipeline {
  readonly model: Model;
  readonly addedTokens: readonly AddedToken[];
  readonly postProcessor: PostProcessor;
  /** One past the greatest id. */
  readonly vocabSize: number;
  readonly #parts: PipelineParts;
  readonly #normalizer: Normalizer | null;
  readonly #preTokenizer: PreTokenizer | null;
  readonly #decoder: Decoder | null;
  /** What splits and encodes whole texts in native code, in place of the pre-tokenizer and the model. */
  readonly #native: NativeWay | null;
  /** Looked for in the text as it is given, and in the normalized text. */
  readonly #given: AddedTokenFinder;
  readonly #normalized: AddedTokenFinder;
  readonly #byId = new Map<number, AddedToken>();
  readonly #byContent = new Map<string, AddedToken>();

  /** @throws TokenizerError for parts of an unknown kind, or added tokens that contradict the vocabulary. */
  constructor(parts: PipelineParts) {
    const { model, normalizer, preTokenizer, postProcessor, decoder } = parts;
    this.#parts = parts;
    this.model = model;
    this.#normalizer = normalizer === null ? null : readNormalizer('normalizer', normalizer);
    this.#preTokenizer = preTokenizer === null ? null : splitFor(model, preTokenizer);
    this.#native = nativeWay(model, preTokenizer);
    this.#decoder = decoder === null ? null : readDecoder('decoder', decoder);
    this.postProcessor =
      postProcessor === null ? plainPostProcessor : readPostProcessor('post_processor', postProcessor);
    this.addedTokens = parts.addedTokens.map((token) => this.#withId(token)).sort((a, b) => a.id - b.id);
    checkAddedTokens(this.addedTokens);
    let size = model.vocab.size;
    for (const token of this.addedTokens) {
      this.#byId.set(token.id, token);
      this.#byContent.set(token.content, token);
      size = Math.max(size, token.id + 1);
    }
    this.vocabSize = size;
    this.#given = new AddedTokenFinder(
      this.addedTokens.filter((token) => !token.normalized),
      (token) => token.content,
    );
    this.#normalized = new AddedTokenFinder(
      this.addedTokens.filter((token) => token.normalized),
      (token) => this.#normalize(AlignedText.of(token.content, false)).text,
    );
  }

  /** A token that the model has too keeps the model's id. */
  #withId(token: AddedToken): AddedToken {
    if (this.model.vocab.token(token.id) === token.content) return token;
    const id = this.model.vocab.id(token.content) ?? token.id;
    const other = this.model.vocab.token(id);
    if (other !== undefined && other !== token.content) {
      throw new TokenizerError(
        `the added token ${show(token.content)} has the id ${id}, which is that of the token ${show(other)}`,
      );
    }
    return { ...token, id };
  }

  /** The token of an id, as it is written in the vocabulary. */
  token(id: number): string | undefined {
    return this.#byId.get(id)?.content ?? this.model.vocab.token(id);
  }

  id(token: string): number | undefined {
    return this.#byContent.get(token)?.id ?? this.model.vocab.id(token);
  }

  isSpecial(id: number): boolean {
    return this.#byId.get(id)?.special === true;
  }

  /** The places in a text where special tokens are spelled. */
  specialPlaces(text: string): (readonly [from: number, to: number])[] {
    this.#special ??= new AddedTokenFinder(
      this.addedTokens
        .filter((token) => token.special)
        .map((token) => ({ ...token, lstrip: false, rstrip: false, single_word: false })),
      (token) => token.content,
    );
    const places: (readonly [number, number])[] = [];
    for (let at = 0; ;) {
      const match = this.#special.find(text, at, { parseSpecial: true });
      if (match === null) return places;
      places.push([match.from, match.to]);
      at = match.to;
    }
  }
  #special: AddedTokenFinder | undefined;

  /** The tokens of a text, with their places in it where `tracked`. */
  segment(given: string, tracked: boolean, options: SearchOptions): Segment {
    // Half a surrogate pair is no text; it is read as the replacement character, as a conversion to UTF-8 does it.
    const text = given.replace(halfPairs, '\ufffd');
    const ids = new IdBuffer();
    if (!tracked) {
      this.#walk(AlignedText.of(text, false), options, {
        token: (id) => ids.push(id),
        piece: (piece) => this.model.encode(piece.text, ids),
        text: (part, { bpe, split }) => ids.pushAll(bpe.encode(part.text, split)),
      });
      return { ids: ids.toArray(), starts: null, ends: null };
    }
    const [starts, ends] = [new IdBuffer(), new IdBuffer()];
    this.#walk(AlignedText.of(text, true), options, {
      token: (id, match) => {
        ids.push(id);
        starts.push(match.starts![0]);
        ends.push(match.ends!.at(-1)!);
      },
      piece: (piece) => {
        const segments = this.model.segment(piece.text);
        segments.ids.forEach((id, at) => {
          const [from, to] = [segments.starts[at], segments.ends[at]];
          ids.push(id);
          starts.push(piece.starts![from]);
          ends.push(piece.ends![to - 1]);
        });
      },
      text: (part, { bpe, split }) => {
        const found = bpe.encode(part.text, split);
        const offsets = bpe.offsets(part.text, found);
        ids.pushAll(found);
        for (let at = 0; at < offsets.length; at += 2) {
          starts.push(part.starts![offsets[at]]);
          ends.push(part.ends![offsets[at + 1] - 1]);
        }
      },
    });
    const segment = { ids: ids.toArray(), starts: starts.toArray(), ends: ends.toArray() };
    if (this.postProcessor.trimOffsets !== null) this.#trim(segment, text, this.postProcessor.trimOffsets);
    return segment;
  }

  /** The text of ids. */
  decode(ids: ArrayLike<number>, skipSpecialTokens: boolean): string {
    const tokens: string[] = [];
    for (let at = 0; at < ids.length; at++) {
      const id = ids[at];
      if (!(Number.isInteger(id) && id >= 0 && id < this.vocabSize)) {
        throw new TokenizerError(
          `decode: id ${id} at position ${at} is outside the vocabulary of ${this.vocabSize}`,
        );
      }
      const token = this.token(id);
      // A gap between ids stands for nothing.
      if (token !== undefined && !(skipSpecialTokens && this.isSpecial(id))) tokens.push(token);
    }
    return this.#decoder === null ? tokens.join(' ') : this.#decoder(tokens).join('');
  }

  /** The tokenizer as a `tokenizer.json`. */
  toJSON(): object {
    const parts = this.#parts;
    return {
      version: '1.0',
      truncation: parts.truncation ?? null,
      padding: parts.padding ?? null,
      added_tokens: this.addedTokens,
      normalizer: parts.normalizer,
      pre_tokenizer: parts.preTokenizer,
      post_processor: parts.postProcessor,
      decoder: parts.decoder,
      model: this.model.toJSON(),
    };
  }

  #normalize(text: AlignedText): AlignedText {
    return this.#normalizer === null ? text : this.#normalizer(text);
  }

  /** Added tokens, and the pieces between them, in order. */
  #walk(
    text: AlignedText,
    options: SearchOptions,
    to: {
      token: (id: number, match: AlignedText) => void;
      piece: (piece: AlignedText) => void;
      text: (part: AlignedText, native: NativeWay) => void;
    },
  ): void {
    const split = (
      part: AlignedText,
      finder: AddedTokenFinder,
      search: SearchOptions,
      between: (rest: AlignedText, from: number) => void,
    ): void => {
      let done = 0;
      for (;;) {
        const match = finder.isEmpty ? null : finder.find(part.text, done, search);
        const end = match?.from ?? part.text.length;
        if (end > done) between(part.slice(done, end), done);
        if (match === null) break;
        to.token(match.id, part.slice(match.from, match.to));
        done = match.to;
      }
    };
    split(text, this.#given, options, (given, from) => {
      split(this.#normalize(given), this.#normalized, this.#afterNormalization(options, from), (rest, at) => {
        if (this.#native !== null) to.text(this.#native.prepare(rest), this.#native);
        else if (this.#preTokenizer === null) to.piece(rest);
        else this.#preTokenizer(rest, from + at === 0, to.piece);
      });
    });
  }

  /** The options of a search in the normalized part of a text that begins at `from`. */
  #afterNormalization(options: SearchOptions, from: number): SearchOptions {
    if (options.literal === undefined) return options;
    // A normalizer moves what is literal; special tokens are then not looked for in what it made.
    if (this.#normalizer !== null) return { parseSpecial: false };
    return { ...options, literal: options.literal.map(([start, end]) => [start - from, end - from]) };
  }

  /** Leaves white space at the ends of tokens out of their places. */
  #trim(
    { ids, starts, ends }: { ids: Int32Array; starts: Int32Array; ends: Int32Array },
    text: string,
    { addPrefixSpace }: { addPrefixSpace: boolean },
  ): void {
    const isSpace = (character: string): boolean =>
      character === 'Ġ' || isWhitespace(character.charCodeAt(0));
    for (let at = 0; at < ids.length; at++) {
      // An added token is what was found, with the white space that it took along.
      const isAdded = this.#byId.has(ids[at]);
      const token = Array.from(isAdded ? text.slice(starts[at], ends[at]) : this.token(ids[at])!);
      let leading = token.findIndex((character) => !isSpace(character));
      if (leading < 0) leading = token.length;
      const trailing = token.length - 1 - token.findLastIndex((character) => !isSpace(character));
      if (leading > 0) {
        const isFirst = at === 0 || starts[at] === 0;
        if (isFirst && addPrefixSpace) leading--;
        starts[at] = Math.min(starts[at] + leading, ends[at]);
      }
      if (trailing > 0 && ends[at] >= trailing) ends[at] = Math.max(ends[at] - trailing, starts[at]);
    }
  }
}

/** The splitting; the bytes are left to a model that takes them. */
function splitFor(model: Model, preTokenizer: object): PreTokenizer {
  const { split, byteLevel } = readPreTokenizer('pre_tokenizer', preTokenizer);
  if (!byteLevel || (model instanceof BpeModel && model.byteLevel)) return split;
  return (text, atStart, emit) =>
    split(text, atStart, (piece, first) => emit(toByteCharacters(piece), first));
}

/** The native way of a tokenizer, null where it has none. */
function nativeWay(model: Model, preTokenizer: object | null): NativeWay | null {
  const words = nativeWordsOf(preTokenizer);
  const bpe = model instanceof BpeModel ? model.native : null;
  if (words === null || bpe === null) return null;
  return { bpe, split: words.split, prepare: words.addPrefixSpace ? prependSpace : (text) => text };
}
