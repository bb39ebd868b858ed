/**
 * Encoder-decoders in generation: the prompts are read once by the encoder, then the decoder is a model like any other, whose
 * own prompt is its start token.
 */

import { ArgumentError, noGrad, scope, tensor, type Tensor } from '../../lib/index.js';
import type { Seq2SeqCache } from '../models/index.js';
import type { CausalModel } from './decoder.js';
import type { GeneratedPiece } from './generation.js';

/** What generation needs of an encoder-decoder. */
export interface Seq2SeqModel {
  readonly config: { readonly decoder_start_token_id: number | null };
  /** (B, S) int32 to (B, S, C); the mask is true for tokens and false for padding. */
  encode(ids: Tensor, options?: { attentionMask?: Tensor; skipPadding?: boolean }): Tensor;
  newCache(batch?: number, capacity?: number): Seq2SeqCache;
  /** The encoder's output is given while the cache is empty. @returns logits of the last position, (B, 1, V) */
  forward(
    decoderIds: Tensor,
    options: { cache: Seq2SeqCache; lastOnly: true; encoderOutput?: Tensor; encoderMask?: Tensor },
  ): Tensor;
  readonly training: boolean;
  train(mode: boolean): unknown;
  /** The model's generation_config.json: what `generate` does where it is not told. */
  readonly generationConfig?: Readonly<Record<string, unknown>> | null;
}

export const isSeq2Seq = (model: CausalModel | Seq2SeqModel): model is Seq2SeqModel => 'encode' in model;

/** The decoder's prompt for each text. @throws ArgumentError when the model has no start token. */
export function startPrompts(model: Seq2SeqModel, count: number): number[][] {
  const { decoder_start_token_id: start } = model.config;
  if (start === null) {
    throw new ArgumentError(
      'generate: the model has no decoder_start_token_id, which an encoder-decoder starts from',
    );
  }
  return Array.from({ length: count }, () => [start]);
}

/** Reads the texts, and runs `decode` with the decoder that attends to them. */
export async function* afterReading(
  model: Seq2SeqModel,
  texts: readonly (readonly number[])[],
  decode: (decoder: CausalModel) => AsyncGenerator<GeneratedPiece, void>,
): AsyncGenerator<GeneratedPiece, void> {
  const { encoderOutput, encoderMask } = read(model, texts);
  const decoder: CausalModel = {
    contextLength: Infinity,
    tokensRead: texts.map((text) => text.length),
    newCache: (batch, capacity) => model.newCache(batch, capacity),
    forward: (ids, options) => {
      const cache = options.cache as Seq2SeqCache; // made by newCache above
      const source = cache.length === 0 ? { encoderOutput, encoderMask } : {};
      return model.forward(ids, { cache, lastOnly: true, ...source });
    },
    get training() {
      return model.training;
    },
    train: (mode) => model.train(mode),
  };
  try {
    yield* decode(decoder);
  } finally {
    encoderOutput.dispose();
    encoderMask.dispose();
  }
}

/** The encoder's output of all texts, the shorter ones padded at their ends; without dropout. */
function read(
  model: Seq2SeqModel,
  texts: readonly (readonly number[])[],
): { encoderOutput: Tensor; encoderMask: Tensor } {
  const width = Math.max(...texts.map((text) => text.length));
  const shape = [texts.length, width];
  const ids = new Int32Array(texts.length * width);
  const mask = new Uint8Array(ids.length);
  texts.forEach((text, row) => {
    ids.set(text, row * width);
    mask.fill(1, row * width, row * width + text.length);
  });
  const { training } = model;
  if (training) model.train(false);
  try {
    return noGrad(() =>
      scope(() => {
        const encoderMask = tensor(mask, { dtype: 'bool', shape }).keep();
        const options = { attentionMask: encoderMask, skipPadding: true };
        const encoderOutput = model.encode(tensor(ids, { shape }), options).keep();
        return { encoderOutput, encoderMask };
      }),
    );
  } finally {
    if (training) model.train(true);
  }
}
