/** Text generation with decoders. */

export type { CausalModel } from './decoder.js';
export { generate, type Prompt } from './generate.js';
export {
  BatchGeneration,
  Generation,
  type FinishReason,
  type GeneratedPiece,
  type ScoredToken,
  type GeneratedSequence,
  type TokenLogprobs,
} from './generation.js';
export type { GenerateOptions } from './options.js';
export type { Seq2SeqModel } from './seq2seq.js';
export type { LogitsProcessor, ProcessorOptions } from './processors.js';
export { sample, type SamplingOptions } from './sampling.js';
export { TextStream, type TextDecoder } from './text-stream.js';
