/** What holds for every decoder: GPT with each of its switches and all combinations, Llama, Mistral and Qwen2. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  add_,
  ArgumentError,
  backward,
  causalMask,
  type CausalMaskOptions,
  type DecoderOptions,
  DTypeError,
  Generator,
  GPT,
  type GPTConfig,
  isNaN,
  type KVCache,
  Llama,
  type LlamaConfig,
  memory,
  noGrad,
  randn,
  scope,
  ShapeError,
  slice,
  sum,
  type Tensor,
  tensor,
} from '../../../src/index.js';
import { nextTokenLoss } from '../../../src/training/index.js';
import { expectClose } from '../../support/golden.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-decoders-'));
afterAll(() => rmSync(folder, { recursive: true }));

const gptSize = {
  vocab_size: 31,
  n_positions: 24,
  n_embd: 24,
  n_layer: 2,
  n_head: 4,
  initializer_range: 0.2,
};
const llamaSize = {
  vocab_size: 31,
  max_position_embeddings: 24,
  hidden_size: 24,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  initializer_range: 0.2,
};

const switches: Record<string, Partial<GPTConfig>> = {
  rope: { use_rope: true },
  swiglu: { use_swiglu: true },
  rmsnorm: { use_rmsnorm: true },
  'explicit mask': { use_explicit_mask: true },
  'grouped heads': { n_kv_head: 2 },
  'no bias': { bias: false },
  untied: { tie_word_embeddings: false },
  window: { sliding_window: 3 },
};

type Decoder = GPT | Llama;

interface Kind {
  readonly build: (seed: number) => Decoder;
  readonly load: (path: string) => Decoder;
  readonly count: () => number;
}

const gpt = (changes: Partial<GPTConfig>): Kind => ({
  build: (seed) => new GPT({ ...gptSize, ...changes }, { generator: new Generator(seed) }),
  load: (path) => GPT.fromPretrained(path),
  count: () => GPT.countParameters({ ...gptSize, ...changes }),
});
const llama = (changes: Partial<LlamaConfig>): Kind => ({
  build: (seed) => new Llama({ ...llamaSize, ...changes }, { generator: new Generator(seed) }),
  load: (path) => Llama.fromPretrained(path),
  count: () => Llama.countParameters({ ...llamaSize, ...changes }),
});

const llamaSwitches = { ...switches.rope, ...switches.swiglu, ...switches.rmsnorm };

const kinds: Record<string, Kind> = {
  'GPT-2': gpt({}),
  ...Object.fromEntries(Object.entries(switches).map(([name, change]) => [`GPT, ${name}`, gpt(change)])),
  'GPT, all switches': gpt(Object.assign({}, ...Object.values(switches)) as Partial<GPTConfig>),
  'GPT as a Llama': gpt({ ...llamaSwitches, n_kv_head: 1 }),
  'GPT as a Llama without biases': gpt({ ...llamaSwitches, bias: false, tie_word_embeddings: false }),
  'GPT, scaled positions': gpt({
    use_rope: true,
    rope_theta: 500,
    rope_scaling: { rope_type: 'linear', factor: 2 },
  }),
  Llama: llama({}),
  'Llama, biases, tied, own head size': llama({
    attention_bias: true,
    mlp_bias: true,
    tie_word_embeddings: true,
    head_dim: 10,
  }),
  Mistral: llama({ model_type: 'mistral', sliding_window: 4 }),
  Qwen2: llama({ model_type: 'qwen2', use_sliding_window: true, sliding_window: 4, max_window_layers: 1 }),
  'Llama, yarn': llama({ rope_scaling: { rope_type: 'yarn', factor: 3 } }),
};

const int32 = (ids: number[][]): Tensor => tensor(ids, { dtype: 'int32' });
const rows = [
  [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7],
  [30, 29, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22],
];
const logits = (model: Decoder, ids: number[][], options: DecoderOptions = {}): Tensor =>
  noGrad(() => model.forward(int32(ids), options));

/** Biases and norms away from their initial zeros and ones, which would hide mistakes. */
function shaken(model: Decoder): Decoder {
  const generator = new Generator(9);
  noGrad(() =>
    scope(() => {
      for (const p of model.parameters()) if (p.rank === 1) add_(p, randn(p.shape, { std: 0.3, generator }));
    }),
  );
  return model.eval();
}

