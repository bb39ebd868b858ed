/**
 * Writes GPT-2 as a GGUF file, version 3, for llama.cpp. The format: "GGUF", version, the numbers of tensors and of
 * key-value pairs; the pairs; name, sizes, type and offset of each tensor; the elements, aligned.
 */

import { closeSync, openSync, writeSync } from 'node:fs';

import { scope, transpose, type Tensor } from '../../lib/index.js';
import { GPT } from '../../src/models/index.js';

const alignment = 32;

/** Types of values (of pairs), and of elements (of tensors), by the format's numbers. */
const kinds = { uint32: 4, float32: 6, string: 8, array: 9 } as const;
const elements = { float32: 0 } as const;

const u32 = (x: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(x);
  return bytes;
};
const u64 = (x: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(x));
  return bytes;
};
const f32 = (x: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(x);
  return bytes;
};
const text = (s: string): Buffer => {
  const bytes = Buffer.from(s);
  return Buffer.concat([u64(bytes.length), bytes]);
};

const pair = (key: string, kind: number, value: Buffer): Buffer =>
  Buffer.concat([text(key), u32(kind), value]);
const whole = (key: string, x: number): Buffer => pair(key, kinds.uint32, u32(x));
const real = (key: string, x: number): Buffer => pair(key, kinds.float32, f32(x));
const word = (key: string, s: string): Buffer => pair(key, kinds.string, text(s));
const words = (key: string, list: readonly string[]): Buffer =>
  pair(key, kinds.array, Buffer.concat([u32(kinds.string), u64(list.length), ...list.map(text)]));

/** llama.cpp's names of the parts of a block, by Hugging Face's. */
const blockNames: Readonly<Record<string, string>> = {
  ln_1: 'attn_norm',
  'attn.c_attn': 'attn_qkv',
  'attn.c_proj': 'attn_output',
  ln_2: 'ffn_norm',
  'mlp.c_fc': 'ffn_up',
  'mlp.c_proj': 'ffn_down',
};
/** And of what is outside the blocks. */
const names: Readonly<Record<string, string>> = {
  'wte.weight': 'token_embd.weight',
  'wpe.weight': 'position_embd.weight',
  'ln_f.weight': 'output_norm.weight',
  'ln_f.bias': 'output_norm.bias',
};

function nameOf(parameter: string): string {
  const name = parameter.replace(/^transformer\./, '');
  const block = /^h\.(\d+)\.(.*)\.(weight|bias)$/.exec(name);
  return block === null ? names[name] : `blk.${block[1]}.${blockNames[block[2]]}.${block[3]}`;
}

/** The model of `folder`, with a vocabulary of made-up words: only ids count here. */
export function writeGguf(folder: string, path: string): void {
  const model = GPT.fromPretrained(folder);
  const { vocab_size, n_positions, n_embd, n_inner, n_layer, n_head, layer_norm_epsilon } = model.config;
  const pairs = [
    word('general.architecture', 'gpt2'),
    word('general.name', 'random weights'),
    whole('general.file_type', 0), // float32
    whole('gpt2.context_length', n_positions),
    whole('gpt2.embedding_length', n_embd),
    whole('gpt2.block_count', n_layer),
    whole('gpt2.feed_forward_length', n_inner ?? 4 * n_embd),
    whole('gpt2.attention.head_count', n_head),
    real('gpt2.attention.layer_norm_epsilon', layer_norm_epsilon),
    word('tokenizer.ggml.model', 'gpt2'),
    word('tokenizer.ggml.pre', 'gpt-2'),
    words(
      'tokenizer.ggml.tokens',
      Array.from({ length: vocab_size }, (_, id) => `<${id}>`),
    ),
    words('tokenizer.ggml.merges', ['< 0']), // must not be empty
  ];
  const tensors = model.namedParameters().map(([parameter, tensor]) => ({
    name: nameOf(parameter),
    // Those are stored [in, out].
    tensor: /\.(c_attn|c_proj|c_fc)\.weight$/.test(parameter) ? transpose(tensor, 0, 1) : tensor,
  }));
  const padded = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;
  let offset = 0;
  const infos = tensors.map(({ name, tensor }) => {
    const sizes = [...tensor.shape].reverse(); // the fastest first
    const info = [text(name), u32(sizes.length), ...sizes.map(u64), u32(elements.float32), u64(offset)];
    offset += padded(4 * tensor.size);
    return Buffer.concat(info);
  });
  const file = openSync(path, 'w');
  try {
    const write = (bytes: Uint8Array): void => {
      for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
      writeSync(file, new Uint8Array(padded(bytes.length) - bytes.length));
    };
    const counts = [u64(tensors.length), u64(pairs.length)];
    write(Buffer.concat([Buffer.from('GGUF'), u32(3), ...counts, ...pairs, ...infos]));
    for (const { tensor } of tensors) scope(() => write(bytesOf(tensor.contiguous())));
  } finally {
    closeSync(file);
  }
}

const bytesOf = ({ data }: Tensor): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
