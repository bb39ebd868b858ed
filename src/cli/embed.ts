/** `tsgpt embed`: a vector for each text, an object a line on standard output. */

import { FileError } from '../../lib/index.js';
import { embed as embedTexts, sentenceOptions } from '../embedding/index.js';
import { AutoModelForTextEncoding, type EncoderModel } from '../models/index.js';
import type { Tokenizer } from '../tokenizers/index.js';
import { UsageError } from './args.js';
import type { EmbedValues } from './embed-flags.js';
import { formatCount } from './format.js';
import { readText, sourceName } from './lines.js';
import { openWith } from './load.js';
import { stopOnSignals } from './signals.js';

/** Texts that are embedded before their lines are printed. */
const group = 1024;

/** Runs the command and answers its exit code. */
export async function embed(values: EmbedValues): Promise<number> {
  const { model, tokenizer } = openWith(values, (path) => AutoModelForTextEncoding.fromPretrained(path));
  const own = sentenceOptions(values.model);
  const maxLength = limitOf(model, values, own.maxLength);
  const texts = values.text === undefined ? linesOf(values.data) : [values.text];
  const ids = texts.map((text, line) => tokensOf(text, line, tokenizer, maxLength, values));
  const pooling = (values.pooling ?? own.pooling) as 'cls' | 'mean' | 'max' | undefined;
  const normalize = values['no-normalize'] ? false : (own.normalize ?? true);
  using stop = stopOnSignals('stopped');
  const started = performance.now();
  for (let first = 0; first < texts.length; first += group) {
    const options = { pooling, normalize, truncate: values.truncate, maxLength, signal: stop.signal };
    try {
      print(texts, first, await embedTexts(model, tokenizer, ids.slice(first, first + group), options));
    } catch (error) {
      if (!stop.signal.aborted) throw error;
      return stop.exitCode!;
    }
  }
  const seconds = (performance.now() - started) / 1000;
  process.stderr.write(`${texts.length} texts, ${formatCount(texts.length / seconds)} texts/s\n`);
  return 0;
}

function limitOf(model: EncoderModel, values: EmbedValues, own = model.contextLength): number {
  const { 'max-length': length = Math.min(own, model.contextLength) } = values;
  if (length <= model.contextLength) return length;
  throw new UsageError(`--max-length ${length} is more than the model's context of ${model.contextLength}`);
}

/** The lines of a file, whose last one may end with a line break. */
function linesOf(path: string): string[] {
  const lines = readText(path).split(/\r?\n/);
  if (lines[lines.length - 1] === '') lines.pop();
  if (lines.length === 0) throw new FileError(sourceName(path), 'holds no text');
  return lines;
}

function tokensOf(
  text: string,
  line: number,
  tokenizer: Tokenizer,
  maxLength: number,
  { data, text: single, truncate }: EmbedValues,
): Int32Array {
  const refuse = (reason: string): never => {
    if (single !== undefined) throw new UsageError(`--text ${reason}`);
    throw new FileError(sourceName(data), `line ${line + 1} ${reason}`);
  };
  if (text.trim() === '') refuse('is empty');
  const ids = tokenizer.encode(text);
  if (ids.length > maxLength && !truncate) {
    refuse(`has ${ids.length} tokens, at most ${maxLength} fit; --truncate cuts its end`);
  }
  return ids;
}

function print(
  texts: readonly string[],
  first: number,
  vectors: { readonly shape: readonly number[]; readonly data: ArrayLike<number> },
): void {
  const [rows, width] = vectors.shape;
  const numbers = Array.from(vectors.data);
  for (let row = 0; row < rows; row++) {
    const embedding = numbers.slice(row * width, (row + 1) * width);
    process.stdout.write(`${JSON.stringify({ text: texts[first + row], embedding })}\n`);
  }
}
