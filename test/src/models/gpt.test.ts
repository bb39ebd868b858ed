/** GPT against Hugging Face's GPT2LMHeadModel (recorded), and its own promises: one forward, exact save and load. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync, cpSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  AdamW,
  backward,
  ConfigError,
  crossEntropy,
  clipGradNorm,
  decayGroups,
  FileError,
  Generator,
  GPT,
  IndexError,
  linear,
  linearCrossEntropy,
  Llama,
  manualSeed,
  noGrad,
  openSafetensors,
  scope,
  ShapeError,
  StateDictError,
  type Tensor,
  tensor,
  slice,
} from '../../../src/index.js';
import { expectClose, golden, readGolden } from '../../support/golden.js';
import { isMissing, shared } from '../../support/shared.js';

interface GoldenModel {
  input_ids: number[][];
  logits: number[][][];
  loss: number;
  loss_labels_masked_first5: number;
  left_padded: {
    input_ids: number[][];
    attention_mask: number[][];
    logits_last: number[][];
    logits_seq0_from_pad_end: number[][];
  };
  grad_of_loss: Record<string, { norm: number; sum: number; first4: number[] }>;
}

interface GoldenTraining {
  batches: { input_ids: number[][]; labels: number[][] }[];
  loss: number[];
  grad_norm_before_clip: number[];
  lr_used: number[];
  final_param_norms: Record<string, number>;
}

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-gpt-'));
afterAll(() => rmSync(folder, { recursive: true }));

const tolerance = { atol: 2e-4, rtol: 2e-4 }; // float32 results printed with eight digits
const small = { vocab_size: 31, n_positions: 16, n_embd: 12, n_layer: 2, n_head: 3 };
const int32 = (ids: number[][]): Tensor => tensor(ids, { dtype: 'int32' });

/** The loss of predicting each id from those before it. */
function shiftedLoss(logits: Tensor, labels: number[][]): Tensor {
  return crossEntropy(slice(logits, 1, 0, labels[0].length - 1), nextOf(labels));
}

const nextOf = (labels: number[][]): Tensor => int32(labels.map((row) => row.slice(1)));

describe('GPT against Hugging Face', () => {
  const expected = readGolden<GoldenModel>('hf-gpt2', 'expected.json');
  const model = GPT.fromPretrained(golden('hf-gpt2'));

  it('gives the recorded logits', () => {
    const logits = noGrad(() => model.forward(int32(expected.input_ids)));
    expectClose(logits, expected.logits, tolerance, 'logits');
  });

  it('gives the recorded loss and the gradient of every parameter', () => {
    const loss = shiftedLoss(model.forward(int32(expected.input_ids)), expected.input_ids);
    expectClose(loss, [expected.loss], tolerance, 'loss');
    backward(loss);
    const recorded = Object.entries(expected.grad_of_loss);
    expect(recorded.length).toBe(model.parameters().length);
    const parameters = model.stateDict();
    for (const [name, { norm, sum, first4 }] of recorded) {
      const grad = parameters.get(name.replace('transformer.', ''))!.grad!.toFloat64Array();
      expectClose([Math.hypot(...grad)], [norm], tolerance, `${name} gradient norm`);
      expectClose(
        [grad.reduce((a, b) => a + b, 0)],
        [sum],
        { atol: 2e-4 * Math.max(1, norm), rtol: 2e-4 },
        `${name} sum`,
      );
      expectClose(grad.slice(0, 4), first4, tolerance, `${name} gradient`);
    }
  });

  it('sees no padding', () => {
    const { input_ids, attention_mask, logits_last, logits_seq0_from_pad_end } = expected.left_padded;
    const attentionMask = tensor(attention_mask, { dtype: 'bool' });
    const logits = noGrad(() => model.forward(int32(input_ids), { attentionMask }));
    expectClose(slice(logits, 1, -1), logits_last, tolerance, 'last position');
    const row = slice(slice(logits, 0, 0, 1), 1, attention_mask[0].indexOf(1));
    expectClose(row, logits_seq0_from_pad_end, tolerance, 'after the padding');
  });

  it('ignores labels of -100', () => {
    const labels = expected.input_ids.map((row) => row.map((id, i) => (i < 5 ? -100 : id)));
    const loss = noGrad(() => shiftedLoss(model.forward(int32(expected.input_ids)), labels));
    expectClose(loss, [expected.loss_labels_masked_first5], tolerance, 'masked loss');
  });

  it.each(['whole logits', 'logits in chunks'])('trains as PyTorch does, step by step, by %s', (way) => {
    const run = readGolden<GoldenTraining>('hf-train-gpt2-char', 'expected.json');
    const trained = GPT.fromPretrained(golden('hf-train-gpt2-char')).train();
    const optimizer = new AdamW(decayGroups(trained.parameters(), 0.1), {
      lr: 3e-3,
      betas: [0.9, 0.95],
      eps: 1e-8,
    });
    run.batches.forEach((batch, step) => {
      scope(() => {
        const ids = int32(batch.input_ids);
        const loss =
          way === 'whole logits'
            ? shiftedLoss(trained.forward(ids), batch.labels)
            : linearCrossEntropy(
                slice(trained.hidden(ids), 1, 0, ids.shape[1] - 1),
                trained.headWeight,
                nextOf(batch.labels),
              );
        expectClose(loss, [run.loss[step]], { atol: 1e-4 }, `loss of step ${step}`);
        backward(loss);
        const norm = clipGradNorm(trained.parameters(), 1);
        expectClose(
          [norm],
          [run.grad_norm_before_clip[step]],
          { atol: 1e-4 },
          `gradient norm of step ${step}`,
        );
        optimizer.lr = run.lr_used[step];
        optimizer.step();
        optimizer.zeroGrad();
      });
    });
    const parameters = trained.stateDict();
    for (const [name, norm] of Object.entries(run.final_param_norms)) {
      // The gradient of a key bias is zero but for rounding, which AdamW blows up to full steps: no two programs agree.
      if (name.endsWith('c_attn.bias')) continue;
      const values = parameters.get(name.replace('transformer.', ''))!.toFloat64Array();
      expectClose([Math.hypot(...values)], [norm], { rtol: 1e-4 }, `final norm of ${name}`);
    }
  });
});

