/** `tsgpt generate`: continues a prompt, as it is made, or answers prompts one after the other. */

import { readFileSync } from 'node:fs';

import { fileError } from '../../lib/formats/system-error.js';
import { FileError, setThreads } from '../../lib/index.js';
import { decodeUtf8 } from '../data/index.js';
import { generate as generateText, type Generation } from '../generation/index.js';
import { GPT } from '../models/index.js';
import { AutoTokenizer, type Tokenizer } from '../tokenizers/index.js';
import { UsageError } from './args.js';
import { samplingOptions, type GenerateValues } from './commands.js';
import { formatCount } from './format.js';
import { converse } from './interactive.js';
import { defaultPrompt, noteCut } from './prompt.js';
import { stopOnSignals } from './signals.js';

/** Runs the command and answers its exit code. */
export async function generate(values: GenerateValues): Promise<number> {
  if (values.interactive && values.json) throw new UsageError('--interactive and --json exclude each other');
  if (values.interactive && values.prompt !== undefined) {
    throw new UsageError('--interactive asks for prompts; leave out --prompt');
  }
  if (values.threads !== undefined) setThreads(values.threads);
  const model = GPT.fromPretrained(values.model).eval();
  const tokenizer = AutoTokenizer.fromPretrained(values.tokenizer ?? values.model);
  if (tokenizer.vocabSize > model.config.vocab_size) {
    throw new FileError(
      values.tokenizer ?? values.model,
      `its tokenizer has ${tokenizer.vocabSize} tokens, the model in ${values.model} ${model.config.vocab_size}: ` +
        'they do not belong together',
    );
  }
  if (tokenizer.vocabSize < model.config.vocab_size) {
    process.stderr.write(
      `note: the tokenizer has ${tokenizer.vocabSize} tokens, the model ${model.config.vocab_size}; ` +
        'those that only the model has are never drawn\n',
    );
  }
  return values.interactive ? converse(model, tokenizer, values) : complete(model, tokenizer, values);
}

async function complete(model: GPT, tokenizer: Tokenizer, values: GenerateValues): Promise<number> {
  const prompt = readPrompt(values.prompt) || defaultPrompt(tokenizer);
  using stop = stopOnSignals('stopped');
  const generation = generateText(model, tokenizer, prompt, {
    ...samplingOptions(values),
    signal: stop.signal,
  });
  let text = '';
  if (!values.json) process.stdout.write(prompt);
  try {
    for await (const piece of generation) {
      text += piece;
      if (!values.json) process.stdout.write(piece);
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
  if (!values.json) process.stdout.write('\n');
  report(generation, values.json ? text : undefined);
  return stop.exitCode ?? 0;
}

/** The speed in words or, when there is a text to report, both as one JSON object. */
function report(generation: Generation, text?: string): void {
  const { tokens, prefillTokens, prefillSeconds, decodeSeconds } = generation;
  noteCut(generation);
  // The first token comes with the prompt's pass.
  const speed = rate(tokens.length - 1, decodeSeconds);
  if (text === undefined) {
    process.stderr.write(`${tokens.length} tokens${speed > 0 ? `, ${formatCount(speed)} tok/s` : ''}\n`);
    return;
  }
  const result = {
    text,
    tokens: tokens.length,
    tokens_per_second: speed,
    prefill_tokens_per_second: rate(prefillTokens, prefillSeconds),
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

const rate = (count: number, seconds: number): number => (seconds > 0 ? count / seconds : 0);

function readPrompt(prompt = ''): string {
  if (prompt !== '-') return prompt;
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(0);
  } catch (error) {
    throw fileError('standard input', 'cannot be read', error);
  }
  return decodeUtf8(bytes, 'standard input');
}
