/** Llama against Hugging Face's LlamaForCausalLM, MistralForCausalLM and Qwen2ForCausalLM (recorded), and the real stories260K. */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  backward,
  crossEntropy,
  Llama,
  type RopeScaling,
  noGrad,
  scope,
  slice,
  type Tensor,
  tensor,
} from '../../../src/index.js';
import { expectClose, golden, readGolden } from '../../support/golden.js';
import { isMissing, shared } from '../../support/shared.js';

interface Recorded {
  input_ids: number[][];
  logits: number[][][];
  loss: number;
  loss_labels_masked_first5: number;
  hidden_states_last_token: number[][][];
  grad_of_loss: Record<string, { norm: number; sum: number; first4: number[] }>;
  left_padded: {
    input_ids: number[][];
    attention_mask: number[][];
    logits_last: number[][];
    logits_seq0_from_pad_end: number[][];
  };
  greedy_20: { sequences: number[][] };
}

const tolerance = { atol: 2e-4, rtol: 2e-4 }; // float32 results printed with eight digits
const int32 = (ids: number[][]): Tensor => tensor(ids, { dtype: 'int32' });
const bool = (mask: number[][]): Tensor => tensor(mask, { dtype: 'bool' });

function shiftedLoss(logits: Tensor, labels: number[][]): Tensor {
  return crossEntropy(slice(logits, 1, 0, labels[0].length - 1), int32(labels.map((row) => row.slice(1))));
}

/** The likeliest continuation, by the cache. */
function greedy(model: Llama, prompt: number[], count: number): number[] {
  using cache = model.newCache(1, prompt.length + count);
  const made: number[] = [];
  let next = prompt;
  while (made.length < count) {
    const id = noGrad(() =>
      scope(() =>
        model
          .forward(int32([next]), { cache, lastOnly: true })
          .argmax(-1)
          .item(),
      ),
    );
    made.push(id);
    next = [id];
  }
  return made;
}

describe.each(['hf-llama-gqa', 'hf-llama3-rope-tied', 'hf-llama-mha-fp16'])(
  'Llama against Hugging Face: %s',
  (name) => {
    const expected = readGolden<Recorded>(name, 'expected.json');
    const model = Llama.fromPretrained(golden(name));
    const ids = int32(expected.input_ids);

    it('gives the recorded logits and hidden states', () => {
      const logits = noGrad(() => model.forward(ids));
      expectClose(logits, expected.logits, tolerance, 'logits');
      const hidden = noGrad(() => model.hidden(ids, { lastOnly: true }));
      expectClose(hidden, expected.hidden_states_last_token.at(-1)!, tolerance, 'hidden');
    });

    it('gives the recorded losses and the gradient of every parameter', () => {
      const masked = expected.input_ids.map((row) => row.map((id, i) => (i < 5 ? -100 : id)));
      const loss = noGrad(() => shiftedLoss(model.forward(ids), masked));
      expectClose(loss, [expected.loss_labels_masked_first5], tolerance, 'masked loss');
      const whole = shiftedLoss(model.forward(ids), expected.input_ids);
      expectClose(whole, [expected.loss], tolerance, 'loss');
      backward(whole);
      const recorded = Object.entries(expected.grad_of_loss);
      expect(recorded.length).toBe(model.parameters().length);
      const parameters = model.stateDict();
      for (const [key, { norm, sum, first4 }] of recorded) {
        const grad = parameters.get(key.replace(/^model\./, ''))!.grad!.toFloat64Array();
        expectClose([Math.hypot(...grad)], [norm], tolerance, `${key} gradient norm`);
        const total = grad.reduce((a, b) => a + b, 0);
        expectClose([total], [sum], { atol: 2e-4 * Math.max(1, norm), rtol: 2e-4 }, `${key} sum`);
        expectClose(grad.slice(0, 4), first4, tolerance, `${key} gradient`);
      }
    });

    it('sees no padding', () => {
      const padded = expected.left_padded;
      const logits = noGrad(() =>
        model.forward(int32(padded.input_ids), { attentionMask: bool(padded.attention_mask) }),
      );
      expectClose(slice(logits, 1, -1), padded.logits_last, tolerance, 'last position');
      const first = padded.attention_mask[0].indexOf(1);
      const row = slice(slice(logits, 0, 0, 1), 1, first);
      expectClose(row, padded.logits_seq0_from_pad_end, tolerance, 'after the padding');
    });

    it('continues greedily as recorded', () => {
      const [sequence] = expected.greedy_20.sequences;
      const made = greedy(model, sequence.slice(0, -20), 20);
      expect(made).toEqual(sequence.slice(-20));
    });
  },
);

