import { describe, expect, it } from 'vitest';

import { autocast, backward, memory, resetPeakMemory, scope, zeros } from '../../../lib/index.js';
import { planRun } from '../../../src/cli/dry-run.js';
import {
  estimateMemory,
  gptSizes,
  llamaSizes,
  type DecoderSizes,
  type StepSettings,
} from '../../../src/cli/memory-plan.js';
import type { RunValues } from '../../../src/cli/run-flags.js';
import { GPT, Llama } from '../../../src/models/index.js';
import { Lora } from '../../../src/nn/index.js';
import { AdamW, nextTokenLoss } from '../../../src/training/index.js';
import { sanitized } from '../../support/sanitized.js';

const off = { resid_pdrop: 0, embd_pdrop: 0, attn_pdrop: 0 };
// Buffers large enough that the pool rounds no sizes up, and what is worked on a piece at a time does not count.
const small = { vocab_size: 65, n_positions: 128, n_embd: 128, n_layer: 4, n_head: 4 };
const configs = [
  small,
  { vocab_size: 1000, n_positions: 128, n_embd: 128, n_layer: 3, n_head: 2 },
  { vocab_size: 50257, n_positions: 128, n_embd: 32, n_layer: 1, n_head: 2 }, // two chunks of logits
  { ...small, use_rope: true, n_kv_head: 2 },
  { ...small, use_swiglu: true, use_rmsnorm: true, n_inner: 384 },
];

type Decoder = GPT | Llama;

/** What three steps take at most, as src/training/trainer.ts makes them. */
function peakOf(make: () => Decoder, [B, T]: readonly [number, number], settings: StepSettings): number {
  const before = memory().liveBytes;
  const model = make().setRecompute(settings.recompute ?? 'off');
  const lora = settings.adapters === undefined ? null : new Lora(model, { rank: 4 });
  const parameters = lora?.parameters() ?? model.parameters();
  const optimizer = new AdamW(parameters, { lr: 1e-4 });
  const ids = zeros([B, T], { dtype: 'int32' });
  const half = settings.precision === 'bf16' ? 'bfloat16' : null;
  for (let step = 0; step < 3; step++) {
    if (step === 1) resetPeakMemory();
    scope(() => {
      for (let i = 0; i < (settings.batches ?? 1); i++) {
        scope(() => backward(autocast(half, () => nextTokenLoss(model, ids, ids))));
      }
      optimizer.step();
      optimizer.zeroGrad();
    });
  }
  const peak = memory().peakBytes - before;
  for (const t of [...model.parameters(), ...parameters, ...optimizer.stateDict().values()]) t.dispose();
  ids.dispose();
  return peak;
}

const total = (sizes: DecoderSizes, tokens: number, settings: StepSettings): number =>
  Object.values(estimateMemory(sizes, tokens, settings)).reduce((a, b) => a + b, 0);

const choices: StepSettings[] = [
  ...(['off', 'selective', 'every:1', 'every:2', 'every:3'] as const).map((recompute) => ({ recompute })),
  { batches: 2 },
  { precision: 'bf16' },
  { precision: 'bf16', recompute: 'every:1' },
  { precision: 'bf16', recompute: 'selective' },
];

const expectNear = (estimate: number, measured: number): void => {
  expect(estimate / measured).toBeGreaterThan(0.95);
  expect(estimate / measured).toBeLessThan(1.05);
};

// Whole training steps of fifty models: a quarter of an hour under sanitizers, and nothing in them that other tests lack.
describe.skipIf(sanitized)('the estimates of --dry-run', () => {
  it.each(configs.flatMap((config) => choices.map((settings) => ({ config, settings }))))(
    'are within 5 % of what steps of a GPT take: $config, $settings',
    ({ config, settings }) => {
      const batch = [16, config.n_positions] as const;
      const measured = peakOf(() => new GPT({ ...config, ...off }), batch, settings);
      expectNear(total(gptSizes(config), batch[0] * batch[1], settings), measured);
    },
  );

  const llama = {
    ...{ vocab_size: 300, hidden_size: 128, intermediate_size: 320, num_hidden_layers: 4 },
    ...{ num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 128 },
  };

  it.each(choices)('are within 5 % of what steps of a Llama take: %o', (settings) => {
    const { config } = new Llama(llama);
    expectNear(
      total(llamaSizes(config), 512, settings),
      peakOf(() => new Llama(llama), [8, 64], settings),
    );
  });

  it.each(choices.slice(0, 3))('are within 5 % of what adapters take: %o', (choice) => {
    const config = configs[1];
    const adapters = new Lora(new GPT(config), { rank: 4 }).numParameters();
    const settings = { ...choice, adapters };
    const measured = peakOf(() => new GPT({ ...config, ...off }), [16, 128], settings);
    expectNear(total(gptSizes(config), 2048, settings), measured);
  });
});

describe('planRun', () => {
  const flags = {
    recompute: 'off',
    precision: 'float32',
    optimizer: 'adamw',
    batch: 4,
    seq: 8,
    'grad-accum-steps': 2,
    epochs: 2,
    'eval-interval': 250,
  };
  const plan = (changes: object = {}, sizes: object = {}, validation = 10) =>
    planRun({ ...flags, ...changes } as RunValues, gptSizes({ ...configs[0], ...sizes }), {
      train: 100,
      validation,
    });

  it('counts tokens and steps', () => {
    expect(plan()).toMatchObject({ tokensPerStep: 64, steps: 4, trainTokens: 100 }); // 7 batches
    expect(plan({ steps: 9 }).steps).toBe(9);
  });

  it('refuses what training refuses', () => {
    expect(() => plan({ seq: 100 })).toThrow('too few for a sequence of 100');
    expect(() => plan({ batch: 5e9, seq: 1 })).toThrow('a batch of 5000000000 sequences of 1 has more than');
    expect(() => plan({ epochs: 1e308 })).toThrow('epochs must not make more than 2^53 batches');
    expect(() => plan({}, { n_embd: 2_000_000 })).toThrow(/weights take .*, this machine has/);
    expect(() => plan({}, {}, 1)).toThrow('the validation part is one token');
    expect(plan({ 'eval-interval': 0 }, {}, 1).steps).toBe(4);
  });
});
