/**
 * Opens the tokenizer of a model folder: reads its `tokenizer.json` and picks the class that it describes.
 */

import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { FileError, oneLine, TsgptError } from '../../lib/errors.js';
import { finishReplacement } from '../../lib/formats/atomic-file.js';
import { fileError } from '../../lib/formats/system-error.js';
import { CharTokenizer } from './char.js';
import type { Tokenizer } from './tokenizer.js';

/**
 * Loads a tokenizer.
 *
 * @param path A `tokenizer.json`, or the model folder that holds one.
 * @throws FileError when there is none, it is damaged, or it describes a tokenizer of a kind that is not
 * supported.
 */
export function loadTokenizer(path: string): Tokenizer {
  const file = tokenizerFile(path);
  const json = readJson(file);
  try {
    const tokenizer = CharTokenizer.fromJSON(json);
    if (tokenizer !== null) return tokenizer;
  } catch (error) {
    if (error instanceof TsgptError)
      throw new FileError(file, `is damaged: ${error.message}`, { cause: error });
    throw error;
  }
  const { model } = (json ?? {}) as { model?: { type?: unknown } };
  if (typeof model?.type !== 'string') {
    throw new FileError(file, 'is no tokenizer.json: it has no model with a type in it');
  }
  throw new FileError(
    file,
    `describes a tokenizer of type ${model.type} that this version cannot run; it runs character tokenizers only`,
  );
}

function tokenizerFile(path: string): string {
  try {
    if (!statSync(path).isDirectory()) return path;
  } catch (error) {
    throw fileError(path, 'cannot be read', error);
  }
  finishReplacement(path);
  return join(path, 'tokenizer.json');
}

function readJson(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw fileError(file, 'cannot be read', error);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FileError(file, `is not valid JSON: ${oneLine((error as Error).message)}`, { cause: error });
  }
}
