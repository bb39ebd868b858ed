/**
 * Models in GGUF files, told in Hugging Face's words: llama.cpp's metadata as a configuration, its names of tensors as those
 * of the published checkpoints. Sources: llama.cpp's conversion (convert_hf_to_gguf.py) and its reader (llama-model.cpp).
 *
 * `bert` files are encoders for sentence embeddings, which llama.cpp's conversion leaves without pooler and heads.
 *
 * Two layouts differ. Rows of `llama` queries and keys are interleaved for pairs (2i, 2i + 1), where Hugging Face's turn
 * (i, i + D/2): they are put back. GPT-2's matrices are stored [out, in]; its checkpoints have them [in, out].
 */

import {
  ConfigError,
  contiguous,
  formatShape,
  reshape,
  scope,
  type DequantizedDType,
  type GgufFile,
  type Tensor,
  transpose,
} from '../../lib/index.js';
import type { Checkpoint, ConfigFile, GenerationConfig } from './checkpoint.js';
import { llama3Scaling } from './gguf-rope.js';

/** What a family's files need. */
interface Architecture {
  /** config.json's keys from the file's. */
  readonly config: (file: Metadata) => ConfigFile;
  /** Names of tensors, `N` for a layer's number. */
  readonly names: Readonly<Record<string, string>>;
  /** Tensors that are no weights. */
  readonly ignored: RegExp;
  /** Undoes the file's layout of a tensor of that (Hugging Face) name. */
  readonly restore: (name: string, t: Tensor, config: ConfigFile) => Tensor;
}

const llamaNames = {
  token_embd: 'embed_tokens',
  output_norm: 'norm',
  output: 'lm_head',
  'blk.N.attn_norm': 'layers.N.input_layernorm',
  'blk.N.attn_q': 'layers.N.self_attn.q_proj',
  'blk.N.attn_k': 'layers.N.self_attn.k_proj',
  'blk.N.attn_v': 'layers.N.self_attn.v_proj',
  'blk.N.attn_output': 'layers.N.self_attn.o_proj',
  'blk.N.ffn_norm': 'layers.N.post_attention_layernorm',
  'blk.N.ffn_gate': 'layers.N.mlp.gate_proj',
  'blk.N.ffn_up': 'layers.N.mlp.up_proj',
  'blk.N.ffn_down': 'layers.N.mlp.down_proj',
};

const architectures: Readonly<Record<string, Architecture>> = {
  llama: {
    config: (file) => ({
      ...llamaConfig(file),
      model_type: 'llama',
      attention_bias: file.hasTensor('blk.0.attn_q.bias'),
      mlp_bias: file.hasTensor('blk.0.ffn_gate.bias'),
    }),
    names: llamaNames,
    ignored: /^rope_freqs\.weight$/,
    restore: (name, t, config) => {
      if (!/\.[qk]_proj\./.test(name)) return t;
      const heads = config[name.includes('q_proj') ? 'num_attention_heads' : 'num_key_value_heads'] as number;
      return halves(t, heads);
    },
  },
  qwen2: {
    config: (file) => ({ ...llamaConfig(file), model_type: 'qwen2' }),
    names: llamaNames,
    ignored: /^rope_freqs\.weight$/,
    restore: (_, t) => t,
  },
  gpt2: {
    config: (file) => ({
      model_type: 'gpt2',
      vocab_size: file.rows('token_embd.weight'),
      n_positions: file.count('context_length'),
      n_embd: file.count('embedding_length'),
      n_layer: file.count('block_count'),
      n_head: file.count('attention.head_count'),
      n_inner: file.count('feed_forward_length'),
      layer_norm_epsilon: file.number('attention.layer_norm_epsilon', 1e-5),
      tie_word_embeddings: !file.hasTensor('output.weight'),
      ...specialTokens(file),
    }),
    names: {
      token_embd: 'wte',
      position_embd: 'wpe',
      output_norm: 'ln_f',
      output: 'lm_head',
      'blk.N.attn_norm': 'h.N.ln_1',
      'blk.N.attn_qkv': 'h.N.attn.c_attn',
      'blk.N.attn_output': 'h.N.attn.c_proj',
      'blk.N.ffn_norm': 'h.N.ln_2',
      'blk.N.ffn_up': 'h.N.mlp.c_fc',
      'blk.N.ffn_down': 'h.N.mlp.c_proj',
    },
    ignored: /^$/,
    restore: (name, t) => (/\.c_\w+\.weight$/.test(name) ? compact(() => transpose(t, 0, 1)) : t),
  },
  bert: {
    config: (file) => ({
      model_type: 'bert',
      vocab_size: file.rows('token_embd.weight'),
      hidden_size: file.count('embedding_length'),
      num_hidden_layers: file.count('block_count'),
      num_attention_heads: file.count('attention.head_count'),
      intermediate_size: file.count('feed_forward_length'),
      max_position_embeddings: file.rows('position_embd.weight'),
      type_vocab_size: file.rows('token_types.weight'),
      layer_norm_eps: file.number('attention.layer_norm_epsilon', 1e-12),
      pad_token_id: specialTokens(file).pad_token_id ?? null,
    }),
    names: {
      token_embd: 'embeddings.word_embeddings',
      position_embd: 'embeddings.position_embeddings',
      token_types: 'embeddings.token_type_embeddings',
      token_embd_norm: 'embeddings.LayerNorm',
      'blk.N.attn_q': 'encoder.layer.N.attention.self.query',
      'blk.N.attn_k': 'encoder.layer.N.attention.self.key',
      'blk.N.attn_v': 'encoder.layer.N.attention.self.value',
      'blk.N.attn_output': 'encoder.layer.N.attention.output.dense',
      'blk.N.attn_output_norm': 'encoder.layer.N.attention.output.LayerNorm',
      'blk.N.ffn_up': 'encoder.layer.N.intermediate.dense',
      'blk.N.ffn_down': 'encoder.layer.N.output.dense',
      'blk.N.layer_output_norm': 'encoder.layer.N.output.LayerNorm',
    },
    ignored: /^cls\./,
    restore: (_, t) => t,
  },
};

