/**
 * A GPT with rotary positions, SwiGLU and RMSNorm computes what a Llama computes. It is saved as one, so that every
 * program that knows Llama loads it, with its own configuration beside Llama's keys in config.json; from there GPT reads
 * it back. Only the layout differs: GPT has queries, keys and values in one matrix, and matrices as [in, out].
 */

import {
  cat,
  ConfigError,
  contiguous,
  noGrad,
  scope,
  split,
  type Tensor,
  transpose,
} from '../../lib/index.js';
import { withoutInit } from '../nn/index.js';
import type { GPT } from './gpt.js';
import { type GPTConfig, headsOf, innerSize } from './gpt-config.js';
import { type Llama, llamaWeights } from './llama.js';
import { complete, type LlamaConfig, llamaFile } from './llama-config.js';
import type { Checkpoint } from './checkpoint.js';
import { saveCheckpoint, type SaveModelOptions } from './pretrained.js';

/** The key under which config.json of a Llama holds the configuration of the GPT that wrote it. */
const ownKey = 'tsgpt_gpt';

type State = ReadonlyMap<string, Tensor>;

/** The configuration of the same Llama (with a window Mistral); null when there is none. */
export function llamaConfigOf(c: GPTConfig): Partial<LlamaConfig> | null {
  const { heads, kvHeads, size } = headsOf(c);
  const windowed = c.sliding_window !== null;
  if (!(c.use_rope && c.use_swiglu && c.use_rmsnorm) || (windowed && c.bias)) return null;
  return {
    model_type: windowed ? 'mistral' : 'llama',
    vocab_size: c.vocab_size,
    hidden_size: c.n_embd,
    intermediate_size: innerSize(c),
    num_hidden_layers: c.n_layer,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    head_dim: size,
    max_position_embeddings: c.n_positions,
    initializer_range: c.initializer_range,
    rms_norm_eps: c.layer_norm_epsilon,
    rope_theta: c.rope_theta,
    rope_scaling: c.rope_scaling,
    attention_dropout: c.attn_pdrop,
    tie_word_embeddings: c.tie_word_embeddings,
    bos_token_id: c.bos_token_id,
    eos_token_id: c.eos_token_id,
    ...(windowed ? { sliding_window: c.sliding_window } : { attention_bias: c.bias, mlp_bias: c.bias }),
  };
}

/** Saves the model in Llama's layout. */
export function saveAsLlama(
  folder: string,
  model: GPT,
  config: Partial<LlamaConfig>,
  options: SaveModelOptions,
): void {
  const file = { ...llamaFile(complete(config)), [ownKey]: model.config };
  noGrad(() =>
    scope(() => {
      const state = llamaState(model.stateDict(), model.config);
      const { generationConfig } = model;
      saveCheckpoint(folder, { stateDict: () => state, generationConfig }, file, llamaWeights, options);
    }),
  );
}

/** The GPT of that configuration with the weights of the Llama that it was saved as, which is used up. */
export function fromLlama(
  path: string,
  config: Partial<GPTConfig>,
  llama: Llama,
  build: (config: Partial<GPTConfig>) => GPT,
): GPT {
  const model = withoutInit(llama.numParameters(), () => build(config));
  checkSame(path, model.config, llama.config);
  noGrad(() =>
    scope(() => {
      const state = gptState(llama.stateDict(), llama.layers.length);
      model.loadStateDict(new Map([...state].map(([name, t]) => [name, contiguous(t)])), { assign: true });
    }),
  );
  const taken = new Set(model.parameters());
  for (const weight of llama.parameters()) if (!taken.has(weight)) weight.dispose();
  model.generationConfig = llama.generationConfig;
  return model.eval();
}

/** @throws ConfigError when the two configurations in a folder are not of the same model. */
function checkSame(folder: string, own: GPTConfig, llama: LlamaConfig): void {
  const expected = complete(llamaConfigOf(own) ?? {});
  const differs = (Object.keys(llama) as (keyof LlamaConfig)[]).find(
    (key) => JSON.stringify(llama[key]) !== JSON.stringify(expected[key]),
  );
  if (differs !== undefined) {
    throw new ConfigError(
      `${folder}: ${ownKey} in config.json contradicts ${differs}; remove ${ownKey} and load it as a Llama`,
    );
  }
}

