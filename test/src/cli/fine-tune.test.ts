/** `tsgpt train` from a model that is there, with adapters, in half precision and with recomputation; `tsgpt merge`. */

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { AutoModelForCausalLM, noGrad, tensor } from '../../../src/index.js';
import { expectClose } from '../../support/golden.js';
import { compiled, tsgpt, type Outcome } from '../../support/cli.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-fine-tune-'));
const at = (name: string): string => join(folder, name);
const data = at('text.txt');
const toy = [
  '--batch',
  '4',
  '--seq',
  '16',
  '--threads',
  '1',
  '--seed',
  '1',
  '--gen-samples',
  '0',
  '--eval-interval',
  '0',
];

const train = (name: string, ...args: string[]): Promise<Outcome> =>
  tsgpt(['train', '--data', data, '--model', at(name), ...toy, ...args]);
const logits = (name: string): number[] =>
  Array.from(
    noGrad(() =>
      AutoModelForCausalLM.fromPretrained(at(name)).forward(tensor([[1, 2, 3]], { dtype: 'int32' })),
    ).data,
  );
const stepsOf = (name: string): unknown[] =>
  readFileSync(join(at(name), 'metrics.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((record) => record.loss !== undefined && record.step !== undefined)
    .map(({ step, loss }) => [step, loss]);

beforeAll(async () => {
  await compiled();
  writeFileSync(data, 'the quick brown fox jumps over the lazy dog, again and again\n'.repeat(80));
  const sizes = ['--layers', '2', '--embed', '32', '--heads', '2', '--steps', '20'];
  expect((await train('base', ...sizes)).code).toBe(0);
}, 180_000);
afterAll(() => rmSync(folder, { recursive: true }));

describe('tsgpt train --from', () => {
  it('goes on from the weights and with the tokenizer of a model', async () => {
    const { code, stderr } = await train(
      'tuned',
      '--from',
      at('base'),
      '--steps',
      '5',
      '--lr',
      '1e-9',
      '--warmup',
      '0',
    );
    expect(stderr).toContain(`model: ${at('base')}, 2 layers, 32 wide`);
    expect(code).toBe(0);
    expectClose(logits('tuned'), logits('base'), { atol: 1e-4 });
  });

  it('refuses what the model brings with it, and a sequence that it cannot see', async () => {
    const wrong = async (...args: string[]): Promise<string> => {
      const { code, stderr } = await train('never', '--from', at('base'), '--steps', '2', ...args);
      expect(code).toBe(2);
      return stderr;
    };
    expect(await wrong('--layers', '3')).toContain('--layers is not for --from: the model in');
    expect(await wrong('--seq', '99')).toContain('--seq 99 is more than the 16 tokens that');
    expect(await wrong('--lora-alpha', '3')).toContain('--lora-alpha is for adapters; add --lora-rank');
    const { stderr } = await train('never', '--lora-rank', '2');
    expect(stderr).toContain('--lora-rank is for adapters of a model that is there; name it with --from');
    expect(existsSync(at('never'))).toBe(false);
  });

  it('trains adapters, resumes them, generates with them, and merges them', async () => {
    const lora = [
      '--from',
      at('base'),
      '--lora-rank',
      '2',
      '--lora-targets',
      'c_attn,c_proj',
      '--steps',
      '12',
      '--lr',
      '0.01',
    ];
    expect((await train('adapters', ...lora)).code).toBe(0);
    expect(existsSync(join(at('adapters'), 'adapter_model.safetensors'))).toBe(true);
    expect(existsSync(join(at('adapters'), 'model.safetensors'))).toBe(false);
    expect(logits('adapters')).not.toEqual(logits('base'));
    const longer = await tsgpt([
      'train',
      '--model',
      at('adapters'),
      '--resume',
      '--steps',
      '20',
      '--gen-samples',
      '0',
    ]);
    expect(longer.stderr).toContain('resuming');
    expect(longer.code).toBe(0);
    const merged = await tsgpt(['merge', '--model', at('adapters'), '--out', at('merged')]);
    expect(merged.code).toBe(0);
    expectClose(logits('merged'), logits('adapters'), { atol: 1e-6 });
    const text = await tsgpt(['generate', '--model', at('adapters'), '--prompt', 'the', '--max-tokens', '5']);
    expect(text.code).toBe(0);
    const again = await tsgpt(['merge', '--model', at('base'), '--out', at('again')]);
    expect([again.code, again.stderr]).toEqual([
      1,
      expect.stringContaining('holds no adapters (adapter_config.json)'),
    ]);
    const foreign = await train('merged', '--steps', '2');
    expect(foreign.stderr).toContain('holds a model that was not trained there');
  }, 60_000);
});

describe('precision and recomputation', () => {
  const sizes = ['--layers', '2', '--embed', '32', '--heads', '2', '--dropout', '0.1', '--steps', '12'];

  it('recomputation changes no bit, also in bf16 and with dropout', async () => {
    for (const precision of ['float32', 'bf16']) {
      const choices = ['off', 'every:1', 'selective'];
      for (const choice of choices) {
        const name = `${precision}-${choice.replace(':', '')}`;
        expect((await train(name, ...sizes, '--precision', precision, '--recompute', choice)).code).toBe(0);
        expect(stepsOf(name)).toEqual(stepsOf(`${precision}-off`));
      }
    }
    expect(stepsOf('float32-off')).toHaveLength(12);
    expect(stepsOf('bf16-off')).not.toEqual(stepsOf('float32-off'));
  }, 90_000);

  it('fp16 reports the steps that it skips', async () => {
    const { code, stderr } = await train('fp16', ...sizes, '--precision', 'fp16', '--loss-scale', '1e9');
    expect(code).toBe(0);
    expect(stderr).toContain(
      'step 1 skipped: its gradients are not finite, the loss scale is 500000000 now (1 skipped so far)',
    );
  });

  it('refuses other words', async () => {
    const wrong = async (...args: string[]): Promise<string> => (await train('never', ...args)).stderr;
    expect(await wrong('--recompute', 'every')).toContain(
      "--recompute must be off, selective or every:N with a number of layers, got 'every'",
    );
    expect(await wrong('--loss-scale', '8')).toContain('--loss-scale is for --precision fp16');
  });
});
