/**
 * TensorBoard's event files: TFRecord framing (length, masked CRC32C of it, data, masked CRC32C of that) around protocol
 * buffers of type Event, as tensorflow/core/util/event.proto and core/lib/io/record_writer.h define them.
 */

import { closeSync, openSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';

import { makeFolder } from '../../lib/formats/atomic-file.js';
import { fileError } from '../../lib/formats/system-error.js';
import type { MetricsRecord } from '../training/metrics-records.js';

/** Writes a run's metrics into a new event file of a folder. */
export class TensorBoardWriter implements Disposable {
  readonly path: string;
  readonly #file: number;

  /**
   * @param step The first step that will be written. Where an earlier part of the run was written before, TensorBoard
   * then leaves out what that part had from this step on.
   * @throws FileError when the folder cannot be written.
   */
  constructor(folder: string, step = 1) {
    makeFolder(folder);
    const time = Date.now() / 1000;
    const name = `events.out.tfevents.${String(Math.floor(time)).padStart(10, '0')}.${hostname()}.${process.pid}`;
    this.path = join(folder, name);
    try {
      this.#file = openSync(this.path, 'a');
    } catch (error) {
      throw fileError(this.path, 'cannot be written', error);
    }
    this.#write(Buffer.concat([double(1, time), bytesField(3, Buffer.from('brain.Event:2'))]));
    // SessionLog with status START.
    if (step > 1) this.#write(Buffer.concat([double(1, time), int(2, step), bytesField(7, int(1, 1))]));
  }

  /** Writes a line of the metrics: numbers as scalars, samples as texts. */
  add(record: MetricsRecord): void {
    const { step, time } = record;
    const values = valuesOf(record);
    if (values.length > 0)
      this.#write(Buffer.concat([double(1, time), int(2, step), bytesField(5, Buffer.concat(values))]));
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }

  #write(event: Buffer): void {
    const record = tfRecord(event);
    try {
      for (let done = 0; done < record.length;) done += writeSync(this.#file, record, done);
    } catch (error) {
      throw fileError(this.path, 'cannot be written', error);
    }
  }
}

/** The Summary.Value fields of a record. */
function valuesOf(record: MetricsRecord): Buffer[] {
  switch (record.type) {
    case 'step': {
      const { loss, lr, gradNorm, tokensPerSecond, memory, lossScale = null } = record;
      const scalars = Object.entries({ loss, lr, gradNorm, tokensPerSecond, memory, lossScale });
      return scalars.flatMap(([tag, value]) => (value === null ? [] : [scalar(`train/${tag}`, value)]));
    }
    case 'evaluation': {
      const { loss } = record;
      if (loss === null) return [];
      return [scalar('validation/loss', loss), scalar('validation/perplexity', Math.exp(loss))];
    }
    case 'sample':
      // TensorBoard renders texts as Markdown: four spaces make it leave them as they are.
      return [textValue('sample', `${record.prompt}${record.text}`.replaceAll(/^/gm, '    '))];
  }
}

/** Summary.Value { tag, simple_value }. */
function scalar(tag: string, value: number): Buffer {
  const field = Buffer.alloc(5);
  field[0] = (2 << 3) | 5;
  field.writeFloatLE(value, 1);
  return bytesField(1, Buffer.concat([bytesField(1, Buffer.from(tag)), field]));
}

/** Summary.Value { tag, metadata: { plugin_data: { plugin_name: "text" } }, tensor: a DT_STRING of shape [1] }. */
function textValue(tag: string, text: string): Buffer {
  const metadata = bytesField(1, bytesField(1, Buffer.from('text')));
  const shape = bytesField(2, int(1, 1));
  const tensor = Buffer.concat([int(1, 7), bytesField(2, shape), bytesField(8, Buffer.from(text))]);
  const value = [bytesField(1, Buffer.from(tag)), bytesField(8, tensor), bytesField(9, metadata)];
  return bytesField(1, Buffer.concat(value));
}

// ---- protocol buffers' wire format

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}

const int = (field: number, value: number): Buffer => Buffer.concat([varint(field << 3), varint(value)]);

function double(field: number, value: number): Buffer {
  const buffer = Buffer.alloc(9);
  buffer[0] = (field << 3) | 1;
  buffer.writeDoubleLE(value, 1);
  return buffer;
}

const bytesField = (field: number, value: Buffer): Buffer =>
  Buffer.concat([varint((field << 3) | 2), varint(value.length), value]);

// ---- TFRecord

/** A record with its length and checksums around it. */
export function tfRecord(data: Uint8Array): Buffer {
  const record = Buffer.alloc(16 + data.length);
  record.writeBigUInt64LE(BigInt(data.length), 0);
  record.writeUInt32LE(maskedCrc(record.subarray(0, 8)), 8);
  record.set(data, 12);
  record.writeUInt32LE(maskedCrc(data), 12 + data.length);
  return record;
}

/** A checksum that is not mistaken for one when it is itself checksummed data: core/lib/hash/crc32c.h. */
function maskedCrc(data: Uint8Array): number {
  const crc = crc32c(data);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** CRC-32C (Castagnoli): the reversed polynomial 0x82f63b78, by bytes. */
const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** The CRC-32C of some bytes (RFC 3720, appendix B.4 has test vectors). */
export function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = crcTable[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
