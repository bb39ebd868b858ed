/**
 * tsgpt: train, load, run and look inside transformers in TypeScript. This module gives everything; the subpaths
 * (`tsgpt/tensor`, `tsgpt/models`, ...) give parts.
 */

export * from '../lib/index.js';
export * from './nn/index.js';
export * from './models/index.js';
export * from './tokenizers/index.js';
export * from './data/index.js';
export * from './training/index.js';
export * from './generation/index.js';
export * from './embedding/index.js';
export * from './evaluation/index.js';
export * from './visualize/index.js';