/** Cached decoding in the given steps gives the rows of the whole. */
function checkCache(model: Decoder, steps: readonly number[], what = ''): void {
  const whole = logits(model, rows);
  using cache = model.newCache(2);
  let at = 0;
  for (const length of steps) {
    const part = logits(model, rows.map((row) => row.slice(at, at + length)), { cache }); // prettier-ignore
    expectClose(part, slice(whole, 1, at, at + length), { atol: 5e-6, rtol: 5e-6 }, `${what} from ${at}`);
    at += length;
  }
}

/** Weights, configuration and logits come back with the same bits. */
function checkSaved(kind: Kind, model: Decoder, path: string, what = ''): void {
  model.savePretrained(path);
  const loaded = kind.load(path);
  expect(loaded.config, what).toEqual(model.config);
  const state = loaded.stateDict();
  expect([...state.keys()], what).toEqual([...model.stateDict().keys()]);
  for (const [name, p] of model.stateDict()) expect(state.get(name)!.data, `${what} ${name}`).toEqual(p.data);
  expectClose(logits(loaded, rows), logits(model, rows), {}, `${what} logits`);
}

function checkGradients(model: Decoder, what = ''): void {
  scope(() =>
    backward(nextTokenLoss(model, int32(rows), int32(rows.map((row) => row.map((id) => 30 - id))))),
  );
  for (const [name, p] of model.namedParameters()) {
    const grad = p.grad!.toFloat64Array();
    expect(grad.every(Number.isFinite), `${what} ${name}`).toBe(true);
    expect(Math.hypot(...grad), `${what} ${name}`).toBeGreaterThan(1e-7);
  }
}

