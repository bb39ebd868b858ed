/**
 * `tsgpt chat`: a conversation with a model, in the form of its tokenizer's chat template. The history goes along with
 * every message; what a stopped answer said until then stays in it.
 */

import { FileError } from '../../lib/index.js';
import { generate } from '../generation/index.js';
import { PretrainedTokenizer, type ChatMessage } from '../tokenizers/index.js';
import { chatFlags, samplingOptions, type ChatValues } from './generation-flags.js';
import { openDecoder, type Opened } from './load.js';
import { promptLoop, settingCommands } from './prompt-loop.js';
import { noteCut } from './prompt.js';

/** A tokenizer with a chat template. */
export type ChatTokenizer = Pick<PretrainedTokenizer, 'encodeChat'>;

const settings = {
  '/temp': 'temperature',
  '/topk': 'top-k',
  '/topp': 'top-p',
  '/tokens': 'max-tokens',
} as const;

const helpText = `A line is a message. Commands:
  /reset        forget the conversation
  /system TEXT  tell the model what it is, and forget the conversation; without TEXT show it
  /undo         take back the last message and its answer
  /temp N       how daring; 0 takes the likeliest token
  /topk N       choose among the N likeliest tokens; 0: all
  /topp N       choose among the likeliest of total probability N
  /tokens N     tokens of an answer at most
  /config       show these settings
  /help         show this text
  /exit         end (or Ctrl-D); Ctrl-C stops an answer
`;

/** Runs the command and answers its exit code. */
export function chat(values: ChatValues): Promise<number> {
  const { model, tokenizer } = openDecoder(values);
  if (!(tokenizer instanceof PretrainedTokenizer) || tokenizer.config.chatTemplates.size === 0) {
    throw new FileError(
      values.tokenizer ?? values.model,
      'its tokenizer has no chat template; use `tsgpt generate --interactive`, or a model that was trained to chat',
    );
  }
  const current = { ...values };
  const conversation = new Conversation(model.contextLength, tokenizer, values.system);
  return promptLoop({
    greeting: 'Type a message, or /help.\n',
    commands: {
      '/reset': () => conversation.reset(),
      '/system': (text) => conversation.tell(text),
      '/undo': () => conversation.undo(),
      ...settingCommands(current, settings, chatFlags, ['seed', 'stop', 'model']),
      '/help': () => helpText,
    },
    answer: (line, signal) => answer({ model, tokenizer }, conversation, line, current, signal),
  });
}

async function answer(
  { model, tokenizer }: Opened,
  conversation: Conversation,
  line: string,
  values: ChatValues,
  signal: AbortSignal,
): Promise<void> {
  let text = '';
  try {
    const prompt = conversation.ask(line, values['max-tokens']);
    const generation = generate(model, tokenizer, prompt, {
      ...samplingOptions(values, model.generationConfig),
      signal,
    });
    for await (const piece of generation) {
      process.stdout.write(piece);
      text += piece;
    }
    noteCut(generation);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    if (text === '') conversation.undo();
    else conversation.answered(text);
  }
  process.stdout.write('\n');
}

/** What was said so far. */
export class Conversation {
  #messages: ChatMessage[] = [];
  /** How many of the oldest messages are left out. */
  #skipped = 0;

  constructor(
    private readonly contextLength: number,
    private readonly tokenizer: ChatTokenizer,
    private system?: string,
  ) {}

  get messages(): readonly ChatMessage[] {
    return this.#messages;
  }

  reset(): string {
    this.#messages = [];
    this.#skipped = 0;
    return 'The conversation begins anew.\n';
  }

  tell(text: string): string {
    if (text === '') return `system: ${this.system ?? 'not set'}\n`;
    this.system = text;
    return this.reset();
  }

  /** Takes back the last message and what came after it. */
  undo(): string {
    const last = this.#messages.findLastIndex(({ role }) => role === 'user');
    if (last < 0) return 'There is nothing to take back.\n';
    this.#messages.length = last;
    this.#skipped = Math.min(this.#skipped, last);
    return 'Taken back.\n';
  }

  /** Adds a message and gives the ids to continue; the oldest exchanges are left out where an answer has no room else. */
  ask(content: string, room: number): number[] {
    this.#messages.push({ role: 'user', content });
    const most = this.contextLength - Math.min(room, Math.floor(this.contextLength / 2));
    const before = this.#skipped;
    let ids = this.#ids();
    while (ids.length > most && this.#messages.length - this.#skipped > 2) {
      this.#skipped += 2; // a message and its answer
      ids = this.#ids();
    }
    if (this.#skipped > before) {
      process.stderr.write(
        `note: the conversation is longer than the model's context; its first ${this.#skipped} messages are left out\n`,
      );
    }
    return ids;
  }

  answered(content: string): void {
    this.#messages.push({ role: 'assistant', content });
  }

  #ids(): number[] {
    const system: ChatMessage[] = this.system === undefined ? [] : [{ role: 'system', content: this.system }];
    const messages = [...system, ...this.#messages.slice(this.#skipped)];
    return Array.from(this.tokenizer.encodeChat(messages, { addGenerationPrompt: true }));
  }
}
