/** What the programs share that encode with GPT-2's tokenizer: timing, and the check of the ids. */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { printReport, readTask, secondsPerCall, type Measurement } from '../measure.js';

export interface EncodeTask {
  /** The folder of GPT-2's tokenizer.json. */
  readonly folder: string;
  /** A file to encode. */
  readonly text: string;
  readonly samples: number;
}

/** The start of the SHA-256 of the ids (uint32, little endian) of tiny Shakespeare, as published encoders agree on. */
const shakespeare = { bytes: 1_115_394, ids: 338_025, hash: 0x0c00ab };

/** Length and hash of ids, which must be every contender's. */
export function hashOf(ids: ArrayLike<number>): number[] {
  const digest = createHash('sha256').update(Uint32Array.from(ids)).digest();
  return [ids.length, digest.readUIntBE(0, 3)];
}

/** Times a call that encodes the text; the error is infinite where its ids of tiny Shakespeare are wrong. */
export function encodeCase(text: string, call: () => ArrayLike<number>, samples: number): Measurement {
  const textBytes = Buffer.byteLength(text);
  const [length, hash] = hashOf(call());
  const isKnown = textBytes === shakespeare.bytes;
  const error = isKnown && (length !== shakespeare.ids || hash !== shakespeare.hash) ? Infinity : 0;
  return { seconds: secondsPerCall([call], samples), textBytes, error };
}

/** The whole of a rival's program: `open` answers its way to encode a text, on one thread. */
export async function measureRival(
  version: string,
  open: (task: EncodeTask & { readonly module: string }) => Promise<(text: string) => ArrayLike<number>>,
): Promise<void> {
  const task = readTask() as EncodeTask & { module: string };
  const encode = await open(task);
  const text = readFileSync(task.text, 'utf8');
  const call = () => encode(text);
  printReport({ results: { encode: encodeCase(text, call, task.samples) }, values: hashOf(call()), version });
}
