/** Model folders: shards, widths, mapping, saving, generation_config.json, and everything that can be wrong with them. */

import { execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  AdamW,
  ArgumentError,
  AutoModelForCausalLM,
  backward,
  CharTokenizer,
  ConfigError,
  crossEntropy,
  type DecoderModel,
  FileError,
  GPT,
  Llama,
  loadSafetensors,
  memory,
  noGrad,
  reshape,
  saveSafetensors,
  scope,
  StateDictError,
  type Tensor,
  tensor,
  to,
  zeros,
} from '../../../src/index.js';
import { bits } from '../../support/compare.js';
import { expectClose, golden, readGolden } from '../../support/golden.js';
import { isMissing, shared } from '../../support/shared.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-pretrained-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const int32 = (ids: number[][]): Tensor => tensor(ids, { dtype: 'int32' });
const logitsOf = (model: DecoderModel): Tensor => noGrad(() => model.forward(int32([[1, 5, 3, 30, 2, 2]])));

/** A copy of a recorded model that a test may damage. */
function copyOf(name: string): string {
  const copy = join(folder, name);
  cpSync(golden(name), copy, { recursive: true });
  return copy;
}

function edit(path: string, change: (json: Record<string, unknown>) => unknown): void {
  const json = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  writeFileSync(path, JSON.stringify(change(json) ?? json));
}

const shards = 'hf-qwen2-shards';
const indexName = 'model.safetensors.index.json';

describe('a sharded bfloat16 Qwen2 with biases', () => {
  const expected = readGolden<{ input_ids: number[][]; logits: number[][][]; greedy_10: number[][] }>(
    shards,
    'expected.json',
  );

  it.each(['auto', 'float32'] as const)('gives the recorded logits as %s', (dtype) => {
    const model = AutoModelForCausalLM.fromPretrained(golden(shards), { dtype });
    expect(model).toBeInstanceOf(Llama);
    const logits = noGrad(() => model.forward(int32(expected.input_ids)));
    expectClose(logits, expected.logits, { atol: 2e-4, rtol: 2e-4 });
  });

  it('gives the recorded greedy ids', () => {
    const model = AutoModelForCausalLM.fromPretrained(golden(shards));
    const ids = expected.input_ids[0].slice(0, 5);
    while (ids.length < 15) {
      const row = noGrad(() => scope(() => model.forward(int32([ids]), { lastOnly: true }).toFloat64Array()));
      ids.push(row.indexOf(Math.max(...row)));
    }
    expect([ids]).toEqual(expected.greedy_10);
  });

  it('keeps matrices in the width that is asked for, vectors in float32', () => {
    const dtypesOf = (dtype?: 'auto' | 'float16' | 'float32'): Set<string> =>
      new Set(
        AutoModelForCausalLM.fromPretrained(golden(shards), dtype === undefined ? {} : { dtype })
          .parameters()
          .map((p) => `${p.rank} ${p.dtype}`),
      );
    expect(dtypesOf()).toEqual(new Set(['2 bfloat16', '1 float32']));
    expect(dtypesOf('float16')).toEqual(new Set(['2 float16', '1 float32']));
    expect(dtypesOf('float32')).toEqual(new Set(['2 float32', '1 float32']));
    expect(() => AutoModelForCausalLM.fromPretrained(golden(shards), { dtype: 'int8' as 'auto' })).toThrow(
      'fromPretrained: dtype must be one of auto, float32, float16, bfloat16, got "int8"',
    );
    expect(() => AutoModelForCausalLM.fromPretrained(golden(shards), { dType: 'auto' } as object)).toThrow(
      "fromPretrained: unknown option 'dType' (did you mean 'dtype'?)",
    );
  });

  it("has the folder's generation_config.json, which wins over config.json", () => {
    const model = AutoModelForCausalLM.fromPretrained(golden(shards));
    expect(model.generationConfig).toMatchObject({
      eos_token_id: [7, 9],
      pad_token_id: 7,
      temperature: 0.7,
      top_k: 20,
    });
    model.savePretrained(folder);
    expect(AutoModelForCausalLM.fromPretrained(folder).generationConfig).toEqual(model.generationConfig);
  });
});

