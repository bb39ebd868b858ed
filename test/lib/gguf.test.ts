import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { ArgumentError, FileError, openGguf, to, type DequantizedDType } from '../../lib/index.js';
import { compiled, root, runNode } from '../support/cli.js';
import { bits } from '../support/compare.js';
import { writeGguf } from '../support/gguf.js';
import { golden, readGolden } from '../support/golden.js';
import { sanitized } from '../support/sanitized.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-gguf-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const cases = readGolden<{ file: string; ok: boolean; why: string }[]>('gguf', 'manifest.json');

/** The reason that each damaged file must be refused for; null: a sound file of a model that is not. */
const reasons: Record<string, string | null> = {
  empty: 'is empty',
  magic_only: 'is truncated: magic and version needs 8 bytes at byte 0, the file has 4',
  bad_magic: 'is of a kind older than GGUF',
  version_0: 'is GGUF of version 0, versions 2 and 3 are read',
  version_1: 'is GGUF of version 1, versions 2 and 3 are read',
  version_future: 'is GGUF of version 4, versions 2 and 3 are read',
  n_tensors_huge: '4611686018427387904 tensors cannot lie in a file of 24 bytes',
  n_tensors_neg: '18446744073709551615 tensors cannot lie in a file of 24 bytes',
  n_kv_huge: '4611686018427387904 metadata entries cannot lie in a file of 24 bytes',
  key_len_huge: 'is truncated: name of metadata entry 0 needs 18446744073709552000 bytes',
  key_len_past_eof: 'is truncated: name of metadata entry 0 needs',
  kv_bad_type: "metadata 'a' is of unknown type 99",
  kv_string_len_huge: "is truncated: metadata 'a' needs 1152921504606847000 bytes",
  kv_array_n_huge: "is truncated: metadata 'a' needs 9223372036854776000 bytes",
  kv_array_of_arrays: "metadata 'a' is an array of arrays",
  kv_array_bad_subtype: "metadata 'a' is an array of unknown type 77",
  kv_duplicate: "metadata 'general.architecture' appears twice",
  kv_truncated: 'is truncated: length of name of metadata entry 1 needs 8 bytes',
  align_0: 'general.alignment must be a power of two, got 0',
  align_wrong_type: 'general.alignment must be a power of two, got "32"',
  arch_missing: null,
  tensor_name_65: 'is longer than 63 bytes',
  tensor_dims_5: "tensor 't' has 5 dimensions, more than 4",
  tensor_dim_neg: "tensor 't' has a dimension of -4",
  tensor_nbytes_overflow: "has tensor 't' of impossible size: F32",
  tensor_bad_type: "has tensor 't' of unknown type 200",
  tensor_offset_misaligned: "tensor 't' begins at 1, which is not a multiple of 32",
  tensor_offset_past_eof: "is truncated: tensor 't' should end at byte 1099511627792 of the data",
  tensor_duplicate_name: "tensor 'a' appears twice",
  data_truncated: "is truncated: tensor 't' should end at byte 256 of the data, which has 16 bytes",
  tensor_info_truncated: 'is truncated: length of name of tensor 1 needs 8 bytes',
  vocab_bos_out_of_range: null,
  head_count_0: null,
  block_count_huge: null,
};

