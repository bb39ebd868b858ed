/**
 * `tsgpt generate --interactive`: each line is a prompt, or a command that changes how the next text is made. Ctrl-C
 * stops the text that is being made, or at the prompt the program; Ctrl-D ends it.
 */

import { createInterface } from 'node:readline';

import { didYouMean, TsgptError } from '../../lib/index.js';
import { generate } from '../generation/index.js';
import type { GPT } from '../models/index.js';
import type { Tokenizer } from '../tokenizers/index.js';
import { UsageError } from './args.js';
import { generateFlags, samplingOptions, type GenerateValues } from './commands.js';
import { noteCut } from './prompt.js';

/** Commands that set a flag's value. */
const settings = {
  '/temp': 'temperature',
  '/topk': 'top-k',
  '/topp': 'top-p',
  '/tokens': 'max-tokens',
} as const;

const helpText = `A line is a prompt. Commands:
  /temp N     how daring; 0 takes the likeliest token
  /topk N     choose among the N likeliest tokens; 0: all
  /topp N     choose among the likeliest of total probability N
  /tokens N   tokens to generate
  /config     show these settings
  /help       show this text
  /quit       end (or Ctrl-D); Ctrl-C stops a text
`;

/** Reads lines until the input ends and answers the exit code. */
export async function converse(model: GPT, tokenizer: Tokenizer, values: GenerateValues): Promise<number> {
  const current = { ...values };
  const { stdin: input, stdout: output } = process;
  const terminal = input.isTTY && output.isTTY;
  const lines = createInterface({ input, output, prompt: '> ', terminal });
  const ask = (): void => (terminal ? lines.prompt() : undefined); // standard output is for texts elsewhere
  let running: AbortController | undefined;
  let exitCode = 0;
  const interrupt = (): void => {
    if (running !== undefined) {
      running.abort();
      return;
    }
    exitCode = 130;
    lines.close();
  };
  lines.on('SIGINT', interrupt); // a terminal in line-editing mode
  process.on('SIGINT', interrupt);
  try {
    if (terminal) output.write('Type a prompt, or /help.\n');
    ask();
    for await (const line of lines) {
      if (/^\/quit(\s|$)/.test(line.trim())) break;
      try {
        if (line.startsWith('/')) output.write(command(line, current));
        else if (line !== '') {
          running = new AbortController();
          await answer(model, tokenizer, line, current, running.signal);
        }
      } catch (error) {
        if (!(error instanceof TsgptError || error instanceof UsageError)) throw error;
        process.stderr.write(`${error.message}\n`);
      }
      running = undefined;
      ask();
    }
  } finally {
    lines.close();
    process.off('SIGINT', interrupt);
  }
  return exitCode;
}

async function answer(
  model: GPT,
  tokenizer: Tokenizer,
  prompt: string,
  values: GenerateValues,
  signal: AbortSignal,
): Promise<void> {
  const generation = generate(model, tokenizer, prompt, { ...samplingOptions(values), signal });
  process.stdout.write(prompt);
  try {
    for await (const piece of generation) process.stdout.write(piece);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  process.stdout.write('\n');
  noteCut(generation);
}

/** Runs `/name value` and answers what to print. */
function command(line: string, values: GenerateValues): string {
  const [name, value, ...rest] = line.trim().split(/\s+/);
  if (name === '/help') return helpText;
  if (name === '/config') {
    const shown = [...Object.values(settings), 'seed', 'stop', 'model'] as const;
    return shown.map((key) => `${key.padEnd(12)} ${values[key] ?? 'not set'}\n`).join('');
  }
  if (!Object.hasOwn(settings, name)) {
    throw new UsageError(
      `unknown command ${name}${didYouMean(name, [...Object.keys(settings), '/config', '/help', '/quit'])}`,
    );
  }
  const key = settings[name as keyof typeof settings];
  if (value === undefined || rest.length > 0)
    throw new UsageError(`${name} takes one number, now ${values[key]}`);
  values[key] = generateFlags[key].read(name, value);
  return `${key} ${values[key]}\n`;
}
