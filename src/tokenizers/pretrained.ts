/**
 * A tokenizer as it was published with a model: BPE, WordPiece, Unigram or word-level with everything around it. Which
 * file it came from makes no difference any more; it saves as a `tokenizer.json` that Hugging Face's libraries load.
 */

import { statSync } from 'node:fs';
import { join } from 'node:path';

import { ArgumentError, checkOptions } from '../../lib/errors.js';
import { replaceFiles, writeFileAtomic } from '../../lib/formats/atomic-file.js';
import type { AddedToken, SearchOptions } from './added-tokens.js';
import {
  specialTokenNames,
  usualSpecialTokens,
  type SpecialTokenName,
  type TokenizerConfig,
} from './config.js';
import { renderChat, type ChatMessage, type ChatTemplateOptions, type MarkedText } from './chat-template.js';
import { cleanUp } from './decoders.js';
import {
  batchOptionNames,
  countAdded,
  encodeOptionNames,
  fill,
  fillIds,
  pad,
  truncate,
  truncatedLengths,
  type EncodeBatchOptions,
  type EncodeOptions,
  type Encoding,
  type Segment,
  type TruncationStrategy,
} from './encoding.js';
import { show } from './fields.js';
import { BpeModel } from './models/bpe.js';
import { UnigramModel } from './models/unigram.js';
import { WordPieceModel } from './models/wordpiece.js';
import { Pipeline, type PipelineParts } from './pipeline.js';
import { plainPostProcessor } from './post-processors.js';
import type { DecodeOptions, Tokenizer } from './tokenizer.js';

/** Options of {@link PretrainedTokenizer.encodeChat}. */
export interface EncodeChatOptions extends ChatTemplateOptions {
  /** Whether special tokens that the messages spell are read as such. Default false. */
  readonly parseSpecialTokens?: boolean;
}

export class PretrainedTokenizer implements Tokenizer {
  readonly type: 'bpe' | 'wordpiece' | 'unigram' | 'wordlevel';
  /** The tokens with a role (bos, eos, unk, sep, pad, cls, mask), as they are written. */
  readonly specialTokens: Readonly<Partial<Record<SpecialTokenName, string>>>;
  readonly config: TokenizerConfig;
  readonly #pipeline: Pipeline;

  /**
   * @param parts What the tokenizer is made of.
   * @param config What is said beside it; its added tokens join those of the parts.
   */
  constructor(parts: PipelineParts, config: TokenizerConfig) {
    this.#pipeline = new Pipeline(withConfig(parts, config));
    this.config = config;
    const special = this.#pipeline.addedTokens.filter((token) => token.special).map((token) => token.content);
    const named = Object.keys(config.specialTokens).length > 0;
    this.specialTokens = named ? config.specialTokens : usualSpecialTokens(special);
    const { model } = this.#pipeline;
    if (model instanceof BpeModel) this.type = 'bpe';
    else if (model instanceof WordPieceModel) this.type = 'wordpiece';
    else this.type = model instanceof UnigramModel ? 'unigram' : 'wordlevel';
  }

  get vocabSize(): number {
    return this.#pipeline.vocabSize;
  }

  get bosId(): number | undefined {
    return this.#roleId('bos');
  }
  get eosId(): number | undefined {
    return this.#roleId('eos');
  }
  get unkId(): number | undefined {
    return this.#roleId('unk');
  }
  get sepId(): number | undefined {
    return this.#roleId('sep');
  }
  get padId(): number | undefined {
    return this.#roleId('pad');
  }
  get clsId(): number | undefined {
    return this.#roleId('cls');
  }
  get maskId(): number | undefined {
    return this.#roleId('mask');
  }

