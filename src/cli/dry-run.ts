/** What a training run takes, reckoned from its sizes alone: the checks before it, and `tsgpt train --dry-run`. */

import { checkBatch, checkLength } from '../data/tokens.js';
import { checkFits } from '../models/config.js';
import type { Recompute } from '../nn/index.js';
import { checkValidation } from '../training/evaluation.js';
import { batchesOfEpochs } from '../training/run-length.js';
import type { Precision } from '../training/index.js';
import { formatBytes, formatCount } from './format.js';
import { estimateMemory, type DecoderSizes, type MemoryEstimate } from './memory-plan.js';
import { statesOf } from './optimizer.js';
import type { RunValues } from './run-flags.js';

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
 * @param adapters Weights of the adapters, where only these are trained.
 * @throws ArgumentError or ConfigError for sizes that cannot be trained.
 */
export function planRun(
  values: RunValues,
  sizes: DecoderSizes,
  tokens: { readonly train: number; readonly validation: number },
  adapters: number | null = null,
): RunPlan {
  const { batch, seq, 'grad-accum-steps': accumulation } = values;
  const { weights: parameters } = sizes;
  checkLength(tokens.train, seq);
  checkBatch({ batchSize: batch, sequenceLength: seq });
  checkValidation(tokens.validation, values['eval-interval']);
  checkFits('train', parameters);
  const pass = batch * seq;
  return {
    parameters,
    memory: estimateMemory(sizes, pass, {
      batches: accumulation,
      states: statesOf(values),
      recompute: values.recompute as Recompute,
      precision: values.precision as Precision,
      ...(adapters === null ? {} : { adapters }),
    }),
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
