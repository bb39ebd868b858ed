/** Models in GGUF files: the real stories260K, the recorded models written as llama.cpp's conversion does, and bad ones. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import {
  AutoModel,
  AutoModelForCausalLM,
  BertModel,
  ConfigError,
  contiguous,
  type DecoderModel,
  GPT,
  Llama,
  noGrad,
  openGguf,
  scope,
  StateDictError,
  type Tensor,
  tensor,
  transpose,
} from '../../../src/index.js';
import { bits } from '../../support/compare.js';
import { type GgufTensor, type GgufValue, writeGguf } from '../../support/gguf.js';
import { golden } from '../../support/golden.js';
import { isMissing, shared } from '../../support/shared.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-gguf-model-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, 'x.gguf');

/** The likeliest continuation, by the cache. */
function greedy(model: DecoderModel, prompt: number[], count: number): number[] {
  using cache = model.newCache(1, prompt.length + count);
  const made: number[] = [];
  let next = prompt;
  while (made.length < count) {
    const ids = tensor([next], { dtype: 'int32' });
    const row = noGrad(() => scope(() => model.forward(ids, { cache, lastOnly: true }).toFloat64Array()));
    next = [row.indexOf(Math.max(...row))];
    made.push(next[0]);
  }
  return made;
}

const logits = (model: DecoderModel): Tensor =>
  noGrad(() => model.forward(tensor([[1, 5, 3, 30, 2, 2]], { dtype: 'int32' })));

describe.skipIf(isMissing('models', 'stories260K-gguf'))('stories260K', () => {
  const file = (name: string): string => shared('models', ...name.split('/'));
  const expected = JSON.parse(readFileSync(file('stories260K-hf/expected.json'), 'utf8')) as {
    greedy_from_bos: { prompt_ids: number[]; new_ids: number[] };
  };
  const { prompt_ids: prompt, new_ids: ids } = expected.greedy_from_bos;
  const original = Llama.fromPretrained(file('stories260K-hf'));

  it('in F32 has the weights and the configuration of the folder, and generates the published 200 tokens', () => {
    const model = AutoModelForCausalLM.fromPretrained(file('stories260K-gguf/stories260K-f32.gguf')) as Llama;
    // The file stores the tied head twice.
    const config = { ...original.config, tie_word_embeddings: false };
    expect(model.config).toMatchObject({ ...config, rms_norm_eps: expect.closeTo(1e-5, 12) as number });
    for (const [name, weight] of original.stateDict()) {
      expect(bits(model.stateDict().get(name)!), name).toEqual(bits(weight));
    }
    expect(model.generationConfig).toEqual({ bos_token_id: 1, eos_token_id: 2 });
    expect(greedy(model, prompt, ids.length)).toEqual(ids);
  });

  it('in Q8_0 generates what its dequantized weights generate', () => {
    const gguf = openGguf(file('stories260K-gguf/stories260K-q8_0.gguf'));
    const model = Llama.fromPretrained(gguf.path);
    // The same weights by other means: blocks read here, rows of heads put back one by one.
    const bytes = readFileSync(gguf.path);
    const reference = Llama.fromPretrained(file('stories260K-hf'));
    let quantized = 0;
    for (const [name, weight] of reference.stateDict()) {
      const stored = storedName(name);
      const { type, shape } = gguf.info(stored);
      if (type !== 'Q8_0') continue;
      quantized++;
      const raw = rawOf(bytes, gguf, stored);
      const rows = dequantize(raw, shape[0], shape[1]);
      const heads = name.includes('q_proj') ? 8 : name.includes('k_proj') ? 4 : 0;
      rows.forEach((row, r) =>
        weight.data.set(row, (heads === 0 ? r : place(r, shape[0] / heads)) * shape[1]),
      );
    }
    expect(quantized).toBeGreaterThan(20);
    expect(bits(logits(model))).toEqual(bits(logits(reference)));
    expect(greedy(model, prompt, ids.length)).toEqual(greedy(reference, prompt, ids.length));
  });

  it('in Q8_0 becomes a half type when it is asked for', () => {
    const name = file('stories260K-gguf/stories260K-q8_0.gguf');
    const half = Llama.fromPretrained(name, { dtype: 'bfloat16' });
    expect(half.layers[0].mlp.up_proj.weight.dtype).toBe('bfloat16');
    const rounded = Llama.fromPretrained(name).convertWeights('bfloat16');
    expect(bits(logits(half))).toEqual(bits(logits(rounded)));
  });
});

