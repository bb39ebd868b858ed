/**
 * The header of a safetensors file. A parser for exactly this JSON and nothing else: it sees names given
 * twice, which JSON.parse silently merges, does not nest, so that nothing can overflow the stack, and takes
 * no number that JavaScript would round.
 */

import { didYouMean } from '../errors.js';
import { sizeOf, type Shape } from '../shape.js';

/** A tensor's place in the data, in bytes. */
export interface Entry {
  readonly dtype: string;
  readonly shape: Shape;
  readonly begin: number;
  readonly end: number;
}

/** Bits of an element by the format's name of its type. */
const bitsByTag: ReadonlyMap<string, number> = new Map([
  ['BOOL', 8],
  ['F4', 4],
  ['F6_E2M3', 6],
  ['F6_E3M2', 6],
  ['U8', 8],
  ['I8', 8],
  ['F8_E5M2', 8],
  ['F8_E4M3', 8],
  ['F8_E8M0', 8],
  ['F8_E4M3FNUZ', 8],
  ['F8_E5M2FNUZ', 8],
  ['I16', 16],
  ['U16', 16],
  ['F16', 16],
  ['BF16', 16],
  ['I32', 32],
  ['U32', 32],
  ['F32', 32],
  ['C64', 64],
  ['F64', 64],
  ['I64', 64],
  ['U64', 64],
]);

const quote = 0x22;
const backslash = 0x5c;
const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/**
 * Parses and checks a header.
 *
 * @param bytes Valid UTF-8. Read in place: a text of it would take its size once more.
 * @param fail Is given the reason and throws.
 */
export function parseHeader(
  bytes: Buffer,
  fail: (reason: string) => never,
): { entries: Map<string, Entry>; metadata: Record<string, string> } {
  let at = 0;

  const broken = (expected: string): never => {
    const found = at < bytes.length ? `'${bytes.toString('utf8', at, at + 12)}'` : 'its end';
    return fail(`has a damaged header: expected ${expected} at byte ${at}, found ${found}`);
  };
  const skipSpace = (): void => {
    while (isSpace(bytes[at])) at++;
  };
  /** Takes `mark` when it comes next. */
  const take = (mark: string): boolean => {
    skipSpace();
    if (bytes[at] !== mark.charCodeAt(0)) return false;
    at++;
    return true;
  };
  const need = (mark: string, where: string): void => {
    if (!take(mark)) broken(`'${mark}' ${where}`);
  };

  const string = (what: string): string => {
    skipSpace();
    if (bytes[at] !== quote) broken(what);
    let end = at + 1;
    while (end < bytes.length && bytes[end] !== quote) end += bytes[end] === backslash ? 2 : 1;
    if (end >= bytes.length) broken(what);
    try {
      const value = JSON.parse(bytes.toString('utf8', at, end + 1)) as string;
      at = end + 1;
      return value;
    } catch {
      return broken(what);
    }
  };

  const integer = (what: string): number => {
    skipSpace();
    // Far longer than any number that passes the check below.
    const digits =
      /^(?:0|[1-9][0-9]*)(?![0-9.eE])/.exec(bytes.toString('latin1', at, at + 64))?.[0] ?? broken(what);
    const value = Number(digits);
    if (!Number.isSafeInteger(value)) fail(`has a header with a number that no file can reach: ${digits}`);
    at += digits.length;
    return value;
  };

  /** Members of an object, each read by `member`; names must differ. */
  const object = (where: string, member: (key: string) => void): void => {
    need('{', where);
    const seen = new Set<string>();
    if (take('}')) return;
    do {
      const key = string(`a name ${where}`);
      if (seen.has(key)) fail(`has a damaged header: '${key}' appears twice ${where}`);
      seen.add(key);
      need(':', `after '${key}'`);
      member(key);
    } while (take(','));
    need('}', where);
  };

  const integers = (what: string): number[] => {
    if (!take('[')) broken(what);
    const list: number[] = [];
    if (take(']')) return list;
    do list.push(integer(what));
    while (take(','));
    if (!take(']')) broken(what);
    return list;
  };

  const entry = (name: string): Entry => {
    const where = `in tensor '${name}'`;
    let dtype: string | undefined;
    let shape: number[] | undefined;
    let offsets: number[] | undefined;
    object(where, (key) => {
      if (key === 'dtype') dtype = string(`dtype to be a string ${where}`);
      else if (key === 'shape') shape = integers(`shape to be a list of non-negative integers ${where}`);
      else if (key === 'data_offsets')
        offsets = integers(`data_offsets to be two non-negative integers ${where}`);
      else fail(`has a damaged header: unknown key '${key}' ${where}`);
    });
    if (dtype === undefined) return fail(`has a damaged header: no dtype ${where}`);
    if (shape === undefined) return fail(`has a damaged header: no shape ${where}`);
    if (offsets?.length !== 2) return fail(`has a damaged header: no data_offsets of two numbers ${where}`);
    const bits = bitsByTag.get(dtype);
    if (bits === undefined) {
      return fail(`has a tensor '${name}' of unknown dtype '${dtype}'${didYouMean(dtype, bitsByTag.keys())}`);
    }
    const [begin, end] = offsets;
    if (end < begin)
      fail(`has a damaged header: tensor '${name}' ends at ${end}, before it begins at ${begin}`);
    const bytes = (sizeOf(shape) * bits) / 8;
    // Beyond 2^53 the product is rounded; no real size is.
    if (!Number.isSafeInteger(bytes)) {
      fail(`has a tensor '${name}' of impossible size: ${dtype} [${shape.join(', ')}]`);
    }
    if (bytes !== end - begin) {
      fail(
        `has a tensor '${name}' whose sizes disagree: ${dtype} [${shape.join(', ')}] needs ${bytes} bytes, ` +
          `its offsets give ${end - begin}`,
      );
    }
    return { dtype, shape, begin, end };
  };

  const entries = new Map<string, Entry>();
  // Entries, not assignments: a note named __proto__ is only a name.
  const notes: [string, string][] = [];
  object('in the header', (name) => {
    if (name !== '__metadata__') entries.set(name, entry(name));
    else
      object('in __metadata__', (key) => notes.push([key, string(`a string for '${key}' in __metadata__`)]));
  });
  skipSpace();
  if (at < bytes.length) broken('nothing more');
  return { entries, metadata: Object.fromEntries(notes) };
}
