/**
 * Weights in the order in which the matrix product's kernel reads them, kept while they do not change.
 *
 * A product of many rows packs the weight first. Where the same weight comes again, unchanged and with nothing recorded for
 * backward, what was packed stays, beside the weight itself. It is given up when the weight changes, is trained or freed, and
 * when memory is short. A weight whose memory was handed out once (`data`) could change unseen: of it nothing is kept any more.
 * Results are the same bits either way.
 */

import { ArgumentError, MemoryError } from './errors.js';
import * as kernels from './kernels.js';
import { Storage, whenMemoryIsShort } from './storage.js';
import type { Tensor } from './tensor.js';

let limit = 512 * 2 ** 20;

/** Whatever has memory, and how much in all. */
const all = new Set<PackedWeight>();
let keptBytes = 0;

/** Parts of a storage that are told apart: enough for a layer's experts, and an end where a program always cuts new ones. */
const mostForms = 256;

/** What is kept of a storage's elements. It does not keep the storage. */
class PackedWeight {
  #bytes = 0;
  /** Whether there was no memory for it. */
  #refused = false;
  /** By packing and layout, usually one; null from the first product to the second. */
  readonly #forms = new Map<string, Storage | null>();

  /** The weight packed for a product that packs it by `packing`, from its second use on; null where it is not kept. */
  find(weight: Tensor, packing: number, product: kernels.Product): Storage | null {
    const key = `${packing} ${weight.offset} ${weight.shape.join()} ${weight.strides.join()}`;
    const known = this.#forms.get(key);
    if (known) return known;
    if (this.#refused || (known === undefined && this.#forms.size >= mostForms)) return null;
    const storage = known === undefined ? null : this.#pack(weight, product);
    this.#forms.set(key, storage);
    return storage;
  }

  #pack(weight: Tensor, product: kernels.Product): Storage | null {
    const size = kernels.packedSize(product);
    const bytes = size * Float32Array.BYTES_PER_ELEMENT;
    if (keptBytes + bytes > limit) return null;
    let storage: Storage;
    try {
      storage = Storage.allocate('float32', size);
    } catch (error) {
      if (!(error instanceof MemoryError)) throw error;
      this.#refused = true; // the product itself may still have room
      return null;
    }
    storage.users++;
    try {
      kernels.pack(product, storage.data as Float32Array);
    } catch (error) {
      storage.release();
      throw error;
    }
    this.#bytes += bytes;
    keptBytes += bytes;
    all.add(this);
    weight.storage.watchDerived(bytes);
    return storage;
  }

  dispose(): void {
    for (const storage of this.#forms.values()) storage?.release();
    this.#forms.clear();
    keptBytes -= this.#bytes;
    this.#bytes = 0;
    all.delete(this);
  }
}

whenMemoryIsShort(giveUpAll);

function giveUpAll(): void {
  for (const kept of all) kept.dispose();
}

/** Weights of fewer numbers are packed in no time. */
const fewest = 64 * 64;

/** The packed right side of a product whose weight is expected again, or null where the kernel is to pack it. */
export function packedFor(weight: Tensor, product: kernels.Product): Float32Array | null {
  const { storage } = weight;
  if (limit === 0 || weight.size < fewest || storage.exposed) return null;
  const packing = kernels.packing(product);
  if (packing === 0) return null;
  const known = storage.derived;
  const kept = known instanceof PackedWeight ? known : new PackedWeight();
  storage.derived = kept;
  return (kept.find(weight, packing, product)?.data as Float32Array | undefined) ?? null;
}

/** What {@link getPackedWeights} tells. */
export interface PackedWeights {
  /** Bytes that are kept now; `memory().liveBytes` counts them, too. */
  readonly bytes: number;
  /** Bytes that may be kept. */
  readonly limit: number;
}

/** How much memory packed weights take, and may take. */
export function getPackedWeights(): PackedWeights {
  return { bytes: keptBytes, limit };
}

/**
 * Sets how many bytes of packed weights may be kept from now on; the default is 512 MiB, 0 keeps none. Where less is allowed
 * than is kept, all of it is given up.
 *
 * Products of more than 16 rows with the same weights again and again (encoders, prompts, many texts at once) save the time
 * to pack them: with 32 rows about a quarter, with hundreds a twentieth. Weights that are not kept are packed in every
 * product, as in training. Where memory is short all of it is given up.
 *
 * A number takes 4 bytes, whatever the weight's type, or 2 where products round to bfloat16; with AMX 2 for bfloat16, 4 for
 * float16, 6 for float32.
 *
 * @param bytes a whole number, or Infinity
 * @throws ArgumentError for another number.
 */
export function setPackedWeightsLimit(bytes: number): void {
  if (!(bytes === Infinity || (Number.isSafeInteger(bytes) && bytes >= 0))) {
    throw new ArgumentError(
      `setPackedWeightsLimit: must be a whole number of bytes or Infinity, got ${bytes}`,
    );
  }
  limit = bytes;
  if (keptBytes > limit) giveUpAll();
}
