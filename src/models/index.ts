/** The model architectures, one file each. */

export { KVCache, type KVCacheSizes, type LayerCache } from './cache.js';
export { Llama, type LlamaConfig, type LlamaModelType, type LlamaPreset } from './llama.js';
export type { DecoderOptions } from './placement.js';
export type { RopeScaling } from './rope.js';
export { GPT, type GPTConfig, type GPTPreset } from './gpt.js';