const storedName = (name: string): string =>
  name
    .replace('embed_tokens', 'token_embd')
    .replace(/^norm/, 'output_norm')
    .replace(/^layers\.(\d+)\./, 'blk.$1.')
    .replace('self_attn.', 'attn_')
    .replace('attn_o_proj', 'attn_output')
    .replace('mlp.', 'ffn_')
    .replace('_proj', '')
    .replace('post_attention_layernorm', 'ffn_norm')
    .replace('input_layernorm', 'attn_norm');

/** The bytes of a tensor: the file's data ends with its last tensor. */
function rawOf(file: Buffer, gguf: ReturnType<typeof openGguf>, name: string): Buffer {
  let offset = 0;
  for (const other of gguf.names()) {
    const { bytes } = gguf.info(other);
    if (other === name) break;
    offset += Math.ceil(bytes / 32) * 32;
  }
  const total = gguf.names().reduce((sum, n) => sum + Math.ceil(gguf.info(n).bytes / 32) * 32, 0);
  const start = Math.floor((file.length - total + 31) / 32) * 32;
  return file.subarray(start + offset, start + offset + gguf.info(name).bytes);
}

function dequantize(raw: Buffer, rows: number, cols: number): Float32Array[] {
  const scale = (at: number): number => {
    const h = raw.readUInt16LE(at);
    const [e, m] = [(h >> 10) & 31, h & 1023];
    return (h >> 15 ? -1 : 1) * (e === 0 ? m * 2 ** -24 : (1 + m / 1024) * 2 ** (e - 15));
  };
  return Array.from({ length: rows }, (_, r) =>
    Float32Array.from({ length: cols }, (_, c) => {
      const block = ((r * cols + c) >> 5) * 34;
      return Math.fround(scale(block) * raw.readInt8(block + 2 + (c & 31)));
    }),
  );
}

/** Where row r of interleaved heads of `size` belongs. */
const place = (r: number, size: number): number => {
  const [head, within] = [Math.floor(r / size), r % size];
  return head * size + (within % 2) * (size / 2) + Math.floor(within / 2);
};

/** The other way: what llama.cpp's conversion writes. */
function interleaved(t: Tensor, heads: number): Float32Array {
  const size = t.shape[0] / heads;
  const width = t.size / t.shape[0];
  const rows = new Float32Array(t.size);
  for (let r = 0; r < t.shape[0]; r++) {
    const from = place(r, size);
    rows.set(t.data.subarray(from * width, (from + 1) * width), r * width);
  }
  return rows;
}

type Metadata = Record<string, GgufValue>;
const written = (
  shape: readonly number[],
  data: { buffer: ArrayBufferLike; byteOffset: number; byteLength: number },
) => ({
  shape,
  data: new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength),
});

/** A Llama as a GGUF file. */
function writeLlama(model: Llama, more: Metadata = {}, tensors: Record<string, GgufTensor> = {}): void {
  const { config: c } = model;
  const arch = c.model_type === 'qwen2' ? 'qwen2' : 'llama';
  const keys: Metadata = {
    context_length: { uint32: c.max_position_embeddings },
    embedding_length: { uint32: c.hidden_size },
    block_count: { uint32: c.num_hidden_layers },
    feed_forward_length: { uint32: c.intermediate_size },
    'attention.head_count': { uint32: c.num_attention_heads },
    'attention.head_count_kv': { uint32: c.num_key_value_heads! },
    'attention.layer_norm_rms_epsilon': { float32: c.rms_norm_eps },
    'attention.key_length': { uint32: c.head_dim! },
    'attention.value_length': { uint32: c.head_dim! },
    'rope.dimension_count': { uint32: c.head_dim! },
    'rope.freq_base': { float32: c.rope_theta },
    ...more,
  };
  const metadata = Object.fromEntries(
    Object.entries(keys).map(([k, v]) => [
      k.includes('.') && /^(general|tokenizer|split)/.test(k) ? k : `${arch}.${k}`,
      v,
    ]),
  );
  const all: Record<string, GgufTensor> = { ...tensors };
  for (const [name, t] of model.stateDict()) {
    const heads = name.includes('q_proj')
      ? c.num_attention_heads
      : name.includes('k_proj')
        ? c.num_key_value_heads!
        : 0;
    const data = arch === 'llama' && heads > 0 ? interleaved(t, heads) : t.data;
    all[storedName(name).replace('lm_head', 'output')] = written(t.shape, data);
  }
  writeGguf(path, { 'general.architecture': { string: arch }, ...metadata }, all);
}