/** A metadata value in a message. */
function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return JSON.stringify(value);
  const plain = typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean';
  return plain ? String(value) : 'a list';
}

/** A result that lies in memory of its own, in its order. */
const compact = (view: () => Tensor): Tensor => scope(() => contiguous(view()).keep());

/** Rows of each head from interleaved pairs, 0 D/2 1 D/2+1 ..., to two halves. */
function halves(t: Tensor, heads: number): Tensor {
  const [rows, ...rest] = t.shape;
  const half = rows / heads / 2;
  if (!Number.isInteger(half)) {
    throw new ConfigError(`gguf: ${formatShape(t.shape)} is not ${heads} heads of an even size`);
  }
  return compact(() => reshape(transpose(reshape(t, [heads, half, 2, ...rest]), 1, 2), t.shape));
}

/** What llama and qwen2 have in common. */
function llamaConfig(file: Metadata): ConfigFile {
  if (file.number('expert_count', 0) > 0) file.fail('is a mixture of experts, which is not supported');
  const heads = file.count('attention.head_count');
  const hidden = file.count('embedding_length');
  const size = file.number('attention.key_length', hidden / heads);
  const turned = file.number('rope.dimension_count', size);
  if (turned !== size)
    file.fail(`turns ${turned} of the ${size} features of a head, only whole heads are supported`);
  if (file.number('attention.value_length', size) !== size) file.fail('has values of another size than keys');
  return {
    vocab_size: file.rows('token_embd.weight'),
    hidden_size: hidden,
    intermediate_size: file.count('feed_forward_length'),
    num_hidden_layers: file.count('block_count'),
    num_attention_heads: heads,
    num_key_value_heads: file.number('attention.head_count_kv', heads),
    ...(size === hidden / heads ? {} : { head_dim: size }),
    max_position_embeddings: file.count('context_length'),
    rms_norm_eps: file.number('attention.layer_norm_rms_epsilon', 1e-5),
    rope_theta: file.number('rope.freq_base', 10000),
    rope_scaling: ropeScaling(file, size),
    tie_word_embeddings: !file.hasTensor('output.weight'),
    ...specialTokens(file),
  };
}

function ropeScaling(file: Metadata, size: number): ConfigFile | null {
  if (file.hasTensor('rope_freqs.weight')) {
    const factors = Array.from(file.gguf.tensor('rope_freqs.weight').data);
    const scaling = llama3Scaling(factors, size, file.number('rope.freq_base', 10000));
    return scaling ?? file.fail('has factors in rope_freqs.weight that follow from no llama3 scaling');
  }
  const type = file.text('rope.scaling.type', 'none');
  const factor = file.number('rope.scaling.factor', file.number('rope.scale_linear', 1));
  if (type === 'yarn') {
    const original = file.number('rope.scaling.original_context_length', 0);
    return {
      rope_type: 'yarn',
      factor,
      ...(original > 0 ? { original_max_position_embeddings: original } : {}),
    };
  }
  if (type === 'linear' || (type === 'none' && factor !== 1)) return { rope_type: 'linear', factor };
  if (type !== 'none') file.fail(`has rope.scaling.type '${type}', which is not supported`);
  return null;
}