describe('damaged files', () => {
  const bad = cases.filter(({ ok }) => !ok);

  it('are 34, each with its reason', () => {
    expect(bad.map(({ file }) => /^bad\/(.*)\.gguf$/.exec(file)![1]).sort()).toEqual(
      Object.keys(reasons).sort(),
    );
  });

  it.each(bad)('$file: $why', ({ file }) => {
    const path = golden('gguf', file);
    const reason = reasons[/^bad\/(.*)\.gguf$/.exec(file)![1]];
    if (reason === null) {
      expect(openGguf(path).version).toBe(3);
      return;
    }
    expect(() => openGguf(path)).toThrow(FileError);
    expect(() => openGguf(path)).toThrow(`${path}: `);
    expect(() => openGguf(path)).toThrow(reason);
  });

  const path = (): string => join(folder, 'x.gguf');
  const refuses = (reason: string | RegExp): void => {
    expect(() => openGguf(path())).toThrow(FileError);
    expect(() => openGguf(path())).toThrow(reason);
  };
  const ones = new Uint8Array(new Float32Array(8).fill(1).buffer);

  it('of other kinds are named', () => {
    const names = ['safetensors/good/scalar.safetensors'];
    for (const name of names)
      expect(() => openGguf(golden(name))).toThrow('is a safetensors file, not a GGUF file');
    writeFileSync(path(), '<!DOCTYPE html><html>');
    refuses('is an HTML page, not a GGUF file; download it again');
    writeFileSync(path(), '\x80\x02}q\x00.');
    writeFileSync(path(), Buffer.from('80027d71002e', 'hex'));
    refuses('is a PyTorch pickle, which could run any code');
    writeFileSync(path(), 'abcdefgh');
    refuses('is no GGUF file: it begins with "abcd"');
    expect(() => openGguf(folder)).toThrow('is a folder, not a GGUF file');
    expect(() => openGguf('/dev/zero')).toThrow('is not a regular file');
    expect(() => openGguf(join(folder, 'absent'))).toThrow('there is no such file');
    rmSync(path());
    execFileSync('mkfifo', [path()]);
    refuses('is not a regular file'); // at once: nobody writes into it
  });

  it('of big-endian machines are named', () => {
    writeGguf(path(), {}, {}, { version: 0x03000000 });
    refuses('is a big-endian GGUF file, only little-endian ones are read');
  });

  it('with overlapping tensors, half blocks or impossible shapes are refused', () => {
    const t = { shape: [8], data: ones };
    writeGguf(path(), {}, { a: t, b: { ...t, offset: 0 } });
    refuses("has overlapping tensors: 'b' begins at 0, before 32");
    writeGguf(path(), {}, { a: { type: 8, shape: [2, 16], data: ones } });
    refuses("has tensor 'a' of type Q8_0, whose rows of 16 are not whole blocks of 32");
    writeGguf(path(), {}, { a: { shape: [2 ** 31, 2 ** 31], data: ones } });
    refuses("has tensor 'a' of impossible size: F32 [2147483648, 2147483648]");
    writeGguf(path(), { 'general.alignment': { uint32: 24 } });
    refuses('general.alignment must be a power of two, got 24');
  });

  it('cut anywhere are refused', () => {
    writeGguf(
      path(),
      { 'a.b': { strings: ['x', 'yz'] }, c: { float32: 1 }, d: { ints: [1, 2] } },
      { t: { shape: [2, 4], data: ones } },
    );
    const whole = readFileSync(path());
    expect(openGguf(path()).tensor('t').toArray()).toEqual([Array(4).fill(1), Array(4).fill(1)]);
    for (let length = whole.length - 1; length >= 0; length--) {
      truncateSync(path(), length);
      expect(() => openGguf(path())).toThrow(FileError);
    }
  });

  describe('in a process with little memory', () => {
    beforeAll(compiled, 120_000);

    it('are refused as well', async () => {
      // Sparse files: what a header claims is really there, as zeros.
      const huge = (name: string, type: number): string => {
        const file = join(folder, name);
        writeGguf(file, { k: { ints: [] } });
        const bytes = readFileSync(file).subarray(0, 24 + 8 + 1 + 4);
        const tail = Buffer.alloc(12);
        tail.writeUInt32LE(type);
        tail.writeBigUInt64LE(2n ** 29n, 4);
        writeFileSync(file, Buffer.concat([bytes, tail]));
        truncateSync(file, 2 ** 33);
        return file;
      };
      const files = [
        ...cases.filter(({ ok }) => !ok).map(({ file }) => golden('gguf', file)),
        huge('empty strings', 8),
        huge('bytes', 0),
        huge('bools', 7),
      ];
      const script = `
        import { FileError, openGguf } from '${join(root, 'dist/lib/index.js')}';
        const loaded = [];
        for (const file of process.argv.slice(1)) {
          try { openGguf(file); loaded.push(file); }
          catch (error) { if (!(error instanceof FileError)) console.log(file, error); }
        }
        console.log(loaded.length, process.resourceUsage().maxRSS < ${sanitized ? 400_000 : 200_000} ? 'small' : process.resourceUsage());`;
      const outcome = await runNode([
        '--max-old-space-size=64',
        '--input-type=module',
        '-e',
        script,
        ...files,
      ]);
      expect(outcome).toEqual({ code: 0, stdout: '4 small\n', stderr: '' });
    });
  });
});

