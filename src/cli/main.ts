#!/usr/bin/env node
/**
 * The entry of `tsgpt`. Finds the command, reads its flags, loads the command's module only then, and turns what
 * happens into an exit code: 0 done, 1 failed (one line on standard error), 2 wrong command line, 130 Ctrl-C.
 */

import { readFileSync } from 'node:fs';

import { didYouMean, TsgptError } from '../../lib/errors.js';
import { parseFlags, UsageError } from './args.js';
import {
  commandHelp,
  commands,
  generateFlags,
  infoFlags,
  overview,
  trainFlags,
  type CommandName,
} from './commands.js';

/** A reader that has enough (`tsgpt generate | head`) is no failure. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  fail(error);
});

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  fail(error);
}

/** Runs a command line and answers its exit code. */
async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined) throw new UsageError('no command given');
  if (name === '--version' || name === '-v') return print(`${version()}\n`);
  if (name === '--help' || name === '-h' || name === 'help') return print(overview(version()));
  if (!Object.hasOwn(commands, name)) {
    throw new UsageError(`unknown command '${name}'${didYouMean(name, Object.keys(commands))}`);
  }
  if (args.some((arg) => arg === '--help' || arg === '-h')) return print(commandHelp(name as CommandName));
  return run(name as CommandName, args);
}

async function run(name: CommandName, args: readonly string[]): Promise<number> {
  switch (name) {
    case 'train': {
      const flags = parseFlags(trainFlags, args);
      useBackend(flags.values.backend);
      return (await import('./train.js')).train(flags);
    }
    case 'generate': {
      const { values } = parseFlags(generateFlags, args);
      useBackend(values.backend);
      return (await import('./generate.js')).generate(values);
    }
    case 'info':
      return (await import('./info.js')).info(parseFlags(infoFlags, args).values, version());
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
  if (error instanceof UsageError) {
    process.stderr.write(`tsgpt: ${message}\nTry: tsgpt ${knownCommand()}--help\n`);
    process.exitCode = 2;
    return;
  }
  const expected = error instanceof TsgptError || (error as NodeJS.ErrnoException).code !== undefined;
  const text = message.startsWith('tsgpt: ')
    ? message
    : `tsgpt: ${expected ? '' : 'internal error: '}${message}`;
  process.stderr.write(`${process.env.TSGPT_DEBUG === '1' ? stack : text}\n`);
  process.exitCode = 1;
}

function knownCommand(): string {
  const name = process.argv[2] ?? '';
  return Object.hasOwn(commands, name) ? `${name} ` : '';
}
