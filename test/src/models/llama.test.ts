/** Llama against Hugging Face's LlamaForCausalLM, MistralForCausalLM and Qwen2ForCausalLM (recorded), and the real stories260K. */

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, vi } from 'vitest';
import {
  backward,
  ConfigError,
  crossEntropy,
  Generator,
  Llama,
  type RopeScaling,
  noGrad,
  openSafetensors,
  scope,
  slice,
  StateDictError,
  type Tensor,
  tensor,
  Trainer,
  type TrainerOptions,
} from '../../../src/index.js';
import { expectClose, golden, readGolden } from '../../support/golden.js';
import { isMissing, shared } from '../../support/shared.js';

interface Recorded {
  input_ids: number[][];
  logits: number[][][];
  loss: number;
  loss_labels_masked_first5: number;
  hidden_states_last_token: number[][][];
  grad_of_loss: Record<string, { norm: number; sum: number; first4: number[] }>;
  left_padded: {
    input_ids: number[][];
    attention_mask: number[][];
    logits_last: number[][];
    logits_seq0_from_pad_end: number[][];
  };
  greedy_20: { sequences: number[][] };
}

const tolerance = { atol: 2e-4, rtol: 2e-4 }; // float32 results printed with eight digits
const int32 = (ids: number[][]): Tensor => tensor(ids, { dtype: 'int32' });
const bool = (mask: number[][]): Tensor => tensor(mask, { dtype: 'bool' });

function shiftedLoss(logits: Tensor, labels: number[][]): Tensor {
  return crossEntropy(slice(logits, 1, 0, labels[0].length - 1), int32(labels.map((row) => row.slice(1))));
}

/** The likeliest continuation, by the cache. */
function greedy(model: Llama, prompt: number[], count: number): number[] {
  using cache = model.newCache(1, prompt.length + count);
  const made: number[] = [];
  let next = prompt;
  while (made.length < count) {
    const id = noGrad(() =>
      scope(() =>
        model
          .forward(int32([next]), { cache, lastOnly: true })
          .argmax(-1)
          .item(),
      ),
    );
    made.push(id);
    next = [id];
  }
  return made;
}

describe.each(['hf-llama-gqa', 'hf-llama3-rope-tied', 'hf-llama-mha-fp16'])(
  'Llama against Hugging Face: %s',
  (name) => {
    const expected = readGolden<Recorded>(name, 'expected.json');
    const model = Llama.fromPretrained(golden(name), { dtype: 'float32' });
    const ids = int32(expected.input_ids);

    it('gives the recorded logits and hidden states', () => {
      const logits = noGrad(() => model.forward(ids));
      expectClose(logits, expected.logits, tolerance, 'logits');
      const hidden = noGrad(() => model.hidden(ids, { lastOnly: true }));
      expectClose(hidden, expected.hidden_states_last_token.at(-1)!, tolerance, 'hidden');
    });

    it('gives the recorded losses and the gradient of every parameter', () => {
      const masked = expected.input_ids.map((row) => row.map((id, i) => (i < 5 ? -100 : id)));
      const loss = noGrad(() => shiftedLoss(model.forward(ids), masked));
      expectClose(loss, [expected.loss_labels_masked_first5], tolerance, 'masked loss');
      const whole = shiftedLoss(model.forward(ids), expected.input_ids);
      expectClose(whole, [expected.loss], tolerance, 'loss');
      backward(whole);
      const recorded = Object.entries(expected.grad_of_loss);
      expect(recorded.length).toBe(model.parameters().length);
      const parameters = model.stateDict();
      for (const [key, { norm, sum, first4 }] of recorded) {
        const grad = parameters.get(key.replace(/^model\./, ''))!.grad!.toFloat64Array();
        expectClose([Math.hypot(...grad)], [norm], tolerance, `${key} gradient norm`);
        const total = grad.reduce((a, b) => a + b, 0);
        expectClose([total], [sum], { atol: 2e-4 * Math.max(1, norm), rtol: 2e-4 }, `${key} sum`);
        expectClose(grad.slice(0, 4), first4, tolerance, `${key} gradient`);
      }
    });

    it('sees no padding', () => {
      const padded = expected.left_padded;
      const logits = noGrad(() =>
        model.forward(int32(padded.input_ids), { attentionMask: bool(padded.attention_mask) }),
      );
      expectClose(slice(logits, 1, -1), padded.logits_last, tolerance, 'last position');
      const first = padded.attention_mask[0].indexOf(1);
      const row = slice(slice(logits, 0, 0, 1), 1, first);
      expectClose(row, padded.logits_seq0_from_pad_end, tolerance, 'after the padding');
    });

    it('continues greedily as recorded', () => {
      const [sequence] = expected.greedy_20.sequences;
      const made = greedy(model, sequence.slice(0, -20), 20);
      expect(made).toEqual(sequence.slice(-20));
    });
  },
);

