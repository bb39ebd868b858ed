/**
 * SentencePiece's `.model` files (https://github.com/google/sentencepiece, sentencepiece_model.proto): unigram, BPE, word
 * and character models with their normalization. Read into the parts of a `tokenizer.json`, so that control pieces are
 * special tokens, user-defined pieces added tokens, and saving gives a file for Hugging Face.
 */

import { TokenizerError } from '../../../lib/errors.js';
import { byteOfToken } from '../bytes.js';
import type { TokenizerConfig } from '../config.js';
import { show } from '../fields.js';
import { BpeModel } from '../models/bpe.js';
import { Vocabulary, type Model } from '../models/model.js';
import { UnigramModel, type ScoredToken } from '../models/unigram.js';
import { WordLevelModel } from '../models/wordlevel.js';
import type { PipelineParts } from '../pipeline.js';
import { protobufFields } from './protobuf.js';
import { mergesByScore } from './ranked-merges.js';
import { bosEosTemplate } from './vocabulary-files.js';

/** Kinds of pieces, numbered as in the file. */
const kinds = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

export interface Piece {
  readonly piece: string;
  readonly score: number;
  readonly kind: number;
}

/** What a model says, with the defaults of sentencepiece_model.proto. */
export interface SentencePieceModel {
  readonly pieces: readonly Piece[];
  readonly modelType: 'unigram' | 'bpe' | 'word' | 'char';
  readonly byteFallback: boolean;
  readonly charsmap: Uint8Array;
  readonly addDummyPrefix: boolean;
  readonly removeExtraWhitespaces: boolean;
  readonly escapeWhitespaces: boolean;
}

const modelTypes = ['unigram', 'bpe', 'word', 'char'] as const;
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** @throws TokenizerError for bytes that are no such model. */
export function parseSentencePiece(bytes: Uint8Array): SentencePieceModel {
  const pieces: Piece[] = [];
  let modelType = 1;
  let byteFallback = false;
  let treatWhitespaceAsSuffix = false;
  const spec = { charsmap: new Uint8Array(), addDummyPrefix: true, remove: true, escape: true };
  for (const { number, bytes: message } of protobufFields(bytes)) {
    if (message === null) continue;
    if (number === 1) pieces.push(parsePiece(message));
    if (number === 2) {
      for (const field of protobufFields(message)) {
        if (field.number === 3) modelType = field.value;
        if (field.number === 24) treatWhitespaceAsSuffix = field.value !== 0;
        if (field.number === 35) byteFallback = field.value !== 0;
      }
    }
    if (number === 3) {
      for (const field of protobufFields(message)) {
        if (field.number === 2 && field.bytes !== null) spec.charsmap = Uint8Array.from(field.bytes);
        if (field.number === 3) spec.addDummyPrefix = field.value !== 0;
        if (field.number === 4) spec.remove = field.value !== 0;
        if (field.number === 5) spec.escape = field.value !== 0;
      }
    }
  }
  const type = modelTypes[modelType - 1];
  if (type === undefined) throw new TokenizerError(`a model of type ${modelType} is not known`);
  if (pieces.length === 0) throw new TokenizerError('the file has no pieces; it is no SentencePiece model');
  if (treatWhitespaceAsSuffix) {
    throw new TokenizerError('a model whose words end in ▁ (treat_whitespace_as_suffix) cannot be used');
  }
  return {
    pieces,
    modelType: type,
    byteFallback,
    charsmap: spec.charsmap,
    addDummyPrefix: spec.addDummyPrefix,
    removeExtraWhitespaces: spec.remove,
    escapeWhitespaces: spec.escape,
  };
}

function parsePiece(message: Uint8Array): Piece {
  let [piece, score, kind] = ['', 0, kinds.normal as number];
  for (const field of protobufFields(message)) {
    if (field.number === 1 && field.bytes !== null) piece = utf8.decode(field.bytes);
    if (field.number === 2) score = field.value;
    if (field.number === 3) kind = field.value;
  }
  if (kind === kinds.byte && byteOfToken(piece) < 0) {
    throw new TokenizerError(`the byte piece ${show(piece)} names no byte`);
  }
  if (!Number.isFinite(score)) throw new TokenizerError(`the piece ${show(piece)} has the score ${score}`);
  return { piece, score, kind };
}

