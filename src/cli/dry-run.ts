/** What a training run takes, reckoned from its sizes alone: the checks before it, and `tsgpt train --dry-run`. */

import { linearCrossEntropyRows } from '../../lib/ops/loss.js';
import { checkBatch, checkLength } from '../data/tokens.js';
import { checkFits } from '../models/config.js';
import { defaults, headsOf, innerSize } from '../models/gpt-config.js';
import { GPT, type GPTConfig } from '../models/index.js';
import { checkValidation } from '../training/evaluation.js';
import { batchesOfEpochs } from '../training/run-length.js';
import { formatBytes, formatCount } from './format.js';
import { statesOf } from './optimizer.js';
import type { RunValues } from './run-flags.js';

/** Bytes by what they hold. */
export type MemoryEstimate = Readonly<Record<'parameters' | 'gradients' | 'moments' | 'activations', number>>;

type Sizes = Pick<GPTConfig, 'vocab_size' | 'n_positions' | 'n_embd' | 'n_layer' | 'n_head'> &
  Partial<GPTConfig>;

const floatBytes = 4;

/**
 * Memory of one training step. The activations are what a block of src/models/gpt.ts keeps for backward, and the logits
 * that the loss works on at once, over which their gradient is written.
 *
 * @param tokens Tokens in one forward pass: batch times sequence.
 * @param options.batches Batches whose gradients are summed: from the second on there are two gradients of the output head.
 * @param options.states What the optimizer keeps of every weight.
 */
export function estimateMemory(
  config: Sizes,
  tokens: number,
  { batches = 1, states = 2 }: { readonly batches?: number; readonly states?: number } = {},
): MemoryEstimate {
  const c = { ...defaults, ...config };
  const { n_embd: C, n_layer, n_head, vocab_size } = c;
  const weights = GPT.countParameters(config) * floatBytes;
  const { kvHeads, size } = headsOf(c);
  // Input, both norms' outputs, attention's output, the sum after it; query, key and value, where positions turn them the
  // first two once more; the feed-forward layer before and after its activation (and its gate); statistics of norms and
  // attention.
  const attention = C + 2 * kvHeads * size + (c.use_rope ? C + kvHeads * size : 0);
  const mlp = innerSize(c) * (c.use_swiglu ? 3 : 2);
  const block = 5 * C + attention + mlp + (c.use_rmsnorm ? 2 : 4) + n_head;
  // The last norm's input, output, the gradient of that, and statistics; losses.
  const outside = 3 * C + 4;
  const logits = linearCrossEntropyRows(tokens, vocab_size) * vocab_size;
  return {
    parameters: weights,
    gradients: weights + (batches > 1 ? vocab_size * C * floatBytes : 0),
    moments: states * weights,
    activations: (tokens * (n_layer * block + outside) + logits) * floatBytes,
  };
}

/** What a run comes to. */
export interface RunPlan {
  readonly parameters: number;
  readonly memory: MemoryEstimate;
  readonly tokensPerStep: number;
  readonly steps: number;
  readonly trainTokens: number;
}

/**
 * Reckons a run up.
 * @param tokens Numbers of tokens to train on and to validate.
 * @throws ArgumentError or ConfigError for sizes that cannot be trained.
 */
export function planRun(
  values: RunValues,
  config: Sizes,
  tokens: { readonly train: number; readonly validation: number },
): RunPlan {
  const { batch, seq, 'grad-accum-steps': accumulation } = values;
  const parameters = GPT.countParameters(config);
  checkLength(tokens.train, seq);
  checkBatch({ batchSize: batch, sequenceLength: seq });
  checkValidation(tokens.validation, values['eval-interval']);
  checkFits('GPT', parameters);
  const pass = batch * seq;
  return {
    parameters,
    memory: estimateMemory(config, pass, { batches: accumulation, states: statesOf(values) }),
    tokensPerStep: pass * accumulation,
    steps: values.steps ?? Math.ceil(batchesOfEpochs(values.epochs, tokens.train / pass) / accumulation),
    trainTokens: tokens.train,
  };
}

/** Prints a plan as a table, or as one JSON object. */
export function showPlan(
  { parameters, memory, tokensPerStep, steps, trainTokens }: RunPlan,
  json: boolean,
): void {
  const total = Object.values(memory).reduce((a, b) => a + b, 0);
  if (json) {
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