describe('recorded models as GGUF', () => {
  it.each(['hf-llama-gqa', 'hf-qwen2-shards', 'hf-llama-bias'])('%s gives the same bits', (name) => {
    const model = Llama.fromPretrained(golden(name), { dtype: 'float32' });
    writeLlama(model);
    const read = AutoModelForCausalLM.fromPretrained(path) as Llama;
    expect(read.config.model_type).toBe(model.config.model_type);
    expect(read.config.tie_word_embeddings).toBe(model.config.tie_word_embeddings);
    // Their norms' epsilon went through float32.
    const same = new Llama({ ...model.config, rms_norm_eps: read.config.rms_norm_eps });
    same.loadStateDict(model.stateDict());
    expect(bits(logits(read))).toEqual(bits(logits(same)));
  });

  it('a GPT-2 gives the same bits', () => {
    const model = GPT.fromPretrained(golden('hf-gpt2'));
    const c = model.config;
    const names: [RegExp, string][] = [
      [/^wte/, 'token_embd'],
      [/^wpe/, 'position_embd'],
      [/^ln_f/, 'output_norm'],
      [/^h\./, 'blk.'],
      [/ln_1/, 'attn_norm'],
      [/ln_2/, 'ffn_norm'],
      [/attn\.c_attn/, 'attn_qkv'],
      [/attn\.c_proj/, 'attn_output'],
      [/mlp\.c_fc/, 'ffn_up'],
      [/mlp\.c_proj/, 'ffn_down'],
    ];
    const tensors: Record<string, GgufTensor> = {};
    for (const [name, t] of model.stateDict()) {
      const turned = /c_\w+\.weight/.test(name) ? contiguous(transpose(t, 0, 1)) : t;
      tensors[names.reduce((n, [from, to]) => n.replace(from, to), name)] = written(
        turned.shape,
        turned.data,
      );
    }
    const metadata: Metadata = {
      'general.architecture': { string: 'gpt2' },
      'gpt2.context_length': { uint32: c.n_positions },
      'gpt2.embedding_length': { uint32: c.n_embd },
      'gpt2.block_count': { uint32: c.n_layer },
      'gpt2.feed_forward_length': { uint32: c.n_inner ?? 4 * c.n_embd },
      'gpt2.attention.head_count': { uint32: c.n_head },
      'gpt2.attention.layer_norm_epsilon': { float32: c.layer_norm_epsilon },
    };
    writeGguf(path, metadata, tensors);
    const read = AutoModelForCausalLM.fromPretrained(path) as GPT;
    expect(read).toBeInstanceOf(GPT);
    const same = new GPT({ ...c, layer_norm_epsilon: read.config.layer_norm_epsilon });
    same.loadStateDict(model.stateDict());
    expect(bits(logits(read))).toEqual(bits(logits(same.eval())));
    // Older conversions store the tied head too.
    writeGguf(path, metadata, { ...tensors, 'output.weight': tensors['token_embd.weight'] });
    expect(bits(logits(GPT.fromPretrained(path)))).toEqual(bits(logits(same)));
    expect(() => Llama.fromPretrained(path)).toThrow(/model_type is "gpt2", this class loads 'llama'/);
  });

  it('a BERT without pooler and heads, which llama.cpp leaves out', () => {
    const model = BertModel.fromPretrained(golden('hf-bert-tokcls'), { pooler: false });
    const { config: c } = model;
    const names: [RegExp, string][] = [
      [/^embeddings\.word_embeddings/, 'token_embd'],
      [/^embeddings\.position_embeddings/, 'position_embd'],
      [/^embeddings\.token_type_embeddings/, 'token_types'],
      [/^embeddings\.LayerNorm/, 'token_embd_norm'],
      [/^encoder\.layer/, 'blk'],
      [/attention\.self\.query/, 'attn_q'],
      [/attention\.self\.key/, 'attn_k'],
      [/attention\.self\.value/, 'attn_v'],
      [/attention\.output\.dense/, 'attn_output'],
      [/attention\.output\.LayerNorm/, 'attn_output_norm'],
      [/intermediate\.dense/, 'ffn_up'],
      [/output\.dense/, 'ffn_down'],
      [/output\.LayerNorm/, 'layer_output_norm'],
    ];
    const tensors: Record<string, GgufTensor> = {};
    for (const [name, t] of model.stateDict()) {
      const stored = names.reduce((n, [from, to]) => n.replace(from, to), name);
      tensors[stored] = written(t.shape, t.data);
    }
    const metadata: Metadata = {
      'general.architecture': { string: 'bert' },
      'bert.context_length': { uint32: c.max_position_embeddings },
      'bert.embedding_length': { uint32: c.hidden_size },
      'bert.block_count': { uint32: c.num_hidden_layers },
      'bert.feed_forward_length': { uint32: c.intermediate_size },
      'bert.attention.head_count': { uint32: c.num_attention_heads },
      'bert.attention.layer_norm_epsilon': { float32: c.layer_norm_eps },
      'bert.attention.causal': { bool: 0 },
      'bert.pooling_type': { uint32: 1 },
    };
    writeGguf(path, metadata, tensors);
    const read = AutoModel.fromPretrained(path) as BertModel;
    expect(read).toBeInstanceOf(BertModel);
    expect(read.pooler).toBeNull();
    const same = new BertModel({ ...c, layer_norm_eps: read.config.layer_norm_eps }, { pooler: false });
    same.loadStateDict(model.stateDict());
    const hidden = (m: BertModel): Tensor =>
      noGrad(() => m.forward(tensor([[1, 5, 3, 30, 2, 2]], { dtype: 'int32' })));
    expect(bits(hidden(read))).toEqual(bits(hidden(same.eval())));
    writeGguf(path, metadata, { ...tensors, 'cls.weight': written([1], new Float32Array(1)) });
    expect(bits(hidden(BertModel.fromPretrained(path, { pooler: false })))).toEqual(bits(hidden(same)));
    const { 'token_types.weight': _, ...rest } = tensors;
    writeGguf(path, metadata, rest);
    expect(() => AutoModel.fromPretrained(path)).toThrow("has no tensor 'token_types.weight'");
    expect(() => AutoModelForCausalLM.fromPretrained(path)).toThrow(ConfigError);
  });

  it("llama3's scaling is found again from its factors", () => {
    const model = Llama.fromPretrained(golden('hf-llama3-rope-tied'), { dtype: 'float32' });
    const { rope_scaling: scaling, rope_theta: theta, head_dim: size } = model.config;
    const { factor, original_max_position_embeddings: original } = scaling!;
    const factors = Float32Array.from({ length: size! / 2 }, (_, i) => {
      const wavelength = 2 * Math.PI * theta ** ((2 * i) / size!);
      if (wavelength < original! / 4) return 1;
      if (wavelength > original!) return factor;
      const smooth = (original! / wavelength - 1) / 3;
      return 1 / ((1 - smooth) / factor + smooth);
    });
    writeLlama(model, {}, { 'rope_freqs.weight': written([factors.length], factors) });
    expect((AutoModelForCausalLM.fromPretrained(path) as Llama).config.rope_scaling).toEqual(scaling);
    factors[1] *= 1.01;
    writeLlama(model, {}, { 'rope_freqs.weight': written([factors.length], factors) });
    expect(() => AutoModelForCausalLM.fromPretrained(path)).toThrow(
      'has factors in rope_freqs.weight that follow from no llama3',
    );
  });

  it('other scalings come from the metadata', () => {
    const model = Llama.fromPretrained(golden('hf-llama-gqa'));
    const scalingOf = (more: Metadata): unknown => {
      writeLlama(model, more);
      return (AutoModelForCausalLM.fromPretrained(path) as Llama).config.rope_scaling;
    };
    const type = (string: string): Metadata => ({ 'rope.scaling.type': { string } });
    expect(scalingOf({})).toBe(null);
    expect(scalingOf(type('none'))).toBe(null);
    expect(scalingOf({ ...type('linear'), 'rope.scaling.factor': { float32: 2 } })).toEqual({
      rope_type: 'linear',
      factor: 2,
    });
    expect(scalingOf({ 'rope.scale_linear': { float32: 4 } })).toEqual({ rope_type: 'linear', factor: 4 });
    const yarn = {
      ...type('yarn'),
      'rope.scaling.factor': { float32: 4 },
      'rope.scaling.original_context_length': { uint32: 16 },
    };
    expect(scalingOf(yarn)).toMatchObject({
      rope_type: 'yarn',
      factor: 4,
      original_max_position_embeddings: 16,
    });
    expect(() => scalingOf(type('longrope'))).toThrow(
      "has rope.scaling.type 'longrope', which is not supported",
    );
  });
});

