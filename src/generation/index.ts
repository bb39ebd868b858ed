/** Text generation with decoders. */

export {
  generate,
  Generation,
  type CausalModel,
  type FinishReason,
  type GenerateOptions,
} from './generate.js';
export { sample, type SamplingOptions } from './sampling.js';
