/** T5 against Hugging Face's (recorded), its cache, relative positions, loading and saving, and wrong input. */

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  ArgumentError,
  backward,
  ConfigError,
  crossEntropy,
  DTypeError,
  expandRelativeBias,
  Generator,
  IndexError,
  linear,
  noGrad,
  openSafetensors,
  saveSafetensors,
  scope,
  seq2seqLoss,
  ShapeError,
  shiftRight,
  slice,
  T5,
  type Tensor,
  tensor,
} from '../../../src/index.js';
import { relativeBias, relativeBucket } from '../../../src/models/relative-bias.js';
import { bool, expectGradients, int32, type RecordedGradient, tolerance } from '../../support/encoders.js';
import { expectClose, golden, readGolden } from '../../support/golden.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-t5-'));
afterAll(() => rmSync(folder, { recursive: true }));

const small = { vocab_size: 31, d_model: 12, d_kv: 5, d_ff: 20, num_layers: 2, num_heads: 3 };
const variants = ['t5-v1_0-relu-tied', 't5-v1_1-gated-gelu-untied', 't5-gated-silu-deep', 't5-gelu-shallow'];

interface Recorded {
  input_ids: number[][];
  attention_mask: number[][];
  labels: number[][];
  decoder_input_ids: number[][];
  loss: number;
  logits: number[][][];
  encoder_last_hidden_state: number[][][];
  decoder_hidden_last_token?: number[][][];
  cross_attention_layer0_seq1: number[][][];
  attention_layer0_seq1?: number[][][];
  grad_of_loss: Record<string, RecordedGradient>;
  greedy_16: { sequences: number[][] };
}

describe.each(variants)('T5 against Hugging Face: %s', (name) => {
  const expected = readGolden<Recorded>(`hf-${name}`, 'expected.json');
  const model = T5.fromPretrained(golden(`hf-${name}`));
  const [ids, labels] = [int32(expected.input_ids), int32(expected.labels)];
  const attentionMask = bool(expected.attention_mask);

  it('gives the recorded outputs and attention of encoder and decoder', () => {
    const [attentions, crossAttentions]: Tensor[][] = [[], []];
    noGrad(() => {
      const encoderOutput = model.encode(ids, { attentionMask, attentions });
      expectClose(encoderOutput, expected.encoder_last_hidden_state, tolerance, 'encoder');
      const decoderIds = shiftRight(labels, model.config);
      expect(decoderIds.toArray()).toEqual(expected.decoder_input_ids);
      const options = { encoderOutput, encoderMask: attentionMask, crossAttentions };
      const logits = model.forward(decoderIds, options);
      expectClose(logits, expected.logits, tolerance, 'logits');
      const headed = linear(model.hidden(decoderIds, options), model.headWeight);
      expectClose(headed, logits.toFloat64Array(), { atol: 0 }, 'the output head on the hidden states');
    });
    const second = slice(crossAttentions[0], 0, 1, 2);
    expectClose(second, expected.cross_attention_layer0_seq1, tolerance, 'cross-attention');
    if (expected.attention_layer0_seq1 !== undefined) {
      expectClose(slice(attentions[0], 0, 1, 2), expected.attention_layer0_seq1, tolerance, 'attention');
    }
  });

  it('gives the recorded loss and the gradient of every parameter', () => {
    const loss = seq2seqLoss(model, ids, labels, { attentionMask });
    expectClose(loss, [expected.loss], tolerance, 'loss');
    backward(loss);
    expectGradients(model, expected.grad_of_loss);
    model.parameters().forEach((p) => (p.grad = null));
  });

  it('writes what Hugging Face writes, with the cache and without', () => {
    const whole = expected.greedy_16.sequences;
    const rows = whole.length;
    const texts = whole.map(() => [0]);
    using cache = model.newCache(rows);
    noGrad(() => {
      const encoderOutput = model.encode(ids, { attentionMask }).keep();
      while (texts[0].length < whole[0].length) {
        scope(() => {
          const first = texts[0].length === 1;
          const source = { encoderOutput, encoderMask: attentionMask };
          const last = int32(texts.map((text) => [text[text.length - 1]]));
          const cached = model.forward(last, { cache, lastOnly: true, ...(first ? source : {}) });
          const again = model.forward(int32(texts), { ...source, lastOnly: true });
          expectClose(
            cached,
            again.toFloat64Array(),
            { atol: 5e-6, rtol: 1e-5 },
            `position ${texts[0].length}`,
          );
          const next = cached.argmax(-1).toFloat64Array();
          texts.forEach((text, row) => text.push(text.includes(1) ? 0 : next[row]));
        });
      }
    });
    expect(texts).toEqual(whole);
  });
});

