/**
 * Text generation: feed the prompts once, then one token at a time against the key/value cache, and hand out the text as
 * it becomes certain. The result is an async iterable of pieces; the event loop turns between tokens.
 */

import { ArgumentError } from '../../lib/index.js';
import type { Tokenizer } from '../tokenizers/index.js';
import { beamSearch } from './beam-search.js';
import { decodeRows } from './decode-rows.js';
import type { CausalModel } from './decoder.js';
import { BatchGeneration, Generation, type Run, type GeneratedSequence } from './generation.js';
import { isCount, settle, type GenerateOptions } from './options.js';
import { shown } from './sampling.js';
import { afterReading, isSeq2Seq, type Seq2SeqModel, startPrompts } from './seq2seq.js';

/** Text, or token ids. */
export type Prompt = string | ArrayLike<number>;

/**
 * Continues a prompt, or several at once.
 *
 * Each prompt of a list gets the text that it would get alone; draws are those of `seed`, `seed + 1`, ... in the order
 * of the results. A text that reaches the model's context length goes on from its second half, which is fed again.
 * Options that are not given come from the model's `generationConfig`, where it has one.
 *
 * @param model Any decoder, or an encoder-decoder, which reads the prompt and writes another text; in training mode or not:
 *   dropout is off while it generates.
 * @param prompt Text, or token ids; not empty. A list of them gives a {@link BatchGeneration}.
 * @throws ArgumentError when an option is unknown or out of range.
 * @example
 * for await (const piece of generate(model, tokenizer, 'ROMEO:', { maxNewTokens: 200, temperature: 0.8 })) {
 *   process.stdout.write(piece);
 * }
 * const texts = await generate(model, tokenizer, ['ROMEO:', 'JULIET:'], { numBeams: 4 }).texts();
 */
export function generate(
  model: CausalModel | Seq2SeqModel,
  tokenizer: Tokenizer,
  prompt: Prompt,
  options?: GenerateOptions,
): Generation;
export function generate(
  model: CausalModel | Seq2SeqModel,
  tokenizer: Tokenizer,
  prompts: readonly Prompt[],
  options?: GenerateOptions,
): BatchGeneration;
export function generate(
  model: CausalModel | Seq2SeqModel,
  tokenizer: Tokenizer,
  prompt: Prompt | readonly Prompt[],
  options: GenerateOptions = {},
): Generation | BatchGeneration {
  const settings = settle(options, tokenizer, model.generationConfig ?? {});
  const several = isList(prompt);
  const prompts = (several ? prompt : [prompt]).map((one) => promptIds(tokenizer, one));
  const { numReturnSequences: count } = settings;
  if (!several && count > 1) {
    throw new ArgumentError(
      `generate: numReturnSequences ${count} needs a list of prompts: generate(model, tokenizer, [prompt], ...)`,
    );
  }
  const sequences = prompts.flatMap((ids, index) => Array.from({ length: count }, () => blank(index, ids)));
  const loop = settings.numBeams > 1 ? beamSearch : decodeRows;
  const run: Run = isSeq2Seq(model)
    ? readingRun(
        model,
        prompts,
        (decoder, starts) => (progress) => loop(decoder, tokenizer, starts, settings, progress),
      )
    : (progress) => loop(model, tokenizer, prompts, settings, progress);
  return several ? new BatchGeneration(sequences, run) : new Generation(sequences, run);
}

/** The run of an encoder-decoder: it reads the prompts when it starts. */
function readingRun(
  model: Seq2SeqModel,
  prompts: readonly (readonly number[])[],
  loop: (decoder: CausalModel, starts: number[][]) => Run,
): Run {
  const starts = startPrompts(model, prompts.length);
  return (progress) => afterReading(model, prompts, (decoder) => loop(decoder, starts)(progress));
}

const isList = (prompt: Prompt | readonly Prompt[]): prompt is readonly Prompt[] =>
  Array.isArray(prompt) && prompt.length > 0 && typeof prompt[0] !== 'number';

const blank = (prompt: number, ids: readonly number[]): GeneratedSequence => ({
  prompt,
  promptTokens: ids.length,
  prefillTokens: 0,
  tokens: [],
  finishReason: null,
  logprobs: [],
  score: null,
});

function promptIds(tokenizer: Tokenizer, prompt: unknown): number[] {
  const isArray = typeof prompt === 'object' && prompt !== null && 'length' in prompt;
  if (typeof prompt !== 'string' && !isArray) {
    throw new ArgumentError(`generate: the prompt must be a text or token ids, got ${shown(prompt)}`);
  }
  const ids = Array.from<unknown>(
    typeof prompt === 'string' ? tokenizer.encode(prompt) : (prompt as ArrayLike<unknown>),
  );
  if (ids.length === 0) {
    throw new ArgumentError('generate: the prompt is empty; give at least one token to start from');
  }
  const wrong = ids.findIndex((id) => !isCount(id));
  if (wrong >= 0) {
    throw new ArgumentError(`generate: the prompt must be token ids, got ${shown(ids[wrong])} at ${wrong}`);
  }
  return ids as number[];
}
