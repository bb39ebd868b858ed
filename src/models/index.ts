/** The model architectures, one file each. */

export { KVCache, type KVCacheSizes, type LayerCache } from './cache.js';
export { GPT, type GPTConfig, type GPTForwardOptions, type GPTPreset } from './gpt.js';