describe('sound files', () => {
  it('give metadata of every type', () => {
    const path = join(folder, 'x.gguf');
    const metadata = {
      a: { uint32: 7 },
      b: { uint64: 2n ** 60n },
      c: { uint64: 5n },
      d: { float32: 0.5 },
      e: { bool: 1 },
      f: { string: 'ä' },
      g: { strings: ['x', ''] },
      h: { floats: [1.5, -2] },
      i: { ints: [-3] },
      j: { string: Buffer.from([0xff]) },
    };
    writeGguf(path, metadata, {}, { version: 2 });
    const file = openGguf(path);
    expect(file.version).toBe(2);
    expect(Object.fromEntries(file.metadata)).toEqual({
      a: 7,
      b: 2n ** 60n,
      c: 5,
      d: 0.5,
      e: true,
      f: 'ä',
      g: ['x', ''],
      h: Float32Array.of(1.5, -2),
      i: Int32Array.of(-3),
      j: '\ufffd',
    });
    expect(file.names()).toEqual([]);
  });

  it("give tensors of every plain type, in PyTorch's order of dimensions", () => {
    const path = join(folder, 'x.gguf');
    const bytes = (array: { buffer: ArrayBufferLike }): Uint8Array =>
      new Uint8Array(array.buffer as ArrayBuffer);
    writeGguf(
      path,
      {},
      {
        f32: { shape: [2, 3], data: bytes(Float32Array.of(1, 2, 3, 4, 5, 6)) },
        f64: { type: 28, shape: [1], data: bytes(Float64Array.of(1.25)) },
        i8: { type: 24, shape: [2], data: bytes(Int8Array.of(-1, 2)) },
        i16: { type: 25, shape: [2], data: bytes(Int16Array.of(-300, 2)) },
        i32: { type: 26, shape: [1], data: bytes(Int32Array.of(-70000)) },
        i64: { type: 27, shape: [2], data: bytes(BigInt64Array.of(-5n, 6n)) },
        wide: { type: 27, shape: [1], data: bytes(BigInt64Array.of(2n ** 40n)) },
        iq1: { type: 19, shape: [256], data: new Uint8Array(50) },
        none: { shape: [0, 4], data: new Uint8Array(0) },
      },
    );
    const file = openGguf(path);
    expect(file.info('f32')).toEqual({ type: 'F32', shape: [2, 3], bytes: 24 });
    expect(file.has('f32') && !file.has('x')).toBe(true);
    const given = Object.fromEntries(
      ['f32', 'f64', 'i8', 'i16', 'i32', 'i64', 'none'].map((name) => [name, file.tensor(name)]),
    );
    expect(given.f32.toArray()).toEqual([[1, 2, 3], [4, 5, 6]]); // prettier-ignore
    expect(given.f64.dtype).toBe('float64');
    expect(given.i8.toArray()).toEqual([-1, 2]);
    expect(given.i16.toArray()).toEqual([-300, 2]);
    expect(given.i32.toArray()).toEqual([-70000]);
    expect(given.i64.toArray()).toEqual([-5, 6]);
    expect(given.none.shape).toEqual([0, 4]);
    expect(() => file.tensor('wide')).toThrow(
      "tensor 'wide' is I64 and its element 0 does not fit into int32",
    );
    expect(() => file.tensor('iq1')).toThrow(
      "tensor 'iq1' has elements of type IQ1_S, which is not supported",
    );
    expect(() => file.tensor('f23')).toThrow("has no tensor 'f23' (did you mean 'f32'?)");
    expect(() => file.tensor('f32', { dtype: 'int32' as DequantizedDType })).toThrow(ArgumentError);
    file.close();
    expect(() => file.tensor('f32')).toThrow('was asked for after close()');
    given.f32.data[0] = 9; // the copy in memory
    expect(openGguf(path).tensor('f32').data[0]).toBe(1);
  });

  it.each(cases.filter(({ ok }) => ok))('$file', ({ file: name }) => {
    const file = openGguf(golden('gguf', name));
    expect(file.names().map((t) => file.tensor(t).toArray())).toEqual(
      name.includes('minimal') ? [[1, 2, 3, 4]] : [],
    );
  });
});

interface Quantized {
  readonly ggml_type_id: number;
  readonly shape: readonly number[];
  readonly raw_base64: string;
  readonly dequantised: readonly number[];
}

describe('quantized tensors', () => {
  const quants = Object.entries(readGolden<Record<string, Quantized>>('gguf', 'quants.json'));

  it.each(quants)("%s has the reference's bits", (name, q) => {
    const path = join(folder, 'x.gguf');
    const data = Buffer.from(q.raw_base64, 'base64');
    writeGguf(path, {}, { w: { type: q.ggml_type_id, shape: q.shape, data } });
    const file = openGguf(path);
    expect(file.info('w').type).toBe(name);
    const w = file.tensor('w');
    expect(w.shape).toEqual(q.shape);
    expect(Array.from(to(w, 'float32').data)).toEqual(q.dequantised.map(Math.fround));
    if (name === 'F16' || name === 'BF16') return;
    for (const dtype of ['float16', 'bfloat16'] as const) {
      expect(bits(file.tensor('w', { dtype }))).toEqual(bits(to(w, dtype)));
    }
  });

  it('are the same with any number of threads', () => {
    // More blocks than one task takes.
    const path = join(folder, 'x.gguf');
    const [, q] = quants.find(([name]) => name === 'Q6_K')!;
    const once = Buffer.from(q.raw_base64, 'base64');
    const data = Buffer.concat(Array.from({ length: 100 }, () => once));
    writeGguf(path, {}, { w: { type: q.ggml_type_id, shape: [100, 2 * 512], data } });
    const rows = openGguf(path).tensor('w');
    const expected = q.dequantised.map(Math.fround);
    for (let row = 0; row < 100; row++) {
      expect(Array.from(rows.data.subarray(row * 1024, (row + 1) * 1024))).toEqual(expected);
    }
  });
});
