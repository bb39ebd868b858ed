/** The model architectures, one file each. */

export { AutoModel, type DecoderModel } from './auto.js';
export { type Checkpoint, type GenerationConfig, type WeightFiles } from './checkpoint.js';
export { KVCache, type KVCacheSizes, type LayerCache } from './cache.js';
export { Llama, type LlamaConfig, type LlamaModelType, type LlamaPreset } from './llama.js';
export type { DecoderOptions } from './placement.js';
export type { RopeScaling } from './rope.js';
export { GPT, type GPTConfig, type GPTPreset } from './gpt.js';
export { type LoadModelOptions, type SaveModelOptions } from './pretrained.js';