describe.each(Object.entries(kinds))('%s', (name, kind) => {
  const model = shaken(kind.build(1));

  it('gives the same logits with a cache, for any cut into steps', () => {
    checkCache(model, [5, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    checkCache(model, [1, 3, 6, 1, 3]);
    const last = logits(model, rows, { lastOnly: true });
    expectClose(last, slice(logits(model, rows), 1, -1), { atol: 5e-6 });
  });

  it('saves and loads bit for bit', () => {
    checkSaved(kind, model, join(folder, name));
  });

  it('counts its parameters, and each gets a gradient', () => {
    expect(model.numParameters()).toBe(kind.count());
    checkGradients(model);
  });

  it('is causal', () => {
    const other = rows.map((row) => [...row.slice(0, -1), 13]);
    const [a, b] = [logits(model, rows), logits(model, other)];
    expectClose(slice(a, 1, 0, 13), slice(b, 1, 0, 13), { atol: 0 });
    expect(slice(a, 1, 13).toArray()).not.toEqual(slice(b, 1, 13).toArray());
  });

  it('gives a padded batch the logits of each text alone, also step by step', () => {
    const texts = [rows[0].slice(0, 4), rows[1].slice(0, 9), rows[0].slice(0, 7)];
    const length = 9;
    const pad = (text: number[]): number[] => [
      ...Array.from({ length: length - text.length }, () => 7),
      ...text,
    ];
    const maskOf = (width: number): Tensor =>
      tensor(
        texts.map((text) => Array.from({ length: width }, (_, i) => i >= length - text.length)),
        { dtype: 'bool' },
      );
    using cache = model.newCache(3);
    const prefill = logits(model, texts.map(pad), { cache, attentionMask: maskOf(length), lastOnly: true });
    const next = [[11], [12], [13]];
    const step = logits(model, next, { cache, attentionMask: maskOf(length + 1) });
    for (const [i, text] of texts.entries()) {
      const alone = logits(model, [[...text, ...next[i]]]);
      const close = { atol: 1e-5, rtol: 1e-5 };
      expectClose(
        slice(prefill, 0, i, i + 1),
        slice(alone, 1, text.length - 1, text.length),
        close,
        'prefill',
      );
      expectClose(slice(step, 0, i, i + 1), slice(alone, 1, text.length), close, 'step');
    }
  });

  it('takes a mask of every query and key in place of its own', () => {
    const { sliding_window: size, use_sliding_window: used } = model.config as LlamaConfig;
    const window = used === undefined ? (size ?? null) : null;
    const mask = (options: CausalMaskOptions, queries = 14): Tensor =>
      causalMask(queries, 14, options).reshape([1, 1, queries, 14]);
    const whole = logits(model, rows, { attentionMask: mask({ window }) });
    if (used === undefined) expectClose(whole, logits(model, rows), { atol: 5e-6, rtol: 5e-6 });
    // With a prefix of four, the fourth token changes the first's output, the fifth does not.
    const at = (changed: number): number[][] => rows.map((row) => row.with(changed, 13));
    const first = (ids: number[][]): unknown =>
      slice(logits(model, ids, { attentionMask: mask({ prefix: 4 }) }), 1, 0, 1).toArray();
    expect(first(at(3))).not.toEqual(first(rows));
    expect(first(at(4))).toEqual(first(rows));
    using cache = model.newCache(2);
    logits(model, rows.map((row) => row.slice(0, 9)), { cache }); // prettier-ignore
    const rest = logits(model, rows.map((row) => row.slice(9)), { cache, attentionMask: mask({ window }, 5) }); // prettier-ignore
    if (used === undefined) expectClose(rest, slice(whole, 1, 9), { atol: 5e-6, rtol: 5e-6 });
  });

  it('gives documents side by side the logits and gradients of each alone', () => {
    const lengths = [[5, 1, 8], [14]];
    const starts = lengths.map((row) =>
      row.flatMap((n, i) => Array<number>(n).fill(row.slice(0, i).reduce((a, b) => a + b, 0))),
    );
    const documentStarts = int32(starts);
    const whole = logits(model, rows, { documentStarts });
    const weightOf = (x: Tensor): Tensor =>
      x.mul(tensor(x.toFloat64Array().map(Math.sin), { shape: x.shape, dtype: 'float32' }));
    const gradients = (run: () => Tensor[]): Map<string, Tensor> => {
      for (const p of model.parameters()) p.grad = null;
      scope(() => run().forEach((y) => backward(sum(weightOf(y)))));
      return new Map(model.namedParameters().map(([key, p]) => [key, p.grad!.clone()]));
    };
    const parts = lengths.flatMap((row, r) =>
      row.map((n, i) => ({ r, from: row.slice(0, i).reduce((a, b) => a + b, 0), n })),
    );
    for (const { r, from, n } of parts) {
      const alone = logits(model, [rows[r].slice(from, from + n)]);
      expectClose(slice(slice(whole, 0, r, r + 1), 1, from, from + n), alone, { atol: 1e-5, rtol: 1e-5 });
    }
    const packed = gradients(() => [model.forward(int32(rows), { documentStarts })]);
    const apart = gradients(() =>
      parts.map(({ r, from, n }) => model.forward(int32([rows[r].slice(from, from + n)]))),
    );
    for (const [key, grad] of packed) expectClose(grad, apart.get(key)!, { atol: 1e-4, rtol: 1e-4 }, key);
  });

  it('refuses documents that do not fit', () => {
    const forward =
      (documentStarts: Tensor, more: DecoderOptions = {}) =>
      () =>
        logits(model, rows, { documentStarts, ...more });
    expect(forward(int32([[0]]))).toThrow(
      /documentStarts must be \(B, T\) \[2, 14\] of int32, got int32 \[1, 1\]/,
    );
    const later = int32(rows.map((row) => row.map((_, i) => (i === 3 ? 4 : 0))));
    expect(forward(later)).toThrow(
      /documentStarts must be that of the token before or the token's own column, got 4 at column 3 of row 0/,
    );
    const falling = int32(rows.map((row) => row.map((_, i) => (i === 3 ? 3 : 0))));
    expect(forward(falling)).toThrow(/got 0 at column 4 of row 0/);
    using cache = model.newCache(2);
    const zeros = int32(rows.map((row) => row.map(() => 0)));
    expect(forward(zeros, { cache })).toThrow(
      /documentStarts do not go together with a cache or an attentionMask/,
    );
  });

  it('gives numbers also for a row without a token', () => {
    const attentionMask = tensor([rows[0].map(() => false), rows[1].map(() => true)], { dtype: 'bool' });
    const all = logits(model, rows, { attentionMask });
    expect(sum(isNaN(all).to('float32')).item()).toBe(0);
    expectClose(slice(all, 0, 1), logits(model, [rows[1]]), { atol: 1e-5, rtol: 1e-5 });
  });

  it('refuses masks that do not fit', () => {
    const forward = (attentionMask: Tensor, cache?: KVCache) => () =>
      logits(model, rows, { attentionMask, ...(cache && { cache }) });
    const ones = (shape: number[]): Tensor => tensor(new Uint8Array(shape[0] * shape[1]).fill(1), { shape });
    expect(forward(ones([2, 14]))).toThrow(DTypeError);
    expect(forward(ones([2, 14]))).toThrow(/attentionMask must be bool, got uint8; compare it: mask.ne\(0\)/);
    expect(forward(ones([2, 13]).ne(0))).toThrow(ShapeError);
    expect(forward(ones([2, 13]).ne(0))).toThrow(
      /attentionMask must be \(B, S\) \[2, 14\] or \(B, 1, T, S\) \[2, 1, 14, 14\], cached positions included, got \[2, 13\]/,
    );
    expect(forward([[true]] as never)).toThrow(/needs a tensor, got an array/);
  });

  it('keeps no memory from call to call', () => {
    const run = (): unknown => scope(() => (logits(model, rows), undefined));
    run();
    const before = memory().liveBytes;
    run();
    expect(memory().liveBytes).toBeLessThanOrEqual(before); // the collector may take what earlier tests left
  });
});

describe('causalMask', () => {
  it('shows the past, the window, the prefix', () => {
    const shown = (...args: Parameters<typeof causalMask>): string[] =>
      (
        causalMask(...args)
          .to('int32')
          .toArray() as number[][]
      ).map((row) => row.join(''));
    expect(shown(3, 3)).toEqual(['100', '110', '111']);
    expect(shown(2, 4)).toEqual(['1110', '1111']);
    expect(shown(3, 4, { window: 2 })).toEqual(['1100', '0110', '0011']);
    expect(shown(3, 3, { prefix: 2 })).toEqual(['110', '110', '111']);
  });

  it('refuses what is no number of positions', () => {
    expect(() => causalMask(-1, 3)).toThrow(
      'causalMask: queries must be a whole number of positions, got -1',
    );
    expect(() => causalMask(1, 3, { window: 0 })).toThrow(
      'causalMask: window must be a whole number of positions',
    );
    expect(() => causalMask(1, 3, { prefix: 1.5 })).toThrow(ArgumentError);
    expect(() => causalMask(1, 3, { prefixes: 1 } as never)).toThrow("unknown option 'prefixes' (did you mean 'prefix'?)"); // prettier-ignore
  });
});

describe('the switches of GPT', () => {
  const names = Object.keys(switches);
  const combinations = Array.from({ length: 2 ** names.length }, (_, bits) =>
    names.filter((__, i) => (bits >> i) & 1),
  );

  it('work in any combination: cached, saved, trained', () => {
    for (const chosen of combinations) {
      const kind = gpt(Object.assign({}, ...chosen.map((name) => switches[name])) as Partial<GPTConfig>);
      const what = chosen.join(' + ');
      scope(() => {
        const model = shaken(kind.build(2));
        expect(model.numParameters(), what).toBe(kind.count());
        checkCache(model, [6, 1, 7], what);
        // A save waits for the disk: those of few and of most switches.
        if (chosen.length <= 2 || chosen.length >= 7)
          checkSaved(kind, model, join(folder, 'combination'), what);
        checkGradients(model, what);
      });
    }
  });

  it.each([3, null])('hide the same keys by the explicit mask as by the implicit, window %s', (window) => {
    const build = (use_explicit_mask: boolean): Decoder =>
      gpt({ sliding_window: window, use_explicit_mask }).build(3).eval();
    expectClose(logits(build(true), rows), logits(build(false), rows), { atol: 1e-6 });
  });

  it.each([
    ['GPT', gpt({ sliding_window: 3 })],
    ['Mistral', llama({ model_type: 'mistral', sliding_window: 3 })],
  ])('let a window of 3 in two layers reach back four positions: %s', (_, kind) => {
    const model = kind.build(4).eval();
    const other = rows.map((row) => [17, ...row.slice(1)]);
    const [a, b] = [logits(model, rows), logits(model, other)];
    expectClose(slice(a, 1, 5), slice(b, 1, 5), { atol: 0 });
    expect(slice(a, 1, 4, 5).toArray()).not.toEqual(slice(b, 1, 4, 5).toArray());
  });
});
