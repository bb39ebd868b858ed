/**
 * Files to a token file, in bounded memory: documents are read, unpacked and encoded piece by piece and written as they
 * come. Other work gets its turn all the while, and the file appears when it is whole.
 */

import { statSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';

import { ArgumentError, checkOptions, FileError, TokenizerError, TsgptError } from '../../lib/errors.js';
import { packTokenizer, tokenizerHash } from '../tokenizers/packed.js';
import { nativeWordsOf } from '../tokenizers/native-bpe.js';
import { PretrainedTokenizer } from '../tokenizers/pretrained.js';
import type { Tokenizer } from '../tokenizers/tokenizer.js';
import { findCut } from '../tokenizers/training-texts.js';
import {
  documentExtensions,
  documentFormats,
  streamDocuments,
  type DocumentOptions,
  type DocumentPiece,
} from './documents.js';
import { listFiles } from './text.js';
import { TokenFileWriter } from './token-file.js';

/** Options of {@link tokenizeFiles}. */
export interface TokenizeOptions extends Omit<DocumentOptions, 'onBytes'> {
  readonly tokenizer: Tokenizer;
  /** The token file to write; one that is there is replaced once the new one is whole. */
  readonly out: string;
  /** Whether the tokenizer's end-of-text token follows each document; true by default, where it has one. */
  readonly appendEos?: boolean;
  /** Called now and then. */
  readonly onProgress?: (progress: TokenizeProgress) => void;
  /** Ends it with the signal's reason; nothing is left of the file then. */
  readonly signal?: AbortSignal;
}

/** How far it is. */
export interface TokenizeProgress {
  /** Bytes read of the files, as they lie on the disk. */
  readonly bytes: number;
  /** Bytes of all files; NaN where standard input is among them. */
  readonly totalBytes: number;
  readonly documents: number;
  readonly tokens: number;
}

/** What was written. */
export interface TokenizeResult {
  readonly documents: number;
  readonly tokens: number;
  /** Bytes read of the files. */
  readonly bytes: number;
  readonly files: readonly string[];
}

/** Milliseconds after which others get a turn. */
const turnMs = 20;
/** Characters that are encoded at once, where a document may be cut. */
const pieceLength = 2 ** 18;
/** Characters of a document at most that must not be cut, or offers no place to. */
const longestPiece = 2 ** 26;

const optionNames = [
  'tokenizer', 'out', 'format', 'textField', 'separator', 'appendEos', 'onProgress', 'signal',
]; // prettier-ignore

/**
 * Writes the tokens of files into a token file. Special tokens that the texts spell are text.
 *
 * @param sources Files, folders (their text, `.jsonl`, `.ndjson` and `.tsv` files, also with `.gz`), glob patterns or `-`, as
 * {@link readTexts} has them.
 * @throws FileError for what cannot be read or written, TokenizerError for text that the tokenizer cannot represent.
 * @example
 * await tokenizeFiles('corpus/*.jsonl.gz', { tokenizer, out: 'corpus.bin' });
 */
export async function tokenizeFiles(
  sources: string | readonly string[],
  options: TokenizeOptions,
): Promise<TokenizeResult> {
  checkOptions('tokenizeFiles', options, optionNames);
  const { tokenizer, out, appendEos = true, onProgress, signal, ...reading } = options;
  if (reading.format !== undefined && !documentFormats.includes(reading.format)) {
    throw new ArgumentError(
      `tokenizeFiles: format must be one of ${documentFormats.join(', ')}, got ${JSON.stringify(reading.format)}`,
    );
  }
  const files = listFiles(sources, documentExtensions);
  const totalBytes = files.reduce((sum, file) => sum + (file === '-' ? NaN : statSync(file).size), 0);
  const eosId = appendEos ? tokenizer.eosId : undefined;
  using writer = new TokenFileWriter(out, {
    vocabSize: tokenizer.vocabSize,
    eosId,
    tokenizerHash: tokenizerHash(tokenizer),
    tokenizerJson: packTokenizer(tokenizer),
  });
  const encoder = new DocumentEncoder(tokenizer);
  let bytes = 0;
  let turn = performance.now();
  let start = 0; // the document's first token
  const onBytes = (count: number): unknown => (bytes += count);
  const stream = { onBytes, ...(signal === undefined ? {} : { signal }) };
  for await (const piece of streamDocuments(files, { ...reading, ...stream })) {
    signal?.throwIfAborted();
    for (const ids of encoder.encode(piece, writer.documents)) {
      writer.append(ids);
      if (performance.now() - turn < turnMs) continue;
      onProgress?.({ bytes, totalBytes, documents: writer.documents, tokens: writer.tokens });
      await setImmediate();
      turn = performance.now();
    }
    if (!piece.ends) continue;
    if (eosId !== undefined && writer.tokens > start) writer.append([eosId]);
    writer.endDocument();
    start = writer.tokens;
  }
  if (writer.tokens === 0) {
    throw new FileError(
      files.length === 1 ? files[0] : [sources].flat().join(', '),
      'is empty: there is no text to tokenize',
    );
  }
  writer.finish();
  const { documents, tokens } = writer;
  onProgress?.({ bytes, totalBytes, documents, tokens });
  return { documents, tokens, bytes, files };
}

/** Encodes documents that come in pieces. */
class DocumentEncoder {
  readonly #tokenizer: Tokenizer;
  /** Whether the tokens of a text are those of its parts, when it is cut between words. */
  readonly #cuts: boolean;
  /** Tokens with a meaning of their own, which must not be cut. */
  readonly #added: readonly string[];
  /** What was not encoded yet. */
  #rest = '';

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
    this.#cuts = canCut(tokenizer);
    this.#added =
      tokenizer instanceof PretrainedTokenizer ? tokenizer.addedTokens.map(({ content }) => content) : [];
  }

  /** The tokens of a piece, as far as they do not depend on what comes. */
  *encode({ text, ends, file }: DocumentPiece, document: number): Iterable<Int32Array> {
    this.#rest += text;
    while (this.#cuts && this.#rest.length >= 2 * pieceLength) {
      const cut = this.#cutWithin(2 * pieceLength);
      if (cut === 0) break;
      yield this.#tokens(this.#rest.slice(0, cut), file, document);
      this.#rest = this.#rest.slice(cut);
    }
    if (this.#rest.length > longestPiece) {
      throw new FileError(
        file,
        `document ${document + 1} has more than ${longestPiece} characters ` +
          (this.#cuts
            ? 'without a word that ends; is it text?'
            : 'and this tokenizer must see a document whole; separate it (--separator)'),
      );
    }
    if (!ends) return;
    const last = this.#rest;
    this.#rest = '';
    if (last !== '') yield this.#tokens(last, file, document);
  }

  /** The last place to cut in the first `length` characters; beyond them where they have none. */
  #cutWithin(length: number): number {
    if (this.#tokenizer.type === 'char') {
      const code = this.#rest.charCodeAt(length - 1);
      return code >= 0xd800 && code < 0xdc00 ? length - 1 : length; // not within a pair of surrogates
    }
    return findCut(this.#rest.slice(0, length), this.#added) || findCut(this.#rest, this.#added, length);
  }

  #tokens(text: string, file: string, document: number): Int32Array {
    try {
      return this.#tokenizer instanceof PretrainedTokenizer
        ? this.#tokenizer.encode(text, { addSpecialTokens: false, parseSpecialTokens: false })
        : this.#tokenizer.encode(text);
    } catch (error) {
      if (!(error instanceof TsgptError)) throw error;
      throw new TokenizerError(`${file}: document ${document + 1}: ${error.message}`);
    }
  }
}

/**
 * Whether a text cut between two words has the same tokens: true of characters, of BPE and WordPiece whose splitting
 * patterns all end words there. Others see white space as a part of words (SentencePiece), or put a space before texts.
 */
function canCut(tokenizer: Tokenizer): boolean {
  if (tokenizer.type === 'char') return true;
  if (!(tokenizer instanceof PretrainedTokenizer)) return false;
  const { normalizer, pre_tokenizer: words } = tokenizer.toJSON() as Record<
    string,
    Record<string, unknown> | null
  >;
  if (words?.type === 'BertPreTokenizer') return normalizer === null || normalizer?.type === 'BertNormalizer';
  return normalizer === null && nativeWordsOf(words)?.addPrefixSpace === false;
}