/** The configuration of the GPT that was saved as a Llama; null when the checkpoint is something else. */
export function gptConfigInLlama({ config }: Checkpoint): Partial<GPTConfig> | null {
  const own = ['llama', 'mistral'].includes(config.model_type as string) ? config[ownKey] : null;
  return typeof own === 'object' ? own : null;
}

/** GPT's and Llama's names of what both store alone. A matrix is [in, out] in GPT's blocks and [out, in] in Llama's. */
function sharedNames(layers: number): { gpt: string; llama: string; isMatrix: boolean }[] {
  const names = [
    { gpt: 'wte.weight', llama: 'embed_tokens.weight', isMatrix: false },
    { gpt: 'ln_f.weight', llama: 'norm.weight', isMatrix: false },
    { gpt: 'lm_head.weight', llama: 'lm_head.weight', isMatrix: false },
  ];
  for (let i = 0; i < layers; i++) {
    const add = (gpt: string, llama: string, isMatrix: boolean): unknown =>
      names.push({ gpt: `h.${i}.${gpt}`, llama: `layers.${i}.${llama}`, isMatrix });
    add('ln_1.weight', 'input_layernorm.weight', false);
    add('ln_2.weight', 'post_attention_layernorm.weight', false);
    for (const [gpt, llama] of [
      ['attn.c_proj', 'self_attn.o_proj'],
      ['mlp.c_gate', 'mlp.gate_proj'],
      ['mlp.c_fc', 'mlp.up_proj'],
      ['mlp.c_proj', 'mlp.down_proj'],
    ]) {
      add(`${gpt}.weight`, `${llama}.weight`, true);
      add(`${gpt}.bias`, `${llama}.bias`, false);
    }
  }
  return names;
}

/** Llama's names of what GPT holds in one `attn.c_attn`. */
const projectionsOf = (layer: number, part: string): string[] =>
  ['q', 'k', 'v'].map((name) => `layers.${layer}.self_attn.${name}_proj.${part}`);

const turned = (matrix: Tensor): Tensor => transpose(matrix, 0, 1);

/** A GPT's weights as a Llama's. */
function llamaState(weights: State, c: GPTConfig): State {
  const state = new Map<string, Tensor>();
  for (const { gpt, llama, isMatrix } of sharedNames(c.n_layer)) {
    const tensor = weights.get(gpt);
    if (tensor !== undefined) state.set(llama, isMatrix ? turned(tensor) : tensor);
  }
  const { kvHeads, size } = headsOf(c);
  const keys = kvHeads * size;
  for (let i = 0; i < c.n_layer; i++) {
    const spread = (part: string, joint: Tensor | undefined): void => {
      if (joint === undefined) return;
      const pieces = split(joint, [c.n_embd, keys, keys]);
      for (const [k, name] of projectionsOf(i, part).entries()) state.set(name, pieces[k]);
    };
    spread('weight', turned(weights.get(`h.${i}.attn.c_attn.weight`)!));
    spread('bias', weights.get(`h.${i}.attn.c_attn.bias`));
  }
  return state;
}

/** And back. */
function gptState(weights: State, layers: number): State {
  const state = new Map<string, Tensor>();
  for (const { gpt, llama, isMatrix } of sharedNames(layers)) {
    const tensor = weights.get(llama);
    if (tensor !== undefined) state.set(gpt, isMatrix ? turned(tensor) : tensor);
  }
  for (let i = 0; i < layers; i++) {
    const joined = (part: string): Tensor => cat(projectionsOf(i, part).map((name) => weights.get(name)!));
    state.set(`h.${i}.attn.c_attn.weight`, turned(joined('weight')));
    if (weights.has(projectionsOf(i, 'bias')[0])) state.set(`h.${i}.attn.c_attn.bias`, joined('bias'));
  }
  return state;
}
