/**
 * Lines from a person or a pipe: each is a command that begins with a slash, or goes to `answer`. Ctrl-C stops an answer,
 * at the prompt the program; Ctrl-D ends it.
 */

import { createInterface } from 'node:readline';

import { didYouMean, TsgptError } from '../../lib/index.js';
import { UsageError, type Flag, type FlagValue } from './args.js';

export interface PromptLoop {
  /** Said at the beginning where somebody types. */
  readonly greeting: string;
  /** What each command does with what stands after it, and the text that it answers. */
  readonly commands: Readonly<Record<string, (rest: string) => string>>;
  /** Answers a line on standard output; the signal is aborted by Ctrl-C. */
  readonly answer: (line: string, signal: AbortSignal) => Promise<void>;
}

const ends = ['/exit', '/quit'];

/** Reads lines until the input ends and answers the exit code. */
export async function promptLoop({ greeting, commands, answer }: PromptLoop): Promise<number> {
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
    if (terminal) output.write(greeting);
    ask();
    for await (const line of lines) {
      const [, name, rest] = /^(\/\S*)\s*(.*?)\s*$/s.exec(line) ?? [];
      if (ends.includes(name)) break;
      try {
        if (name !== undefined) output.write(find(commands, name)(rest));
        else if (line !== '') {
          running = new AbortController();
          await answer(line, running.signal);
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

function find(commands: PromptLoop['commands'], name: string): (rest: string) => string {
  if (Object.hasOwn(commands, name)) return commands[name];
  throw new UsageError(`unknown command ${name}${didYouMean(name, [...Object.keys(commands), ...ends])}`);
}

/** Commands that set the flags of `settings`, and `/config`, which shows them and `shown`. */
export function settingCommands<Values extends Record<string, FlagValue>>(
  values: Values,
  settings: Readonly<Record<string, keyof Values & string>>,
  flags: Readonly<Record<string, Flag<FlagValue>>>,
  shown: readonly (keyof Values & string)[],
): PromptLoop['commands'] {
  const set = Object.entries(settings).map(([name, key]) => [
    name,
    (rest: string): string => {
      if (rest === '' || /\s/.test(rest)) {
        throw new UsageError(`${name} takes one number, now ${String(values[key] ?? 'not set')}`);
      }
      values[key] = flags[key].read(name, rest) as Values[typeof key];
      return `${key} ${String(values[key])}\n`;
    },
  ]);
  const list = (): string =>
    [...Object.values(settings), ...shown]
      .map((key) => `${key.padEnd(18)} ${String(values[key] ?? 'not set')}\n`)
      .join('');
  return { ...(Object.fromEntries(set) as PromptLoop['commands']), '/config': list };
}
