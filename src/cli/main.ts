#!/usr/bin/env node
/**
 * The entry of `tsgpt`. Finds the command, reads its flags, loads the command's module only then, and turns what
 * happens into an exit code: 0 done, 1 failed, 2 wrong command line (both say why in one line on standard error), 130
 * Ctrl-C.
 */

import { readFileSync } from 'node:fs';

import { didYouMean, oneLine, TsgptError } from '../../lib/errors.js';
import { fileError } from '../../lib/formats/system-error.js';
import { parseFlags, UsageError } from './args.js';
import {
  commandHelp,
  commands,
  infoFlags,
  mergeFlags,
  overview,
  trainFlags,
  visualizeFlags,
  type CommandName,
} from './commands.js';
import { embedFlags } from './embed-flags.js';
import { classifyFlags, fillMaskFlags } from './encoder-flags.js';
import { chatFlags, evalFlags, generateFlags } from './generation-flags.js';
import { tokenizeFlags } from './tokenize-flags.js';
import {
  tokenizerDecodeFlags,
  tokenizerEncodeFlags,
  tokenizerInfoFlags,
  tokenizerTrainFlags,
} from './tokenizer-flags.js';

/** A reader that has enough (`tsgpt generate | head`) is no failure. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  fail(fileError('standard output', 'cannot be written', error));
  process.exit(); // the first complaint is enough
});
/** Progress that nobody can read (a closed terminal, a full disk) does not end a training. */
process.stderr.on('error', () => undefined);

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  fail(error);
}

/** Runs a command line and answers its exit code. */
async function main(words: readonly string[]): Promise<number> {
  const [name, ...args] = joinCommand(words);
  if (name === undefined) throw new UsageError('no command given');
  if (name === '--version' || name === '-v') return print(`${version()}\n`);
  if (name === '--help' || name === '-h' || name === 'help') return print(overview(version()));
  if (name === 'tokenizer') {
    if (args.includes('--help') || args.includes('-h')) return print(overview(version()));
    throw new UsageError('tokenizer is followed by train, encode, decode or info');
  }
  if (!Object.hasOwn(commands, name)) {
    throw new UsageError(`unknown command '${name}'${didYouMean(name, Object.keys(commands))}`);
  }
  if (args.some((arg) => arg === '--help' || arg === '-h')) return print(commandHelp(name as CommandName));
  return run(name as CommandName, args);
}

/** `tokenizer` takes a second word. */
function joinCommand(words: readonly string[]): readonly string[] {
  const [first, second = '', ...rest] = words;
  return first === 'tokenizer' && second !== '' && !second.startsWith('-')
    ? [`${first} ${second}`, ...rest]
    : words;
}

async function run(name: CommandName, args: readonly string[]): Promise<number> {
  switch (name) {
    case 'train': {
      const flags = parseFlags(trainFlags, args);
      useBackend(flags.values.backend);
      return (await import('./train.js')).train(flags);
    }
    case 'merge':
      return (await import('./merge.js')).merge(parseFlags(mergeFlags, args).values);
    case 'generate': {
      const { values } = parseFlags(generateFlags, args);
      useBackend(values.backend);
      return (await import('./generate.js')).generate(values);
    }
    case 'chat': {
      const { values } = parseFlags(chatFlags, args);
      useBackend(values.backend);
      return (await import('./chat.js')).chat(values);
    }
    case 'eval': {
      const { values } = parseFlags(evalFlags, args);
      useBackend(values.backend);
      return (await import('./eval.js')).evaluate(values);
    }
    case 'classify': {
      const { values } = parseFlags(classifyFlags, args);
      useBackend(values.backend);
      return (await import('./classify.js')).classify(values);
    }
    case 'fill-mask': {
      const { values } = parseFlags(fillMaskFlags, args);
      useBackend(values.backend);
      return (await import('./fill-mask.js')).fillMask(values);
    }
    case 'visualize':
      return (await import('./visualize.js')).visualize(parseFlags(visualizeFlags, args).values);
    case 'embed': {
      const { values } = parseFlags(embedFlags, args);
      useBackend(values.backend);
      return (await import('./embed.js')).embed(values);
    }
    case 'info':
      return (await import('./info.js')).info(parseFlags(infoFlags, args).values, version());
    case 'tokenize':
      return (await import('./tokenize.js')).tokenize(parseFlags(tokenizeFlags, args).values);
    case 'tokenizer train':
      return (await import('./tokenizer.js')).tokenizerTrain(parseFlags(tokenizerTrainFlags, args));
    case 'tokenizer encode':
      return (await import('./tokenizer.js')).tokenizerEncode(parseFlags(tokenizerEncodeFlags, args).values);
    case 'tokenizer decode':
      return (await import('./tokenizer.js')).tokenizerDecode(parseFlags(tokenizerDecodeFlags, args).values);
    case 'tokenizer info':
      return (await import('./tokenizer.js')).tokenizerInfo(parseFlags(tokenizerInfoFlags, args).values);
  }
}

/** The native module reads TSGPT_GEMM when it is loaded, so this comes before the library. */
function useBackend(backend: string): void {
  if (backend !== 'auto') process.env.TSGPT_GEMM = backend;
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

function version(): string {
  const manifest = new URL('../../../package.json', import.meta.url); // this file runs as dist/src/cli/main.js
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}

function fail(error: unknown): void {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  process.exitCode = error instanceof UsageError ? 2 : 1;
  process.stderr.write(`${process.env.TSGPT_DEBUG === '1' ? stack : oneLine(complaint(error, message))}\n`);
}

function complaint(error: unknown, message: string): string {
  if (message.startsWith('tsgpt: ')) return message;
  if (error instanceof UsageError) return `tsgpt: ${message}; see tsgpt ${knownCommand()}--help`;
  const expected = error instanceof TsgptError || (error as NodeJS.ErrnoException).code !== undefined;
  return `tsgpt: ${expected ? '' : 'internal error: '}${message}`;
}

function knownCommand(): string {
  const [name = ''] = joinCommand(process.argv.slice(2));
  return Object.hasOwn(commands, name) ? `${name} ` : '';
}
