/** Greedy and sampled decoding: every row takes one token a step, by its own stream of random numbers. */

import { setImmediate } from 'node:timers/promises';

import { Generator } from '../../lib/index.js';
import { Decoder, longestOf, type CausalModel } from './decoder.js';
import type { GeneratedPiece, Progress, GeneratedSequence } from './generation.js';
import { readLogprobs } from './logprobs.js';
import type { GenerateSettings } from './options.js';
import { Sampler } from './sampling.js';
import { TextStream, type TextDecoder } from './text-stream.js';

/** A row of the batch, and its text. */
class Row {
  readonly ids: number[];
  /** The row of the decoder that its next logits come from. */
  at: number;
  readonly #generator: Generator;
  readonly #stream: TextStream;

  constructor(
    readonly index: number,
    readonly sequence: GeneratedSequence,
    private readonly prompt: readonly number[],
    tokenizer: TextDecoder,
    private readonly settings: GenerateSettings,
  ) {
    this.ids = [...prompt];
    this.at = sequence.prompt;
    this.#generator = new Generator(settings.seed + index);
    this.#stream = new TextStream(tokenizer, settings.stopStrings, prompt);
  }

  /** Takes the next token by these scores, which it changes, and answers the text that is certain now. */
  take(scores: Float32Array, sampler: Sampler): string {
    const { processors, eosIds, logprobs, maxNewTokens } = this.settings;
    const { sequence, ids } = this;
    const tell = logprobs === null ? null : readLogprobs(scores, logprobs);
    for (const process of processors) process(ids, scores, this.prompt.length);
    const id = sampler.choose(scores, this.#generator);
    if (tell !== null) sequence.logprobs.push(tell(id));
    if (eosIds.includes(id)) {
      sequence.finishReason = 'eos';
      return this.#stream.end();
    }
    ids.push(id);
    sequence.tokens.push(id);
    let text = this.#stream.push(id);
    const isLast = !this.#stream.stopped && sequence.tokens.length === maxNewTokens;
    if (isLast) text += this.#stream.end();
    if (this.#stream.stopped) sequence.finishReason = 'stop';
    else if (isLast) sequence.finishReason = 'length';
    return text;
  }
}

/** Runs the rows of `progress.sequences` to their ends. */
export async function* decodeRows(
  model: CausalModel,
  tokenizer: TextDecoder,
  prompts: readonly (readonly number[])[],
  settings: GenerateSettings,
  progress: Progress,
): AsyncGenerator<GeneratedPiece, void> {
  const { signal, maxNewTokens } = settings;
  signal?.throwIfAborted();
  let rows = progress.sequences.map(
    (sequence, index) => new Row(index, sequence, prompts[sequence.prompt], tokenizer, settings),
  );
  if (maxNewTokens === 0) {
    for (const { sequence } of rows) sequence.finishReason = 'length';
    return;
  }
  const decoder = new Decoder(model, prompts.length, longestOf(prompts) + maxNewTokens);
  const sampler = new Sampler(settings.sampling);
  try {
    for (let step = 0; rows.length > 0; step++) {
      signal?.throwIfAborted();
      const started = performance.now();
      decoder.next(step === 0 ? prompts : rows.map(({ ids }) => ids));
      if (step === 0) for (const { sequence, at } of rows) sequence.prefillTokens = decoder.seen(at);
      const pieces = rows.map((row, i) => {
        // Rows that share a prompt share its logits, which processors change.
        const shared = rows[i + 1]?.at === row.at;
        const scores = decoder.logitsOf(row.at, tokenizer.vocabSize);
        return { index: row.index, text: row.take(shared ? scores.slice() : scores, sampler) };
      });
      rows = rows.filter(({ sequence }) => sequence.finishReason === null);
      if (rows.length > 0) decoder.reorder(rows.map(({ at }) => at));
      rows.forEach((row, i) => (row.at = i));
      const seconds = (performance.now() - started) / 1000;
      if (step === 0) progress.prefillSeconds = seconds;
      else progress.decodeSeconds += seconds;
      for (const piece of pieces) if (piece.text !== '') yield piece;
      await setImmediate();
    }
  } finally {
    decoder.dispose();
  }
}
