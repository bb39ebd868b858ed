/** `tsgpt info --model`: model folders, GGUF and safetensors files, sound and damaged. */

import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { loadSafetensors, saveSafetensors, tensor } from '../../../lib/index.js';
import { compiled, tsgpt } from '../../support/cli.js';
import { writeGguf } from '../../support/gguf.js';
import { golden } from '../../support/golden.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-info-'));
beforeAll(compiled, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const report = async (path: string, ...more: string[]): Promise<unknown> => {
  const { code, stdout, stderr } = await tsgpt(['info', '--json', '--model', path, ...more]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
};

describe('tsgpt info --model', () => {
  it('describes a folder', async () => {
    const path = golden('hf-qwen2-shards');
    expect(await report(path, '--check')).toEqual({
      path,
      format: 'safetensors',
      architecture: 'qwen2',
      class: 'Qwen2ForCausalLM',
      supported: true,
      context: 64,
      parameters: 29_600,
      tensors: 39,
      dtypes: { BF16: 39 },
      bytes: 59_200,
      tokenizer: expect.stringMatching(/^none: holds no tokenizer/) as string,
      not_finite: [],
    });
    const { stdout } = await tsgpt(['info', '--model', path]);
    expect(stdout).toMatch(
      /^architecture +qwen2\nclass +Qwen2ForCausalLM\ncontext +64 tokens\nparameters +29,600\ntensors +39: 39 BF16\n/m,
    );
  });

  it('describes a GGUF file, also of an architecture that is not served', async () => {
    const path = join(folder, 'x.gguf');
    const data = new Uint8Array(new Float32Array([1, 2, 3, 4]).buffer);
    const metadata = {
      'general.architecture': { string: 'mamba' },
      'mamba.context_length': { uint32: 1024 },
    };
    writeGguf(path, metadata, {
      a: { shape: [2, 2], data },
      b: { type: 19, shape: [256], data: new Uint8Array(50) },
    });
    expect(await report(path)).toMatchObject({
      format: 'gguf',
      architecture: 'mamba',
      supported: false,
      context: 1024,
      parameters: 260,
      dtypes: { F32: 1, IQ1_S: 1 },
      bytes: 66,
    });
    const { stdout } = await tsgpt(['info', '--model', path]);
    expect(stdout).toContain('mamba, which cannot be run here');
  });

  it('finds weights that are not finite', async () => {
    const copy = join(folder, 'copy');
    cpSync(golden('hf-gpt2'), copy, { recursive: true });
    const file = join(copy, 'model.safetensors');
    saveSafetensors(
      file,
      new Map([...loadSafetensors(file), ['x', tensor([1, NaN])], ['y', tensor([Infinity])]]),
    );
    for (const path of [copy, file]) {
      const { code, stdout } = await tsgpt(['info', '--check', '--model', path]);
      expect(code).toBe(1);
      expect(stdout).toMatch(/^weights +NaN or infinity in x, y$/m);
    }
    expect(await report(copy)).not.toHaveProperty('not_finite');
  });

  it.each([
    [golden('gguf', 'bad', 'n_kv_huge.gguf'), 'has a damaged header: 4611686018427387904 metadata entries'],
    [golden('safetensors', 'bad', 'empty.safetensors'), 'is empty'],
    ['/dev/zero', 'is not a regular file'],
    [join(folder, 'absent'), 'cannot be read: there is no such file or folder'],
    [folder, 'config.json: cannot be read'],
  ])('refuses %s', async (path, reason) => {
    const { code, stdout, stderr } = await tsgpt(['info', '--model', path]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^tsgpt: .*\n$/);
    expect(stderr).toContain(reason);
  });

  it('needs a model to check', async () => {
    const { code, stderr } = await tsgpt(['info', '--check']);
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringContaining('--check needs --model') as string,
    });
  });
});
