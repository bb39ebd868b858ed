/** RoBERTa and DistilBERT against Hugging Face's (recorded), loading and saving, and what differs from BERT. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  answerLoss,
  backward,
  classificationLoss,
  ConfigError,
  DistilBertForMaskedLM,
  DistilBertForQuestionAnswering,
  DistilBertForSequenceClassification,
  DistilBertForTokenClassification,
  DistilBertModel,
  Generator,
  maskedTokenLoss,
  noGrad,
  RobertaForMaskedLM,
  RobertaForQuestionAnswering,
  RobertaForSequenceClassification,
  RobertaForTokenClassification,
  RobertaModel,
  slice,
  type Tensor,
  tokenClassificationLoss,
} from '../../../src/index.js';
import {
  bool,
  expectGradients,
  int32,
  type Inputs,
  optionsOf,
  type RecordedGradient,
  tolerance,
} from '../../support/encoders.js';
import { expectClose, golden, readGolden } from '../../support/golden.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-relatives-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Recorded extends Inputs {
  labels: { labels: number[] & number[][]; start_positions: number[]; end_positions: number[] };
  logits: number[][][];
  start_logits: number[][];
  end_logits: number[][];
  loss: number;
  grads: Record<string, RecordedGradient>;
}

const recordedOf = (name: string): Recorded => readGolden<Recorded>(`hf-${name}`, 'expected.json');

const padRows = {
  roberta: { padRows: /(word|position)_embeddings/, pad: 1 },
  distilbert: { padRows: /word_embeddings/, pad: 0 },
};

describe.each([
  ['roberta', RobertaForMaskedLM, RobertaForSequenceClassification, RobertaForTokenClassification, RobertaForQuestionAnswering], // prettier-ignore
  ['distilbert', DistilBertForMaskedLM, DistilBertForSequenceClassification, DistilBertForTokenClassification, DistilBertForQuestionAnswering], // prettier-ignore
] as const)('%s against Hugging Face', (name, Masked, Sequence, Tokens, Answers) => {
  it('masked tokens: logits, loss and gradients', () => {
    const expected = recordedOf(`${name}-mlm`);
    const model = Masked.fromPretrained(golden(`hf-${name}-mlm`));
    const [ids, labels] = [int32(expected.input_ids), int32(expected.labels.labels)];
    expectClose(noGrad(() => model.forward(ids, optionsOf(expected))), expected.logits, tolerance, 'logits'); // prettier-ignore
    const loss = maskedTokenLoss(model, ids, labels, optionsOf(expected));
    expectClose(loss, [expected.loss], tolerance, 'loss');
    backward(loss);
    expectGradients(model, expected.grads);
  });

  it('sequence classification: logits, loss and gradients', () => {
    const expected = recordedOf(`${name}-seqcls`);
    const model = Sequence.fromPretrained(golden(`hf-${name}-seqcls`));
    const logits = model.forward(int32(expected.input_ids), optionsOf(expected));
    expectClose(logits, expected.logits, tolerance, 'logits');
    const loss = classificationLoss(logits, int32(expected.labels.labels), model.config);
    expectClose(loss, [expected.loss], tolerance, 'loss');
    backward(loss);
    expectGradients(model, expected.grads, padRows[name]);
  });

  it('token classification: logits, loss and gradients', () => {
    const expected = recordedOf(`${name}-tokcls`);
    const model = Tokens.fromPretrained(golden(`hf-${name}-tokcls`));
    const logits = model.forward(int32(expected.input_ids), optionsOf(expected));
    expectClose(logits, expected.logits, tolerance, 'logits');
    const loss = tokenClassificationLoss(logits, int32(expected.labels.labels), model.config);
    expectClose(loss, [expected.loss], tolerance, 'loss');
    backward(loss);
    expectGradients(model, expected.grads, padRows[name]);
  });

  it('question answering: logits, loss and gradients', () => {
    const expected = recordedOf(`${name}-qa`);
    const model = Answers.fromPretrained(golden(`hf-${name}-qa`));
    const logits = model.forward(int32(expected.input_ids), optionsOf(expected));
    expectClose(logits.start, expected.start_logits, tolerance, 'start');
    expectClose(logits.end, expected.end_logits, tolerance, 'end');
    const loss = answerLoss(logits, expected.labels.start_positions, expected.labels.end_positions);
    expectClose(loss, [expected.loss], tolerance, 'loss');
    backward(loss);
    expectGradients(model, expected.grads, padRows[name]);
  });

  it('starts with a new head on the base of another task', () => {
    const labels = ['a', 'b', 'c', 'd'];
    const options = { newHead: true, labels };
    const model = Sequence.fromPretrained(golden(`hf-${name}-tokcls`), options);
    expect(model.forward(int32([[0, 5, 2]])).shape).toEqual([1, 4]);
    const base = Tokens.fromPretrained(golden(`hf-${name}-tokcls`));
    const own = model.stateDict();
    for (const [path, p] of base.stateDict()) {
      if (path.startsWith(`${name}.`)) expect(own.get(path)!.data, path).toEqual(p.data);
    }
    expect(model.initialized.length).toBe(4);
    const dropping = Sequence.fromPretrained(golden(`hf-${name}-tokcls`), { ...options, dropout: 0.25 });
    const drops = Object.entries(dropping.config).filter(([key]) => key.includes('dropout'));
    expect(drops.length).toBeGreaterThan(2);
    for (const [key, part] of drops) expect(part, key).toBe(0.25);
    expect(() => Masked.fromPretrained(golden(`hf-${name}-tokcls`))).toThrow(/missing .*; newHead: true/);
  });
});

const robertaSizes = {
  vocab_size: 31,
  hidden_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  intermediate_size: 20,
  max_position_embeddings: 14,
};
const distilSizes = {
  vocab_size: 31,
  dim: 12,
  n_layers: 2,
  n_heads: 3,
  hidden_dim: 20,
  max_position_embeddings: 14,
};

describe('RoBERTa and DistilBERT', () => {
  it.each([
    [RobertaModel, robertaSizes],
    [RobertaForMaskedLM, { ...robertaSizes, tie_word_embeddings: false }],
    [RobertaForSequenceClassification, robertaSizes],
    [RobertaForTokenClassification, robertaSizes],
    [RobertaForQuestionAnswering, robertaSizes],
    [DistilBertModel, distilSizes],
    [DistilBertForMaskedLM, { ...distilSizes, tie_word_embeddings: false }],
    [DistilBertForSequenceClassification, distilSizes],
    [DistilBertForTokenClassification, distilSizes],
    [DistilBertForQuestionAnswering, distilSizes],
  ] as const)('saves and loads bit for bit: %o', (Model, sizes) => {
    const path = join(folder, Model.name);
    const model = new Model(sizes);
    model.savePretrained(path);
    const loaded = Model.fromPretrained(path);
    expect(loaded.config).toEqual(model.config);
    for (const [name, p] of model.stateDict())
      expect(loaded.stateDict().get(name)!.data, name).toEqual(p.data);
    expect(JSON.parse(readFileSync(join(path, 'config.json'), 'utf8'))).toMatchObject({
      model_type: Model.name.startsWith('R') ? 'roberta' : 'distilbert',
      architectures: [Model.name],
    });
  });

  it('counts weights without building', () => {
    expect(DistilBertModel.countParameters(distilSizes)).toBe(
      new DistilBertModel(distilSizes).numParameters(),
    );
    expect(DistilBertModel.countParameters()).toBe(66_362_880); // distilbert-base-uncased
  });

  it.each([
    ['RoBERTa', new RobertaModel(robertaSizes, { generator: new Generator(1) }), 1],
    ['DistilBERT', new DistilBertModel(distilSizes, { generator: new Generator(1) }), 0],
  ] as const)('%s gives tokens the same whatever padding there is', (_, model, pad) => {
    model.eval();
    const run = (ids: number[], count: number): Tensor =>
      noGrad(() =>
        model.forward(int32([ids]), { attentionMask: bool([ids.map((_id, i) => (i < count ? 1 : 0))]) }),
      );
    const alone = run([2, 7, 3], 3);
    const padded = run([2, 7, 3, pad, pad, pad], 3);
    expectClose(slice(padded, 1, 0, 3), alone, { atol: 1e-6 });
  });

  it('RoBERTa counts positions from pad_token_id + 1 on, over tokens alone', () => {
    const model = new RobertaModel(robertaSizes, { generator: new Generator(1) }).eval();
    expect(model.contextLength).toBe(12);
    // Padding before a text takes no position.
    const attentionMask = bool([[0, 0, 1, 1, 1]]);
    const padded = noGrad(() => model.forward(int32([[1, 1, 5, 6, 7]]), { attentionMask }));
    const alone = noGrad(() => model.forward(int32([[5, 6, 7]])));
    expectClose(slice(padded, 1, 2), alone, { atol: 1e-6 });
    const build = (config: object) => () => new RobertaModel({ ...robertaSizes, ...config });
    expect(build({ pad_token_id: null })).toThrow(ConfigError);
    expect(build({ pad_token_id: 13 })).toThrow(
      'RobertaModel: positions count from pad_token_id + 1 on, got pad_token_id 13 and max_position_embeddings 14',
    );
  });

  it('refuse what does not fit', () => {
    const roberta = new RobertaModel(robertaSizes, { pooler: false });
    const distil = new DistilBertModel(distilSizes);
    const long = int32([Array.from({ length: 15 }, () => 2)]);
    expect(() => roberta.forward(long)).toThrow('RobertaModel: ids must be (B, T) with T from 1 to 12');
    expect(() => distil.forward(long)).toThrow('DistilBertModel: ids must be (B, T) with T from 1 to 14');
    expect(() => roberta.forward(int32([[2]]), { tokenTypeIds: int32([[0]]) } as object)).toThrow(
      "RobertaModel: unknown option 'tokenTypeIds'",
    );
    expect(() => roberta.pool(roberta.forward(int32([[2]])))).toThrow(
      'RobertaModel.pool: this model has no pooler',
    );
    expect(() => new DistilBertModel({ ...distilSizes, n_heads: 5 })).toThrow(
      'DistilBertModel: dim must be a multiple of n_heads, got 12 and 5',
    );
  });
});
