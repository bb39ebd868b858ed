/**
 * What BERT is pre-trained on: texts of which some tokens are hidden, to be predicted from all others ("BERT: Pre-training of
 * Deep Bidirectional Transformers", Devlin et al., 2019). Of the chosen tokens most become `[MASK]`, some another token
 * and some stay, so that the model must look at every place.
 */

import { ArgumentError, checkOptions } from '../../lib/errors.js';
import type { Generator } from '../../lib/random.js';
import type { PretrainedTokenizer } from '../tokenizers/pretrained.js';

/** Label of a token that is not to be predicted. */
export const ignoredLabel = -100;

/** How tokens are hidden. */
export interface MaskingOptions {
  /** The part of the tokens that is to be predicted; default 0.15. */
  readonly maskProb?: number;
  /** Of these the part that becomes another token, drawn at random; default 0.1. */
  readonly randomProb?: number;
  /** Of these the part that stays as it is; default 0.1. The others become `[MASK]`. */
  readonly keepProb?: number;
  /** Chooses words, all pieces of which are predicted together; default false. */
  readonly wholeWords?: boolean;
}

/** Names of {@link MaskingOptions}. */
export const maskingOptionNames = ['maskProb', 'randomProb', 'keepProb', 'wholeWords'] as const;

/** A text with hidden tokens. */
export interface MaskedIds {
  readonly ids: Int32Array;
  /** What stood there, where it is to be predicted; -100 elsewhere. */
  readonly labels: Int32Array;
}

/** Hides tokens of texts. */
export class TokenMasker {
  readonly settings: Readonly<Required<MaskingOptions>>;
  readonly #maskId: number;
  /** Ids that are no special tokens. */
  readonly #ordinary: Int32Array;
  /** By id: 0 a special token, 1 the beginning of a word, 2 a later piece of one. */
  readonly #kinds: Uint8Array;

  /**
   * @throws ArgumentError for parts outside 0 to 1, and for a tokenizer without a mask token.
   * @example
   * const masker = new TokenMasker(tokenizer, { wholeWords: true });
   * const { ids, labels } = masker.mask(tokenizer.encode(text), new Generator(1));
   */
  constructor(tokenizer: PretrainedTokenizer, options: MaskingOptions = {}) {
    checkOptions('TokenMasker', options, maskingOptionNames);
    const { maskProb = 0.15, randomProb = 0.1, keepProb = 0.1, wholeWords = false } = options;
    for (const [name, value] of Object.entries({ maskProb, randomProb, keepProb })) {
      if (!(value >= 0 && value <= 1)) {
        throw new ArgumentError(`TokenMasker: ${name} must be from 0 to 1, got ${value}`);
      }
    }
    if (maskProb === 0) throw new ArgumentError('TokenMasker: maskProb must be above 0, got 0');
    if (randomProb + keepProb > 1) {
      throw new ArgumentError(
        `TokenMasker: randomProb and keepProb must be at most 1 together, got ${randomProb} and ${keepProb}`,
      );
    }
    if (tokenizer.maskId === undefined) {
      throw new ArgumentError('TokenMasker: the tokenizer has no mask token, which hides the others');
    }
    this.settings = { maskProb, randomProb, keepProb, wholeWords };
    this.#maskId = tokenizer.maskId;
    this.#kinds = kindsOf(tokenizer);
    this.#ordinary = Int32Array.from(this.#kinds.keys()).filter((id) => this.#kinds[id] !== special);
    if (this.#ordinary.length === 0)
      throw new ArgumentError('TokenMasker: all tokens are special, there is none to hide');
  }

  /**
   * Hides tokens of one text: `maskProb` of those that are not special, rounded up or down at random so that it is met on
   * average, and one at least where there is any.
   */
  mask(ids: Int32Array, generator: Generator): MaskedIds {
    const units = this.#unitsOf(ids);
    const tokens = units.reduce((sum, [start, end]) => sum + end - start, 0);
    const masked = ids.slice();
    const labels = new Int32Array(ids.length).fill(ignoredLabel);
    if (tokens === 0) return { ids: masked, labels };
    const wanted = Math.max(1, Math.floor(tokens * this.settings.maskProb + generator.nextFloat()));
    let chosen = 0;
    for (let i = 0; i < units.length && chosen < wanted; i++) {
      const j = i + generator.nextInt(units.length - i);
      [units[i], units[j]] = [units[j], units[i]];
      const [start, end] = units[i];
      if (chosen > 0 && chosen + end - start > wanted) continue; // as BERT: a shorter word may still fit
      for (let at = start; at < end; at++) {
        labels[at] = ids[at];
        masked[at] = this.#hide(ids[at], generator);
      }
      chosen += end - start;
    }
    return { ids: masked, labels };
  }

  #hide(id: number, generator: Generator): number {
    const { keepProb, randomProb } = this.settings;
    const draw = generator.nextFloat();
    if (draw < keepProb) return id;
    if (draw < keepProb + randomProb) return this.#ordinary[generator.nextInt(this.#ordinary.length)];
    return this.#maskId;
  }

  /** What is chosen together: tokens, or the tokens of words, from a place to before another. */
  #unitsOf(ids: Int32Array): [start: number, end: number][] {
    const units: [number, number][] = [];
    let open = false; // whether a word may go on here
    for (let at = 0; at < ids.length; at++) {
      const kind = this.#kinds[ids[at]] ?? special;
      if (kind === special) {
        open = false;
      } else if (this.settings.wholeWords && open && kind === laterPiece) {
        units[units.length - 1][1] = at + 1;
      } else {
        units.push([at, at + 1]);
        open = true;
      }
    }
    return units;
  }
}

const special = 0;
const wordStart = 1;
const laterPiece = 2;

/** What each id of a vocabulary is. Where a word begins, its first token says: by a space before it, or no `##`. */
function kindsOf(tokenizer: PretrainedTokenizer): Uint8Array {
  const goesOn: (token: string) => boolean = {
    wordpiece: (token: string) => token.startsWith('##'),
    bpe: (token: string) => !/^[ĠĊĉ▁]/.test(token), // byte-level: space, line break, tab
    unigram: (token: string) => !token.startsWith('▁'),
    wordlevel: () => false,
  }[tokenizer.type];
  return Uint8Array.from({ length: tokenizer.vocabSize }, (_, id) => {
    const token = tokenizer.idToToken(id);
    if (token === undefined || tokenizer.isSpecialId(id)) return special;
    return goesOn(token) ? laterPiece : wordStart;
  });
}