interface RecordedFamily {
  input_ids: number[][];
  logits: number[][][];
  loss: number;
  grad_norms: Record<string, number>;
  greedy: number[];
  padded: { attention_mask: number[][]; logits_last: number[][] };
}

// transformers 5: biases everywhere; a sliding window and a head size of its own; both with windows in some layers.
describe.each(['hf-llama-bias', 'hf-mistral', 'hf-qwen2'])('Llama against Hugging Face: %s', (name) => {
  const expected = readGolden<RecordedFamily>(name, 'expected.json');
  const model = Llama.fromPretrained(golden(name));
  const ids = int32(expected.input_ids);

  it('gives the recorded logits, also beside padding', () => {
    expectClose(
      noGrad(() => model.forward(ids)),
      expected.logits,
      tolerance,
      'logits',
    );
    const { attention_mask, logits_last } = expected.padded;
    const padded = noGrad(() => model.forward(ids, { attentionMask: bool(attention_mask), lastOnly: true }));
    expectClose(padded, logits_last, tolerance, 'padded');
  });

  it('gives the recorded loss and gradients', () => {
    const loss = shiftedLoss(model.forward(ids), expected.input_ids);
    expectClose(loss, [expected.loss], tolerance, 'loss');
    backward(loss);
    const grads = new Map(model.namedParameters());
    expect(Object.keys(expected.grad_norms).length).toBe(grads.size);
    for (const [key, norm] of Object.entries(expected.grad_norms)) {
      const grad = grads.get(key.replace(/^model\./, ''))!.grad!.toFloat64Array();
      expectClose([Math.hypot(...grad)], [norm], tolerance, key);
    }
  });

  it('continues greedily as recorded, past its window', () => {
    expect(greedy(model, expected.greedy.slice(0, 4), 20)).toEqual(expected.greedy.slice(4));
  });
});

describe('scaled rotary positions against Hugging Face', () => {
  const expected = readGolden<{
    input_ids: number[][];
    cases: { rope_parameters: { rope_theta: number } & RopeScaling; length: number; logits_last: number[] }[];
  }>('hf-llama-rope', 'expected.json');
  const base = Llama.fromPretrained(golden('hf-llama-rope'));

  it.each(expected.cases)(
    '$rope_parameters, $length positions',
    ({ rope_parameters, length, logits_last }) => {
      const { rope_theta, ...rope_scaling } = rope_parameters;
      const model = new Llama({ ...base.config, rope_theta, rope_scaling }).eval();
      model.loadStateDict(base.stateDict());
      const ids = int32(expected.input_ids.map((row) => row.slice(0, length)));
      expectClose(
        noGrad(() => model.forward(ids, { lastOnly: true })),
        logits_last,
        tolerance,
      );
    },
  );
});

describe.skipIf(isMissing('models', 'stories260K-hf'))('stories260K, a trained model', () => {
  it('generates the published 200 tokens', () => {
    const folder = shared('models', 'stories260K-hf');
    const expected = JSON.parse(readFileSync(`${folder}/expected.json`, 'utf8')) as {
      greedy_from_bos: { prompt_ids: number[]; new_ids: number[] };
    };
    const { prompt_ids: prompt, new_ids: ids } = expected.greedy_from_bos;
    const model = Llama.fromPretrained(folder);
    expect(greedy(model, prompt, ids.length)).toEqual(ids);
  });
});