/** Special tokens; null where the file has none, as the defaults of the family are those of one model. */
function specialTokens(file: Metadata): ConfigFile {
  const vocabulary = file.rows('token_embd.weight');
  const id = (name: string): number | null => {
    const value = file.gguf.metadata.get(`tokenizer.ggml.${name}`);
    if (value === undefined) return null;
    if (Number.isInteger(value) && (value as number) >= 0 && (value as number) < vocabulary)
      return value as number;
    return file.fail(`has tokenizer.ggml.${name} ${shown(value)}, which is no id of ${vocabulary} tokens`);
  };
  return {
    bos_token_id: id('bos_token_id'),
    eos_token_id: id('eos_token_id'),
    ...(id('padding_token_id') === null ? {} : { pad_token_id: id('padding_token_id') }),
  };
}

/** Typed access to the metadata of an architecture. */
class Metadata {
  constructor(
    readonly gguf: GgufFile,
    private readonly architecture: string,
  ) {}

  fail(reason: string): never {
    throw new ConfigError(`${this.gguf.path}: ${reason}`);
  }

  hasTensor(name: string): boolean {
    return this.gguf.has(name);
  }

  /** Rows of a table: how many tokens there are. */
  rows(tensor: string): number {
    if (!this.gguf.has(tensor)) return this.fail(`has no tensor '${tensor}'`);
    return this.gguf.info(tensor).shape[0] ?? 0;
  }

  #value(key: string): unknown {
    const value = this.gguf.metadata.get(`${this.architecture}.${key}`);
    if (!ArrayBuffer.isView(value)) return value;
    // One number a layer: only the same for all is one model's configuration.
    const numbers = Array.from(value as unknown as ArrayLike<number>);
    if (numbers.some((n) => n !== numbers[0])) {
      this.fail(`has ${this.architecture}.${key} that differs from layer to layer, which is not supported`);
    }
    return numbers[0];
  }

  number(key: string, absent: number): number {
    const value = this.#value(key) ?? absent;
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    return this.fail(`needs a finite number ${this.architecture}.${key}, got ${shown(value)}`);
  }

  /** A positive integer that must be there. */
  count(key: string): number {
    const value = this.#value(key);
    if (Number.isSafeInteger(value) && (value as number) > 0) return value as number;
    return this.fail(`needs a positive integer ${this.architecture}.${key}, got ${shown(value)}`);
  }

  text(key: string, absent: string): string {
    const value = this.#value(key) ?? absent;
    return typeof value === 'string'
      ? value
      : this.fail(`needs a text ${this.architecture}.${key}, got ${shown(value)}`);
  }
}

/**
 * The model in an open GGUF file.
 *
 * @throws ConfigError for architectures and configurations that are not supported.
 */
export function ggufCheckpoint(gguf: GgufFile): Checkpoint {
  const fail = (reason: string): never => {
    throw new ConfigError(`${gguf.path}: ${reason}`);
  };
  const name = gguf.metadata.get('general.architecture');
  if (typeof name !== 'string') return fail('has no general.architecture, so it is no model');
  if (!Object.hasOwn(architectures, name)) {
    return fail(
      `is of architecture '${name}'; supported in GGUF are ${Object.keys(architectures).join(', ')}`,
    );
  }
  const type = gguf.metadata.get('general.type') ?? 'model';
  if (type !== 'model') fail(`is of type ${shown(type)}, not a model`);
  if (Number(gguf.metadata.get('split.count') ?? 1) > 1) {
    fail("is one part of a model in several files; join them with llama.cpp's gguf-split --merge");
  }
  const architecture = architectures[name];
  const config = architecture.config(new Metadata(gguf, name));
  const own = new Map(gguf.names().map((n) => [hubName(n, architecture), n]));
  const source = (n: string): string => own.get(n) ?? n;
  return {
    path: gguf.path,
    format: 'gguf',
    config,
    generationConfig: generationConfigOf(config),
    weights: {
      path: gguf.path,
      names: () => [...own.keys()].filter((n) => !architecture.ignored.test(source(n))),
      info: (n) => {
        const { type: dtype, shape, bytes } = gguf.info(source(n));
        return { dtype, shape, bytes };
      },
      tensor: (n: string, dtype: DequantizedDType) =>
        architecture.restore(n, gguf.tensor(source(n), { dtype }), config),
      close: () => gguf.close(),
    },
  };
}

/** A tensor's name in Hugging Face's words; names that are not known stay, and are reported as unexpected. */
function hubName(name: string, { names }: Architecture): string {
  const [, layer, stem, kind] = /^(?:blk\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(name) ?? [];
  const key = layer === undefined ? stem : `blk.N.${stem}`;
  if (!Object.hasOwn(names, key)) return name;
  return `${layer === undefined ? names[key] : names[key].replace('N', layer)}.${kind}`;
}

function generationConfigOf(config: ConfigFile): GenerationConfig {
  return Object.fromEntries(
    Object.entries(config).filter(([key, id]) => key.endsWith('_token_id') && id !== null),
  );
}