describe('relative positions', () => {
  interface Tables {
    relative_buckets: {
      num_buckets: number;
      max_distance: number;
      bidirectional_30x30: number[][];
      causal_30x30: number[][];
      't5_default_32_128_for_rel_-140_to_140_bidirectional': number[];
      't5_default_32_128_for_rel_-140_to_140_causal': number[];
    };
  }
  const recorded = readGolden<Tables>('hf-t5-v1_0-relu-tied', 'expected.json').relative_buckets;

  it('fall into the recorded buckets', () => {
    for (const bidirectional of [true, false]) {
      const side = bidirectional ? 'bidirectional' : 'causal';
      const standard = { bidirectional, buckets: 32, maxDistance: 128 };
      const row = Array.from({ length: 281 }, (_, i) => relativeBucket(i - 140, standard));
      expect(row).toEqual(recorded[`t5_default_32_128_for_rel_-140_to_140_${side}`]);
      const rule = { bidirectional, buckets: recorded.num_buckets, maxDistance: recorded.max_distance };
      const square = Array.from({ length: 30 }, (_, i) =>
        Array.from({ length: 30 }, (_q, j) => relativeBucket(j - i, rule)),
      );
      expect(square).toEqual(recorded[`${side}_30x30`]);
    }
  });

  it('fall into the buckets of PyTorch for every rule up to a distance of 1000', () => {
    const rules =
      readGolden<
        { bidirectional: boolean; buckets: number; maxDistance: number; firstOfBucket: [number, number][] }[]
      >('t5-buckets.json');
    expect(rules.length).toBeGreaterThan(20);
    for (const { firstOfBucket, ...rule } of rules) {
      const changes: [number, number][] = [];
      for (let distance = -1000; distance <= 1000; distance++) {
        const bucket = relativeBucket(distance, rule);
        if (changes.length === 0 || changes[changes.length - 1][1] !== bucket)
          changes.push([distance, bucket]);
      }
      expect(changes, JSON.stringify(rule)).toEqual(firstOfBucket);
    }
  });

  it('give each pair the entry of its bucket, rows counted from the end of the keys', () => {
    const rule = { bidirectional: false, buckets: 8, maxDistance: 20 };
    const table = tensor(Array.from({ length: 16 }, (_, i) => i)).reshape([8, 2]);
    const distances = relativeBias(table, 3, 7, rule);
    expect(distances.shape).toEqual([2, 9]);
    const bias = expandRelativeBias(distances, 3, 7);
    expect(bias.shape).toEqual([1, 2, 3, 7]);
    const values = bias.toFloat64Array();
    for (let head = 0; head < 2; head++) {
      for (let i = 0; i < 3; i++) {
        for (let j = 0; j < 7; j++) {
          expect(values[(head * 3 + i) * 7 + j]).toBe(2 * relativeBucket(j - (i + 4), rule) + head);
        }
      }
    }
  });
});

