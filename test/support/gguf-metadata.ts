/** The metadata of a GGUF file (version 3), read in the plainest way: for tests of what the metadata say. */

import { readFileSync } from 'node:fs';

export function ggufMetadata(path: string): Map<string, unknown> {
  const bytes = readFileSync(path);
  let at = 24;
  const number = (size: number, read: (at: number) => number | bigint): number => {
    at += size;
    return Number(read(at - size));
  };
  const text = (): string => {
    const length = number(8, (from) => bytes.readBigUInt64LE(from));
    at += length;
    return bytes.toString('utf8', at - length, at);
  };
  const value = (type: number): unknown => {
    switch (type) {
      case 0:
        return number(1, (from) => bytes.readUInt8(from));
      case 1:
        return number(1, (from) => bytes.readInt8(from));
      case 4:
        return number(4, (from) => bytes.readUInt32LE(from));
      case 5:
        return number(4, (from) => bytes.readInt32LE(from));
      case 6:
        return number(4, (from) => bytes.readFloatLE(from));
      case 7:
        return number(1, (from) => bytes.readUInt8(from)) !== 0;
      case 8:
        return text();
      case 9: {
        const kind = number(4, (from) => bytes.readUInt32LE(from));
        const length = number(8, (from) => bytes.readBigUInt64LE(from));
        return Array.from({ length }, () => value(kind));
      }
      default:
        throw new Error(`metadata of type ${type}`);
    }
  };
  const metadata = new Map<string, unknown>();
  for (let left = Number(bytes.readBigUInt64LE(16)); left > 0; left--) {
    const key = text();
    metadata.set(key, value(number(4, (from) => bytes.readUInt32LE(from))));
  }
  return metadata;
}