describe('GPT', () => {
  it('is one forward for training, evaluation and cached decoding', () => {
    const model = new GPT(small, { generator: new Generator(1) });
    const ids = [
      [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5],
      [30, 29, 0, 2, 4, 6, 8, 10, 12, 14, 16],
    ];
    const whole = noGrad(() => model.eval().forward(int32(ids)));
    const recorded = model.forward(int32(ids)); // with the tape on
    expectClose(recorded, whole, { atol: 0 }, 'with and without the tape');
    const headed = linear(model.hidden(int32(ids)), model.headWeight);
    expectClose(headed, whole, { atol: 0 }, 'the output head on the hidden states');
    for (const first of [1, 4, 10]) {
      using cache = model.newCache(2);
      const pieces = noGrad(() => {
        const parts = [model.forward(int32(ids.map((row) => row.slice(0, first))), { cache })];
        for (let t = first; t < ids[0].length; t++) {
          parts.push(model.forward(int32(ids.map((row) => [row[t]])), { cache, lastOnly: true }));
        }
        return parts;
      });
      const start = pieces[0];
      expectClose(start, slice(whole, 1, 0, first), { atol: 2e-6 }, `prefill of ${first}`);
      pieces.slice(1).forEach((logits, i) => {
        expectClose(
          logits,
          slice(whole, 1, first + i, first + i + 1),
          { atol: 2e-6 },
          `position ${first + i}`,
        );
      });
    }
  });

  it('uses dropout in training only, from its own seed', () => {
    const config = { ...small, resid_pdrop: 0.5, embd_pdrop: 0.5, attn_pdrop: 0.5 };
    const run = (seed: number, train: boolean): Float64Array =>
      new GPT(config, { generator: new Generator(seed) })
        .train(train)
        .forward(int32([[1, 2, 3]]))
        .toFloat64Array();
    expect(run(7, true)).toEqual(run(7, true));
    expect(run(7, true)).not.toEqual(run(7, false));
    expect(run(7, false)).not.toEqual(run(8, false));
  });

  it('is causal: a later token does not change an earlier position', () => {
    const model = new GPT(small).eval();
    const a = noGrad(() => model.forward(int32([[1, 2, 3, 4, 5]])));
    const b = noGrad(() => model.forward(int32([[1, 2, 3, 4, 6]])));
    expectClose(slice(a, 1, 0, 4), slice(b, 1, 0, 4), { atol: 0 });
    expect(slice(a, 1, 4).toArray()).not.toEqual(slice(b, 1, 4).toArray());
  });

  it('starts at the loss of a uniform guess', () => {
    manualSeed(3);
    const model = new GPT({ ...small, n_embd: 48, vocab_size: 65, initializer_range: 0.01 }).eval();
    const ids = [Array.from({ length: 16 }, (_, i) => (i * 7) % 65)];
    expect(shiftedLoss(model.forward(int32(ids)), ids).item()).toBeCloseTo(Math.log(65), 1);
  });

  it('ties the head to the embedding, or has its own', () => {
    const tied = new GPT(small);
    const untied = new GPT({ ...small, tie_word_embeddings: false });
    expect(untied.numParameters() - tied.numParameters()).toBe(small.vocab_size * small.n_embd);
    expect(GPT.countParameters(tied.config)).toBe(tied.numParameters());
    expect(GPT.countParameters(untied.config)).toBe(untied.numParameters());
  });

  it.each(['float16', 'bfloat16'] as const)('keeps its matrices in %s, saves and loads them so', (dtype) => {
    const path = join(folder, dtype);
    const model = new GPT(small, { generator: new Generator(3) }).eval();
    model.savePretrained(path);
    const half = GPT.fromPretrained(path, { dtype });
    for (const [name, p] of half.namedParameters())
      expect(p.dtype, name).toBe(p.rank > 1 ? dtype : 'float32');
    // The same as a float32 model with the rounded weights, up to the order of sums.
    const rounded = GPT.fromPretrained(path, { dtype }).convertWeights('float32');
    const ids = int32([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [30, 20, 10, 0, 11, 12, 13, 14, 15, 16]]); // prettier-ignore
    const logits = (m: GPT): Tensor => noGrad(() => m.forward(ids));
    expect(logits(half).dtype).toBe('float32');
    expectClose(logits(half), logits(rounded).toFloat64Array(), { atol: 1e-5, rtol: 1e-5 });
    half.savePretrained(path);
    expect(JSON.parse(readFileSync(join(path, 'config.json'), 'utf8'))).toMatchObject({ torch_dtype: dtype });
    const again = GPT.fromPretrained(path, { dtype });
    expectClose(logits(again), logits(half).toFloat64Array(), {});
    expect(() => half.convertWeights('int32' as 'float16')).toThrow(
      "convertWeights: must be 'float32', 'float16' or 'bfloat16', got 'int32'",
    );
    expect(() => new AdamW(half.parameters())).toThrow(
      `parameters must be contiguous float32 tensors, got ${dtype}`,
    );
  });

  it('knows the published sizes', () => {
    expect(GPT.countParameters()).toBe(124_439_808);
    expect(GPT.countParameters({ n_embd: 1024, n_layer: 24, n_head: 16 })).toBe(354_823_168);
    expect(() => GPT.fromPreset('gpt3' as 'gpt2')).toThrow(/no preset 'gpt3'; there are gpt2, gpt2-medium/);
    const preset = GPT.fromPreset('gpt2', { n_layer: 1, vocab_size: 10 });
    expect(preset.config).toMatchObject({ n_embd: 768, n_head: 12, n_layer: 1 });
  });

  it.each([true, false])('saves and loads bit for bit, head tied: %s', (tie) => {
    const model = new GPT({ ...small, tie_word_embeddings: tie });
    const path = join(folder, `tie-${tie}`);
    model.savePretrained(path);
    const loaded = GPT.fromPretrained(path);
    expect(loaded.config).toEqual(model.config);
    for (const [name, p] of model.stateDict())
      expect(loaded.stateDict().get(name)!.data, name).toEqual(p.data);
    using file = openSafetensors(join(path, 'model.safetensors'));
    expect(file.names().every((name) => /^(transformer\.|lm_head\.)/.test(name))).toBe(true);
    expect(JSON.parse(readFileSync(join(path, 'config.json'), 'utf8'))).toMatchObject({
      model_type: 'gpt2',
      architectures: ['GPT2LMHeadModel'],
      n_embd: 12,
    });
  });
});

