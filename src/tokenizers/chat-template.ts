/**
 * Chat templates: from a conversation to the text that a chat model was trained on, by the Jinja template that comes
 * with the model (https://huggingface.co/docs/transformers/chat_templating). What people write must not end their turn
 * by spelling a special token: such spellings are marked before the template runs, and found again in its result.
 */

import { ArgumentError, checkOptions } from '../../lib/errors.js';
import type { TokenizerConfig } from './config.js';
import { show } from './fields.js';
import { renderTemplate } from './template-worker.js';

/** One message of a conversation; templates may use further members (`name`, `tool_calls`, ...). */
export interface ChatMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly [member: string]: unknown;
}

/** Options of applying a chat template. */
export interface ChatTemplateOptions {
  /** Ends with the beginning of an answer, for the model to go on with. Default false. */
  readonly addGenerationPrompt?: boolean;
  /** The name of one of the tokenizer's templates, or a template. Default: the one named `default`. */
  readonly template?: string;
  /** Functions that the model may call, as JSON Schema; templates that know of tools list them. */
  readonly tools?: readonly unknown[];
  /** Further variables for the template. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

export const chatTemplateOptionNames = ['addGenerationPrompt', 'template', 'tools', 'variables'] as const;

/** A text with the parts of it in which no special token is to be found. */
export interface MarkedText {
  readonly text: string;
  readonly literal: readonly (readonly [from: number, to: number])[];
}

/** Beyond four times its input a template may make this many characters. */
const allowance = 1_000_000;

/**
 * Renders a conversation.
 *
 * @param find The places of special tokens' spellings in a text.
 * @throws ArgumentError for messages that are none, or where there is no template.
 * @throws TokenizerError when the template fails or goes beyond a limit.
 */
export function renderChat(
  config: TokenizerConfig,
  specialTokens: Readonly<Record<string, string>>,
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions,
  find: (text: string) => readonly (readonly [number, number])[],
): MarkedText {
  checkOptions('applyChatTemplate', options, chatTemplateOptionNames);
  checkMessages(messages);
  const template = chooseTemplate(config, options);
  const json = toJson(messages);
  const marks = unusedMarks(json);
  const marked = (text: string): string => {
    let result = '';
    let copied = 0;
    for (const [from, to] of find(text)) {
      result += text.slice(copied, from) + marks[0] + text.slice(from, to) + marks[1];
      copied = to;
    }
    return result + text.slice(copied);
  };
  const variables = {
    ...Object.fromEntries(Object.entries(specialTokens).map(([name, token]) => [`${name}_token`, token])),
    ...options.variables,
    messages: JSON.parse(json, (_, value: unknown) =>
      typeof value === 'string' ? marked(value) : value,
    ) as unknown,
    tools: options.tools ?? null,
    add_generation_prompt: options.addGenerationPrompt ?? false,
  };
  const input = toJson(variables);
  return unmark(renderTemplate(template, input, allowance + 4 * input.length), marks);
}

function checkMessages(messages: readonly ChatMessage[]): void {
  const isMessage = (message: ChatMessage | null): boolean =>
    typeof message === 'object' && typeof message?.role === 'string';
  if (Array.isArray(messages) && messages.every(isMessage)) return;
  throw new ArgumentError(
    `applyChatTemplate: messages must be objects with a role and a content, got ${show(messages)}`,
  );
}

function chooseTemplate({ chatTemplates }: TokenizerConfig, { template }: ChatTemplateOptions): string {
  const chosen = chatTemplates.get(template ?? 'default');
  if (chosen !== undefined) return chosen;
  // A template has at least one tag; anything else is a name.
  if (template !== undefined && /\{[{%#]/.test(template)) return template;
  const names = [...chatTemplates.keys()];
  throw new ArgumentError(
    template === undefined && names.length === 0
      ? 'applyChatTemplate: the tokenizer has no chat template; give one as `template`'
      : `applyChatTemplate: there is no chat template ${show(template ?? 'default')}; there are ${names.join(', ') || 'none'}`,
  );
}

function toJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    throw new ArgumentError(
      `applyChatTemplate: messages, tools and variables must be plain data: ${(error as Error).message.split('\n')[0]}`,
    );
  }
}

/** Two characters that no text holds: of Unicode's noncharacters for internal use. */
function unusedMarks(json: string): readonly [string, string] {
  const free: string[] = [];
  for (let code = 0xfdd0; code <= 0xfdef && free.length < 2; code++) {
    const mark = String.fromCharCode(code);
    if (!json.includes(mark)) free.push(mark);
  }
  if (free.length === 2) return [free[0], free[1]];
  throw new ArgumentError('applyChatTemplate: the messages hold every noncharacter from U+FDD0 to U+FDEF');
}

/** Takes the marks out and answers where they were. A mark whose other one the template took away marks nothing. */
function unmark(text: string, [begin, end]: readonly [string, string]): MarkedText {
  if (!text.includes(begin) && !text.includes(end)) return { text, literal: [] };
  const literal: (readonly [number, number])[] = [];
  let result = '';
  let from = -1;
  for (const part of text.split(new RegExp(`([${begin}${end}])`))) {
    if (part === begin) from = result.length;
    else if (part !== end) result += part;
    else if (from >= 0) {
      literal.push([from, result.length]);
      from = -1;
    }
  }
  return { text: result, literal };
}
