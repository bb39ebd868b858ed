/** Measuring models. */

export { bleu, type Bleu } from './bleu.js';
export {
  classificationReport,
  findClasses,
  type ClassificationReport,
  type ClassifyingModel,
  type ClassScores,
} from './classification.js';
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
export { pseudoPerplexity, type PseudoPerplexityOptions } from './pseudo-perplexity.js';
export { rouge, type Rouge } from './rouge.js';
