/**
 * What `tokenizer_config.json`, `special_tokens_map.json` and `chat_template.jinja` say beside the tokenizer itself:
 * which tokens begin, end and fill, how decoding cleans up, which side is padded, and the chat templates.
 */

import { TokenizerError } from '../../lib/errors.js';
import { readAddedToken, type AddedToken } from './added-tokens.js';
import type { Side } from './encoding.js';
import { Fields, show } from './fields.js';

const names = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'] as const;
/** The special tokens that have a role. */
export type SpecialTokenName = (typeof names)[number];
export const specialTokenNames: readonly SpecialTokenName[] = names;

export interface TokenizerConfig {
  /** The tokens in their roles, as they are written. */
  readonly specialTokens: Readonly<Partial<Record<SpecialTokenName, string>>>;
  /** Tokens to add beside those of the tokenizer's own file. */
  readonly addedTokens: readonly AddedToken[];
  /** Templates by name; the usual one is `default`. */
  readonly chatTemplates: ReadonlyMap<string, string>;
  readonly cleanUpTokenizationSpaces: boolean;
  readonly paddingSide: Side;
  readonly truncationSide: Side;
  /** The most tokens that the model takes; Infinity where nobody said. */
  readonly maxLength: number;
  readonly addBosToken: boolean;
  readonly addEosToken: boolean;
  readonly addPrefixSpace: boolean;
  /** BERT's `do_lower_case`, undefined where the file does not say. */
  readonly lowerCase: boolean | undefined;
  /** The file as it was, for saving. */
  readonly json: Readonly<Record<string, unknown>>;
}

const sides = ['left', 'right'] as const;

/**
 * The configuration of parsed files.
 * @param json `tokenizer_config.json`
 * @param map `special_tokens_map.json`, which older folders have beside it.
 * @param template `chat_template.jinja`, which wins over a template in the configuration.
 */
export function readTokenizerConfig(
  json: unknown = {},
  map: unknown = {},
  template: string | null = null,
): TokenizerConfig {
  const fields = Fields.of('tokenizer_config', json);
  const other = Fields.of('special_tokens_map', map);
  const specialTokens: Partial<Record<SpecialTokenName, string>> = {};
  for (const name of names) {
    const token = tokenOf(fields, `${name}_token`) ?? tokenOf(other, `${name}_token`);
    if (token !== null) specialTokens[name] = token;
  }
  const longest = fields.raw('model_max_length');
  return {
    specialTokens,
    addedTokens: readAdded(fields),
    chatTemplates: readTemplates(fields, template),
    cleanUpTokenizationSpaces: fields.boolean('clean_up_tokenization_spaces', false),
    paddingSide: fields.oneOf('padding_side', sides, 'right'),
    truncationSide: fields.oneOf('truncation_side', sides, 'right'),
    // Hugging Face writes 1e30 for a model without a limit.
    maxLength: typeof longest === 'number' && longest >= 1 && longest < 1e15 ? Math.floor(longest) : Infinity,
    addBosToken: fields.boolean('add_bos_token', false),
    addEosToken: fields.boolean('add_eos_token', false),
    addPrefixSpace: fields.boolean('add_prefix_space', false),
    lowerCase: fields.has('do_lower_case') ? fields.boolean('do_lower_case') : undefined,
    json: json as Record<string, unknown>,
  };
}

/** A token that is written as a text, or as an object with `content`. */
function tokenOf(fields: Fields, name: string): string | null {
  if (!fields.has(name)) return null;
  return typeof fields.raw(name) === 'string' ? fields.string(name) : fields.object(name).string('content');
}

function readAdded(fields: Fields): AddedToken[] {
  if (!fields.has('added_tokens_decoder')) return [];
  const decoder = fields.object('added_tokens_decoder');
  return decoder.entries().map(([id, token]) => {
    if (!/^\d{1,8}$/.test(id)) {
      throw new TokenizerError(`${decoder.where}: ${show(id)} is no id`);
    }
    return readAddedToken(`${decoder.where}.${id}`, token, Number(id));
  });
}

function readTemplates(fields: Fields, file: string | null): Map<string, string> {
  const templates = new Map<string, string>();
  if (typeof fields.raw('chat_template') === 'string') {
    templates.set('default', fields.string('chat_template'));
  } else if (fields.has('chat_template')) {
    fields.list('chat_template').forEach((entry, at) => {
      const named = Fields.of(`${fields.where}.chat_template[${at}]`, entry);
      templates.set(named.string('name'), named.string('template'));
    });
  }
  if (file !== null) templates.set('default', file);
  return templates;
}

/** Roles of tokens whose spelling says them, for tokenizers whose files do not. */
const usual: Readonly<Record<SpecialTokenName, readonly string[]>> = {
  bos: ['<s>', '<|begin_of_text|>', '<bos>', '<|startoftext|>', '<|endoftext|>'],
  eos: ['</s>', '<|end_of_text|>', '<eos>', '<|endoftext|>'],
  unk: ['<unk>', '[UNK]'],
  sep: ['[SEP]'],
  pad: ['<pad>', '[PAD]'],
  cls: ['[CLS]'],
  mask: ['[MASK]', '<mask>'],
};

/** The roles that the spellings of special tokens give away. */
export function usualSpecialTokens(special: readonly string[]): Partial<Record<SpecialTokenName, string>> {
  const roles: Partial<Record<SpecialTokenName, string>> = {};
  for (const name of names) {
    const token = usual[name].find((spelling) => special.includes(spelling));
    if (token !== undefined) roles[name] = token;
  }
  return roles;
}
