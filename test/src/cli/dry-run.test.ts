import { describe, expect, it } from 'vitest';

import { backward, memory, resetPeakMemory, scope, zeros } from '../../../lib/index.js';
import { estimateMemory, planRun } from '../../../src/cli/dry-run.js';
import type { RunValues } from '../../../src/cli/run-flags.js';
import { GPT } from '../../../src/models/index.js';
import { nextTokenLoss } from '../../../src/training/index.js';

const off = { resid_pdrop: 0, embd_pdrop: 0, attn_pdrop: 0 };
const configs = [
  { vocab_size: 65, n_positions: 64, n_embd: 64, n_layer: 4, n_head: 4 },
  { vocab_size: 1000, n_positions: 128, n_embd: 96, n_layer: 2, n_head: 3 },
  { vocab_size: 50257, n_positions: 64, n_embd: 32, n_layer: 1, n_head: 2 }, // two chunks of logits
  { vocab_size: 65, n_positions: 64, n_embd: 64, n_layer: 4, n_head: 4, use_rope: true, n_kv_head: 2 },
  { vocab_size: 65, n_positions: 64, n_embd: 64, n_layer: 4, n_head: 4, use_swiglu: true, use_rmsnorm: true },
];

describe('the estimates of --dry-run', () => {
  it.each(configs)('come near the memory that a step of $n_layer layers takes', (config) => {
    const [B, T] = [8, config.n_positions];
    const model = new GPT({ ...config, ...off });
    const ids = zeros([B, T], { dtype: 'int32' });
    const step = () => scope(() => backward(nextTokenLoss(model, ids, ids)));
    step(); // gradients are there from here on
    const before = memory().liveBytes;
    resetPeakMemory();
    step();
    const measured = memory().peakBytes - before;
    const { activations, gradients, parameters } = estimateMemory(config, B * T, { batches: 2 });
    const ratio = (activations + gradients - parameters) / measured;
    expect(ratio).toBeGreaterThan(0.9);
    expect(ratio).toBeLessThan(1.1);
  });
});

describe('planRun', () => {
  const flags = { batch: 4, seq: 8, 'grad-accum-steps': 2, epochs: 2, 'eval-interval': 250 };
  const plan = (changes: object = {}, sizes: object = {}, validation = 10) =>
    planRun({ ...flags, ...changes } as RunValues, { ...configs[0], ...sizes }, { train: 100, validation });

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