  #roleId(name: SpecialTokenName): number | undefined {
    const token = this.specialTokens[name];
    return token === undefined ? undefined : this.#pipeline.id(token);
  }

  /** The tokens that were added to the model's vocabulary or are special in it, by id. */
  get addedTokens(): readonly AddedToken[] {
    return this.#pipeline.addedTokens;
  }

  /** The token of an id, as it is written in the vocabulary (`Ġthe`); undefined where there is none. */
  idToToken(id: number): string | undefined {
    return this.#pipeline.token(id);
  }

  /** The id of a token as it is written in the vocabulary. */
  tokenToId(token: string): number | undefined {
    return this.#pipeline.id(token);
  }

  /** Whether an id's token is marked as special. */
  isSpecialId(id: number): boolean {
    return this.#pipeline.isSpecial(id);
  }

  /**
   * The ids of a text, with the special tokens that the tokenizer's file asks for.
   *
   * @throws TokenizerError where the vocabulary lacks a character and has no unknown token.
   * @example
   * const tokenizer = AutoTokenizer.fromPretrained('models/gpt2');
   * tokenizer.encode('Hello world'); // Int32Array [15496, 995]
   */
  encode(text: string, options: EncodeOptions = {}): Int32Array {
    checkOptions('encode', options, encodeOptionNames);
    return fillIds(this.#template(options), this.#segments(text, options, false));
  }

  /** The tokens of a text as they are written in the vocabulary: `['Hello', 'Ġworld']`. */
  tokenize(text: string, options: EncodeOptions = {}): string[] {
    return Array.from(this.encode(text, options), (id) => this.#pipeline.token(id)!);
  }

  /** Everything about the tokens of a text: ids, offsets, types, masks. */
  encodePlus(text: string, options: EncodeOptions = {}): Encoding {
    checkOptions('encodePlus', options, encodeOptionNames);
    const segments = this.#segments(text, options, true);
    return fill(this.#template(options), segments, (id) => this.#pipeline.token(id) ?? '');
  }

  /**
   * Encodes several texts; with `padding` all encodings have one length.
   * @throws ArgumentError for padding where the tokenizer has no pad token.
   */
  encodeBatch(texts: readonly string[], options: EncodeBatchOptions = {}): Encoding[] {
    checkOptions('encodeBatch', options, batchOptionNames);
    const { padding = false, paddingSide, padToMultipleOf: _, textPairs, ...each } = options;
    if (textPairs !== undefined && textPairs.length !== texts.length) {
      throw new ArgumentError(
        `encodeBatch: textPairs must have a text for each of the ${texts.length}, got ${textPairs.length}`,
      );
    }
    const encodings = texts.map((text, at) =>
      this.encodePlus(text, textPairs === undefined ? each : { ...each, textPair: textPairs[at] }),
    );
    if (padding === false) return encodings;
    const length = this.#paddedLength(encodings, padding, options);
    const { padId } = this;
    if (padId === undefined) {
      throw new ArgumentError('encodeBatch: padding needs a pad token, which this tokenizer does not have');
    }
    const side = paddingSide ?? this.config.paddingSide;
    return encodings.map((encoding) => pad(encoding, length, side, padId, this.specialTokens.pad!));
  }

  #paddedLength(
    encodings: readonly Encoding[],
    padding: EncodeBatchOptions['padding'],
    { maxLength, padToMultipleOf: multiple = 1 }: EncodeBatchOptions,
  ): number {
    checkWhole('padToMultipleOf', multiple, 1);
    let length = encodings.reduce((most, { ids }) => Math.max(most, ids.length), 0);
    if (padding === 'max_length') {
      const wanted = maxLength ?? this.config.maxLength;
      if (wanted === Infinity) throw new ArgumentError("encodeBatch: padding 'max_length' needs maxLength");
      length = Math.max(length, wanted);
    } else if (padding !== true && padding !== 'longest') {
      throw new ArgumentError(
        `encodeBatch: padding must be true, false, 'longest' or 'max_length', got ${show(padding)}`,
      );
    }
    return Math.ceil(length / multiple) * multiple;
  }

  /**
   * The text of ids.
   * @throws TokenizerError for what is no id of the vocabulary. Ids in a gap of it stand for nothing.
   */
  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    checkOptions('decode', options, ['skipSpecialTokens', 'cleanUpTokenizationSpaces']);
    const text = this.#pipeline.decode(ids, options.skipSpecialTokens ?? false);
    return (options.cleanUpTokenizationSpaces ?? this.config.cleanUpTokenizationSpaces)
      ? cleanUp(text)
      : text;
  }

  /**
   * The text that the model's chat template makes of a conversation. It runs in a thread of its own, for a second and in
   * 64 MB at most.
   *
   * @throws ArgumentError where there is no template, or the messages are none.
   * @throws TokenizerError when the template fails or goes beyond a limit.
   * @example
   * tokenizer.applyChatTemplate([{ role: 'user', content: 'Hello' }], { addGenerationPrompt: true });
   */
  applyChatTemplate(messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): string {
    return this.#renderChat(messages, options).text;
  }

  /**
   * The ids of a conversation, as a chat model takes them. What the messages hold is text: a special token that is
   * spelled in it does not become that token, so that nobody ends their turn or takes another role.
   *
   * @param options `parseSpecialTokens: true` reads special tokens in the messages too, as Hugging Face's libraries do.
   */
  encodeChat(messages: readonly ChatMessage[], options: EncodeChatOptions = {}): Int32Array {
    const { parseSpecialTokens = false, ...template } = options;
    const { text, literal } = this.#renderChat(messages, template);
    return this.#pipeline.segment(text, false, {
      parseSpecial: true,
      ...(parseSpecialTokens || literal.length === 0 ? {} : { literal }),
    }).ids;
  }

  #renderChat(messages: readonly ChatMessage[], options: ChatTemplateOptions): MarkedText {
    return renderChat(this.config, this.specialTokens, messages, options, (text) =>
      this.#pipeline.specialPlaces(text),
    );
  }

  /** The tokenizer in Hugging Face's `tokenizer.json` form. */
  toJSON(): object {
    return this.#pipeline.toJSON();
  }

  /**
   * Writes `tokenizer.json` and `tokenizer_config.json` into an existing folder, or the former alone to a file.
   * @throws FileError when they cannot be written: the old ones are still there then.
   */
  save(path: string): void {
    const tokenizer = `${JSON.stringify(this)}\n`;
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) {
      writeFileAtomic(path, tokenizer);
      return;
    }
    replaceFiles(path, (staging) => {
      writeFileAtomic(join(staging, 'tokenizer.json'), tokenizer);
      writeFileAtomic(
        join(staging, 'tokenizer_config.json'),
        `${JSON.stringify(this.configToJSON(), null, 2)}\n`,
      );
    });
  }

  /** What is said beside it, in the form of Hugging Face's `tokenizer_config.json`. */
  configToJSON(): Record<string, unknown> {
    const { config } = this;
    const tokens = specialTokenNames
      .filter((name) => this.specialTokens[name] !== undefined)
      .map((name): [string, unknown] => [`${name}_token`, this.specialTokens[name]]);
    const templates = [...config.chatTemplates];
    const chat =
      templates.length === 1 && templates[0][0] === 'default'
        ? templates[0][1]
        : templates.map(([name, template]) => ({ name, template }));
    return {
      ...config.json,
      ...Object.fromEntries(tokens),
      ...(templates.length > 0 ? { chat_template: chat } : {}),
      clean_up_tokenization_spaces: config.cleanUpTokenizationSpaces,
      // The class that takes everything from tokenizer.json; others would build parts of it anew.
      tokenizer_class: 'PreTrainedTokenizerFast',
    };
  }

  #template({ addSpecialTokens = true, textPair }: EncodeOptions): typeof plainPostProcessor.single {
    const processor = addSpecialTokens ? this.#pipeline.postProcessor : plainPostProcessor;
    return textPair === undefined ? processor.single : processor.pair;
  }

  /** The tokens of the texts, cut where asked for. */
  #segments(text: string, options: EncodeOptions, tracked: boolean): Segment[] {
    const { textPair, parseSpecialTokens = true, truncation = false } = options;
    const search: SearchOptions = { parseSpecial: parseSpecialTokens };
    const texts = textPair === undefined ? [text] : [text, textPair];
    for (const each of texts) {
      if (typeof each !== 'string')
        throw new ArgumentError(`encode: the text must be a string, got ${show(each)}`);
    }
    const segments = texts.map((each) => this.#pipeline.segment(each, tracked, search));
    if (truncation === false) return segments;
    const strategy = readStrategy(truncation);
    const most = options.maxLength ?? this.config.maxLength;
    if (most === Infinity) return segments;
    checkWhole('maxLength', most, 0);
    const room = most - countAdded(this.#template(options));
    if (room < 0) {
      throw new ArgumentError(
        `encode: maxLength ${most} has no room for the ${countAdded(this.#template(options))} special tokens`,
      );
    }
    const lengths = truncatedLengths(
      segments.map(({ ids }) => ids.length),
      room,
      strategy,
    );
    const side = options.truncationSide ?? this.config.truncationSide;
    return segments.map((segment, at) => truncate(segment, lengths[at], side));
  }
}

function checkWhole(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new ArgumentError(`encode: ${name} must be a whole number of at least ${least}, got ${show(value)}`);
}

function readStrategy(truncation: boolean | string): TruncationStrategy {
  if (truncation === true) return 'longest_first';
  const strategies = ['longest_first', 'only_first', 'only_second'];
  if (strategies.includes(truncation as string)) return truncation as TruncationStrategy;
  throw new ArgumentError(
    `encode: truncation must be true, false, ${strategies.join(', ')}, got ${show(truncation)}`,
  );
}

/** The parts with the tokens that only the configuration names. */
function withConfig(parts: PipelineParts, config: TokenizerConfig): PipelineParts {
  const known = new Set(parts.addedTokens.map((token) => token.content));
  const added = config.addedTokens.filter((token) => !known.has(token.content));
  added.forEach((token) => known.add(token.content));
  for (const content of Object.values(config.specialTokens)) {
    const id = parts.model.vocab.id(content);
    if (known.has(content) || id === undefined) continue;
    known.add(content);
    added.push({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    });
  }
  return { ...parts, addedTokens: [...parts.addedTokens, ...added] };
}
