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
  type Finish,
  type InitOptions,
} from './layers.js';
export { checkRecompute, runLayers, segmentLength, type Recompute } from './recompute.js';
export { Lora, type LoraOptions } from './lora.js';