describe('T5', () => {
  const model = new T5(small, { generator: new Generator(1) }).eval();
  const run = (source: number[], target: number[], mask?: number[]): Tensor =>
    noGrad(() => {
      const encoderMask = mask && bool([mask]);
      const encoderOutput = model.encode(int32([source]), { attentionMask: encoderMask });
      return model.forward(int32([target]), { encoderOutput, encoderMask });
    });

  it('reads its encoder: another text changes every position of the decoder', () => {
    const a = run([5, 6, 7, 1], [0, 3, 4]);
    const b = run([5, 6, 8, 1], [0, 3, 4]);
    for (let t = 0; t < 3; t++) {
      expect(slice(a, 1, t, t + 1).toArray()).not.toEqual(slice(b, 1, t, t + 1).toArray());
    }
    const loss = seq2seqLoss(model, int32([[5, 6, 7, 1]]), int32([[3, 1]]));
    backward(loss);
    const grads = [...model.encoder.stateDict()].map(
      ([name, p]) => [name, p.grad!.toFloat64Array()] as const,
    );
    for (const [name, grad] of grads)
      expect(
        grad.some((g) => g !== 0),
        name,
      ).toBe(true);
    model.parameters().forEach((p) => (p.grad = null));
  });

  it('is causal: a later token does not change an earlier position', () => {
    const a = run([5, 6, 1], [0, 3, 4, 5]);
    const b = run([5, 6, 1], [0, 3, 4, 6]);
    expectClose(slice(a, 1, 0, 3), slice(b, 1, 0, 3).toFloat64Array(), { atol: 0 });
    expect(slice(a, 1, 3).toArray()).not.toEqual(slice(b, 1, 3).toArray());
  });

  it('gives the same whatever stands in the padding, and however much of it', () => {
    const alone = run([5, 6, 1], [0, 3, 4]);
    for (const padded of [
      [5, 6, 1, 0, 0],
      [5, 6, 1, 17, 9],
      [5, 6, 1, ...Array<number>(70).fill(0)],
    ]) {
      const mask = padded.map((_, i) => (i < 3 ? 1 : 0));
      expectClose(
        run(padded, [0, 3, 4], mask),
        alone,
        { atol: 2e-5, rtol: 1e-5 },
        `padded to ${padded.length}`,
      );
    }
  });

  it('skips padding: the same outputs of tokens, zeros for the others, wherever they stand', () => {
    const ids = int32([[5, 6, 7, 1, 0], [8, 9, 1, 0, 0], [0, 0, 3, 4, 1]]); // prettier-ignore
    const masks = [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1]]; // prettier-ignore
    const both = (mask: number[][]): void => {
      const attentionMask = bool(mask);
      const [kept, skipped] = noGrad(() =>
        [false, true].map((skipPadding) => model.encode(ids, { attentionMask, skipPadding })),
      );
      const isToken = mask.flat().flatMap((token) => Array<number>(12).fill(token));
      const expected = kept.toFloat64Array().map((x, i) => x * isToken[i]);
      const tokens = skipped.toFloat64Array().map((x, i) => x * isToken[i]);
      expectClose(tokens, expected, { atol: 2e-5, rtol: 1e-5 });
    };
    both(masks);
    both([[1, 0, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 0, 1]]); // prettier-ignore
    const zeros = noGrad(() => model.encode(ids, { attentionMask: bool(masks), skipPadding: true }));
    expect(zeros.toFloat64Array().slice(8 * 12, 10 * 12).every((x) => x === 0)).toBe(true); // prettier-ignore
  });

  it('says when cross-attention weights are asked for too late', () => {
    using cache = model.newCache(2);
    const mask = bool([[1, 1, 1, 1], [1, 1, 1, 0]]); // prettier-ignore
    const encoderOutput = noGrad(() => model.encode(int32([[5, 6, 7, 1], [8, 9, 1, 0]]), { attentionMask: mask })); // prettier-ignore
    noGrad(() => model.forward(int32([[0], [0]]), { encoderOutput, encoderMask: mask, cache }));
    expect(() => model.forward(int32([[3], [4]]), { cache, crossAttentions: [] })).toThrow(
      new ArgumentError('T5: crossAttentions must be asked for from the first call with a cache on'),
    );
  });

  it('sees order by its relative positions alone, also far beyond the last bucket', () => {
    const a = run([5, 6, 7, 1], [0]);
    const b = run([6, 5, 7, 1], [0]);
    expect(a.toArray()).not.toEqual(b.toArray());
    const long = run(
      Array.from({ length: 300 }, (_, i) => 2 + (i % 29)),
      [0],
    );
    expect(long.toFloat64Array().every(Number.isFinite)).toBe(true);
  });

  it('decodes with the cache as without, in pieces and with rows that change places', () => {
    const source = int32([[5, 6, 7, 1], [8, 9, 1, 0]]); // prettier-ignore
    const mask = bool([[1, 1, 1, 1], [1, 1, 1, 0]]); // prettier-ignore
    const targets = [[0, 3, 4, 5, 6], [0, 7, 8, 9, 10]]; // prettier-ignore
    const encoderOutput = noGrad(() => model.encode(source, { attentionMask: mask }));
    const all = { encoderOutput, encoderMask: mask };
    const whole = noGrad(() => model.forward(int32(targets), all));
    const close = (a: Tensor, b: Tensor): void =>
      expectClose(a, b.toFloat64Array(), { atol: 2e-5, rtol: 1e-5 });
    const columns = (from: number, to: number, rows = [0, 1]): Tensor =>
      int32(rows.map((row) => targets[row].slice(from, to)));
    using cache = model.newCache(2);
    noGrad(() => {
      close(model.forward(columns(0, 2), { ...all, cache }), slice(whole, 1, 0, 2));
      close(model.forward(columns(2, 3), { cache }), slice(whole, 1, 2, 3));
      cache.reorder([1, 0]); // another text in each row
      const swapped = model.forward(columns(3, 4, [1, 0]), { cache });
      close(slice(swapped, 0, 0, 1), slice(slice(whole, 1, 3, 4), 0, 1, 2));
      cache.reorder([0, 0, 1]); // two beams of the second text, one of the first
      const more = model.forward(columns(4, 5, [1, 1, 0]), { cache, lastOnly: true });
      close(slice(more, 0, 1, 2), slice(slice(whole, 1, 4, 5), 0, 1, 2));
      close(slice(more, 0, 2, 3), slice(slice(whole, 1, 4, 5), 0, 0, 1));
    });
    cache.clear();
    expect(cache.source).toBeNull();
    expect(() => model.forward(int32([[0]]), { cache })).toThrow('T5: the decoder needs encoderOutput');
  });

  it('uses dropout in training only, from its own seed', () => {
    const loss = (seed: number, train: boolean): number =>
      seq2seqLoss(
        new T5({ ...small, dropout_rate: 0.3 }, { generator: new Generator(seed) }).train(train),
        int32([[5, 6, 1]]),
        int32([[3, 4, 1]]),
      ).item();
    expect(loss(7, true)).toBe(loss(7, true));
    expect(loss(7, true)).not.toBe(loss(7, false));
    expect(loss(7, false)).not.toBe(loss(8, false));
  });

  it('begins with the standard deviations of the paper’s code', () => {
    const wide = {
      ...small,
      d_model: 64,
      d_kv: 16,
      d_ff: 96,
      num_heads: 6,
      vocab_size: 200,
      initializer_factor: 0.5,
    };
    const fresh = new T5(
      { ...wide, tie_word_embeddings: false },
      { generator: new Generator(3) },
    ).stateDict();
    const std = (name: string): number => {
      const values = fresh.get(name)!.toFloat64Array();
      return Math.sqrt(values.reduce((a, x) => a + x * x, 0) / values.length);
    };
    const attention = 'encoder.block.0.layer.0.SelfAttention';
    expect(std('shared.weight')).toBeCloseTo(0.5, 1);
    expect(std('lm_head.weight')).toBeCloseTo(0.5, 1);
    expect(std(`${attention}.q.weight`) / (0.5 / Math.sqrt(64 * 16))).toBeCloseTo(1, 1);
    expect(std(`${attention}.k.weight`) / (0.5 / Math.sqrt(64))).toBeCloseTo(1, 1);
    expect(std(`${attention}.o.weight`) / (0.5 / Math.sqrt(96))).toBeCloseTo(1, 1);
    expect(std('decoder.block.1.layer.2.DenseReluDense.wi.weight') / (0.5 / Math.sqrt(64))).toBeCloseTo(1, 1);
    expect(std('decoder.block.1.layer.2.DenseReluDense.wo.weight') / (0.5 / Math.sqrt(96))).toBeCloseTo(1, 1);
  });

  it('knows the published sizes', () => {
    expect(T5.countParameters()).toBe(60_506_624);
    expect(T5.countParameters({ tie_word_embeddings: false, feed_forward_proj: 'gated-gelu', d_ff: 1024, num_layers: 8, num_heads: 6 })).toBe(76_961_152); // prettier-ignore
    expect(T5.countParameters(small)).toBe(new T5(small).numParameters());
    expect(() => T5.fromPreset('t5' as 't5-small')).toThrow(
      "T5.fromPreset: no preset 't5'; there are t5-small, t5-base, flan-t5-small, flan-t5-base",
    );
    const flan = T5.fromPreset('flan-t5-small', { vocab_size: 10, num_layers: 1 });
    expect(flan.config).toMatchObject({ num_heads: 6, scale_decoder_outputs: false });
  });

  it.each([true, false])('saves and loads bit for bit, head tied: %s', (tie) => {
    const saved = new T5({
      ...small,
      num_decoder_layers: 1,
      tie_word_embeddings: tie,
      feed_forward_proj: 'gated-silu',
    });
    const path = join(folder, `tie-${tie}`);
    saved.savePretrained(path);
    const loaded = T5.fromPretrained(path);
    expect(loaded.config).toEqual(saved.config);
    for (const [name, p] of saved.stateDict())
      expect(loaded.stateDict().get(name)!.data, name).toEqual(p.data);
    const text = readFileSync(join(path, 'config.json'), 'utf8');
    expect(text).toContain('"initializer_factor": 1.0,'); // transformers 5 refuses 1
    expect(JSON.parse(text)).toMatchObject({
      model_type: 't5',
      architectures: ['T5ForConditionalGeneration'],
      is_encoder_decoder: true,
    });
  });

  it('reads files that hold the embedding four times, and a bias that has no use', () => {
    const name = 'hf-t5-v1_0-relu-tied';
    const path = join(folder, 'old');
    cpSync(golden(name), path, { recursive: true });
    const now = T5.fromPretrained(golden(name));
    using file = openSafetensors(join(golden(name), 'model.safetensors'));
    const old = new Map(file.names().map((entry) => [entry, file.tensor(entry)]));
    for (const alias of ['encoder.embed_tokens.weight', 'decoder.embed_tokens.weight', 'lm_head.weight']) {
      old.set(alias, file.tensor('shared.weight'));
    }
    old.set('decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight', tensor([[1, 2]]));
    saveSafetensors(join(path, 'model.safetensors'), old);
    const again = T5.fromPretrained(path);
    for (const [entry, p] of now.stateDict())
      expect(again.stateDict().get(entry)!.data, entry).toEqual(p.data);
    // Transformers 5 says "tied" of every T5, and goes by the head that is in the file.
    const config = readGolden<object>(name, 'config.json');
    writeFileSync(join(path, 'config.json'), JSON.stringify({ ...config, scale_decoder_outputs: false }));
    expect(T5.fromPretrained(path).config).toMatchObject({
      tie_word_embeddings: false,
      scale_decoder_outputs: false,
    });
  });
});

