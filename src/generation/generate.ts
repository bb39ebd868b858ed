/**
 * Text generation: feed the prompt once, then one token at a time against the key/value cache, and hand out the text as
 * it becomes certain. The result is an async iterable of pieces; the event loop turns between tokens.
 */

import { setImmediate } from 'node:timers/promises';
import {
  ArgumentError,
  checkOptions,
  Generator,
  noGrad,
  scope,
  tensor,
  type Tensor,
} from '../../lib/index.js';
import type { KVCache } from '../models/index.js';
import type { Tokenizer } from '../tokenizers/index.js';
import { checkSampling, sample, shown, type SamplingOptions } from './sampling.js';
import { TextStream } from './text-stream.js';

/** What generation needs of a model: a decoder with a cache. */
export interface CausalModel {
  readonly contextLength: number;
  newCache(batch?: number, capacity?: number): KVCache;
  /** @param ids (B, T) @returns logits (B, 1, V) */
  forward(ids: Tensor, options: { cache: KVCache; lastOnly: true }): Tensor;
  readonly training: boolean;
  train(mode: boolean): unknown;
}

/** Options of {@link generate}; the names are Hugging Face's. */
export interface GenerateOptions extends SamplingOptions {
  /** Most tokens to add, 100 by default. */
  readonly maxNewTokens?: number;
  /** Makes the draws reproducible; random without it. */
  readonly seed?: number;
  /** Texts at which to stop; they are not part of the result. */
  readonly stop?: string | readonly string[];
  /** A token at which to stop; the tokenizer's end-of-text by default, null for none. */
  readonly eosId?: number | null;
  /** Aborting it ends the iteration with its reason. */
  readonly signal?: AbortSignal;
}

/** Why a generation ended. */
export type FinishReason = 'length' | 'stop' | 'eos';

/** A running generation: iterate it for pieces of text, or await `text()`. It runs once. */
export class Generation implements AsyncIterable<string> {
  /** Ids generated so far. */
  readonly tokens: number[] = [];
  /** Null until it ends. */
  finishReason: FinishReason | null = null;
  /** Ids of the prompt. */
  promptTokens = 0;
  /** How many of them the model was fed: the last ones, where they are more than its context. */
  prefillTokens = 0;
  /** Time spent on these. */
  prefillSeconds = 0;
  /** Time spent on the tokens after the first. */
  decodeSeconds = 0;
  readonly #pieces: AsyncGenerator<string, void>;
  #taken = false;

  /** @internal Use {@link generate}. */
  constructor(run: (generation: Generation) => AsyncGenerator<string, void>) {
    this.#pieces = run(this);
  }

  /**
   * The pieces of text as they become certain. Leaving the loop early frees the cache.
   * @throws ArgumentError the second time: the text is made only once.
   */
  [Symbol.asyncIterator](): AsyncGenerator<string, void> {
    if (this.#taken) {
      throw new ArgumentError(
        'generate: this generation has run or is running; call generate again for another',
      );
    }
    this.#taken = true;
    return this.#pieces;
  }

  /** Runs to the end and returns the whole text (without the prompt). */
  async text(): Promise<string> {
    let text = '';
    for await (const piece of this) text += piece;
    return text;
  }
}

const knownOptions = ['maxNewTokens', 'temperature', 'topK', 'topP', 'seed', 'stop', 'eosId', 'signal'];

/**
 * Continues a prompt.
 *
 * A sequence that reaches the model's context length goes on from its second half, which is fed again.
 *
 * @param model Any decoder, in training mode or not: dropout is off while it generates.
 * @param prompt Text, or token ids. It must not be empty.
 * @throws ArgumentError when an option is unknown or out of range.
 * @example
 * for await (const piece of generate(model, tokenizer, 'ROMEO:', { maxNewTokens: 200, temperature: 0.8 })) {
 *   process.stdout.write(piece);
 * }
 */