interface RecordedFamily {
  input_ids: number[][];
  logits: number[][][];
  loss: number;
  grad_norms: Record<string, number>;
  greedy: number[];
  padded: { attention_mask: number[][]; logits_last: number[][] };
}

// transformers 5: biases everywhere; a sliding window and a head size of its own; both with windows in some layers.
describe.each(['hf-llama-bias', 'hf-mistral', 'hf-qwen2'])('Llama against Hugging Face: %s', (name) => {
  const expected = readGolden<RecordedFamily>(name, 'expected.json');
  const model = Llama.fromPretrained(golden(name));
  const ids = int32(expected.input_ids);

  it('gives the recorded logits, also beside padding', () => {
    expectClose(
      noGrad(() => model.forward(ids)),
      expected.logits,
      tolerance,
      'logits',
    );
    const { attention_mask, logits_last } = expected.padded;
    const padded = noGrad(() => model.forward(ids, { attentionMask: bool(attention_mask), lastOnly: true }));
    expectClose(padded, logits_last, tolerance, 'padded');
  });

  it('gives the recorded loss and gradients', () => {
    const loss = shiftedLoss(model.forward(ids), expected.input_ids);
    expectClose(loss, [expected.loss], tolerance, 'loss');
    backward(loss);
    const grads = new Map(model.namedParameters());
    expect(Object.keys(expected.grad_norms).length).toBe(grads.size);
    for (const [key, norm] of Object.entries(expected.grad_norms)) {
      const grad = grads.get(key.replace(/^model\./, ''))!.grad!.toFloat64Array();
      expectClose([Math.hypot(...grad)], [norm], tolerance, key);
    }
  });

  it('continues greedily as recorded, past its window', () => {
    expect(greedy(model, expected.greedy.slice(0, 4), 20)).toEqual(expected.greedy.slice(4));
  });
});

describe('scaled rotary positions against Hugging Face', () => {
  const expected = readGolden<{
    input_ids: number[][];
    cases: { rope_parameters: { rope_theta: number } & RopeScaling; length: number; logits_last: number[] }[];
  }>('hf-llama-rope', 'expected.json');
  const base = Llama.fromPretrained(golden('hf-llama-rope'));

  it.each(expected.cases)(
    '$rope_parameters, $length positions',
    ({ rope_parameters, length, logits_last }) => {
      const { rope_theta, ...rope_scaling } = rope_parameters;
      const model = new Llama({ ...base.config, rope_theta, rope_scaling }).eval();
      model.loadStateDict(base.stateDict());
      const ids = int32(expected.input_ids.map((row) => row.slice(0, length)));
      expectClose(
        noGrad(() => model.forward(ids, { lastOnly: true })),
        logits_last,
        tolerance,
      );
    },
  );
});

describe.skipIf(isMissing('models', 'stories260K-hf'))('stories260K, a trained model', () => {
  it('generates the published 200 tokens', () => {
    const folder = shared('models', 'stories260K-hf');
    const expected = JSON.parse(readFileSync(`${folder}/expected.json`, 'utf8')) as {
      greedy_from_bos: { prompt_ids: number[]; new_ids: number[] };
    };
    const { prompt_ids: prompt, new_ids: ids } = expected.greedy_from_bos;
    const model = Llama.fromPretrained(folder);
    expect(greedy(model, prompt, ids.length)).toEqual(ids);
  });
});