describe('the folder of a GPT', () => {
  const switched = { ...small, n_embd: 24, n_head: 4, use_rope: true, use_swiglu: true, use_rmsnorm: true };
  const saved = (config: object): { config: Record<string, unknown>; shapes: Record<string, number[]> } => {
    const path = join(folder, 'layout');
    new GPT(config).savePretrained(path);
    using file = openSafetensors(join(path, 'model.safetensors'));
    const shapes = file.names().map((name): [string, number[]] => [name, [...file.tensor(name).shape]]);
    const text = readFileSync(join(path, 'config.json'), 'utf8');
    return { config: JSON.parse(text) as Record<string, unknown>, shapes: Object.fromEntries(shapes) };
  };

  it('is a Llama of Hugging Face where the switches make one', () => {
    // The recorded Llama has these sizes, and biases.
    const sizes = { vocab_size: 67, n_positions: 32, n_inner: 40, n_kv_head: 2, tie_word_embeddings: false };
    using theirs = openSafetensors(golden('hf-llama-bias', 'model.safetensors'));
    const recorded = theirs.names().map((name) => {
      const shape = [...theirs.tensor(name).shape];
      // Its heads are of size 8; a GPT's are its width by their number, 6.
      const projection = /[qkv]_proj/.test(name);
      if (projection) shape[0] *= 6 / 8;
      if (name.endsWith('o_proj.weight')) shape[1] *= 6 / 8;
      return [name, shape];
    });
    const { config, shapes } = saved({ ...switched, ...sizes });
    expect(shapes).toEqual(Object.fromEntries(recorded));
    expect(config).toMatchObject({
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      hidden_size: 24,
      attention_bias: true,
      mlp_bias: true,
      rms_norm_eps: 1e-5,
    });
  });

  it.each([
    [{}, 'gpt2', 'GPT2LMHeadModel'],
    [{ use_explicit_mask: true }, 'gpt2', 'GPT2LMHeadModel'],
    [{ use_rope: true }, 'tsgpt-gpt', 'GPT'],
    [{ bias: false }, 'tsgpt-gpt', 'GPT'],
    [{ ...switched }, 'llama', 'LlamaForCausalLM'],
    [{ ...switched, bias: false, sliding_window: 4 }, 'mistral', 'MistralForCausalLM'],
    [{ ...switched, sliding_window: 4 }, 'tsgpt-gpt', 'GPT'],
  ])('says what it is: %j is a %s', (changes, type, architecture) => {
    expect(saved({ ...small, ...changes }).config).toMatchObject({
      model_type: type,
      architectures: [architecture],
    });
  });

  it('refuses a Llama whose own configuration says something else', () => {
    const path = join(folder, 'contradiction');
    new GPT(switched).savePretrained(path);
    const file = join(path, 'config.json');
    const config = JSON.parse(readFileSync(file, 'utf8')) as object;
    writeFileSync(file, JSON.stringify({ ...config, rope_theta: 500 }));
    expect(() => GPT.fromPretrained(path)).toThrow(ConfigError);
    expect(() => GPT.fromPretrained(path)).toThrow(
      /tsgpt_gpt in config.json contradicts rope_theta; remove tsgpt_gpt and load it as a Llama/,
    );
    expect(Llama.fromPretrained(path).config.rope_theta).toBe(500);
  });

  it('names a GPT-2 without keys that GPT-2 has not', () => {
    const { config } = saved(small);
    expect(Object.keys(config).filter((key) => /use_|rope|bias|window|kv/.test(key))).toEqual([]);
  });

  it('is read as a Llama too, with the same logits', () => {
    const path = join(folder, 'both');
    const model = new GPT({ ...switched, n_kv_head: 2 }, { generator: new Generator(4) }).eval();
    model.savePretrained(path);
    const ids = int32([[3, 1, 4, 1, 5, 9, 2, 6]]);
    const logits = noGrad(() => Llama.fromPretrained(path).forward(ids));
    expectClose(
      logits,
      noGrad(() => model.forward(ids)),
      { atol: 1e-6 },
    );
    expect(GPT.fromPretrained(path).config).toEqual(model.config);
    const half = GPT.fromPretrained(path, { dtype: 'bfloat16' });
    half.savePretrained(path);
    const again = GPT.fromPretrained(path, { dtype: 'bfloat16' });
    for (const [name, p] of half.stateDict()) expect(again.stateDict().get(name)!.data, name).toEqual(p.data);
  });
});

