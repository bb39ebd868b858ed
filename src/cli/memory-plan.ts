/**
 * The memory of a training step at its fullest moment, reckoned from sizes alone. `npm run bench -- recompute` holds it
 * against what is measured.
 *
 * Three kinds of moments can be the fullest: the end of a block in a half type, before its scope lets go of what is not
 * kept; when the loss has been computed, and all that backward needs is there; and when backward is in one of the blocks,
 * and the gradients of those after it are there. With checkpoints, earlier segments of blocks then hold their input only.
 */

import { linearCrossEntropyRows } from '../../lib/ops/loss.js';
import { defaults, type GPTConfig, headsOf, innerSize } from '../models/gpt-config.js';
import { GPT, Llama } from '../models/index.js';
import { headsOf as llamaHeadsOf, type LlamaConfig } from '../models/llama-config.js';
import { segmentLength, type Recompute } from '../nn/index.js';
import type { Precision } from '../training/index.js';

/** Bytes by what they hold, at the fullest moment. */
export type MemoryEstimate = Readonly<Record<'parameters' | 'gradients' | 'moments' | 'activations', number>>;

/** Sizes of a decoder. What a block keeps is in numbers for each token. */
export interface DecoderSizes {
  readonly weights: number;
  readonly vocabulary: number;
  /** C */
  readonly width: number;
  readonly layers: number;
  /** Width of the feed-forward layers, and whether they have a gate. */
  readonly inner: number;
  readonly gated: boolean;
  /** Width of queries, keys and values together; of what is kept of them before positions have turned them. */
  readonly qkv: number;
  readonly unturned: number;
  /** Weights of a block. */
  readonly blockWeights: number;
  /** What a block keeps in float32 in any precision: its input and the sum in its middle, and statistics. */
  readonly exact: number;
  /** What it keeps in the precision of the layers. */
  readonly rounded: number;
  /** What of that is cheap to compute again: results of norms and activations. */
  readonly cheap: number;
  /** What learned positions leave beside the first block's input, in float32. */
  readonly embedded: number;
}

type GPTSizes = Pick<GPTConfig, 'vocab_size' | 'n_positions' | 'n_embd' | 'n_layer' | 'n_head'> &
  Partial<GPTConfig>;

/** Sizes of a GPT; the configuration says what differs from GPT-2 124M. */
export function gptSizes(config: GPTSizes): DecoderSizes {
  const c = { ...defaults, ...config };
  const { n_embd: C, n_layer: layers, n_head, vocab_size: vocabulary } = c;
  const { kvHeads, size } = headsOf(c);
  const inner = innerSize(c);
  const weights = GPT.countParameters(config);
  // Query, key and value; where positions turn them the first two once more.
  const qkv = C + 2 * kvHeads * size;
  const turned = c.use_rope ? C + kvHeads * size : 0;
  return {
    ...{ weights, vocabulary, width: C, layers, inner, gated: c.use_swiglu, qkv, unturned: turned },
    blockWeights: weights - GPT.countParameters({ ...config, n_layer: layers - 1 }),
    exact: 2 * C + (c.use_rmsnorm ? 2 : 4) + 2 * n_head,
    // Both norms' results, attention's; the feed-forward layer before and after its activation, and its gate.
    rounded: 3 * C + qkv + turned + inner * (c.use_swiglu ? 3 : 2),
    cheap: 2 * C + inner,
    embedded: c.use_rope ? 0 : C,
  };
}

/** Sizes of a Llama. */
export function llamaSizes(c: LlamaConfig): DecoderSizes {
  const { hidden_size: C, num_hidden_layers: layers, intermediate_size: inner } = c;
  const { heads, kvHeads, size } = llamaHeadsOf(c);
  const weights = Llama.countParameters(c);
  const more = Llama.countParameters({ ...c, num_hidden_layers: layers + 1 });
  return {
    ...{
      weights,
      vocabulary: c.vocab_size,
      width: C,
      layers,
      inner,
      gated: true,
      qkv: (heads + 2 * kvHeads) * size,
      unturned: 0,
    },
    blockWeights: more - weights,
    exact: 2 * C + 2 + 2 * heads,
    rounded: 2 * C + 2 * (heads + kvHeads) * size + 3 * inner,
    cheap: 2 * C + inner,
    embedded: 0,
  };
}

/** What a step does. */
export interface StepSettings {
  /** Batches whose gradients are summed: from the second on all gradients are there, and a second one of the head. */
  readonly batches?: number;
  /** What the optimizer keeps of every weight. */
  readonly states?: number;
  readonly recompute?: Recompute;
  readonly precision?: Precision;
  /** Weights of adapters, where only these are trained. */
  readonly adapters?: number;
}