describe('a model over mapped files', () => {
  const train = (model: DecoderModel): void => {
    const optimizer = new AdamW(model.parameters(), { lr: 1e-2 });
    model.train();
    scope(() => {
      const logits = model.forward(int32([[1, 5, 3, 30, 2, 2]]));
      backward(crossEntropy(reshape(logits, [6, -1]), tensor([5, 3, 30, 2, 2, 9], { dtype: 'int32' })));
    });
    optimizer.step();
    model.eval();
  };

  it('takes no memory for its weights', () => {
    const before = memory().liveBytes;
    const model = GPT.fromPretrained(golden('hf-gpt2'));
    expect(memory().liveBytes).toBe(before);
    expect(model.parameters().every((p) => !p.storage.pooled)).toBe(true);
    const widened = Llama.fromPretrained(golden(shards), { dtype: 'float32' });
    expect(memory().liveBytes).toBeGreaterThan(before + widened.numParameters());
  });

  it('trains, without the files seeing it, and saves over them', () => {
    const copy = copyOf('hf-gpt2');
    const file = join(copy, 'model.safetensors');
    const original = readFileSync(file);
    const model = GPT.fromPretrained(copy);
    const other = GPT.fromPretrained(copy); // has the same pages until one is written to
    const start = bits(logitsOf(model));
    train(model);
    const trained = bits(logitsOf(model));
    expect(trained).not.toEqual(start);
    expect(readFileSync(file).equals(original)).toBe(true);
    const inMemory = new GPT(model.config);
    inMemory.loadStateDict(other.stateDict());
    inMemory.eval();
    train(inMemory);
    expect(bits(logitsOf(inMemory))).toEqual(trained);

    model.savePretrained(copy);
    expect(bits(logitsOf(model))).toEqual(trained);
    expect(bits(logitsOf(other))).toEqual(start); // still the file that was replaced
    expect(bits(logitsOf(GPT.fromPretrained(copy)))).toEqual(trained);
    other.savePretrained(copy, { maxShardSize: 20_000 });
    expect(bits(logitsOf(GPT.fromPretrained(copy)))).toEqual(start);
  });
});

describe('savePretrained', () => {
  const files = (): string[] =>
    readdirSync(folder)
      .filter((name) => name.startsWith('model'))
      .sort();

  it('cuts into shards with an index, and removes what is no longer of the model', () => {
    const model = GPT.fromPretrained(golden('hf-gpt2'));
    const bytes = 4 * model.numParameters();
    model.savePretrained(folder, { maxShardSize: bytes });
    expect(files()).toEqual(['model.safetensors']);
    model.savePretrained(folder, { maxShardSize: bytes - 1 });
    expect(files()).toEqual([
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
      indexName,
    ]);
    const index = JSON.parse(readFileSync(join(folder, indexName), 'utf8')) as {
      metadata: object;
      weight_map: Record<string, string>;
    };
    expect(index.metadata).toEqual({ total_size: bytes });
    const names = Object.keys(index.weight_map);
    expect(names).toEqual([...names].sort());
    for (const shard of ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']) {
      const held = [...loadSafetensors(join(folder, shard)).keys()].sort();
      expect(names.filter((name) => index.weight_map[name] === shard)).toEqual(held);
    }
    expect(bits(logitsOf(AutoModelForCausalLM.fromPretrained(folder)))).toEqual(bits(logitsOf(model)));
    // A tensor larger than a shard has one of its own.
    model.savePretrained(folder, { maxShardSize: 1 });
    expect(files()).toHaveLength(model.parameters().length + 1);
    expect(bits(logitsOf(AutoModelForCausalLM.fromPretrained(folder)))).toEqual(bits(logitsOf(model)));
    model.savePretrained(folder);
    expect(files()).toEqual(['model.safetensors']);
    expect(bits(logitsOf(AutoModelForCausalLM.fromPretrained(folder)))).toEqual(bits(logitsOf(model)));
  });

  it('writes the tokenizer, and generation_config.json where there is anything to say', () => {
    const model = new GPT({
      vocab_size: 8,
      n_embd: 8,
      n_head: 2,
      n_layer: 1,
      n_positions: 8,
      eos_token_id: 3,
    });
    writeFileSync(join(folder, 'notes.txt'), 'mine');
    model.savePretrained(folder, { tokenizer: CharTokenizer.fromText('abc') });
    expect(readdirSync(folder).sort()).toEqual([
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'notes.txt',
      'tokenizer.json',
    ]);
    // Of config.json's ids only those that the vocabulary has: bos is 50256 by default.
    expect(JSON.parse(readFileSync(join(folder, 'generation_config.json'), 'utf8'))).toEqual({
      eos_token_id: 3,
    });
    model.generationConfig = {};
    model.savePretrained(folder);
    expect(readdirSync(folder)).not.toContain('generation_config.json');
  });

  it('refuses wrong options and places', () => {
    const model = new GPT({ vocab_size: 8, n_embd: 8, n_head: 2, n_layer: 1, n_positions: 8 });
    for (const maxShardSize of [0, -1, NaN, '5GB' as unknown as number]) {
      expect(() => model.savePretrained(folder, { maxShardSize })).toThrow(ArgumentError);
      expect(() => model.savePretrained(folder, { maxShardSize })).toThrow(
        'maxShardSize must be a number of bytes above 0',
      );
    }
    expect(() => model.savePretrained(folder, { shardSize: 1 } as object)).toThrow(
      "unknown option 'shardSize'",
    );
    expect(readdirSync(folder)).toEqual([]);
    writeFileSync(join(folder, 'file'), '');
    expect(() => model.savePretrained(join(folder, 'file'))).toThrow(FileError);
    expect(() => model.savePretrained('/proc/none')).toThrow(FileError);
  });
});

