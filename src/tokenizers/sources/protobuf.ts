/**
 * Reading protocol buffers (https://protobuf.dev/programming-guides/encoding/), as far as SentencePiece's models need:
 * fields one after the other, with every length checked against the bytes that are there.
 */

import { TokenizerError } from '../../../lib/errors.js';

/** A field's value: bytes of a nested message, text or bytes; or a number of up to 64 bits, or four bytes as a float. */
export interface ProtobufField {
  readonly number: number;
  readonly bytes: Uint8Array | null;
  /** Varints and fixed numbers; float32 for fixed numbers of four bytes. */
  readonly value: number;
}

/** @throws TokenizerError where the message ends inside a field, or has a field of an unknown kind. */
export function* protobufFields(message: Uint8Array): Iterable<ProtobufField> {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= message.length) break;
      const byte = message[at++];
      value += (byte & 127) * 2 ** shift;
      // Ten bytes hold 64 bits; the tenth may hold one more.
      if (byte < 128) return shift === 63 && byte > 1 ? fail('a number has more than 64 bits') : value;
    }
    return fail(at >= message.length ? 'it ends inside a number' : 'a number has more than 64 bits');
  };
  const fail = (reason: string): never => {
    throw new TokenizerError(`the protocol buffer is damaged at byte ${at} of ${message.length}: ${reason}`);
  };
  const take = (count: number): number => {
    if (count > message.length - at) fail(`a field of ${count} bytes reaches beyond the end`);
    const from = at;
    at += count;
    return from;
  };
  while (at < message.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    if (number === 0) fail('a field has the number 0');
    switch (tag % 8) {
      case 0:
        yield { number, bytes: null, value: varint() };
        break;
      case 1:
        yield { number, bytes: null, value: view.getFloat64(take(8), true) };
        break;
      case 2: {
        const length = varint();
        const from = take(length);
        yield { number, bytes: message.subarray(from, from + length), value: 0 };
        break;
      }
      case 5:
        yield { number, bytes: null, value: view.getFloat32(take(4), true) };
        break;
      default:
        fail(`a field has the unknown kind ${tag % 8}`);
    }
  }
}
