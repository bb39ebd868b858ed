/**
 * Post-processors of a `tokenizer.json`: which special tokens go around one text or a pair of texts. All kinds are read
 * into one form, a template for each case. Byte-level ones may also leave the space before a word out of its offsets.
 */

import { TokenizerError } from '../../lib/errors.js';
import { Fields, show } from './fields.js';
import { maxId } from './models/model.js';

/** A part of a template: the first or second text, or special tokens. */
export type TemplatePart =
  | { readonly kind: 'text'; readonly text: 0 | 1; readonly typeId: number }
  | {
      readonly kind: 'special';
      readonly ids: readonly number[];
      readonly tokens: readonly string[];
      readonly typeId: number;
    };

export interface PostProcessor {
  readonly single: readonly TemplatePart[];
  readonly pair: readonly TemplatePart[];
  /** Offsets leave out white space; with `addPrefixSpace` the first space of a text counts as put there. */
  readonly trimOffsets: { readonly addPrefixSpace: boolean } | null;
}

const text = (which: 0 | 1, typeId: number): TemplatePart => ({ kind: 'text', text: which, typeId });

/** No special tokens. */
export const plainPostProcessor: PostProcessor = {
  single: [text(0, 0)],
  pair: [text(0, 0), text(1, 1)],
  trimOffsets: null,
};

/** The post-processor that an object of a `tokenizer.json` describes. */
export function readPostProcessor(where: string, json: unknown): PostProcessor {
  const fields = Fields.of(where, json);
  const type = fields.string('type');
  switch (type) {
    case 'BertProcessing': {
      const [cls, sep] = [named(fields, 'cls'), named(fields, 'sep')];
      return {
        single: [special(cls, 0), text(0, 0), special(sep, 0)],
        pair: [special(cls, 0), text(0, 0), special(sep, 0), text(1, 1), special(sep, 1)],
        trimOffsets: null,
      };
    }
    case 'ByteLevel':
      return { ...plainPostProcessor, trimOffsets: readTrim(fields) };
    case 'RobertaProcessing': {
      const [cls, sep] = [special(named(fields, 'cls'), 0), special(named(fields, 'sep'), 0)];
      return {
        single: [cls, text(0, 0), sep],
        pair: [cls, text(0, 0), sep, sep, text(1, 0), sep],
        trimOffsets: readTrim(fields),
      };
    }
    case 'Sequence':
      return readSequence(fields);
    case 'TemplateProcessing':
      return {
        single: readTemplate(fields, 'single'),
        pair: readTemplate(fields, 'pair'),
        trimOffsets: null,
      };
    default:
      throw new TokenizerError(`${where}: a post-processor of type ${show(type)} is not known`);
  }
}

function readTrim(fields: Fields): PostProcessor['trimOffsets'] {
  if (!fields.boolean('trim_offsets', true)) return null;
  return { addPrefixSpace: fields.boolean('add_prefix_space', true) };
}

/** One template at most, and the trimming of any. */
function readSequence(fields: Fields): PostProcessor {
  let result = plainPostProcessor;
  fields.list('processors').forEach((step, at) => {
    const next = readPostProcessor(`${fields.where}.processors[${at}]`, step);
    const adds = (processor: PostProcessor): boolean => processor.single.length + processor.pair.length > 3;
    if (adds(next) && adds(result)) {
      throw new TokenizerError(`${fields.where}: two processors that add tokens cannot follow each other`);
    }
    result = {
      single: adds(next) ? next.single : result.single,
      pair: adds(next) ? next.pair : result.pair,
      trimOffsets: next.trimOffsets ?? result.trimOffsets,
    };
  });
  return result;
}

interface SpecialToken {
  readonly ids: readonly number[];
  readonly tokens: readonly string[];
}

const special = ({ ids, tokens }: SpecialToken, typeId: number): TemplatePart => ({
  kind: 'special',
  ids,
  tokens,
  typeId,
});

/** `["[CLS]", 101]`. */
function named(fields: Fields, name: string): SpecialToken {
  const [token, id] = fields.list(name);
  if (typeof token !== 'string' || !isId(id)) {
    throw new TokenizerError(
      `${fields.where}.${name}: must be a token and its id, got ${show(fields.raw(name))}`,
    );
  }
  return { ids: [id], tokens: [token] };
}

const isId = (id: unknown): id is number =>
  Number.isInteger(id) && (id as number) >= 0 && (id as number) <= maxId;

function readTemplate(fields: Fields, which: 'single' | 'pair'): TemplatePart[] {
  const specials = fields.has('special_tokens') ? fields.object('special_tokens') : null;
  return fields.list(which).map((json, at): TemplatePart => {
    const part = Fields.of(`${fields.where}.${which}[${at}]`, json);
    const isText = part.has('Sequence');
    const inner = part.object(isText ? 'Sequence' : 'SpecialToken');
    const typeId = inner.integer('type_id', 0, 2 ** 31 - 1, 0);
    if (isText) return text(inner.oneOf('id', ['A', 'B']) === 'A' ? 0 : 1, typeId);
    const name = inner.string('id');
    if (specials?.has(name) !== true) {
      throw new TokenizerError(`${inner.where}.id: ${show(name)} is not among the special_tokens`);
    }
    const token = specials.object(name);
    const ids = token.list('ids');
    const tokens = token.list('tokens', [name]);
    if (
      !ids.every(isId) ||
      !tokens.every((each) => typeof each === 'string') ||
      ids.length !== tokens.length
    ) {
      throw new TokenizerError(
        `${token.where}: must have an id for each token, got ${show(token.raw('ids'))}`,
      );
    }
    return { kind: 'special', ids, tokens, typeId };
  });
}