describe('Llama', () => {
  it.each([
    ['tinyllama-1.1b', 1_100_048_384],
    ['llama-3.2-1b', 1_235_814_400],
    ['qwen2-0.5b', 494_032_768],
    ['smollm2-135m', 134_515_008],
  ] as const)('knows the size of %s', (name, parameters) => {
    const model = Llama.fromPreset(name, { num_hidden_layers: 1, vocab_size: 8 });
    const { config } = model;
    const layers = { 'tinyllama-1.1b': 22, 'llama-3.2-1b': 16, 'qwen2-0.5b': 24, 'smollm2-135m': 30 }[name];
    const vocabulary = { 'tinyllama-1.1b': 32000, 'llama-3.2-1b': 128256, 'qwen2-0.5b': 151936, 'smollm2-135m': 49152 }[name]; // prettier-ignore
    const whole = { ...config, num_hidden_layers: layers, vocab_size: vocabulary };
    expect(Llama.countParameters(whole)).toBe(parameters);
    expect(Llama.countParameters(config)).toBe(model.numParameters());
  });

  it('refuses unknown presets', () => {
    expect(() => Llama.fromPreset('llama-4' as 'llama-3.2-1b')).toThrow(
      /no preset 'llama-4'; there are tinyllama-1.1b, llama-3.2-1b/,
    );
  });

  const small = { hidden_size: 24, intermediate_size: 40, num_hidden_layers: 2, num_attention_heads: 4, vocab_size: 31 }; // prettier-ignore
  const build = (config: object) => () => new Llama({ ...small, ...config });

  it.each([
    [{ hidden_size: 0 }, 'Llama (llama): hidden_size must be a positive integer, got 0'],
    [{ hidden_size: -1 }, 'hidden_size must be a positive integer, got -1'],
    [{ hidden_size: 1.5 }, 'hidden_size must be a positive integer, got 1.5'],
    [{ hidden_size: '768' }, 'hidden_size must be a positive integer, got "768"'],
    [{ hidden_size: null }, 'hidden_size must be a positive integer, got null'],
    [{ hidden_size: 26 }, 'hidden_size must be a multiple of num_attention_heads where head_dim is not given, got 26 and 4'],
    [{ num_key_value_heads: 3 }, 'num_attention_heads must be a multiple of num_key_value_heads, got 4 and 3'],
    [{ head_dim: 7 }, 'Llama: rotary positions need an even head size, got 7'],
    [{ num_hidden_layers: 1e9 }, 'num_hidden_layers must be a positive integer up to 10000, got 1000000000'],
    [{ vocab_size: 1e12 }, /weights take .* GiB, this machine has/],
    [{ hidden_act: 'gelu' }, 'hidden_act must be one of silu, got "gelu"'],
    [{ rms_norm_eps: 0 }, 'rms_norm_eps must be a positive number, got 0'],
    [{ eos_token_id: [1, -1] }, 'eos_token_id must be a token id, a list of them or null, got [1,-1]'],
    [{ hidden_sizes: 3 }, "unknown configuration key 'hidden_sizes' (did you mean 'hidden_size'?)"],
    [{ sliding_window: 4 }, "Llama (llama): unknown configuration key 'sliding_window'"],
    [{ model_type: 'mistral', attention_bias: true }, "Llama (mistral): unknown configuration key 'attention_bias'"],
    [{ model_type: 'phi3' }, 'model_type must be one of llama, mistral, qwen2, got "phi3"'],
    [{ rope_scaling: 2 }, 'rope_scaling must be an object or null, got 2'],
    [{ rope_scaling: { type: 'longrope', factor: 2 } }, 'Llama: rope_scaling has the type "longrope"; supported are default, linear, dynamic, yarn, llama3'],
    [{ rope_scaling: { factor: 2 } }, 'Llama: rope_scaling has the type undefined'],
    [{ rope_scaling: { type: 'linear' } }, 'rope_scaling of type linear needs factor'],
    [{ rope_scaling: { type: 'linear', factor: '2' } }, 'rope_scaling must have a positive number factor, got "2"'],
    [{ rope_scaling: { type: 'linear', factor: 0.5 } }, 'rope_scaling must have a factor of at least 1, got 0.5'],
    [{ rope_scaling: { type: 'linear', factor: 2, beta_fast: 3 } }, "rope_scaling of type linear has the unknown key 'beta_fast'"],
    [{ rope_scaling: { rope_type: 'yarn', factor: 2, truncate: 1 } }, 'rope_scaling must have a boolean truncate, got 1'],
    [{ rope_scaling: { rope_type: 'llama3', factor: 2 } }, 'rope_scaling of type llama3 needs low_freq_factor'],
    [{ rope_scaling: { rope_type: 'llama3', factor: 2, low_freq_factor: 4, high_freq_factor: 4 } }, 'must have a high_freq_factor above its low_freq_factor'],
    [{ head_dim: 2, rope_scaling: { type: 'dynamic', factor: 2 } }, 'rope_scaling of type dynamic needs a head size above 2'],
  ])('refuses the configuration %j', (config, text) => {
    expect(build(config)).toThrow(ConfigError);
    expect(build(config)).toThrow(text);
  }); // prettier-ignore

  const folder = mkdtempSync(join(tmpdir(), 'tsgpt-llama-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  /** The folder of a recorded model with another config.json. */
  const changed = (name: string, changes: object): string => {
    cpSync(golden(name), folder, { recursive: true });
    const config = readGolden<object>(name, 'config.json');
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, ...changes }));
    return folder;
  };
  const load = (name: string, changes: object) => () => Llama.fromPretrained(changed(name, changes));

  it('takes the original length from beside rope_scaling too, and newer rope_parameters', () => {
    const yarn = { rope_type: 'yarn', factor: 4 };
    const beside = load('hf-llama-gqa', { rope_scaling: yarn, original_max_position_embeddings: 16 })();
    expect(beside.config.rope_scaling).toEqual({ ...yarn, original_max_position_embeddings: 16 });
    const newer = load('hf-llama-gqa', {
      rope_theta: undefined,
      rope_parameters: { ...yarn, rope_theta: 7 },
    })();
    expect(newer.config).toMatchObject({ rope_theta: 7, rope_scaling: yarn });
  });

  it('goes backward after a longer text has lengthened its tables', () => {
    const gradient = (between: (model: Llama) => void): unknown => {
      const model = new Llama(small, { generator: new Generator(5) });
      const loss = shiftedLoss(model.forward(int32([[1, 2, 3, 4]])), [[1, 2, 3, 4]]);
      between(model);
      backward(loss);
      return model.layers[0].self_attn.q_proj.weight.grad!.toArray();
    };
    const longer = gradient((model) => noGrad(() => scope(() => void model.forward(int32([Array.from({ length: 40 }, () => 3)]))))); // prettier-ignore
    expect(longer).toEqual(gradient(() => undefined));
  });

  it('refuses files that it would compute wrongly', () => {
    expect(load('hf-llama-gqa', { model_type: 'gpt2' })).toThrow(
      /model_type is "gpt2", this class loads 'llama', 'mistral', 'qwen2'/,
    );
    expect(load('hf-llama-gqa', { vocab_size: 100 })).toThrow(StateDictError);
    expect(load('hf-llama-gqa', { vocab_size: 100 })).toThrow(
      /embed_tokens\.weight: file \[131, 32\], model \[100, 32\]/,
    );
    expect(load('hf-llama-gqa', { quantization_config: { bits: 4 } })).toThrow(
      'Llama: quantization_config {"bits":4} is not supported',
    );
    expect(load('hf-llama-gqa', { rope_parameters: 'x' })).toThrow(
      'rope_parameters must be an object or null, got "x"',
    );
    expect(load('hf-qwen2', { layer_types: ['sliding_attention', 'full_attention'] })).toThrow(
      'layer_types must follow from use_sliding_window and max_window_layers',
    );
    expect(load('hf-llama-gqa', { num_hidden_layers: 3 })).toThrow(/9 missing \(layers\.2\./);
  });

  it('ignores what other programs note, and program code with a warning', () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const model = load('hf-llama-gqa', {
      auto_map: { AutoModel: 'x.py' },
      pretraining_tp: 4,
      use_cache: false,
    })();
    expect(model.config.hidden_size).toBe(32);
    expect(warn.mock.calls).toEqual([
      ['Llama: auto_map is ignored; code that comes with a model is never run'],
    ]);
    warn.mockRestore();
  });

  it('trains, and goes on with the same bits after a stop', async () => {
    const ids = Int32Array.from({ length: 400 }, (_, i) => (i * i) % 31);
    const config = { ...small, model_type: 'mistral', sliding_window: 4, num_key_value_heads: 2, attention_dropout: 0.2 } as const; // prettier-ignore
    const start = (model: Llama, generator: Generator, options: Partial<TrainerOptions> = {}): Trainer =>
      new Trainer({ model, generator, train: ids, steps: 12, lr: 1e-2, batchSize: 4, sequenceLength: 16, seed: 3, evalInterval: 0, ...options }); // prettier-ignore
    const [a, b] = [new Generator(1), new Generator(1)];
    const straight = new Llama(config, { generator: a });
    const losses: number[] = [];
    const whole = start(straight, a);
    whole.on('step', ({ loss }) => losses.push(loss));
    await whole.run();
    expect(losses[11]).toBeLessThan(losses[0] - 0.3);

    const path = join(folder, 'run');
    const controller = new AbortController();
    const stopped = start(new Llama(config, { generator: b }), b, {
      folder: path,
      signal: controller.signal,
    });
    stopped.on('step', ({ step }) => step === 5 && controller.abort());
    await stopped.run();
    const generator = new Generator(9);
    const model = new Llama(config, { generator });
    model.loadStateDict(Llama.fromPretrained(path).stateDict());
    const resumed = start(model, generator, { folder: path });
    expect(resumed.resume()).toEqual([]);
    await resumed.run();
    for (const [name, p] of straight.stateDict())
      expect(model.stateDict().get(name)!.data, name).toEqual(p.data);
  });

  it.each([
    ['hf-llama-bias', 'LlamaForCausalLM'],
    ['hf-mistral', 'MistralForCausalLM'],
    ['hf-qwen2', 'Qwen2ForCausalLM'],
  ])('writes %s back as transformers wrote it: the same tensors, names and keys', (name, architecture) => {
    Llama.fromPretrained(golden(name)).savePretrained(folder);
    using theirs = openSafetensors(golden(name, 'model.safetensors'));
    using ours = openSafetensors(join(folder, 'model.safetensors'));
    expect([...ours.names()].sort()).toEqual([...theirs.names()].sort());
    for (const tensorName of theirs.names()) {
      expect(ours.tensor(tensorName).data, tensorName).toEqual(theirs.tensor(tensorName).data);
    }
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;
    const recorded = readGolden<Record<string, unknown>>(name, 'config.json');
    expect(config.architectures).toEqual([architecture]);
    // What newer files say in rope_parameters, these say in the keys that every version reads.
    const elsewhere = ['dtype', 'rope_parameters', 'transformers_version', 'use_cache', 'layer_types', 'pretraining_tp']; // prettier-ignore
    const kept = Object.entries(recorded).filter(([key]) => !elsewhere.includes(key));
    expect(config).toMatchObject(Object.fromEntries(kept));
    expect(config).toMatchObject({ rope_theta: 10000, rope_scaling: null, torch_dtype: 'float32' });
  });
});
