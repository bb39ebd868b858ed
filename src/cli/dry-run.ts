/** `tsgpt train --dry-run`: what a run would take, reckoned from its sizes alone. */

import { linearCrossEntropyRows } from '../../lib/ops/loss.js';
import { checkLength } from '../data/tokens.js';
import { GPT, type GPTConfig } from '../models/index.js';
import { formatBytes, formatCount } from './format.js';
import type { RunValues } from './run-flags.js';

/** Bytes by what they hold. */
export type MemoryEstimate = Readonly<Record<'parameters' | 'gradients' | 'moments' | 'activations', number>>;

type Sizes = Pick<GPTConfig, 'vocab_size' | 'n_positions' | 'n_embd' | 'n_layer' | 'n_head'>;

const floatBytes = 4;

/**
 * Memory of one training step. The activations are what a block of src/models/gpt.ts keeps for backward, and the logits
 * that the loss works on at once, over which their gradient is written.
 *
 * @param tokens Tokens in one forward pass: batch times sequence.
 * @param batches Batches whose gradients are summed: from the second on there are two gradients of the output head.
 */
export function estimateMemory(config: Sizes, tokens: number, batches = 1): MemoryEstimate {
  const { n_embd: C, n_layer, n_head, vocab_size } = config;
  const weights = GPT.countParameters(config) * floatBytes;
  // Input, both norms' outputs, query, key and value, attention's output, the sum after it (8 C); the feed-forward layer
  // before and after its activation (8 C); statistics of norms and attention.
  const block = 16 * C + 4 + n_head;
  // The last norm's input, output, the gradient of that, and statistics; losses.
  const outside = 3 * C + 4;
  const logits = linearCrossEntropyRows(tokens, vocab_size) * vocab_size;
  return {
    parameters: weights,
    gradients: weights + (batches > 1 ? vocab_size * C * floatBytes : 0),
    moments: 2 * weights,
    activations: (tokens * (n_layer * block + outside) + logits) * floatBytes,
  };
}

/**
 * Prints the table, or with `--json` one object.
 * @throws ArgumentError when the text is too short to train on.
 */
export function dryRun(values: RunValues, config: Sizes, trainTokens: number): void {
  checkLength(trainTokens, values.seq);
  const pass = values.batch * values.seq;
  const tokensPerStep = pass * values['grad-accum-steps'];
  const batches = Math.ceil((values.epochs * trainTokens) / pass);
  const steps = values.steps ?? Math.ceil(batches / values['grad-accum-steps']);
  const parameters = GPT.countParameters(config);
  const memory = estimateMemory(config, pass, values['grad-accum-steps']);
  const total = Object.values(memory).reduce((a, b) => a + b, 0);
  if (values.json) {
    const result = { parameters, memory_bytes: { total, ...memory }, tokens_per_step: tokensPerStep, steps };
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return;
  }
  const epochs = ((steps * tokensPerStep) / trainTokens).toFixed(2);
  const rows = [
    ['parameters', `${parameters} (${formatCount(parameters)})`],
    ['memory, about', formatBytes(total)],
    ...Object.entries(memory).map(([name, bytes]) => [`  ${name}`, formatBytes(bytes)]),
    ['tokens per step', String(tokensPerStep)],
    ['steps', `${steps} (${epochs} epochs of ${trainTokens} tokens)`],
  ];
  process.stdout.write(rows.map(([name, value]) => `${name.padEnd(18)} ${value}\n`).join(''));
}
