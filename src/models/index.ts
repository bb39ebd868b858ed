/** The model architectures, one file each. */

export { AutoModel, type DecoderModel } from './auto.js';
export type { Checkpoint, GenerationConfig, WeightFiles } from './checkpoint.js';
export { KVCache, type KVCacheSizes, type LayerCache } from './cache.js';
export { Llama } from './llama.js';
export type { LlamaConfig, LlamaModelType, LlamaPreset } from './llama-config.js';
export { causalMask, type CausalMaskOptions, type DecoderOptions } from './placement.js';
export type { RopeScaling } from './rope.js';
export { GPT } from './gpt.js';
export type { GPTConfig, GPTPreset, GPTSwitches } from './gpt-config.js';
export type { LoadModelOptions, SaveModelOptions } from './pretrained.js';
