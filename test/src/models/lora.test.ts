/** LoRA against PEFT's recorded adapters, and adapters that we write read by PEFT itself. */

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

import {
  AdamW,
  add_,
  backward,
  BertForSequenceClassification,
  Generator,
  GPT,
  Llama,
  loadLora,
  Lora,
  loraBase,
  type Module,
  nextTokenLoss,
  noGrad,
  openSafetensors,
  randn,
  saveLora,
  scope,
  T5,
  tensor,
  type Tensor,
} from '../../../src/index.js';
import { expectClose, golden, readGolden } from '../../support/golden.js';
import { pythonWith, runPython } from '../../support/python.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-lora-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Expected {
  ids: number[][];
  logits: number[][][];
  layer: string;
  merged: number[][];
}

const int32 = (ids: number[][]): Tensor => tensor(ids, { dtype: 'int32' });
const encode = (model: T5, ids: number[][]): Tensor =>
  model.forward(int32(ids.map((row) => row.slice(0, 5))), { encoderOutput: model.encode(int32(ids)) });

/** Each family: its model, its logits, and what its module lacks of the file's names. */
const families = {
  gpt2: { model: () => GPT.fromPretrained(golden('hf-gpt2')), prefix: 'transformer.', logits: (m, ids) => (m as GPT).forward(int32(ids)) },
  llama: { model: () => Llama.fromPretrained(golden('hf-llama-gqa')), prefix: 'model.', logits: (m, ids) => (m as Llama).forward(int32(ids)) },
  bert: {
    model: () => BertForSequenceClassification.fromPretrained(golden('hf-bert-seqcls')),
    prefix: '',
    logits: (m, ids) => (m as BertForSequenceClassification).forward(int32(ids)),
  },
  t5: { model: () => T5.fromPretrained(golden('hf-t5-v1_1-gated-gelu-untied')), prefix: '', logits: (m, ids) => encode(m as T5, ids) },
} satisfies Record<string, { model: () => Module; prefix: string; logits: (m: Module, ids: number[][]) => Tensor }>; // prettier-ignore

const cases = Object.entries(families).map(([name, family]) => ({ name, ...family }));
const exact = { atol: 2e-5, rtol: 2e-5 };

