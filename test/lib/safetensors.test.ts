import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import {
  ArgumentError,
  FileError,
  loadSafetensors,
  openSafetensors,
  saveSafetensors,
  scope,
  tensor,
  transpose,
  zeros,
} from '../../lib/index.js';
import { compiled, root, runNode } from '../support/cli.js';
import { golden, readGolden } from '../support/golden.js';
import { sanitized } from '../support/sanitized.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-safetensors-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const cases = readGolden<{ file: string; ok: boolean; why: string }[]>('safetensors', 'manifest.json');
const good = cases.filter(({ ok }) => ok);
const bad = cases.filter(({ ok }) => !ok);

/** The reason that each damaged file must be refused for. */
const reasons: Record<string, string> = {
  empty: 'is empty',
  seven_bytes: 'it has 7 bytes, fewer than 8',
  header_len_huge: 'the limit is 100000000',
  header_len_2p63: 'its header would be 9223372036854775808 bytes long',
  header_len_100000001: 'its header would be 100000001 bytes long',
  header_len_past_eof: 'is truncated: its header should end at byte',
  header_only_len: 'is truncated: its header should end at byte',
  non_utf8: 'it is not valid UTF-8',
  not_json: 'has a damaged header: expected',
  json_array: "expected '{' in the header at byte 0",
  header_n_zero: "expected '{' in the header at byte 0, found its end",
  trailing_bytes: 'bytes after its last tensor',
  truncated_data: 'is truncated: its tensors need',
  hole_at_start: 'has a hole in its data',
  overlap_full: 'has overlapping tensors',
  offsets_reversed: 'before it begins at',
  offset_negative: 'expected data_offsets to be two non-negative integers',
  offset_float: 'expected data_offsets to be two non-negative integers',
  offset_string: 'expected data_offsets to be two non-negative integers',
  offset_2p53_plus: 'with a number that no file can reach',
  size_mismatch: 'whose sizes disagree: F32 [2, 2] needs 16 bytes, its offsets give 8',
  shape_overflow_mul: 'with a number that no file can reach: 9223372036854775808',
  shape_overflow_bytes: 'with a number that no file can reach: 4611686018427387904',
  shape_negative: 'expected shape to be a list of non-negative integers',
  shape_missing: 'no shape in tensor',
  dtype_unknown: "of unknown dtype '",
  dtype_number: 'expected dtype to be a string',
  metadata_not_strings: 'in __metadata__',
  duplicate_key: "'a' appears twice in the header",
  deep_nesting: "expected '{' in tensor 'a'",
  html_page: 'is an HTML page',
};

describe('damaged files', () => {
  it('are 31, each with its reason', () => {
    expect(bad).toHaveLength(31);
    expect(Object.keys(reasons)).toHaveLength(31);
  });

  it.each(bad)('$file: $why', ({ file }) => {
    const path = golden('safetensors', file);
    const name = file.replace(/^bad\/|\.safetensors$/g, '');
    expect(() => loadSafetensors(path)).toThrow(FileError);
    expect(() => loadSafetensors(path)).toThrow(`${path}: `);
    expect(() => loadSafetensors(path)).toThrow(reasons[name]);
  });

  describe('in a process with little memory', () => {
    beforeAll(compiled, 120_000);

    it('are refused as well', async () => {
      // 100 MB of header that are really there, and full of tensors or of brackets.
      const repeated = (name: string, part: string): string => {
        const header = Buffer.alloc(99_999_992, part);
        const path = join(folder, name);
        const length = Buffer.alloc(8);
        length.writeBigUInt64LE(BigInt(header.length));
        writeFileSync(path, Buffer.concat([length, header]));
        return path;
      };
      const files = [
        ...bad.map(({ file }) => golden('safetensors', file)),
        repeated('brackets', '{"a":['),
        repeated('zeros', '0'),
        repeated('string', '{"aaaaaaaa'),
      ];
      // Kilobytes. AddressSanitizer keeps what was freed for a while, and puts memory around everything.
      const limit = sanitized ? 600_000 : 400_000;
      const script = `
        import { FileError, loadSafetensors } from '${join(root, 'dist/lib/index.js')}';
        for (const file of process.argv.slice(1)) {
          try { loadSafetensors(file); console.log('loaded', file); }
          catch (error) { if (!(error instanceof FileError)) console.log(file, error); }
        }
        console.log(process.resourceUsage().maxRSS < ${limit} ? 'small' : process.resourceUsage());`;
      const outcome = await runNode([
        '--max-old-space-size=64',
        '--input-type=module',
        '-e',
        script,
        ...files,
      ]);
      expect(outcome).toEqual({ code: 0, stdout: 'small\n', stderr: '' });
    });
  });
});

