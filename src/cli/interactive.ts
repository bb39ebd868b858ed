/** `tsgpt generate --interactive`: each line is a prompt, or a command that changes how the next text is made. */

import { generate } from '../generation/index.js';
import { T5 } from '../models/index.js';
import { generateFlags, samplingOptions, type GenerateValues } from './generation-flags.js';
import type { Opened } from './load.js';
import { promptLoop, settingCommands } from './prompt-loop.js';
import { noteCut } from './prompt.js';

/** Commands that set a flag's value. */
const settings = {
  '/temp': 'temperature',
  '/topk': 'top-k',
  '/topp': 'top-p',
  '/minp': 'min-p',
  '/penalty': 'repetition-penalty',
  '/tokens': 'max-tokens',
} as const;

const helpText = `A line is a prompt. Commands:
  /temp N     how daring; 0 takes the likeliest token
  /topk N     choose among the N likeliest tokens; 0: all
  /topp N     choose among the likeliest of total probability N
  /minp N     choose among tokens of this part of the greatest probability
  /penalty N  divides the scores of tokens that occurred; 1: off
  /tokens N   tokens to generate
  /config     show these settings
  /help       show this text
  /quit       end (or Ctrl-D); Ctrl-C stops a text
`;

/** Reads lines until the input ends and answers the exit code. */
export function converse({ model, tokenizer }: Opened, values: GenerateValues): Promise<number> {
  const current = { ...values };
  return promptLoop({
    greeting: 'Type a prompt, or /help.\n',
    commands: {
      ...settingCommands(current, settings, generateFlags, ['seed', 'stop', 'model']),
      '/help': () => helpText,
    },
    async answer(prompt, signal) {
      const generation = generate(model, tokenizer, prompt, {
        ...samplingOptions(current, model.generationConfig),
        signal,
      });
      if (!(model instanceof T5)) process.stdout.write(prompt);
      try {
        for await (const piece of generation) process.stdout.write(piece);
      } catch (error) {
        if (!signal.aborted) throw error;
      }
      process.stdout.write('\n');
      noteCut(generation);
    },
  });
}