describe("PEFT's adapters", () => {
  it.each(cases)('of $name: the same logits, and the same weights when they are merged', ({ name, model: make, prefix, logits }) => {
    const expected = readGolden<Expected>('lora', name, 'expected.json');
    const model = make();
    const plain = noGrad(() => logits(model, expected.ids)).toFloat64Array();
    const lora = loadLora(golden('lora', name), model);
    expectClose(noGrad(() => logits(model, expected.ids)), expected.logits, exact, name);
    lora.merge();
    const merged = model.stateDict().get(`${expected.layer.slice(prefix.length)}.weight`)!;
    expectClose(merged, expected.merged, { atol: 1e-7, rtol: 1e-6 }, expected.layer);
    expectClose(noGrad(() => logits(model, expected.ids)), expected.logits, exact, name);
    expect(() => lora.merge()).toThrow('Lora.merge: the adapters are no longer in the model');
    expect(plain.some((x, i) => Math.abs(x - noGrad(() => logits(model, expected.ids)).toFloat64Array()[i]) > 1e-3)).toBe(true);
  }); // prettier-ignore

  it.each(cases)('of $name: written again they are the same file', ({ name, model: make }) => {
    const [model, from, to] = [make(), golden('lora', name), join(folder, `again-${name}`)];
    saveLora(to, model, loadLora(from, model), { base: loraBase(from) });
    const [theirs, ours] = [from, to].map((path) => openSafetensors(join(path, 'adapter_model.safetensors')));
    expect(ours.names().sort()).toEqual(theirs.names().sort());
    for (const key of ours.names()) expect(ours.tensor(key).toArray()).toEqual(theirs.tensor(key).toArray());
    const read = (path: string): Record<string, unknown> =>
      JSON.parse(readFileSync(join(path, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
    const [given, written] = [read(from), read(to)];
    for (const key of Object.keys(written)) {
      if (key === 'base_model_name_or_path' || key === 'use_rslora' || key === 'lora_alpha') continue;
      const [a, b] = [given, written].map((config) => config[key]);
      expect(Array.isArray(b) ? [...(b as string[])].sort() : b, key).toEqual(a);
    }
  });

  it('that cannot be served are refused, and the model stays as it was', () => {
    const changed = (name: string, changes: object): string => {
      const to = join(folder, name);
      cpSync(golden('lora', 'gpt2'), to, { recursive: true });
      const path = join(to, 'adapter_config.json');
      const config = JSON.parse(readFileSync(path, 'utf8')) as object;
      writeFileSync(path, JSON.stringify({ ...config, ...changes }));
      return to;
    };
    const model = families.gpt2.model();
    const load = (path: string) => () => loadLora(path, model);
    expect(load(changed('dora', { use_dora: true }))).toThrow('use_dora is true, only false is known');
    expect(load(changed('ia3', { peft_type: 'IA3' }))).toThrow('peft_type is "IA3", only LORA is known');
    expect(load(changed('r', { r: 4 }))).toThrow(
      /lora_A\.weight is \[3, \d+\], the model needs \[4, \d+\]; do the adapters/,
    );
    expect(load(changed('few', { target_modules: ['c_fc'] }))).toThrow(
      'the model has no place for h.0.attn.c_attn.lora_A',
    );
    expect(load(golden('lora', 'llama'))).toThrow(
      "Lora: no layer is called 'q_proj'; the model has c_attn, c_proj, c_fc",
    );
    expect(() => loraBase(changed('gone', { base_model_name_or_path: 'nowhere' }))).toThrow(
      'is the model that the adapters in',
    );
    expect(model.parameters().every((p) => p.requiresGrad)).toBe(true);
    loadLora(golden('lora', 'gpt2'), model).detach();
  });
});

describe('Lora', () => {
  const small = {
    vocab_size: 50,
    n_positions: 16,
    n_embd: 128,
    n_layer: 2,
    n_head: 2,
    resid_pdrop: 0,
    embd_pdrop: 0,
    attn_pdrop: 0,
  };
  const ids = int32([[3, 1, 4, 1, 5, 9, 2, 6]]);

  it('changes nothing at first, trains a hundredth of the weights, and only these', () => {
    const model = new GPT(small, { generator: new Generator(1) });
    const before = noGrad(() => model.forward(ids)).toArray();
    const weights = model.parameters().map((p) => p.toArray());
    const lora = new Lora(model, { rank: 1, targets: ['c_attn', 'c_fc'], generator: new Generator(2) });
    expect(noGrad(() => model.forward(ids)).toArray()).toEqual(before);
    expect(lora.numParameters() / model.numParameters()).toBeLessThan(0.011);
    const optimizer = new AdamW(lora.parameters(), { lr: 0.02 });
    const losses = Array.from({ length: 30 }, () =>
      scope(() => {
        const loss = nextTokenLoss(model, ids, ids);
        backward(loss);
        optimizer.step();
        optimizer.zeroGrad();
        return loss.item();
      }),
    );
    expect(losses[29]).toBeLessThan(0.9 * losses[0]);
    expect(model.parameters().map((p) => p.toArray())).toEqual(weights);
    const after = noGrad(() => model.forward(ids));
    lora.merge();
    expectClose(
      noGrad(() => model.forward(ids)),
      after,
      { atol: 1e-5, rtol: 1e-5 },
    );
    expect(model.parameters().every((p) => p.requiresGrad)).toBe(true);
  });

  it('takes no more than 1 % of GPT-2 124M with rank 8 in every layer', () => {
    const { n_embd: C, n_layer } = { n_embd: 768, n_layer: 12 };
    const sizes = [[C, 3 * C], [C, C], [C, 4 * C], [4 * C, C]]; // prettier-ignore
    const adapted = n_layer * sizes.reduce((n, [i, o]) => n + 8 * (i + o), 0);
    expect(adapted / GPT.countParameters()).toBeLessThan(0.01);
  });

  it('says what is wrong with its settings', () => {
    const model = new GPT(small);
    expect(() => new Lora(model, { rank: 0 })).toThrow('Lora: rank must be a positive integer, got 0');
    expect(() => new Lora(model, { rank: 129 })).toThrow(
      'Lora: rank 129 is more than the matrix h.0.attn.c_attn [128, 384] has',
    );
    expect(() => new Lora(model, { alpha: 0 })).toThrow('Lora: alpha must be positive, got 0');
    expect(() => new Lora(model, { dropout: 1 })).toThrow(
      'Lora: dropout must be at least 0 and below 1, got 1',
    );
    expect(() => new Lora(model, { targets: ['query'] })).toThrow(
      "Lora: no layer is called 'query'; the model has c_attn",
    );
    const lora = new Lora(model);
    expect(() => new Lora(model)).toThrow(
      'Lora: h.0.attn.c_attn has an adapter already; merge or detach it first',
    );
    lora.detach();
  });
});

const program = `
import json, sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base, adapter, ids = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
model = PeftModel.from_pretrained(model, adapter).eval()
with torch.no_grad():
    print(json.dumps(model(torch.tensor(ids)).logits.tolist()))
`;

const python = pythonWith('peft');

describe.skipIf(python === null)('PEFT itself', () => {
  it.each(cases.filter(({ name }) => ['gpt2', 'llama'].includes(name)))('computes the same with our adapters of $name', ({ name, model: make, logits }) => {
    const [model, ids, to] = [make(), [[3, 1, 4, 1, 5, 9]], join(folder, `for-peft-${name}`)];
    const lora = new Lora(model, { rank: 2, alpha: 3, dropout: 0.1, generator: new Generator(3) });
    noGrad(() => lora.parameters().forEach((p) => add_(p, randn(p.shape, { std: 0.1, generator: new Generator(4) }))));
    const base = golden(name === 'gpt2' ? 'hf-gpt2' : 'hf-llama-gqa');
    saveLora(to, model, lora, { base });
    const theirs = runPython<number[][][]>(python!, program, base, to, JSON.stringify(ids));
    expectClose(noGrad(() => logits(model, ids)), theirs, exact, name);
  }, 120_000); // prettier-ignore
});
