/**
 * Opens the tokenizer of a model folder, whatever form it has. What the files say decides, never their makers' code.
 */

import { readdirSync, statSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';

import { FileError } from '../../lib/errors.js';
import { finishReplacement } from '../../lib/formats/atomic-file.js';
import { openGguf } from '../../lib/formats/gguf.js';
import { fileError } from '../../lib/formats/system-error.js';
import { CharTokenizer } from './char.js';
import { readTokenizerConfig, type TokenizerConfig } from './config.js';
import { PretrainedTokenizer } from './pretrained.js';
import type { PipelineParts } from './pipeline.js';
import { isFile, naming, readBytes, readJson, readText } from './sources/files.js';
import { partsFromGguf } from './sources/gguf.js';
import { partsFromSentencePiece } from './sources/sentencepiece.js';
import { partsFromTiktoken } from './sources/tiktoken.js';
import { parseTokenizerJson } from './sources/quick-json.js';
import { partsFromJson } from './sources/tokenizer-json.js';
import { partsFromVocabAndMerges, partsFromVocabTxt } from './sources/vocabulary-files.js';

/** The files that a folder's tokenizer is taken from, the first that is there. */
const fileNames = [
  'tokenizer.json',
  'vocab.json',
  'vocab.txt',
  'tokenizer.model',
  'spiece.model',
  'sentencepiece.bpe.model',
];

/** Opens tokenizers of every kind. */
export const AutoTokenizer = {
  /**
   * Loads a tokenizer.
   *
   * @param path A model folder, or a tokenizer's file: `tokenizer.json`, `vocab.json` (with `merges.txt` beside it),
   * `vocab.txt`, a SentencePiece `.model`, a `.tiktoken` or a `.gguf` file. `tokenizer_config.json`, `special_tokens_map.json` and
   * `chat_template.jinja` beside it are read too.
   * @throws FileError when there is none, it is damaged, or it describes a tokenizer of a kind that is not supported.
   * @example
   * const tokenizer = AutoTokenizer.fromPretrained('models/qwen2');
   * tokenizer.decode(tokenizer.encode('Hello')); // 'Hello'
   */
  fromPretrained(path: string): CharTokenizer | PretrainedTokenizer {
    const file = tokenizerFile(path);
    const config = readConfig(dirname(file));
    const pretrained = (parts: () => PipelineParts): PretrainedTokenizer =>
      naming(file, () => new PretrainedTokenizer(parts(), config));
    switch (extname(file)) {
      case '.txt': {
        const text = readText(file);
        return pretrained(() => partsFromVocabTxt(text, config));
      }
      case '.tiktoken': {
        const text = readText(file);
        return pretrained(() => partsFromTiktoken(text));
      }
      case '.model':
        return openModelFile(file, config);
      case '.gguf': {
        using gguf = openGguf(file);
        return naming(file, () => AutoTokenizer.fromGguf(gguf.metadata));
      }
      default: {
        const json = readJson(file, parseTokenizerJson);
        return naming(file, () => fromJson(file, json, config));
      }
    }
  },

  /**
   * The tokenizer in the metadata of a GGUF file.
   *
   * @param metadata The file's key/value pairs (`tokenizer.ggml.model`, ...), as `openGguf(path).metadata` gives them.
   * @throws TokenizerError where they describe no tokenizer, or one of a kind that is not supported.
   */
  fromGguf(metadata: ReadonlyMap<string, unknown>): PretrainedTokenizer {
    const { parts, config } = partsFromGguf(metadata);
    return new PretrainedTokenizer(parts, config);
  },
};

function tokenizerFile(path: string): string {
  try {
    if (!statSync(path).isDirectory()) return path;
  } catch (error) {
    throw fileError(path, 'cannot be read', error);
  }
  finishReplacement(path);
  const name =
    fileNames.find((candidate) => isFile(join(path, candidate))) ??
    readdirSync(path).find((candidate) => candidate.endsWith('.tiktoken'));
  if (name !== undefined) return join(path, name);
  throw new FileError(path, `holds no tokenizer: none of ${fileNames.join(', ')} is there`);
}

function readConfig(folder: string): TokenizerConfig {
  const optional = (name: string): unknown => {
    const path = join(folder, name);
    return isFile(path) ? readJson(path) : {};
  };
  const template = join(folder, 'chat_template.jinja');
  const config = optional('tokenizer_config.json');
  const map = optional('special_tokens_map.json');
  return naming(join(folder, 'tokenizer_config.json'), () =>
    readTokenizerConfig(config, map, isFile(template) ? readText(template) : null),
  );
}

function fromJson(file: string, json: unknown, config: TokenizerConfig): CharTokenizer | PretrainedTokenizer {
  const char = CharTokenizer.fromJSON(json);
  if (char !== null) return char;
  const { model } = (json ?? {}) as { model?: unknown };
  if (typeof model === 'object' && model !== null)
    return new PretrainedTokenizer(partsFromJson(json), config);
  const merges = join(dirname(file), 'merges.txt');
  if (!isFile(merges)) {
    throw new FileError(
      file,
      'is no tokenizer.json: it has no model in it, and no merges.txt lies beside it',
    );
  }
  const text = readText(merges);
  return naming(merges, () => new PretrainedTokenizer(partsFromVocabAndMerges(json, text, config), config));
}

/** A SentencePiece model, or (Llama 3's folders have it so) a tiktoken file of the same name. */
function openModelFile(file: string, config: TokenizerConfig): PretrainedTokenizer {
  const bytes = readBytes(file);
  const isTiktoken = /^[A-Za-z0-9+/]+={0,2} \d+$/m.test(bytes.toString('latin1', 0, 200).split('\n')[0]);
  return naming(
    file,
    () =>
      new PretrainedTokenizer(
        isTiktoken ? partsFromTiktoken(bytes.toString()) : partsFromSentencePiece(bytes, config),
        config,
      ),
  );
}
