/** Measuring models. */

export {
  maskedAccuracy,
  unigramAccuracy,
  type MaskedAccuracy,
  type MaskedPredictor,
} from './masked-accuracy.js';

export {
  perplexity,
  type LanguageModel,
  type PerplexityOptions,
  type PerplexityProgress,
  type PerplexityResult,
} from './perplexity.js';
