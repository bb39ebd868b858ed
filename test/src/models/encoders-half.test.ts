/**
 * Encoders and T5 with weights in half precision: what their rounded weights give in float32, and near the recorded outputs
 * of the unrounded ones.
 */

import { describe, expect, it } from 'vitest';
import {
  AutoModel,
  copy_,
  linear,
  type Module,
  noGrad,
  shiftRight,
  T5,
  Tensor,
  to,
} from '../../../src/index.js';
import { bool, int32, type Inputs, optionsOf } from '../../support/encoders.js';
import { expectClose, golden, readGolden } from '../../support/golden.js';

interface Recorded extends Inputs {
  labels: number[][];
  logits?: number[][];
  prediction_logits?: number[][];
  start_logits?: number[][];
}

/** The first output: logits of whatever head. */
function outputOf(model: Module, recorded: Recorded): Tensor {
  const ids = int32(recorded.input_ids);
  if (model instanceof T5) {
    const attentionMask = bool(recorded.attention_mask);
    const encoderOutput = model.encode(ids, { attentionMask });
    const decoderIds = shiftRight(int32(recorded.labels), model.config);
    const hidden = model.hidden(decoderIds, { encoderOutput, encoderMask: attentionMask });
    return linear(hidden, model.headWeight);
  }
  const encoder = model as unknown as {
    forward(ids: Tensor, options: object): Tensor | Record<string, Tensor>;
  };
  const out = encoder.forward(ids, optionsOf(recorded));
  return out instanceof Tensor ? out : Object.values(out)[0];
}

const names = [
  'hf-bert-pretraining',
  'hf-bert-seqcls',
  'hf-bert-qa',
  'hf-roberta-mlm',
  'hf-distilbert-tokcls',
  'hf-t5-v1_0-relu-tied',
  'hf-t5-v1_1-gated-gelu-untied',
];

// A weight is off by 2^-9 (bfloat16) or 2^-12 of itself at most. Through the layers that grows: up to so many times that,
// of the greatest output.
const growth = 16;

describe.each(names)('%s in half precision', (name) => {
  const recorded = readGolden<Recorded>(name, 'expected.json');
  const reference = recorded.logits ?? recorded.prediction_logits ?? recorded.start_logits!;
  const greatest = Math.max(...reference.flat(3).map(Math.abs));

  it.each([
    ['bfloat16', 2 ** -9],
    ['float16', 2 ** -12],
  ] as const)('%s', (dtype, rounding) => {
    const half = AutoModel.fromPretrained(golden(name), { dtype });
    expect(half.parameters().some((p) => p.dtype === dtype)).toBe(true);
    const rounded = AutoModel.fromPretrained(golden(name), { dtype: 'float32' });
    noGrad(() => {
      for (const p of rounded.parameters()) if (p.rank >= 2) copy_(p, to(to(p, dtype), 'float32'));
      const output = outputOf(half, recorded);
      expect(output.dtype).toBe('float32');
      const same = outputOf(rounded, recorded).toFloat64Array();
      expectClose(output, same, { atol: 1e-5 * greatest, rtol: 1e-5 }, 'rounded weights in float32');
      expectClose(output, reference, { atol: growth * rounding * greatest, rtol: 0 }, 'recorded');
    });
  });
});