describe('sound files', () => {
  it.each(good)('$file: $why', ({ file }) => {
    const opened = openSafetensors(golden('safetensors', file));
    for (const name of opened.names()) {
      const { dtype, shape } = opened.info(name);
      if (['F32', 'F64', 'F16', 'BF16', 'I32', 'U8', 'BOOL'].includes(dtype)) {
        expect(opened.tensor(name).shape).toEqual(shape);
      }
    }
    opened.close();
  });

  it('give their numbers', () => {
    const lines = (name: string): string[] =>
      [...loadSafetensors(golden('safetensors', 'good', `${name}.safetensors`))].map(
        ([key, t]) =>
          `${key} ${t.dtype} [${t.shape.join()}] ${Array.from(t.data, (x) => (Object.is(x, -0) ? '-0' : x)).join()}`,
      );
    expect(lines('scalar')).toEqual(['test int32 [] 0']);
    expect(lines('unaligned_header')).toEqual(['a float32 [2] 1.5,-2.5']);
    expect(lines('unordered')).toEqual(['b float32 [1] -2.5', 'a float32 [1] 1.5']);
    expect(lines('nan_inf')).toEqual(['a float32 [4] NaN,Infinity,-Infinity,-0']);
    expect(lines('zero_dim_middle')).toEqual(['a float32 [1] 0', 'z float32 [0,3] ', 'b float32 [1] 0']);
    expect(lines('proto_key')).toEqual(['__proto__ int32 [1] 0']);
    expect(lines('constructor_key')).toEqual(['constructor int32 [1] 0', 'toString int32 [1] 0']);
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  it('give what they have of each type, and an error for what tensors do not have', () => {
    using file = openSafetensors(golden('safetensors', 'good', 'all_dtypes.safetensors'));
    const outcome = Object.fromEntries(
      file.names().map((name) => {
        try {
          const t = file.tensor(name);
          return [name, `${t.dtype} ${JSON.stringify(t.toArray())}`];
        } catch (error) {
          expect(error).toBeInstanceOf(FileError);
          return [name, (error as FileError).message.replace(/^.*?safetensors: /, '')];
        }
      }),
    );
    expect(outcome).toMatchInlineSnapshot(`
      {
        "BF16": "bfloat16 [1.5,-3.3895313892515355e+38]",
        "BOOL": "bool [0,1]",
        "F16": "float16 [1.5,-65504]",
        "F32": "float32 [1.5,-3.4028234663852886e+38]",
        "F64": "float64 [1.5,-1e+308]",
        "F8_E4M3": "tensor 'F8_E4M3' has elements of type F8_E4M3, which is not supported; supported are F32, F64, F16, BF16, I32, U8, BOOL and I64 (as int32)",
        "F8_E5M2": "tensor 'F8_E5M2' has elements of type F8_E5M2, which is not supported; supported are F32, F64, F16, BF16, I32, U8, BOOL and I64 (as int32)",
        "I16": "tensor 'I16' has elements of type I16, which is not supported; supported are F32, F64, F16, BF16, I32, U8, BOOL and I64 (as int32)",
        "I32": "int32 [-2147483648,2147483647]",
        "I64": "tensor 'I64' is I64 and its element 0 does not fit into int32",
        "I8": "tensor 'I8' has elements of type I8, which is not supported; supported are F32, F64, F16, BF16, I32, U8, BOOL and I64 (as int32)",
        "U16": "tensor 'U16' has elements of type U16, which is not supported; supported are F32, F64, F16, BF16, I32, U8, BOOL and I64 (as int32)",
        "U32": "tensor 'U32' has elements of type U32, which is not supported; supported are F32, F64, F16, BF16, I32, U8, BOOL and I64 (as int32)",
        "U64": "tensor 'U64' has elements of type U64, which is not supported; supported are F32, F64, F16, BF16, I32, U8, BOOL and I64 (as int32)",
        "U8": "uint8 [0,255]",
      }
    `);
  });

  it('narrow 64-bit integers that fit', () => {
    const data = new BigInt64Array([5n, -5n, -(2n ** 31n), 2n ** 31n - 1n]);
    const path = join(folder, 'i64');
    writeFileSync(
      path,
      raw(`{"x":{"dtype":"I64","shape":[4],"data_offsets":[0,32]}}`, new Uint8Array(data.buffer)),
    );
    expect(loadSafetensors(path).get('x')!.toArray()).toEqual([5, -5, -(2 ** 31), 2 ** 31 - 1]);
    writeFileSync(
      path,
      raw(`{"x":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}`, new Uint8Array(8).fill(1)),
    );
    expect(() => loadSafetensors(path)).toThrow(
      "tensor 'x' is I64 and its element 0 does not fit into int32",
    );
  });

  it('have sizes that fit into a file', () => {
    const path = join(folder, 'huge');
    writeFileSync(
      path,
      raw(`{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, new Uint8Array()),
    );
    expect(() => openSafetensors(path)).toThrow(
      "has a tensor 'x' of impossible size: F32 [4294967296, 4294967296]",
    );
  });

  it('say which tensors they do not have', () => {
    using file = openSafetensors(golden('safetensors', 'good', 'all_dtypes.safetensors'));
    expect(() => file.tensor('F33')).toThrow("has no tensor 'F33' (did you mean 'F32'?)");
    file.close();
    expect(() => file.tensor('F32')).toThrow("tensor 'F32' was asked for after close()");
  });

  it('with more dimensions than tensors have are refused when that tensor is read', () => {
    const path = join(folder, 'rank');
    writeFileSync(
      path,
      raw(`{"x":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}}`, new Uint8Array(1)),
    );
    expect(openSafetensors(path).info('x').bytes).toBe(1);
    expect(() => loadSafetensors(path)).toThrow("tensor 'x' has 9 dimensions, more than 8");
  });

  it('with bytes other than 0 and 1 for booleans are refused', () => {
    const path = join(folder, 'bool');
    writeFileSync(path, raw(`{"x":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}`, new Uint8Array([2])));
    expect(() => loadSafetensors(path)).toThrow("tensor 'x' is BOOL and has bytes other than 0 and 1");
  });

  it('keep their tensors alive when they are closed, and their bytes when those are written to', () => {
    const path = join(folder, 'x');
    saveSafetensors(path, { x: tensor([1, 2, 3]) });
    const before = readFileSync(path);
    const x = loadSafetensors(path).get('x')!;
    x.memory[x.offset] = 7;
    expect(x.toArray()).toEqual([7, 2, 3]);
    expect(readFileSync(path)).toEqual(before);
    saveSafetensors(path, { x: tensor([4]) }); // over the mapped file
    expect(x.toArray()).toEqual([7, 2, 3]);
    expect(loadSafetensors(path).get('x')!.toArray()).toEqual([4]);
  });
});

/** A file of a header, unpadded, and data. */
function raw(header: string, data: Uint8Array): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, Buffer.from(header), data]);
}

describe('things that are no safetensors file', () => {
  it.each([
    ['a missing file', () => join(folder, 'none'), 'cannot be read: there is no such file or folder'],
    ['a folder', () => folder, 'is a folder, not a safetensors file'],
    ['a device', () => '/dev/zero', 'is not a regular file'],
    ['a path below a file', () => join(import.meta.filename, 'x'), 'a part of the path is not a folder'],
    ['a pipe', () => (spawnSync('mkfifo', [join(folder, 'p')]), join(folder, 'p')), 'is not a regular file'],
    ['a GGUF file', () => put('GGUF\x03\0\0\0\0\0\0\0'), 'is a GGUF file'],
    ['a Git LFS pointer', () => put('version https://git-lfs.github.com/spec/v1\n'), 'is a Git LFS pointer'],
    ['a zipped pickle', () => put('PK\x03\x04\0\0\x08\x08\0\0\0\0data.pkl'), 'is a PyTorch pickle'],
    ['a bare pickle', () => put('\x80\x02}q\x01X\x06\0\0\0'), 'is a PyTorch pickle'],
    ['a NumPy file', () => put('\x93NUMPY\x01\0v\0{'), 'is a NumPy file'],
    ['a NumPy archive', () => put('PK\x03\x04\x14\0\0\0\0\0!\0\0\0\0\0weight.npy'), 'is a NumPy file'],
    ['text', () => put('to be or not to be'), 'is no safetensors file: its header would be'],
  ])('%s', (_, make, reason) => {
    const path = make();
    expect(() => openSafetensors(path)).toThrow(FileError);
    expect(() => openSafetensors(path)).toThrow(`${path}: `);
    expect(() => openSafetensors(path)).toThrow(reason);
  });

  function put(content: string): string {
    writeFileSync(join(folder, 'x'), Buffer.from(content, 'latin1'));
    return join(folder, 'x');
  }

  it('pickles come with the way to convert them', () => {
    expect(() => openSafetensors(put('PK\x03\x04\0\0\x08\x08archive/data.pkl'))).toThrow(
      /refused; convert it .* torch\.load/,
    );
  });

  it('an unreadable file', (context) => {
    const path = put('x');
    chmodSync(path, 0);
    if (process.getuid?.() === 0) return context.skip('root reads everything');
    expect(() => openSafetensors(path)).toThrow('cannot be read: permission denied');
  });
});

describe('saveSafetensors', () => {
  it('gives back every dtype bit for bit', () => {
    const path = join(folder, 'all');
    const tensors = {
      'a.f32': tensor([
        [1.5, -0, NaN],
        [Infinity, 1e-45, 3],
      ]),
      f64: tensor([Math.PI, 5e-324], { dtype: 'float64' }),
      i32: tensor([1, -(2 ** 31)], { dtype: 'int32' }),
      u8: tensor([0, 255, 3], { dtype: 'uint8' }),
      bool: tensor([true, false, true]),
      f16: tensor([0.5, -2], { dtype: 'float32' }).to('float16'),
      bf16: tensor([0.5, -2], { dtype: 'float32' }).to('bfloat16'),
      empty: zeros([0, 3]),
      scalar: tensor(4),
      ['__proto__']: tensor([9]),
      'é"\\\n😀': tensor([8]),
    };
    saveSafetensors(path, tensors, { format: 'pt', note: 'é"\n' });
    using file = openSafetensors(path);
    expect(file.metadata).toEqual({ format: 'pt', note: 'é"\n' });
    expect(file.names().sort()).toEqual(Object.keys(tensors).sort());
    for (const [name, t] of Object.entries(tensors)) {
      const back = file.tensor(name);
      expect([name, back.dtype, back.shape]).toEqual([name, t.dtype, t.shape]);
      expect(Buffer.from(back.data.slice().buffer)).toEqual(Buffer.from(t.data.slice().buffer));
      expect(back.memory.buffer.byteLength, 'a view of the file, no copy').toBe(statSync(path).size);
    }
  });

  it('writes the same bytes for the same tensors, whatever their order', () => {
    const a = tensor([1, 2]);
    const b = tensor([[1], [2]], { dtype: 'uint8' });
    saveSafetensors(join(folder, '1'), { a, b });
    saveSafetensors(join(folder, '2'), new Map([['b', b], ['a', a]])); // prettier-ignore
    const bytes = readFileSync(join(folder, '1'));
    expect(readFileSync(join(folder, '2'))).toEqual(bytes);
    expect(bytes.readUInt32LE() % 8).toBe(0);
    expect(bytes.subarray(8).toString()).toContain(
      '{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},' +
        '"b":{"dtype":"U8","shape":[2,1],"data_offsets":[8,10]}}',
    );
  });

  it('writes views in the order of their elements', () => {
    const path = join(folder, 'view');
    scope(() => saveSafetensors(path, { x: transpose(tensor([[1, 2, 3], [4, 5, 6]]), 0, 1) })); // prettier-ignore
    expect(loadSafetensors(path).get('x')!.toArray()).toEqual([[1, 4], [2, 5], [3, 6]]); // prettier-ignore
  });

  it('refuses names that no reader takes', () => {
    for (const name of ['__metadata__', 'a\ud800']) {
      expect(() => saveSafetensors(join(folder, 'x'), { [name]: tensor([1]) })).toThrow(ArgumentError);
    }
    expect(readdirSync(folder)).toEqual([]);
  });

  it('refuses notes that no reader takes, and what is no tensor', () => {
    const path = join(folder, 'x');
    saveSafetensors(path, { x: tensor([1]) });
    const bytes = readFileSync(path);
    const text = 'saveSafetensors: metadata must be well-formed strings, got ';
    const save = (notes: object): void => saveSafetensors(path, { x: tensor([1]) }, notes as never);
    for (const [notes, given] of [
      [{ step: 3 }, '"step": 3'],
      [{ note: undefined }, '"note": undefined'],
      [{ a: '\ud800' }, '"a": "\\ud800"'],
      [{ '\udc00': 'a' }, '"\\udc00": "a"'],
    ] as const) {
      expect(() => save(notes)).toThrow(ArgumentError);
      expect(() => save(notes)).toThrow(text + given);
    }
    expect(() => saveSafetensors(path, { x: [1] as never })).toThrow(
      'saveSafetensors: needs a tensor, got an array; make one with tensor(...)',
    );
    expect(readFileSync(path)).toEqual(bytes);
  });

  it('keeps the earlier file when the disk is full', (context) => {
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', disk]).status !== 0) {
      return context.skip('not allowed to mount a small disk');
    }
    try {
      const path = join(disk, 'model.safetensors');
      saveSafetensors(path, { x: tensor([1]) });
      const bytes = readFileSync(path);
      expect(() => saveSafetensors(path, { x: zeros([1000, 1000]) })).toThrow(
        `${path}: cannot be written: no space is left on the device`,
      );
      expect(readFileSync(path)).toEqual(bytes);
      expect(readdirSync(disk)).toEqual(['model.safetensors']);
      execFileSync('mount', ['-o', 'remount,ro', disk]);
      expect(() => saveSafetensors(path, { x: tensor([1]) })).toThrow('the file system is read-only');
    } finally {
      spawnSync('umount', [disk]);
    }
  });

  it('notices a file that was cut off', () => {
    const path = join(folder, 'x');
    saveSafetensors(path, { x: zeros([100]) });
    truncateSync(path, statSync(path).size - 1);
    expect(() => openSafetensors(path)).toThrow(
      'is truncated: its tensors need 400 bytes of data, it has 399',
    );
  });
});
