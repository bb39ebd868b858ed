/**
 * Files to a token file, in bounded memory: documents are read, unpacked and encoded piece by piece and written as they
 * come. Other work gets its turn all the while, and the file appears when it is whole.
 */

import { statSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';

import { ArgumentError, checkOptions, FileError, TokenizerError, TsgptError } from '../../lib/errors.js';
import { listFiles } from '../../lib/formats/text-files.js';
import { packTokenizer, tokenizerHash } from '../tokenizers/packed.js';
import { PieceEncoder } from '../tokenizers/pieces.js';
import type { Tokenizer } from '../tokenizers/tokenizer.js';
import {
  documentExtensions,
  documentFormats,
  streamDocuments,
  type DocumentOptions,
  type DocumentPiece,
} from './documents.js';
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

/** Encodes documents that come in pieces; what is wrong with one says where it is. */
class DocumentEncoder {
  readonly #encoder: PieceEncoder;

  constructor(tokenizer: Tokenizer) {
    this.#encoder = new PieceEncoder(tokenizer, false);
  }

  /** The tokens of a piece, as far as they do not depend on what comes. */
  *encode({ text, ends, file }: DocumentPiece, document: number): Iterable<Int32Array> {
    try {
      yield* this.#encoder.encode(text, ends);
    } catch (error) {
      if (!(error instanceof TsgptError)) throw error;
      throw new TokenizerError(`${file}: document ${document + 1}: ${error.message}`);
    }
    if (this.#encoder.waiting <= longestPiece) return;
    throw new FileError(
      file,
      `document ${document + 1} has more than ${longestPiece} characters ` +
        (this.#encoder.cuts
          ? 'without a word that ends; is it text?'
          : 'and this tokenizer must see a document whole; separate it (--separator)'),
    );
  }
}
