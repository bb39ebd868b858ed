/** Building blocks of models: the module base and the layers. */

export { Module, type LoadOptions, type LoadResult } from './module.js';
export {
  Conv1D,
  Dropout,
  Embedding,
  LayerNorm,
  Linear,
  RMSNorm,
  weightsWaiting,
  withoutInit,
  type InitOptions,
} from './layers.js';