describe('T5 with wrong input', () => {
  const model = new T5(small, { generator: new Generator(1) }).eval();
  const encoderOutput = noGrad(() => model.encode(int32([[5, 6, 1]])));

  it('refuses impossible configurations, naming key, rule and value', () => {
    const build = (config: object) => () => new T5({ ...small, ...config });
    expect(build({ d_model: 0 })).toThrow('T5: d_model must be a positive integer, got 0');
    expect(build({ num_decoder_layers: 0 })).toThrow(
      'num_decoder_layers must be a positive integer up to 10000 or null, got 0',
    );
    expect(build({ feed_forward_proj: 'gated-swish' })).toThrow(
      /feed_forward_proj must be one of gelu, .*got "gated-swish"/,
    );
    expect(build({ relative_attention_num_buckets: 5 })).toThrow(ConfigError);
    expect(build({ relative_attention_num_buckets: 32, relative_attention_max_distance: 16 })).toThrow(
      'T5: relative_attention_num_buckets must be even, at least 4, and half of it below relative_attention_max_distance, got 32 and 16',
    );
    expect(build({ d_mode: 1 })).toThrow("unknown configuration key 'd_mode' (did you mean 'd_model'?)");
    expect(build({ vocab_size: 1e12 })).toThrow(/weights take .* GiB, this machine has/);
  });

  it('refuses inputs that do not fit', () => {
    expect(() => model.encode(int32([[]]))).toThrow(
      'T5.encode: ids must be (B, T) with T at least 1, got [1, 0]',
    );
    expect(() => model.encode(int32([[5]]), { attentionMask: bool([[0]]) })).toThrow(
      'T5.encode: attentionMask has no token, all of [1, 1] is padding; true marks a token',
    );
    expect(() => model.encode(int32([[5]]), { tokenTypeIds: int32([[0]]) } as object)).toThrow(
      "T5.encode: unknown option 'tokenTypeIds'",
    );
    expect(() => model.encode(int32([[31]]))).toThrow(IndexError);
    expect(() => model.forward(int32([[0]]))).toThrow(ArgumentError);
    expect(() => model.forward(int32([[0]]))).toThrow(
      'T5: the decoder needs encoderOutput, what encode(ids) gives',
    );
    expect(() => model.forward(int32([[]]), { encoderOutput })).toThrow(
      'T5: decoderIds must be (B, T) with T at least 1, got [1, 0]',
    );
    expect(() => model.forward(int32([[0], [0]]), { encoderOutput })).toThrow(ShapeError);
    expect(() => model.forward(int32([[0], [0]]), { encoderOutput })).toThrow(
      'T5: encoderOutput must be (B, S, C) with the 2 rows of decoderIds and C 12, got [1, 3, 12]',
    );
    expect(() => model.forward(int32([[0]]), { encoderOutput, encoderMask: bool([[1, 1]]) })).toThrow(
      'T5: attentionMask must be [1, 3] as the ids, got [1, 2]',
    );
    expect(() => model.forward(int32([[0]]), { encoder_output: encoderOutput } as object)).toThrow(
      "T5: unknown option 'encoder_output' (did you mean 'encoderOutput'?)",
    );
  });

  it('refuses labels that do not fit', () => {
    const ids = int32([[5, 6, 1]]);
    expect(() => seq2seqLoss(model, ids, int32([[3, 31]]))).toThrow(IndexError);
    expect(() => seq2seqLoss(model, ids, tensor([[3, 1]]))).toThrow(DTypeError);
    expect(() => shiftRight(tensor([[3, 1]]), model.config)).toThrow(
      'shiftRight: labels must be int32, got float32',
    );
    expect(() => shiftRight(int32([1, 2]), model.config)).toThrow(
      'shiftRight: labels must be (B, T) with T at least 1, got [2]',
    );
    expect(() => shiftRight(int32([[1]]), { decoder_start_token_id: null, pad_token_id: 0 })).toThrow(
      'shiftRight: the configuration must have decoder_start_token_id and pad_token_id, got null and 0',
    );
    expect(seq2seqLoss(model, ids, int32([[-100, -100]])).item()).toBeNaN();
    const logits = model.forward(shiftRight(int32([[3, 1]]), model.config), { encoderOutput });
    const whole = crossEntropy(logits, int32([[3, 1]]));
    expectClose(seq2seqLoss(model, ids, int32([[3, 1]])), whole.toFloat64Array(), { rtol: 1e-5 });
  });
});