describe("other people's folders", () => {
  it('with and without the prefix load', () => {
    const copy = copyOf('hf-gpt2');
    const expected = bits(logitsOf(GPT.fromPretrained(copy)));
    const file = join(copy, 'model.safetensors');
    const bare = [...loadSafetensors(file)].map(
      ([name, t]) => [name.replace(/^transformer\./, ''), t] as const,
    );
    saveSafetensors(file, new Map(bare));
    expect(bits(logitsOf(GPT.fromPretrained(copy)))).toEqual(expected);
    // Norms by their names of old.
    const old = bare.map(
      ([name, t]) =>
        [name.replace(/(ln_\w+)\.weight$/, '$1.gamma').replace(/(ln_\w+)\.bias$/, '$1.beta'), t] as const,
    );
    expect(old.filter(([name]) => name.endsWith('gamma')).length).toBeGreaterThan(3);
    saveSafetensors(file, new Map(old));
    expect(bits(logitsOf(GPT.fromPretrained(copy)))).toEqual(expected);
    saveSafetensors(
      file,
      new Map([...bare, ['transformer.wte.weight', bare.find(([name]) => name === 'wte.weight')![1]]]),
    );
    expect(() => GPT.fromPretrained(copy)).toThrow(FileError);
    expect(() => GPT.fromPretrained(copy)).toThrow(
      /holds the tensor 'wte.weight' twice, as '(transformer\.)?wte.weight' and as '/,
    );
  });

  it.skipIf(isMissing('models', 'lm-buddy-tiny_gpt2'))('of lm-buddy load', () => {
    for (const name of ['lm-buddy-tiny_gpt2', 'lm-buddy-fake_gpt2']) {
      const model = AutoModelForCausalLM.fromPretrained(shared('models', name));
      expect(model).toBeInstanceOf(GPT);
      const logits = noGrad(() => model.forward(int32([[1, 5, 3, 20]])));
      expect(logits.toFloat64Array().every(Number.isFinite)).toBe(true);
    }
    expect(() => AutoModelForCausalLM.fromPretrained(shared('models', 'lm-buddy-bert_tiniest'))).toThrow(
      /model_type is "bert", AutoModelForCausalLM loads gpt2, tsgpt-gpt, llama, mistral, qwen2; AutoModel loads it$/,
    );
  });

  it('in float64 load as float32', () => {
    const copy = copyOf('hf-gpt2');
    const file = join(copy, 'model.safetensors');
    const expected = bits(logitsOf(GPT.fromPretrained(copy)));
    saveSafetensors(file, new Map([...loadSafetensors(file)].map(([name, t]) => [name, to(t, 'float64')])));
    expect(bits(logitsOf(GPT.fromPretrained(copy)))).toEqual(expected);
    expect(GPT.fromPretrained(copy, { dtype: 'float16' }).wte.weight.dtype).toBe('float16');
  });
});

