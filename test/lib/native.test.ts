import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { NativeLoadError } from '../../lib/errors.js';
import { loadNative, native } from '../../lib/native.js';

describe('loadNative', () => {
  let root: string;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'tsgpt-native-'));
    vi.stubEnv('TSGPT_ADDON', undefined);
  });
  afterEach(() => {
    rmSync(root, { recursive: true });
    vi.unstubAllEnvs();
  });

  function put(...path: string[]): string {
    const file = join(root, ...path);
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, 'no machine code');
    return file;
  }

  function failure(): NativeLoadError {
    try {
      loadNative(root);
    } catch (error) {
      expect(error).toBeInstanceOf(NativeLoadError);
      return error as NativeLoadError;
    }
    throw new Error('loadNative did not throw');
  }

  it('loads the module of this package', () => {
    expect(native.info().availableIsas.split(',')).toContain(native.info().isa);
    expect(native.info().threads).toBeGreaterThan(0);
  });

  it('says what was looked for, where, and how to build it', () => {
    const error = failure();
    expect(error.code).toBe('ERR_NATIVE_LOAD');
    expect(error.message).toContain(`${process.platform}-${process.arch}`);
    expect(error.message).toContain(`${join(root, 'build', 'Release', 'tsgpt.node')}: does not exist`);
    expect(error.message).toContain(join(root, 'prebuilds', `${process.platform}-${process.arch}`));
    expect(error.message).toContain(`node ${join(root, 'scripts', 'build-native.mjs')}`);
  });

  it('names the prebuilt modules of other platforms', () => {
    put('prebuilds', 'plan9-mips', 'tsgpt.node');
    expect(failure().message).toContain('none fits this machine; the package has plan9-mips/tsgpt.node');
  });

  it('takes the prebuilt module of this platform, and says why it does not load', () => {
    const file = put('prebuilds', `${process.platform}-${process.arch}`, 'tsgpt.node');
    expect(failure().message).toContain(`${file}: does not load: `);
  });

  it('prefers what was built here, and does not skip it when it is damaged', () => {
    put('prebuilds', `${process.platform}-${process.arch}`, 'tsgpt.node');
    const file = put('build', 'Release', 'tsgpt.node');
    expect(failure().message).toContain(`${file}: does not load: `);
  });

  it('takes the file named by TSGPT_ADDON before all others', () => {
    put('build', 'Release', 'tsgpt.node');
    const file = join(root, 'elsewhere.node');
    vi.stubEnv('TSGPT_ADDON', file);
    expect(failure().message).toContain(
      `${file} (named by TSGPT_ADDON; unset it to use the package's own): does not exist`,
    );
  });
});

describe('a product with packed weights', () => {
  const [m, n, k] = [20, 64, 64];
  const [a, b, c] = [m * k, k * n, m * n].map((size) => new Float32Array(size).fill(1));
  const call = (name: 'gemm' | 'gemmPack', packed: unknown): unknown => {
    const [float32, none] = [0, -1];
    native.params.set([
      ...[1, m, n, k, float32, float32, float32, k, 1, 0, n, 1, 0, n, 0, 1, 0, 0, none],
      ...[0, 0, 0, 0, 0, 0], // offsets
    ]);
    return native[name](a, b, c, null, null, packed as Float32Array);
  };

  it.each<[string, unknown]>([
    ['reaches past its memory', new Float32Array(n * k - 1)],
    ['another element size', new Float64Array(n * k)],
    ['is not a typed array', 'b'],
  ])('refuses one that %s', (message, packed) => {
    for (const name of ['gemm', 'gemmPack'] as const) expect(() => call(name, packed)).toThrow(message);
  });

  it('is packed and multiplied', () => {
    const packed = new Float32Array(call('gemmPack', null) as number);
    expect(packed.length).toBeGreaterThanOrEqual(n * k);
    expect(call('gemmPack', packed)).toBe(packed.length);
    expect(call('gemm', packed)).toBe(true);
    expect(c.every((y) => y === k)).toBe(true);
  });
});

describe('a kernel on any number of tensors', () => {
  const x = new Float32Array(4);
  const float32 = 0;

  it.each<[string, number[], unknown[]]>([
    ['reaches past its memory', [1, float32, 5, 0], [x]],
    ['reaches past its memory', [2, float32, 4, 0, float32, 4, 1], [x, x]],
    ['missing array', [2, float32, 4, 0, float32, 4, 0], [x]],
    ['missing number', [1, float32, 4], [x]],
    ['missing number', [1e15, float32, 4, 0], [x]],
    ['is not a typed array', [1, float32, 4, 0], [null]],
    ['another element size', [1, float32, 4, 0], [new Float64Array(4)]],
  ])('refuses an argument that %s: %j', (message, numbers, arrays) => {
    expect(() => native.sumSquares(Float64Array.from(numbers), ...(arrays as Float32Array[]))).toThrow(
      message,
    );
  });

  it('checks each of the arrays of a tensor', () => {
    const settings = [0, 0.9, 0.99, 1e-8, 1, 1, 0]; // Adam, decoupled
    const tensor = (...offsets: number[]): number[] => [4, 1e-3, 0, 1, 1, ...offsets];
    const call = (numbers: number[], ...arrays: (Float32Array | null)[]) =>
      native.optimizerStep(Float64Array.from([...settings, ...numbers]), ...arrays);
    const [p, g, m, v] = [1, 2, 3, 4].map(() => new Float32Array(4));
    expect(call([1, ...tensor(0, 0, 0, 0, 0)], p, g, m, v, null)).toBe(true);
    expect(() => call([1, ...tensor(0, 0, 0, 1, 0)], p, g, m, v, null)).toThrow('reaches past its memory');
    expect(() => call([2, ...tensor(0, 0, 0, 0, 0)], p, g, m, v, null)).toThrow('missing number');
    expect(() => call([1, ...tensor(0, 0, 0, 0, 0)], p, g, m, v)).toThrow('missing array');
    settings[0] = 5; // no rule
    expect(call([1, ...tensor(0, 0, 0, 0, 0)], p, g, m, v, null)).toBe(false);
  });

  it('refuses numbers of another type', () => {
    expect(() => native.sumSquares(x as never, x)).toThrow('the numbers must be a Float64Array');
    expect(() => native.optimizerStep(undefined as never)).toThrow('the numbers must be a Float64Array');
  });
});
