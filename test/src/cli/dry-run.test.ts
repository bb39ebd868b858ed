import { describe, expect, it } from 'vitest';

import { backward, memory, resetPeakMemory, scope, zeros } from '../../../lib/index.js';
import { estimateMemory } from '../../../src/cli/dry-run.js';
import { GPT } from '../../../src/models/index.js';
import { nextTokenLoss } from '../../../src/training/index.js';

const off = { resid_pdrop: 0, embd_pdrop: 0, attn_pdrop: 0 };
const configs = [
  { vocab_size: 65, n_positions: 64, n_embd: 64, n_layer: 4, n_head: 4 },
  { vocab_size: 1000, n_positions: 128, n_embd: 96, n_layer: 2, n_head: 3 },
  { vocab_size: 50257, n_positions: 64, n_embd: 32, n_layer: 1, n_head: 2 }, // two chunks of logits
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
    const { activations, gradients, parameters } = estimateMemory(config, B * T, 2);
    const ratio = (activations + gradients - parameters) / measured;
    expect(ratio).toBeGreaterThan(0.9);
    expect(ratio).toBeLessThan(1.1);
  });
});
