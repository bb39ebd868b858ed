/** Sentence embeddings. */

export { embed, type EmbedOptions, type TextEncoder } from './embed.js';
export { sentenceOptions } from './sentence-files.js';