/** The parts of a `.model` file. Its bos and eos are put around texts where the configuration asks for it. */
export function partsFromSentencePiece(bytes: Uint8Array, config: TokenizerConfig): PipelineParts {
  return partsFromPieces(parseSentencePiece(bytes), config);
}

/** The parts of a model that a `.model` file or the metadata of a GGUF file holds. */
export function partsFromPieces(model: SentencePieceModel, config: TokenizerConfig): PipelineParts {
  const { pieces } = model;
  const unkId = pieces.findIndex(({ kind }) => kind === kinds.unknown);
  return {
    model: readModel(model, unkId),
    addedTokens: pieces.flatMap(({ piece, kind }, id) => {
      if (kind !== kinds.control && kind !== kinds.unknown && kind !== kinds.userDefined) return [];
      const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
      return [{ id, content: piece, ...flags, special: kind !== kinds.userDefined }];
    }),
    normalizer: normalizerOf(model),
    preTokenizer:
      model.modelType === 'word'
        ? { type: 'Split', pattern: { String: '▁' }, behavior: 'MergedWithNext', invert: false }
        : null,
    postProcessor: bosEosTemplate(idsOf(pieces), config),
    decoder: decoderOf(model),
  };
}

function idsOf(pieces: readonly Piece[]): { id: (token: string) => number | undefined } {
  const ids = new Map(pieces.map(({ piece }, id) => [piece, id]));
  return { id: (token) => ids.get(token) };
}

function readModel({ pieces, modelType, byteFallback }: SentencePieceModel, unkId: number): Model {
  if (modelType === 'unigram') {
    return new UnigramModel(
      pieces.map(({ piece, score }): ScoredToken => [piece, score]),
      unkId < 0 ? null : unkId,
      byteFallback,
      // Only these are found in a text; the others stand for something else than their spelling.
      (id) => pieces[id].kind === kinds.normal,
    );
  }
  const vocabulary = new Vocabulary();
  pieces.forEach(({ piece }, id) => vocabulary.add(piece, id));
  const unkToken = unkId < 0 ? null : pieces[unkId].piece;
  if (modelType === 'word') return new WordLevelModel(vocabulary, unkToken ?? '<unk>');
  const merged = modelType === 'char' ? [] : pieces;
  return new BpeModel(
    vocabulary,
    mergesByScore(
      merged.map(({ piece, score, kind }) => ({ token: piece, score, used: kind === kinds.normal })),
      vocabulary,
    ),
    { unkToken, fuseUnk: true, byteFallback, rankByToken: true },
  );
}

/** SentencePiece's normalization: the character map, spaces at the ends off and runs of them one, ▁ for a space. */
function normalizerOf(model: SentencePieceModel): object | null {
  const steps: object[] = [];
  if (model.charsmap.length > 0) {
    const charsmap = Buffer.from(model.charsmap).toString('base64');
    steps.push({ type: 'Precompiled', precompiled_charsmap: charsmap, longest_match: true });
  }
  if (model.removeExtraWhitespaces) {
    // Not Strip, which takes more than spaces.
    steps.push(
      { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' },
      { type: 'Replace', pattern: { Regex: '\\A | \\z' }, content: '' },
    );
  }
  if (model.addDummyPrefix) steps.push({ type: 'Prepend', prepend: model.escapeWhitespaces ? '▁' : ' ' });
  if (model.escapeWhitespaces) steps.push({ type: 'Replace', pattern: { String: ' ' }, content: '▁' });
  return steps.length === 0 ? null : { type: 'Sequence', normalizers: steps };
}

function decoderOf({ addDummyPrefix, byteFallback }: SentencePieceModel): object {
  return {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      ...(byteFallback ? [{ type: 'ByteFallback' }] : []),
      { type: 'Fuse' },
      ...(addDummyPrefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
    ],
  };
}