describe('GGUF files that are no model that is served', () => {
  it.each([
    ['arch_missing', 'has no general.architecture, so it is no model'],
    ['ok_zero_tensors', 'needs a positive integer llama.attention.head_count, got nothing'],
    ['head_count_0', 'needs a positive integer llama.attention.head_count, got 0'],
    ['block_count_huge', /llama\.\w+/],
    ['vocab_bos_out_of_range', /: (needs|has)/],
  ])('%s', (name, reason) => {
    const bad = golden('gguf', 'bad', `${name}.gguf`);
    expect(() => AutoModelForCausalLM.fromPretrained(bad)).toThrow(ConfigError);
    expect(() => AutoModelForCausalLM.fromPretrained(bad)).toThrow(reason);
  });

  const model = new Llama({
    vocab_size: 16,
    hidden_size: 8,
    intermediate_size: 8,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    max_position_embeddings: 8,
  });

  it.each<[string, Metadata, string | RegExp]>([
    [
      'no such architecture',
      { 'general.architecture': { string: 'mamba' } },
      "is of architecture 'mamba'; supported in GGUF are llama, qwen2, gpt2",
    ],
    ['an adapter', { 'general.type': { string: 'adapter' } }, 'is of type "adapter", not a model'],
    ['a part', { 'split.count': { uint32: 3 } }, 'is one part of a model in several files; join them'],
    ['experts', { expert_count: { uint32: 8 } }, 'is a mixture of experts'],
    ['half-turned heads', { 'rope.dimension_count': { uint32: 2 } }, 'turns 2 of the 4 features of a head'],
    [
      'values of another size',
      { 'attention.value_length': { uint32: 2 } },
      'has values of another size than keys',
    ],
    [
      'layers that differ',
      { feed_forward_length: { ints: [8, 16] } },
      'has llama.feed_forward_length that differs from layer to layer',
    ],
    [
      'a billion layers',
      { block_count: { uint32: 1e9 } },
      'num_hidden_layers must be a positive integer up to 10000, got 1000000000',
    ],
    [
      'layers without weights',
      { block_count: { uint32: 9999 } },
      /the configuration describes .* weights, the files hold 7\d\d/,
    ],
    [
      'text for a number',
      { 'rope.freq_base': { string: 'x' } },
      'needs a finite number llama.rope.freq_base, got "x"',
    ],
    [
      'number for a text',
      { 'rope.scaling.type': { uint32: 1 } },
      'needs a text llama.rope.scaling.type, got 1',
    ],
    [
      'no context',
      { context_length: { uint64: 2n ** 60n } },
      'needs a positive integer llama.context_length, got 1152921504606846976',
    ],
    [
      'a token of nobody',
      { 'tokenizer.ggml.bos_token_id': { uint32: 16 } },
      'has tokenizer.ggml.bos_token_id 16, which is no id of 16 tokens',
    ],
    [
      'a list for a token',
      { 'tokenizer.ggml.eos_token_id': { strings: ['a'] } },
      'has tokenizer.ggml.eos_token_id a list, which is no id of 16 tokens',
    ],
    [
      'an odd head',
      {
        'attention.head_count': { uint32: 8 },
        'attention.key_length': { uint32: 1 },
        'attention.value_length': { uint32: 1 },
        'rope.dimension_count': { uint32: 1 },
      },
      'Llama: rotary positions need an even head size, got 1',
    ],
  ])('%s', (_, more, reason) => {
    writeLlama(model, more);
    expect(() => AutoModelForCausalLM.fromPretrained(path)).toThrow(ConfigError);
    expect(() => AutoModelForCausalLM.fromPretrained(path)).toThrow(reason);
  });

  it('unknown and missing tensors are named', () => {
    writeLlama(model, {}, { 'blk.0.attn_sub_norm.weight': { shape: [1], data: new Uint8Array(4) } });
    expect(() => AutoModelForCausalLM.fromPretrained(path)).toThrow(StateDictError);
    expect(() => AutoModelForCausalLM.fromPretrained(path)).toThrow(
      '1 unexpected (blk.0.attn_sub_norm.weight [1])',
    );
    writeLlama(model, { block_count: { uint32: 2 } });
    expect(() => AutoModelForCausalLM.fromPretrained(path)).toThrow(
      '9 missing (layers.1.self_attn.q_proj.weight [8, 8], ',
    );
  });
});
