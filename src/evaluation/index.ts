/** Measuring models. */

export {
  perplexity,
  type LanguageModel,
  type PerplexityOptions,
  type PerplexityProgress,
  type PerplexityResult,
} from './perplexity.js';