export function generate(
  model: CausalModel,
  tokenizer: Tokenizer,
  prompt: string | ArrayLike<number>,
  options: GenerateOptions = {},
): Generation {
  checkOptions('generate', options, knownOptions);
  const { maxNewTokens = 100, seed = Math.floor(Math.random() * 2 ** 32), signal } = options;
  if (!isCount(maxNewTokens)) {
    throw new ArgumentError(
      `generate: maxNewTokens must be a non-negative integer, got ${shown(maxNewTokens)}`,
    );
  }
  const sampling = checkSampling(options);
  const generator = new Generator(seed);
  const ids = promptIds(tokenizer, prompt);
  const eosId = options.eosId === undefined ? (tokenizer.eosId ?? null) : options.eosId;
  if (eosId !== null && !isCount(eosId)) {
    throw new ArgumentError(`generate: eosId must be a token id or null, got ${shown(eosId)}`);
  }
  if (signal !== undefined && typeof (signal as Partial<AbortSignal> | null)?.throwIfAborted !== 'function') {
    throw new ArgumentError("generate: signal must be an AbortController's signal");
  }
  const stream = new TextStream(tokenizer, stopTexts(options.stop));

  return new Generation(async function* (generation) {
    generation.promptTokens = ids.length;
    const cache = model.newCache(1, Math.min(model.contextLength, ids.length + maxNewTokens));
    try {
      let fed = 0; // how many of `ids` the cache holds
      while (generation.tokens.length < maxNewTokens) {
        signal?.throwIfAborted();
        if (fed === 0 || cache.length === cache.capacity) {
          cache.clear();
          fed = ids.length <= cache.capacity ? 0 : ids.length - Math.ceil(cache.capacity / 2);
        }
        const started = performance.now();
        const logits = nextLogits(model, ids.slice(fed), cache);
        fed = ids.length;
        // A model may have more ids than its tokenizer (padding to a round number); these have no text.
        const id = sample(logits.subarray(0, tokenizer.vocabSize), sampling, generator);
        const seconds = (performance.now() - started) / 1000;
        if (generation.tokens.length > 0) generation.decodeSeconds += seconds;
        else [generation.prefillTokens, generation.prefillSeconds] = [cache.length, seconds];
        if (id === eosId) {
          generation.finishReason = 'eos';
          break;
        }
        ids.push(id);
        generation.tokens.push(id);
        const piece = stream.push(id);
        if (piece !== '') yield piece;
        if (stream.stopped) {
          generation.finishReason = 'stop';
          return;
        }
        await setImmediate();
      }
      const rest = stream.end();
      generation.finishReason ??= stream.stopped ? 'stop' : 'length';
      if (rest !== '') yield rest;
    } finally {
      cache.dispose();
    }
  });
}

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;

function promptIds(tokenizer: Tokenizer, prompt: unknown): number[] {
  const isList = typeof prompt === 'object' && prompt !== null && 'length' in prompt;
  if (typeof prompt !== 'string' && !isList) {
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

function stopTexts(stop: unknown = []): string[] {
  const texts: unknown[] = Array.isArray(stop) ? stop : [stop];
  const wrong = texts.find((text) => typeof text !== 'string');
  if (wrong === undefined && !texts.includes(undefined)) return texts as string[];
  throw new ArgumentError(`generate: stop must be a text or several, got ${shown(wrong)}`);
}

/**
 * The logits that follow `ids`, copied out of the tensor. The model is in evaluation mode for this call only: between
 * calls others may train it or generate with it.
 */
function nextLogits(model: CausalModel, ids: readonly number[], cache: KVCache): Float32Array {
  const { training } = model;
  if (training) model.train(false);
  try {
    return noGrad(() =>
      scope(() => {
        const logits = model.forward(tensor([ids], { dtype: 'int32' }), { cache, lastOnly: true }); // (1, 1, V)
        return Float32Array.from(logits.data);
      }),
    );
  } finally {
    if (training) model.train(true);
  }
}