describe('bad folders', () => {
  const refuses = (
    path: string,
    reason: string | RegExp,
    kind: new (...args: never[]) => Error = FileError,
  ): void => {
    expect(() => AutoModelForCausalLM.fromPretrained(path)).toThrow(kind);
    expect(() => AutoModelForCausalLM.fromPretrained(path)).toThrow(reason);
  };

  it('that are none', () => {
    refuses(
      join(folder, 'absent'),
      'there is no such file or folder; a model is a folder with config.json, or a GGUF file',
    );
    refuses('openai-community/gpt2', 'nothing is downloaded');
    refuses(folder, /config\.json: cannot be read: there is no such file/);
    refuses('/dev/zero', 'is not a regular file');
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    refuses(fifo, 'is not a regular file');
    symlinkSync('loop', join(folder, 'loop'));
    refuses(join(folder, 'loop'), 'too many symbolic links');
    refuses(golden('hf-gpt2', 'model.safetensors'), 'is a safetensors file, not a GGUF file');
  });

  it('whose files are pipes, folders, links in a circle or nothing', () => {
    const copy = copyOf('hf-gpt2');
    for (const name of ['config.json', 'model.safetensors', 'generation_config.json']) {
      const file = join(copy, name);
      const saved = readdirSync(copy).includes(name) ? readFileSync(file) : null;
      rmSync(file, { force: true });
      execFileSync('mkfifo', [file]);
      refuses(copy, `${file}: is not a regular file`);
      rmSync(file);
      mkdirSync(file);
      refuses(copy, `${file}: is a folder`);
      rmSync(file, { recursive: true });
      if (name !== 'generation_config.json') {
        symlinkSync(name, file);
        refuses(copy, `${file}: cannot be read: too many symbolic links`);
        rmSync(file);
      }
      if (saved !== null) writeFileSync(file, saved);
    }
    rmSync(join(copy, 'model.safetensors'));
    refuses(copy, 'has neither model.safetensors nor model.safetensors.index.json');
    writeFileSync(join(copy, 'pytorch_model.bin'), 'PK');
    refuses(
      copy,
      /only PyTorch pickles \(pytorch_model\.bin\), which could run any code .* convert them once with Python: python3 -c/,
    );
  });

  it.each<[string, (json: Record<string, unknown>) => unknown, string | RegExp]>([
    ['no map', () => ({}), 'must hold an object weight_map'],
    ['a list', () => ({ weight_map: [] }), 'must hold an object weight_map'],
    ...['../x.safetensors', '/etc/passwd', 'a/b.safetensors', 'a\\b', '..', '.', '', 7].map(
      (file): [string, (json: Record<string, unknown>) => unknown, string] => [
        `the file ${JSON.stringify(file)}`,
        () => ({ weight_map: { 'model.norm.weight': file } }),
        "says that tensor 'model.norm.weight' is in",
      ],
    ),
    [
      'a missing file',
      () => ({ weight_map: { a: 'model-9.safetensors' } }),
      /model-9\.safetensors: cannot be read: there is no such file/,
    ],
    [
      'a tensor that is not there',
      ({ weight_map: map }) => ({
        weight_map: { ...(map as object), a: 'model-00001-of-00004.safetensors' },
      }),
      "says that tensor 'a' is in model-00001-of-00004.safetensors, which lacks it",
    ],
    [
      'too few files',
      () => ({ weight_map: { 'model.norm.weight': 'model-00003-of-00004.safetensors' } }),
      /lacks it|missing/,
    ],
  ])('with an index of %s', (_, change, reason) => {
    const copy = copyOf(shards);
    edit(join(copy, indexName), change);
    expect(() => AutoModelForCausalLM.fromPretrained(copy)).toThrow(reason);
  });

  it('with a tensor in two shards, damaged shards, shards in a circle', () => {
    const copy = copyOf(shards);
    const first = join(copy, 'model-00001-of-00004.safetensors');
    const second = join(copy, 'model-00002-of-00004.safetensors');
    const both = new Map([...loadSafetensors(first), ...[...loadSafetensors(second)].slice(0, 1)]);
    saveSafetensors(first, both);
    refuses(
      copy,
      /belongs to files of which two hold tensor '[\w.]+': model-00001-of-00004.safetensors and model-00002/,
    );
    writeFileSync(first, readFileSync(golden(shards, 'model-00001-of-00004.safetensors')).subarray(0, -1));
    refuses(copy, `${first}: is truncated`);
    rmSync(first);
    symlinkSync('model-00001-of-00004.safetensors', first);
    refuses(copy, 'too many symbolic links');
    writeFileSync(join(copy, indexName), '{');
    refuses(copy, `${join(copy, indexName)}: is not JSON`);
  });

  it.each<[string, Record<string, unknown>, string | RegExp]>([
    [
      'vocab_size below the embedding',
      { vocab_size: 90 },
      /of wrong shape \((lm_head|embed_tokens).weight: file \[96, 32\], model \[90, 32\]/,
    ],
    [
      'a billion layers',
      { num_hidden_layers: 1e9, layer_types: null },
      'num_hidden_layers must be a positive integer up to 10000, got 1000000000',
    ],
    [
      'huge matrices',
      { intermediate_size: 1e9, layer_types: null },
      /the configuration describes 288,\d+,\d+,?\d* weights, the files hold/,
    ],
    ['hidden_size 0', { hidden_size: 0 }, 'hidden_size must be a positive integer, got 0'],
    ['hidden_size "32"', { hidden_size: '32' }, 'hidden_size must be a positive integer, got "32"'],
    [
      'no such type',
      { model_type: 'llama4' },
      'model_type is "llama4", AutoModelForCausalLM loads gpt2, tsgpt-gpt, llama, mistral, qwen2 (did you mean \'llama\'?)',
    ],
    ['no type', { model_type: null }, 'model_type is null, AutoModelForCausalLM loads'],
    [
      'an unknown scaling',
      { rope_parameters: { rope_type: 'su', factor: 2 } },
      'rope_scaling has the type "su"; supported are',
    ],
    [
      'quantized weights',
      { quantization_config: { bits: 4 } },
      'quantization_config {"bits":4} is not supported',
    ],
  ])('with a configuration of %s', (_, change, reason) => {
    const copy = copyOf(shards);
    edit(join(copy, 'config.json'), (json) => ({ ...json, ...change }));
    expect(() => AutoModelForCausalLM.fromPretrained(copy)).toThrow(reason);
  });

  it('with a configuration that is no object', () => {
    const copy = copyOf(shards);
    const path = join(copy, 'config.json');
    for (const [text, reason] of [
      ['', 'is not JSON'],
      ['[]', 'must hold a JSON object'],
      ['null', 'must hold a JSON object'],
      ['{"a"', 'is not JSON'],
    ]) {
      writeFileSync(path, text);
      refuses(copy, `${path}: ${reason}`);
    }
    writeFileSync(path, '{}');
    refuses(copy, 'model_type is undefined, AutoModelForCausalLM loads', ConfigError);
  });

  it('with weights of the wrong type, none, or too many', () => {
    const copy = copyOf('hf-gpt2');
    const file = join(copy, 'model.safetensors');
    const whole = loadSafetensors(file);
    const norm = 'transformer.ln_f.weight';
    const size = whole.get(norm)!.shape[0];
    saveSafetensors(file, new Map([...whole, [norm, zeros([size], { dtype: 'int32' })]]));
    refuses(copy, `tensor '${norm}' has elements of type I32, no weights`);
    saveSafetensors(file, new Map([...whole].filter(([name]) => name !== norm)));
    refuses(copy, `loadStateDict(GPT): 1 missing (ln_f.weight [${size}])`, StateDictError);
    saveSafetensors(file, new Map([...whole, ['extra', zeros([2])]]));
    refuses(copy, 'loadStateDict(GPT): 1 unexpected (extra [2])', StateDictError);
  });
});
