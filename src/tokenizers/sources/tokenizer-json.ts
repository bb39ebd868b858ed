/** Hugging Face's `tokenizer.json`: https://github.com/huggingface/tokenizers, the form that all others are read into. */

import { TokenizerError } from '../../../lib/errors.js';
import { readAddedToken } from '../added-tokens.js';
import { Fields, show } from '../fields.js';
import { BpeModel } from '../models/bpe.js';
import type { Model } from '../models/model.js';
import { UnigramModel } from '../models/unigram.js';
import { WordLevelModel } from '../models/wordlevel.js';
import { WordPieceModel } from '../models/wordpiece.js';
import type { PipelineParts } from '../pipeline.js';
import { readPreTokenizer } from '../pre-tokenizers.js';

/** The parts that a parsed `tokenizer.json` describes. */
export function partsFromJson(json: unknown): PipelineParts {
  const fields = Fields.of('tokenizer', json);
  const addedTokens = fields
    .list('added_tokens', [])
    .map((token, at) => readAddedToken(`added_tokens[${at}]`, token));
  const part = (name: string): object | null => (fields.has(name) ? (fields.raw(name) as object) : null);
  const preTokenizer = part('pre_tokenizer');
  const byteLevel = preTokenizer !== null && readPreTokenizer('pre_tokenizer', preTokenizer).byteLevel;
  const ids = new Map(addedTokens.map(({ content, id }) => [content, id]));
  return {
    model: readModel(fields.object('model'), byteLevel, (token) => ids.get(token)),
    addedTokens,
    normalizer: part('normalizer'),
    preTokenizer,
    postProcessor: part('post_processor'),
    decoder: part('decoder'),
    truncation: part('truncation'),
    padding: part('padding'),
  };
}

function readModel(fields: Fields, byteLevel: boolean, added: (token: string) => number | undefined): Model {
  const type = fields.optionalString('type') ?? guessType(fields);
  switch (type) {
    case 'BPE':
      return BpeModel.fromJSON(fields, byteLevel);
    case 'Unigram':
      return UnigramModel.fromJSON(fields);
    case 'WordLevel':
      return WordLevelModel.fromJSON(fields);
    case 'WordPiece':
      return WordPieceModel.fromJSON(fields, added);
    default:
      throw new TokenizerError(`model: a model of type ${show(type)} is not known`);
  }
}

/** Files of the first years leave the type out. */
function guessType(fields: Fields): string | undefined {
  if (Array.isArray(fields.raw('vocab'))) return 'Unigram';
  if (fields.has('merges')) return 'BPE';
  if (fields.has('max_input_chars_per_word')) return 'WordPiece';
  return fields.has('unk_token') ? 'WordLevel' : undefined;
}
