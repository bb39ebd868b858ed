/** `tsgpt generate`: continues a prompt, as it is made; many prompts side by side; or prompts one after the other. */

import {
  generate as generateText,
  type BatchGeneration,
  type GeneratedSequence,
  type Generation,
} from '../generation/index.js';
import { T5 } from '../models/index.js';
import { UsageError } from './args.js';
import { formatCount } from './format.js';
import { samplingOptions, type GenerateValues } from './generation-flags.js';
import { converse } from './interactive.js';
import { readLines, readText } from './lines.js';
import { openModel, type Opened } from './load.js';
import { defaultPrompt, noteCut } from './prompt.js';
import { stopOnSignals } from './signals.js';

/** Runs the command and answers its exit code. */
export async function generate(values: GenerateValues): Promise<number> {
  checkTogether(values);
  const opened = openModel(values);
  if (values.interactive) return converse(opened, values);
  const several = values.prompts !== undefined || values.sequences > 1;
  return several ? completeAll(opened, values) : complete(opened, values);
}

function checkTogether(values: GenerateValues): void {
  const { interactive, json, prompt, prompts, sequences, beams } = values;
  if (interactive && json) throw new UsageError('--interactive and --json exclude each other');
  if (interactive && prompt !== undefined) {
    throw new UsageError('--interactive asks for prompts; leave out --prompt');
  }
  if (interactive && (prompts !== undefined || sequences > 1)) {
    throw new UsageError('--interactive makes one text at a time; leave out --prompts and --sequences');
  }
  if (prompt !== undefined && prompts !== undefined) {
    throw new UsageError('--prompt and --prompts exclude each other');
  }
  if (beams > 1 && sequences > beams) {
    throw new UsageError(`--sequences ${sequences} must be at most --beams ${beams}`);
  }
  const drawn = (['temperature', 'top-k', 'top-p', 'min-p', 'typical-p'] as const).find(
    (name) => values[name] !== undefined,
  );
  if (beams > 1 && drawn !== undefined) {
    throw new UsageError(`--beams takes the likeliest texts; leave out --${drawn}`);
  }
  if (beams === 1 && (values['length-penalty'] !== undefined || values['early-stopping'])) {
    throw new UsageError('--length-penalty and --early-stopping need --beams');
  }
}

async function complete(opened: Opened, values: GenerateValues): Promise<number> {
  const { model, tokenizer } = opened;
  const prompt = promptOf(opened, values);
  const echo = !values.json && !(model instanceof T5); // its text does not continue the prompt
  using stop = stopOnSignals('stopped');
  const generation = generateText(model, tokenizer, prompt, {
    ...samplingOptions(values, model.generationConfig),
    signal: stop.signal,
  });
  let text = '';
  if (echo) process.stdout.write(prompt);
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
    sayTokens(tokens.length, speed);
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

/** Several prompts, or several texts of one, `--batch` prompts at a time. */
async function completeAll(opened: Opened, values: GenerateValues): Promise<number> {
  const { tokenizer, model } = opened;
  const { batch, sequences, seed = Math.floor(Math.random() * 2 ** 32) } = values;
  const prompts = values.prompts === undefined ? [promptOf(opened, values)] : readLines(values.prompts);
  using stop = stopOnSignals('stopped');
  let made = 0;
  let seconds = 0;
  for (let first = 0; first < prompts.length; first += batch) {
    const group = prompts.slice(first, first + batch);
    const generation = generateText(model, tokenizer, group, {
      ...samplingOptions(values, model.generationConfig),
      seed: seed + first * sequences,
      numReturnSequences: sequences,
      signal: stop.signal,
    });
    let texts: string[];
    try {
      texts = await generation.texts();
    } catch (error) {
      if (!stop.signal.aborted) throw error;
      break; // what is whole was printed
    }
    printAll(group, generation, texts, values.json, !(model instanceof T5));
    made += generation.sequences.reduce((sum, { tokens }) => sum + tokens.length - 1, 0);
    seconds += generation.decodeSeconds;
  }
  if (!values.json) sayTokens(made, rate(made, seconds));
  return stop.exitCode ?? 0;
}

function printAll(
  prompts: readonly string[],
  { sequences }: BatchGeneration,
  texts: readonly string[],
  json: boolean,
  echo: boolean,
): void {
  const line = ({ prompt, tokens, finishReason, score }: GeneratedSequence, text: string): string =>
    JSON.stringify({
      prompt: prompts[prompt],
      text,
      tokens: tokens.length,
      finish_reason: finishReason,
      ...(score === null ? {} : { score }),
    });
  for (const [i, sequence] of sequences.entries()) {
    noteCut(sequence);
    const plain = `${echo ? prompts[sequence.prompt] : ''}${texts[i]}\n---`;
    process.stdout.write(`${json ? line(sequence, texts[i]) : plain}\n`);
  }
}

function sayTokens(count: number, speed: number): void {
  process.stderr.write(`${count} tokens${speed > 0 ? `, ${formatCount(speed)} tok/s` : ''}\n`);
}

const rate = (count: number, seconds: number): number => (seconds > 0 ? count / seconds : 0);

/** The prompt that was given, or what a decoder can start from. */
function promptOf({ model, tokenizer }: Opened, values: GenerateValues): string {
  const prompt = readPrompt(values.prompt);
  if (prompt !== '') return prompt;
  if (model instanceof T5)
    throw new UsageError(`${values.model} is a T5: --prompt or --prompts must give the text that it reads`);
  return defaultPrompt(tokenizer);
}

const readPrompt = (prompt = ''): string => (prompt === '-' ? readText('-') : prompt);