describe.skipIf(isMissing('models', 'lm-buddy-fake_gpt2'))("other people's GPT-2s", () => {
  // What transformers 5.24 gives for the ids 1 to 5: the first logits of the last position, and the sum of all.
  it.each([
    ['lm-buddy-fake_gpt2', [0.014946785, 0.0072796727, 0.019882247, -0.010208319], 32.722351],
    ['lm-buddy-tiny_gpt2', [0.035996217, 0.024513001, 0.040257357, -0.03982763], -0.15767416], // without the prefix
  ])('%s gives the logits of transformers', (name, first, total) => {
    const model = GPT.fromPretrained(shared('models', name));
    const logits = noGrad(() => model.forward(int32([[1, 2, 3, 4, 5]])));
    const last = slice(slice(logits, 1, -1), -1, 0, 4);
    expectClose(last, first, { atol: 1e-6 });
    expect(logits.sum().item()).toBeCloseTo(total, 3);
  });
});

describe('GPT with wrong input', () => {
  const model = new GPT(small).eval();

  it('refuses impossible configurations, naming key, rule and value', () => {
    const build = (config: object) => () => new GPT({ ...small, ...config });
    expect(build({ n_embd: 0 })).toThrow('GPT: n_embd must be a positive integer, got 0');
    expect(build({ n_embd: 1.5 })).toThrow('n_embd must be a positive integer, got 1.5');
    expect(build({ n_layer: '2' })).toThrow('n_layer must be a positive integer up to 10000, got "2"');
    expect(build({ n_head: 5 })).toThrow('n_embd must be a multiple of n_head, got 12 and 5');
    expect(build({ n_kv_head: 2 })).toThrow('n_head must be a multiple of n_kv_head, got 3 and 2');
    expect(build({ n_embd: 9, use_rope: true })).toThrow(
      'GPT: rotary positions need an even head size, got 3',
    );
    expect(build({ rope_scaling: { rope_type: 'su' } })).toThrow('GPT: rope_scaling has the type "su"');
    expect(build({ use_rope: 1 })).toThrow('GPT: use_rope must be boolean, got 1');
    expect(build({ resid_pdrop: 1 })).toThrow('resid_pdrop must be a probability, got 1');
    expect(build({ activation_function: 'swish' })).toThrow(
      'activation_function must be one of gelu_new, gelu, relu, silu, got "swish"',
    );
    expect(build({ n_emb: 4 })).toThrow("unknown configuration key 'n_emb' (did you mean 'n_embd'?)");
    expect(build({ n_layer: 1e9 })).toThrow('n_layer must be a positive integer up to 10000, got 1000000000');
    expect(build({ n_embd: 3e6 })).toThrow(/weights take .* GiB, this machine has/);
    expect(build({ n_embd: -1 })).toThrow(ConfigError);
  });

  it('refuses ids that do not fit', () => {
    expect(() => model.forward(int32([Array.from({ length: 17 }, () => 1)]))).toThrow(ShapeError);
    expect(() => model.forward(int32([[]]))).toThrow('GPT: ids must be (B, T) with T from 1 to 16');
    expect(() => model.forward(int32([[1, 31]]))).toThrow(IndexError);
    expect(() => model.forward(int32([[1, -1]]))).toThrow(
      /id -1 at position 1 is outside the table of 31 rows/,
    );
    using cache = model.newCache(1);
    noGrad(() => model.forward(int32([[1, 2, 3]]), { cache }));
    expect(() => model.forward(int32([Array.from({ length: 14 }, () => 1)]), { cache })).toThrow(
      /T from 1 to 13.* after 3 cached positions/,
    );
  });

  it('refuses folders that hold no GPT-2', () => {
    expect(() => GPT.fromPretrained(join(folder, 'absent'))).toThrow(FileError);
    const path = join(folder, 'bad');
    cpSync(golden('hf-gpt2'), path, { recursive: true });
    const config = readGolden<Record<string, unknown>>('hf-gpt2', 'config.json');
    const write = (changes: object): void =>
      writeFileSync(join(path, 'config.json'), JSON.stringify({ ...config, ...changes }));
    write({ model_type: 'llama' });
    expect(() => GPT.fromPretrained(path)).toThrow(
      /model_type is "llama", this class loads 'gpt2', 'tsgpt-gpt'/,
    );
    write({ scale_attn_by_inverse_layer_idx: true });
    expect(() => GPT.fromPretrained(path)).toThrow(/scale_attn_by_inverse_layer_idx true is not supported/);
    write({ n_positions: 512 });
    expect(() => GPT.fromPretrained(path)).toThrow(StateDictError);
    expect(() => GPT.fromPretrained(path)).toThrow(
      /1 of wrong shape \(wpe\.weight: file \[64, 32\], model \[512, 32\]\)/,
    );
    const { n_embd, n_head, n_layer, n_positions, ...rest } = config;
    const aliased = { hidden_size: n_embd, num_attention_heads: n_head, num_hidden_layers: n_layer };
    writeFileSync(
      join(path, 'config.json'),
      JSON.stringify({ ...rest, ...aliased, max_position_embeddings: n_positions }),
    );
    expect(GPT.fromPretrained(path).config).toMatchObject({ n_embd, n_head, n_layer, n_positions });
    write({ n_layer: 4 });
    expect(() => GPT.fromPretrained(path)).toThrow(/12 missing \(h\.3\.ln_1\.weight \[32\], .*\)/);
    writeFileSync(join(path, 'config.json'), '{\n  "n_layer": two\n}');
    expect(() => GPT.fromPretrained(path)).toThrow(/config\.json: is not JSON.*JSON$/); // in one line
    writeFileSync(join(path, 'config.json'), '[]');
    expect(() => GPT.fromPretrained(path)).toThrow(/must hold a JSON object/);
  });
});
