/** The model architectures, one file each. */

export { KVCache, type KVCacheSizes, type LayerCache } from './cache.js';
export { Llama } from './llama.js';
export type { LlamaConfig, LlamaModelType, LlamaPreset } from './llama-config.js';
export { causalMask, type CausalMaskOptions, type DecoderOptions } from './placement.js';
export type { RopeScaling } from './rope.js';
export { GPT } from './gpt.js';
export type { GPTConfig, GPTPreset, GPTSwitches } from './gpt-config.js';
