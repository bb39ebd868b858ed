/** Recomputation in every architecture: the same gradients bit for bit with dropout on, and less memory. */

import { describe, expect, it } from 'vitest';

import {
  backward,
  BertForSequenceClassification,
  classificationLoss,
  DistilBertForSequenceClassification,
  Generator,
  GPT,
  Llama,
  Lora,
  memory,
  type Module,
  nextTokenLoss,
  type Recompute,
  resetPeakMemory,
  RobertaForSequenceClassification,
  scope,
  seq2seqLoss,
  T5,
  tensor,
  type Tensor,
} from '../../../src/index.js';

const rows = [[3, 1, 4, 1, 5, 9, 2, 6, 5, 3], [30, 29, 2, 7, 4, 6, 8, 10, 12, 14]]; // prettier-ignore
const ids = tensor(rows, { dtype: 'int32' });
const labels = tensor([0, 1], { dtype: 'int32' });

const gpt = { vocab_size: 31, n_positions: 12, n_embd: 16, n_layer: 4, n_head: 2 };
const llama = {
  ...{
    vocab_size: 31,
    max_position_embeddings: 12,
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 3,
  },
  ...{ num_attention_heads: 4, num_key_value_heads: 2, attention_dropout: 0.2 },
};
const bert = {
  ...{ vocab_size: 31, hidden_size: 16, num_hidden_layers: 3, num_attention_heads: 2, intermediate_size: 24 },
  ...{ max_position_embeddings: 16 },
};
const distilbert = {
  vocab_size: 31,
  dim: 16,
  n_layers: 3,
  n_heads: 2,
  hidden_dim: 24,
  max_position_embeddings: 16,
};
const t5 = { vocab_size: 31, d_model: 16, d_kv: 8, d_ff: 24, num_layers: 3, num_heads: 2 };

type Case = [string, (generator: Generator) => Module, (model: Module) => Tensor];

const classes =
  (logits: (model: never) => Tensor) =>
  (model: Module): Tensor =>
    classificationLoss(logits(model as never), labels, (model as BertForSequenceClassification).config);
const cases: Case[] = [
  ['GPT', (generator) => new GPT(gpt, { generator }), (m) => nextTokenLoss(m as GPT, ids, ids)],
  [
    'GPT with all switches',
    (generator) =>
      new GPT(
        { ...gpt, use_rope: true, use_swiglu: true, use_rmsnorm: true, sliding_window: 4 },
        { generator },
      ),
    (m) => nextTokenLoss(m as GPT, ids, ids),
  ],
  ['Llama', (generator) => new Llama(llama, { generator }), (m) => nextTokenLoss(m as Llama, ids, ids)],
  [
    'Llama with adapters',
    (generator) => {
      const model = new Llama(llama, { generator });
      new Lora(model, { rank: 2, dropout: 0.1, generator });
      return model;
    },
    (m) => nextTokenLoss(m as Llama, ids, ids),
  ],
  [
    'BERT',
    (generator) => new BertForSequenceClassification(bert, { generator }),
    classes((m: BertForSequenceClassification) => m.forward(ids)),
  ],
  [
    'RoBERTa',
    (generator) => new RobertaForSequenceClassification(bert, { generator }),
    classes((m: RobertaForSequenceClassification) => m.forward(ids)),
  ],
  [
    'DistilBERT',
    (generator) => new DistilBertForSequenceClassification(distilbert, { generator }),
    classes((m: DistilBertForSequenceClassification) => m.forward(ids)),
  ],
  ['T5', (generator) => new T5(t5, { generator }), (m) => seq2seqLoss(m as T5, ids, ids)],
  [
    'gated T5',
    (generator) => new T5({ ...t5, feed_forward_proj: 'gated-gelu' }, { generator }),
    (m) => seq2seqLoss(m as T5, ids, ids),
  ],
];

const choices: Recompute[] = ['every:1', 'every:2', 'every:9', 'selective'];

describe('setRecompute', () => {
  it.each(cases)('%s: the same loss, gradients and random numbers', (_, build, loss) => {
    const bits = (choice: Recompute): unknown => {
      const generator = new Generator(5);
      const model = build(generator).setRecompute(choice);
      const value = scope(() => {
        const l = loss(model);
        backward(l);
        return l.item();
      });
      const grads = model.namedParameters().map(([name, p]) => [name, p.grad && Array.from(p.grad.data)]);
      return [value, grads, generator.state()];
    };
    const plain = bits('off');
    for (const choice of choices) expect(bits(choice), choice).toEqual(plain);
  });

  it('takes less memory', () => {
    const peak = (choice: Recompute): number => {
      const model = new GPT({ ...gpt, n_embd: 32, n_layer: 8, n_positions: 64 }).setRecompute(choice);
      const long = tensor(new Int32Array(8 * 64).fill(1), { shape: [8, 64] });
      const step = (): void => scope(() => backward(nextTokenLoss(model, long, long)));
      step(); // gradients are there from here on
      const before = memory().liveBytes;
      resetPeakMemory();
      step();
      return memory().peakBytes - before;
    };
    const off = peak('off');
    expect(peak('every:1')).toBeLessThan(off / 3);
    expect(peak('every:2')).toBeLessThan(off / 2);
    expect(peak('selective')).toBeLessThan(0.75 * off);
  });

  it('refuses other words', () => {
    const model = new GPT(gpt);
    for (const word of ['on', 'every', 'every:0', 'every:1.5']) {
      expect(() => model.setRecompute(word as Recompute)).toThrow(
        `recompute: must be 'off', 'selective' or 'every:N' with a number of layers, got '${word}'`,
      );
    }
  });
});