const floatBytes = 4;

/**
 * Memory of one training step.
 * @param tokens Tokens in one forward pass: batch times sequence.
 */
export function estimateMemory(
  sizes: DecoderSizes,
  tokens: number,
  settings: StepSettings = {},
): MemoryEstimate {
  const { batches = 1, states = 2, adapters } = settings;
  const trained = adapters ?? sizes.weights;
  const bytesAt = ({ gradients, activations }: Moment): number => gradients * floatBytes + activations;
  const fullest = moments(sizes, tokens, settings).reduce((a, b) => (bytesAt(a) >= bytesAt(b) ? a : b));
  const accumulated = batches > 1 ? trained : 0;
  const again = batches > 1 && adapters === undefined ? fullest.head : 0; // beside the sum of earlier batches
  return {
    parameters: (sizes.weights + (adapters ?? 0)) * floatBytes,
    gradients: (batches > 1 ? accumulated + again : fullest.gradients) * floatBytes,
    moments: states * trained * floatBytes,
    activations: fullest.activations,
  };
}

interface Moment {
  /** Numbers. */
  readonly gradients: number;
  /** Of these that of the head, which the loss has made. */
  readonly head: number;
  /** Bytes. */
  readonly activations: number;
}

function moments(sizes: DecoderSizes, tokens: number, settings: StepSettings): Moment[] {
  const { recompute = 'off', precision = 'float32', adapters } = settings;
  const { width: C, layers, inner, vocabulary } = sizes;
  const half = precision !== 'float32';
  const roundedBytes = half ? 2 : floatBytes;
  const selective = recompute === 'selective';
  const step = segmentLength(recompute) || layers;
  const kept = sizes.exact * floatBytes + (sizes.rounded - (selective ? sizes.cheap : 0)) * roundedBytes;
  const segments = Math.ceil(layers / step);
  const input = C * floatBytes;
  const head = adapters === undefined ? vocabulary * C : 0;
  const block = adapters === undefined ? sizes.blockWeights : adapters / layers;
  const logits = linearCrossEntropyRows(tokens, vocabulary) * vocabulary * floatBytes;
  // The last norm's input, its output, the gradient of that, and statistics; losses.
  const outside = (3 * C + 4) * floatBytes * tokens + logits;
  const lastSegment = layers - (segments - 1) * step;
  const list: Moment[] = [
    { gradients: head, head, activations: tokens * ((segments - 1) * input + lastSegment * kept) + outside },
  ];
  // A block in a half type before its scope ends: all that it has computed; in float32 also its norms' results, the results
  // of its two last layers (in the half type as well) and their sum.
  const whole = (sizes.exact + 6 * C) * floatBytes + sizes.rounded * roundedBytes;
  if (half && step === layers) {
    const before = (layers - 1) * kept + sizes.embedded * floatBytes;
    list.push({ gradients: 0, head: 0, activations: tokens * (before + whole) });
  }
  // In the middle of a block: its result's gradient (a checkpoint holds it, too), and what backward of the widest layer
  // works on: gradients of its inner results, and these where they are computed again.
  const widest = (1 + (sizes.gated ? 1 : 0) + (selective ? 1 : 0) + (adapters === undefined ? 0 : 1)) * inner;
  const later = adapters === undefined ? C * inner : 0; // its weight's gradient
  // In a half type attention widens its inputs, its result and the gradients; the layers after it are done then.
  const attention =
    sizes.exact * floatBytes - C * floatBytes + (2 * C + sizes.qkv + sizes.unturned) * 2 + 2 * C + // what it and the first norm keep
    (2 * C + sizes.qkv) * floatBytes + sizes.qkv * (floatBytes + 2); // prettier-ignore
  for (let i = layers - 1; i >= 0; i--) {
    const segment = Math.floor(i / step);
    const result = (segment < segments - 1 ? 2 : 1) * input;
    const before = segment * input + (i - segment * step) * kept + result;
    const gradients = head + (layers - 1 - i) * block;
    list.push({
      ...{ gradients: gradients + later, head },
      activations: tokens * (before + kept + widest * roundedBytes),
    });
    if (half)
      list.push({ gradients: gradients + 0.7 * block, head, activations: tokens * (before + attention) });
    if (half && step < layers) list.push({ gradients, head, activations: tokens * (before + whole) }); // computed again
  }
  return list;
}
