/** Writes GGUF files for tests: sound ones, and such with any lie in them. */

import { writeFileSync } from 'node:fs';

/** A metadata value with its type in the file. */
export type GgufValue =
  | { readonly uint32: number }
  | { readonly uint64: bigint }
  | { readonly float32: number }
  | { readonly bool: number }
  | { readonly string: string | Buffer }
  | { readonly strings: readonly string[] }
  | { readonly floats: readonly number[] }
  | { readonly ints: readonly number[] };

export interface GgufTensor {
  /** ggml's number of the element type; 0 is F32. */
  readonly type?: number;
  /** Row-major. */
  readonly shape: readonly number[];
  readonly data: Uint8Array;
  /** Where it is said to lie, instead of where it does. */
  readonly offset?: number;
}

const uint32 = (x: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(x);
  return bytes;
};
const uint64 = (x: number | bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(x));
  return bytes;
};
const float32 = (x: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(x);
  return bytes;
};
const string = (x: string | Buffer): Buffer => {
  const bytes = Buffer.from(x);
  return Buffer.concat([uint64(bytes.length), bytes]);
};
const array = (type: number, items: readonly Buffer[]): Buffer =>
  Buffer.concat([uint32(9), uint32(type), uint64(items.length), ...items]);

function value(v: GgufValue): Buffer {
  if ('uint32' in v) return Buffer.concat([uint32(4), uint32(v.uint32)]);
  if ('uint64' in v) return Buffer.concat([uint32(10), uint64(v.uint64)]);
  if ('float32' in v) return Buffer.concat([uint32(6), float32(v.float32)]);
  if ('bool' in v) return Buffer.concat([uint32(7), Buffer.from([v.bool])]);
  if ('string' in v) return Buffer.concat([uint32(8), string(v.string)]);
  if ('strings' in v) return array(8, v.strings.map(string));
  if ('floats' in v) return array(6, v.floats.map(float32));
  return array(
    5,
    v.ints.map((x) => Buffer.from(new Int32Array([x]).buffer)),
  );
}

export function writeGguf(
  path: string,
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: Readonly<Record<string, GgufTensor>> = {},
  { version = 3, alignment = 32 }: { version?: number; alignment?: number } = {},
): void {
  const entries = Object.entries(metadata);
  const named = Object.entries(tensors);
  const parts = [Buffer.from('GGUF'), uint32(version), uint64(named.length), uint64(entries.length)];
  for (const [key, v] of entries) parts.push(string(key), value(v));
  const padding = (length: number): Buffer => Buffer.alloc((alignment - (length % alignment)) % alignment);
  const data: Uint8Array[] = [];
  let offset = 0;
  for (const [name, t] of named) {
    parts.push(string(name), uint32(t.shape.length), ...[...t.shape].reverse().map(uint64));
    parts.push(uint32(t.type ?? 0), uint64(t.offset ?? offset));
    const rest = padding(t.data.length);
    data.push(t.data, rest);
    offset += t.data.length + rest.length;
  }
  const header = Buffer.concat(parts);
  writeFileSync(path, Buffer.concat([header, padding(header.length), ...data]));
}
