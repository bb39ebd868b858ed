/** BERT and its heads against Hugging Face's (recorded), loading and saving, and what wrong input gets for an answer. */

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  answerLoss,
  ArgumentError,
  backward,
  BertForMaskedLM,
  BertForPreTraining,
  BertForQuestionAnswering,
  BertForSequenceClassification,
  BertForTokenClassification,
  BertModel,
  classificationLoss,
  ConfigError,
  crossEntropy,
  DTypeError,
  Generator,
  IndexError,
  labelIndex,
  maskedTokenLoss,
  noGrad,
  openSafetensors,
  poolTokens,
  preTrainingLoss,
  randn,
  saveSafetensors,
  scaledDotProductAttention,
  ShapeError,
  slice,
  StateDictError,
  type Tensor,
  tensor,
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
import { isMissing, shared } from '../../support/shared.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-bert-'));
afterAll(() => rmSync(folder, { recursive: true }));

const small = {
  vocab_size: 31,
  hidden_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  intermediate_size: 20,
  max_position_embeddings: 16,
};

const noWords = { padRows: /word_embeddings/ };

describe('BERT against Hugging Face', () => {
  it('pre-training: hidden states, attention, both heads, losses and gradients', () => {
    interface Recorded extends Inputs {
      mlm_labels: number[][];
      next_sentence_label: number[];
      loss: number;
      prediction_logits: number[][][];
      seq_relationship_logits: number[][];
      last_hidden_state: number[][][];
      pooler_output: number[][];
      embedding_output: number[][][];
      attention_layer0_seq1: number[][][];
      grad_of_loss: Record<string, RecordedGradient>;
    }
    const expected = readGolden<Recorded>('hf-bert-pretraining', 'expected.json');
    const model = BertForPreTraining.fromPretrained(golden('hf-bert-pretraining'));
    const ids = int32(expected.input_ids);
    const options = optionsOf(expected);
    const attentions: Tensor[] = [];
    noGrad(() => {
      const { predictions, relationship } = model.forward(ids, { ...options, attentions });
      expectClose(predictions, expected.prediction_logits, tolerance, 'predictions');
      expectClose(relationship, expected.seq_relationship_logits, tolerance, 'relationship');
      const base = BertModel.fromPretrained(golden('hf-bert-pretraining')); // strips prefix and heads
      const embedded = base.embeddings.forward(ids, options.tokenTypeIds!);
      expectClose(embedded, expected.embedding_output, tolerance, 'embeddings');
      const hidden = base.forward(ids, options);
      expectClose(hidden, expected.last_hidden_state, tolerance, 'hidden states');
      expectClose(base.pool(hidden), expected.pooler_output, tolerance, 'pooler');
    });
    expect(attentions.map((a) => a.shape)).toEqual([
      [2, 4, 15, 15],
      [2, 4, 15, 15],
    ]);
    expectClose(slice(attentions[0], 0, 1, 2), expected.attention_layer0_seq1, tolerance, 'attention');

    const labels = int32(expected.mlm_labels);
    const loss = preTrainingLoss(model, ids, labels, int32(expected.next_sentence_label), options);
    expectClose(loss, [expected.loss], tolerance, 'loss');
    backward(loss);
    expectGradients(model, expected.grad_of_loss);
  });

  it('sequence classification: logits, loss and gradients', () => {
    interface Recorded extends Inputs {
      labels: number[];
      logits: number[][];
      loss: number;
      grad_of_loss: Record<string, RecordedGradient>;
    }
    const expected = readGolden<Recorded>('hf-bert-seqcls', 'expected.json');
    const model = BertForSequenceClassification.fromPretrained(golden('hf-bert-seqcls'));
    const logits = model.forward(int32(expected.input_ids), optionsOf(expected));
    expectClose(logits, expected.logits, tolerance, 'logits');
    const loss = classificationLoss(logits, int32(expected.labels), model.config);
    expectClose(loss, [expected.loss], tolerance, 'loss');
    backward(loss);
    expectGradients(model, expected.grad_of_loss);
  });

  it('token classification: logits, loss and gradients', () => {
    interface Recorded extends Inputs {
      labels: number[][];
      logits: number[][][];
      loss: number;
      grad_of_loss: Record<string, RecordedGradient>;
    }
    const expected = readGolden<Recorded>('hf-bert-tokcls', 'expected.json');
    const model = BertForTokenClassification.fromPretrained(golden('hf-bert-tokcls'));
    const logits = model.forward(int32(expected.input_ids), optionsOf(expected));
    expectClose(logits, expected.logits, tolerance, 'logits');
    const loss = tokenClassificationLoss(logits, int32(expected.labels), model.config);
    expectClose(loss, [expected.loss], tolerance, 'loss');
    backward(loss);
    expectGradients(model, expected.grad_of_loss);
  });

  it('question answering: an answer behind the end does not count', () => {
    interface Recorded extends Inputs {
      labels: { start_positions: number[]; end_positions: number[] };
      start_logits: number[][];
      end_logits: number[][];
      loss: number;
      grads: Record<string, RecordedGradient>;
    }
    const expected = readGolden<Recorded>('hf-bert-qa', 'expected.json');
    const model = BertForQuestionAnswering.fromPretrained(golden('hf-bert-qa'));
    const logits = model.forward(int32(expected.input_ids), optionsOf(expected));
    expectClose(logits.start, expected.start_logits, tolerance, 'start');
    expectClose(logits.end, expected.end_logits, tolerance, 'end');
    const { start_positions: starts, end_positions: ends } = expected.labels;
    const loss = answerLoss(logits, starts, ends);
    expectClose(loss, [expected.loss], tolerance, 'loss');
    backward(loss);
    expectGradients(model, expected.grads, noWords);
  });

  it.each(['regression', 'multilabel'])('%s: loss and gradients', (name) => {
    interface Recorded extends Inputs {
      labels: { labels: number[] | number[][] };
      logits: number[][];
      loss: number;
      grads: Record<string, RecordedGradient>;
    }
    const expected = readGolden<Recorded>(`hf-bert-${name}`, 'expected.json');
    const model = BertForSequenceClassification.fromPretrained(golden(`hf-bert-${name}`));
    const logits = model.forward(int32(expected.input_ids), optionsOf(expected));
    expectClose(logits, expected.logits, tolerance, 'logits');
    const loss = classificationLoss(logits, tensor(expected.labels.labels), model.config);
    expectClose(loss, [expected.loss], tolerance, 'loss');
    backward(loss);
    expectGradients(model, expected.grads, noWords);
  });

  it('masked tokens with a head of its own: loss over the labelled positions alone', () => {
    interface Recorded extends Inputs {
      labels: { labels: number[][] };
      logits: number[][][];
      loss: number;
      grads: Record<string, RecordedGradient>;
    }
    const expected = readGolden<Recorded>('hf-bert-mlm-untied', 'expected.json');
    const model = BertForMaskedLM.fromPretrained(golden('hf-bert-mlm-untied'));
    const [ids, labels] = [int32(expected.input_ids), int32(expected.labels.labels)];
    const logits = noGrad(() => model.forward(ids, optionsOf(expected)));
    expectClose(logits, expected.logits, tolerance, 'logits');
    expectClose(crossEntropy(logits, labels), [expected.loss], tolerance, 'loss of all logits');
    const loss = maskedTokenLoss(model, ids, labels, optionsOf(expected));
    expectClose(loss, [expected.loss], tolerance, 'loss');
    backward(loss);
    expectGradients(model, expected.grads, noWords);
  });

  it('counts the weights of bert-base-uncased', () => {
    const heads = 768 * 769 + 2 * 768 + 30522 + 2 * 769;
    expect(BertModel.countParameters() + heads).toBe(110_106_428);
    const model = new BertModel(small);
    expect(BertModel.countParameters(small)).toBe(model.numParameters());
    const bare = new BertModel(small, { pooler: false });
    expect(BertModel.countParameters(small, { pooler: false })).toBe(bare.numParameters());
    expect(() => BertModel.fromPreset('bert' as 'bert-base-uncased')).toThrow(
      "BERT: no preset 'bert'; there are bert-base-uncased, bert-large-uncased, all-MiniLM-L6-v2",
    );
    const preset = BertModel.fromPreset('all-MiniLM-L6-v2', { num_hidden_layers: 1, vocab_size: 10 });
    expect(preset.config).toMatchObject({ hidden_size: 384, intermediate_size: 1536 });
  });
});

describe.skipIf(isMissing('models', 'lm-buddy-bert_tiniest'))('a BERT that others made', () => {
  it('loads, as the class it is and as a base without a pooler', () => {
    const path = shared('models', 'lm-buddy-bert_tiniest');
    const model = BertForMaskedLM.fromPretrained(path);
    const ids = int32([[101, 2023, 103, 102]]);
    const logits = noGrad(() => model.forward(ids));
    expect(logits.shape).toEqual([1, 4, 30522]);
    expect(logits.toFloat64Array().every(Number.isFinite)).toBe(true);
    const base = BertModel.fromPretrained(path, { pooler: false });
    expectClose(
      noGrad(() => base.forward(ids)),
      noGrad(() => model.hidden(ids)),
      { atol: 0 },
    );
    expect(() => BertModel.fromPretrained(path)).toThrow(/2 missing \(pooler\.dense\.weight/);
    expect(() => base.pool(noGrad(() => base.forward(ids)))).toThrow(
      "BertModel.pool: this model has no pooler; use poolTokens(hidden, 'mean')",
    );
    const classifier = BertForSequenceClassification.fromPretrained(path, { newHead: true });
    expect(classifier.initialized).toEqual([
      'bert.pooler.dense.weight',
      'bert.pooler.dense.bias',
      'classifier.weight',
      'classifier.bias',
    ]);
  });
});

describe('BERT', () => {
  const ids = int32([
    [2, 5, 9, 11, 3],
    [2, 7, 3, 8, 3],
  ]);

  it('gives tokens the same whatever stands in the padding, and however much of it', () => {
    const model = new BertModel(small, { generator: new Generator(1) }).eval();
    const alone = noGrad(() => model.forward(int32([[2, 7, 3]])));
    for (const padded of [
      [2, 7, 3, 0, 0],
      [2, 7, 3, 17, 4],
      [2, 7, 3, ...Array<number>(13).fill(0)],
    ]) {
      const attentionMask = bool([padded.map((_, i) => (i < 3 ? 1 : 0))]);
      const hidden = noGrad(() => model.forward(int32([padded]), { attentionMask }));
      expectClose(slice(hidden, 1, 0, 3), alone, { atol: 1e-6 }, `padded to ${padded.length}`);
      for (const pooling of ['cls', 'mean', 'max'] as const) {
        const text = poolTokens(hidden, pooling, { attentionMask });
        expectClose(text, poolTokens(alone, pooling), { atol: 1e-6 }, pooling);
      }
    }
  });

  it('sees a row of nothing but padding as Hugging Face does: all positions alike, no NaN', () => {
    const model = new BertModel(small, { generator: new Generator(1) }).eval();
    const attentionMask = bool([
      [1, 1, 1, 1, 1],
      [0, 0, 0, 0, 0],
    ]);
    const attentions: Tensor[] = [];
    const hidden = noGrad(() => model.forward(ids, { attentionMask, attentions }));
    expect(hidden.toFloat64Array().every(Number.isFinite)).toBe(true);
    const row = slice(attentions[0], 0, 1, 2).toFloat64Array();
    expectClose(
      row,
      Array.from(row, () => 0.2),
      { atol: 1e-7 },
    );
    // So does the fused kernel, which gives no weights.
    const value = randn([2, 1, 5, 8]);
    const mask = tensor([[0, 0, 0, 0, 0], Array<number>(5).fill(-3.4028234663852886e38)]).reshape([
      2, 1, 1, 5,
    ]);
    const y = scaledDotProductAttention(randn([2, 1, 3, 8]), randn([2, 1, 5, 8]), value, { mask });
    const mean = value.mean(2, { keepdim: true }).expand([2, 1, 3, 8]);
    expectClose(slice(y, 0, 1, 2), slice(mean, 0, 1, 2), { atol: 1e-6 });
    const seen = noGrad(() => model.forward(ids, { attentionMask: bool([[1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]) })); // prettier-ignore
    expectClose(slice(hidden, 0, 0, 1), slice(seen, 0, 0, 1), { atol: 1e-6 });
  });

  it('tells segments and positions apart', () => {
    const model = new BertModel(small, { generator: new Generator(1) }).eval();
    const run = (tokenTypeIds?: Tensor): Float64Array =>
      noGrad(() => model.forward(ids, { tokenTypeIds })).toFloat64Array();
    const zeros = int32([[0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]); // prettier-ignore
    expectClose(run(zeros), run(), { atol: 1e-7 });
    expect(run(int32([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]))).not.toEqual(run()); // prettier-ignore
    const repeated = noGrad(() => model.forward(int32([[4, 4, 4]])));
    expect(slice(repeated, 1, 0, 1).toArray()).not.toEqual(slice(repeated, 1, 1, 2).toArray());
  });

  it('uses dropout in training only, from its own seed', () => {
    const run = (seed: number, train: boolean): Float64Array =>
      new BertForSequenceClassification(small, { generator: new Generator(seed) })
        .train(train)
        .forward(ids)
        .toFloat64Array();
    expect(run(7, true)).toEqual(run(7, true));
    expect(run(7, true)).not.toEqual(run(7, false));
    expect(run(7, false)).not.toEqual(run(8, false));
  });

  it.each([
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertForQuestionAnswering,
    BertModel,
  ] as const)('saves and loads bit for bit: %o', (Model) => {
    const path = join(folder, Model.name);
    const id2label = { 0: 'a', 1: 'b', 2: 'c' };
    const model = new Model({ ...small, id2label });
    model.savePretrained(path);
    const loaded = Model.fromPretrained(path);
    expect(loaded.config).toEqual(model.config);
    expect(loaded.initialized).toEqual([]);
    for (const [name, p] of model.stateDict())
      expect(loaded.stateDict().get(name)!.data, name).toEqual(p.data);
    expect(JSON.parse(readFileSync(join(path, 'config.json'), 'utf8'))).toMatchObject({
      model_type: 'bert',
      architectures: [Model.name],
      id2label,
      label2id: { a: 0, b: 1, c: 2 },
    });
  });

  it('starts with a new head on the base of any checkpoint', () => {
    const path = golden('hf-bert-pretraining');
    expect(() => BertForSequenceClassification.fromPretrained(path)).toThrow(
      /2 missing \(classifier\.weight \[2, 32\], classifier\.bias \[2\]\); newHead: true loads the base model and/,
    );
    expect(() => BertForSequenceClassification.fromPretrained(path)).toThrow(StateDictError);
    const generator = new Generator(5);
    const labels = ['bad', 'fair', 'good'];
    const model = BertForSequenceClassification.fromPretrained(path, { newHead: true, labels, generator });
    expect(model.initialized).toEqual(['classifier.weight', 'classifier.bias']);
    expect(model.classifier.weight.shape).toEqual([3, 32]);
    expect(labelIndex(model.config, 'fair')).toBe(1);
    const base = BertForPreTraining.fromPretrained(path);
    for (const [name, p] of base.bert.stateDict())
      expect(model.bert.stateDict().get(name)!.data, name).toEqual(p.data);
    // Where the file has a head of the same name, it is not taken; without newHead it is, under other names.
    const other = BertForTokenClassification.fromPretrained(golden('hf-bert-seqcls'), {
      newHead: true,
      labels: ['B', 'I'],
    });
    expect(other.classifier.weight.shape).toEqual([2, 32]);
    const renamed = BertForSequenceClassification.fromPretrained(golden('hf-bert-seqcls'), { labels });
    expect(renamed.config.id2label).toEqual({ 0: 'bad', 1: 'fair', 2: 'good' });
    expect(() => BertModel.fromPretrained(path, { newHead: true } as object)).toThrow(
      'fromPretrained: newHead needs a class with a head, this is the base model',
    );
  });

  it('reads files of the base model, old names of norms, positions and tied weights stored twice', () => {
    const path = join(folder, 'old');
    cpSync(golden('hf-bert-pretraining'), path, { recursive: true });
    const model = BertForPreTraining.fromPretrained(path);
    using file = openSafetensors(join(golden('hf-bert-pretraining'), 'model.safetensors'));
    const old = new Map<string, Tensor>();
    for (const name of file.names()) {
      const renamed = name
        .replace('LayerNorm.weight', 'LayerNorm.gamma')
        .replace('LayerNorm.bias', 'LayerNorm.beta');
      old.set(renamed, file.tensor(name));
    }
    old.set('bert.embeddings.position_ids', int32([[0, 1, 2]]));
    old.set('cls.predictions.decoder.weight', file.tensor('bert.embeddings.word_embeddings.weight'));
    old.set('cls.predictions.decoder.bias', file.tensor('cls.predictions.bias'));
    saveSafetensors(join(path, 'model.safetensors'), old);
    const again = BertForPreTraining.fromPretrained(path);
    for (const [name, p] of model.stateDict())
      expect(again.stateDict().get(name)!.data, name).toEqual(p.data);

    const bare = join(folder, 'bare');
    model.bert.savePretrained(bare);
    const masked = BertForTokenClassification.fromPretrained(bare, { newHead: true });
    expect(masked.initialized).toEqual(['classifier.weight', 'classifier.bias']);
  });
});

describe('BERT with wrong input', () => {
  const model = new BertForSequenceClassification({ ...small, id2label: { 0: 'no', 1: 'yes' } }).eval();
  const ids = int32([[2, 5, 3]]);

  it('refuses impossible configurations, naming key, rule and value', () => {
    const build = (config: object) => () => new BertModel({ ...small, ...config });
    expect(build({ hidden_size: 13 })).toThrow(
      'BertModel: hidden_size must be a multiple of num_attention_heads, got 13 and 3',
    );
    expect(build({ hidden_act: 'swish' })).toThrow(
      'hidden_act must be one of gelu, gelu_new, gelu_pytorch_tanh, relu, silu, got "swish"',
    );
    expect(build({ problem_type: 'ranking' })).toThrow(
      'problem_type must be one of regression, single_label_classification, multi_label_classification, null, got "ranking"',
    );
    expect(build({ classifier_dropout: 1 })).toThrow(
      'classifier_dropout must be a probability or null, got 1',
    );
    expect(build({ id2label: ['a'] })).toThrow('id2label must be an object, got ["a"]');
    expect(build({ id2label: { 1: 'a' } })).toThrow(
      'id2label must name each class once, by its index from "0" on, got {"1":"a"}',
    );
    expect(build({ id2label: { 0: 'a', 1: 'a' } })).toThrow(ConfigError);
    expect(build({ hidden_siz: 4 })).toThrow("unknown configuration key 'hidden_siz' (did you mean");
    expect(build({ num_hidden_layers: 1e9 })).toThrow(
      'must be a positive integer up to 10000, got 1000000000',
    );
    expect(build({ vocab_size: 1e12 })).toThrow(/weights take .* GiB, this machine has/);
    const path = join(folder, 'relative');
    cpSync(golden('hf-bert-seqcls'), path, { recursive: true });
    const config = readGolden<object>('hf-bert-seqcls', 'config.json');
    writeFileSync(
      join(path, 'config.json'),
      JSON.stringify({ ...config, position_embedding_type: 'relative_key' }),
    );
    expect(() => BertModel.fromPretrained(path)).toThrow(
      'position_embedding_type "relative_key" is not supported, only "absolute"',
    );
  });

  it('refuses inputs that do not fit', () => {
    const long = int32([Array.from({ length: 17 }, () => 1)]);
    expect(() => model.forward(long)).toThrow(ShapeError);
    expect(() => model.forward(long)).toThrow(
      'BertModel: ids must be (B, T) with T from 1 to 16, got [1, 17]',
    );
    expect(() => model.forward(int32([[]]))).toThrow('T from 1 to 16, got [1, 0]');
    expect(() => model.forward(int32([[1, 31]]))).toThrow(IndexError);
    expect(() => model.forward(ids, { tokenTypeIds: int32([[0, 0]]) })).toThrow(
      'BertModel: tokenTypeIds must be [1, 3] as the ids, got [1, 2]',
    );
    expect(() => model.forward(ids, { tokenTypeIds: int32([[0, 0, 2]]) })).toThrow(
      /id 2 at position 2 is outside the table of 2 rows/,
    );
    expect(() => model.forward(ids, { tokenTypeIds: tensor([[0, 0, 1]]) })).toThrow(
      'BertModel: tokenTypeIds must be int32, got float32',
    );
    expect(() => model.forward(ids, { attentionMask: int32([[1, 1, 0]]) })).toThrow(DTypeError);
    expect(() => model.forward(ids, { attentionMask: int32([[1, 1, 0]]) })).toThrow(
      'BertModel: attentionMask must be bool, got int32; compare it: mask.ne(0)',
    );
    expect(() => model.forward(ids, { attentionMask: bool([[1, 1]]) })).toThrow(
      'BertModel: attentionMask must be [1, 3] as the ids, got [1, 2]',
    );
    expect(() => model.forward(ids, { attentionMask: bool([[0, 0, 0]]) })).toThrow(ArgumentError);
    expect(() => model.forward(ids, { attentionMask: bool([[0, 0, 0]]) })).toThrow(
      'BertModel: attentionMask has no token, all of [1, 3] is padding; true marks a token',
    );
    expect(() => model.forward(ids, { attention_mask: bool([[1, 1, 1]]) } as object)).toThrow(
      "BertModel: unknown option 'attention_mask' (did you mean 'attentionMask'?)",
    );
  });

  it('refuses labels that are none', () => {
    const logits = tensor([[1, 2], [3, 4]]); // prettier-ignore
    const loss = (labels: Tensor) => () => classificationLoss(logits, labels, model.config);
    expect(loss(int32([1, 2]))).toThrow(IndexError);
    expect(loss(int32([1, 2]))).toThrow(
      'classification: label 2 of row 1 is none of the 2 classes (no, yes)',
    );
    expect(loss(tensor([0.5, 1]))).toThrow(/targets \(\.\.\.\) of int32, got .* targets float32 \[2\]/);
    expect(() => labelIndex(model.config, 'maybe')).toThrow(
      "labels: there is no label 'maybe'; there are no, yes",
    );
    expect(() => tokenClassificationLoss(tensor([[[1, 2]]]), int32([[-1]]), model.config)).toThrow(
      'label -1 of row 0 is none of the 2 classes',
    );
    const multi = { id2label: { 0: 'a', 1: 'b' }, problem_type: 'multi_label_classification' } as const;
    expect(() => classificationLoss(logits, tensor([[1, 0]]), multi)).toThrow(
      'classificationLoss: labels of a multi_label_classification must be [2, 2], got [1, 2]',
    );
    const answer = { start: logits, end: logits };
    expect(() => answerLoss(answer, [1], [1, 1])).toThrow(
      'answerLoss: a position for each of the 2 rows is needed, got 1',
    );
    expect(() => answerLoss(answer, [1, 0.5], [1, 1])).toThrow(
      'answerLoss: position of row 1 must be an integer, got 0.5',
    );
    const masked = new BertForMaskedLM(small);
    expect(() => maskedTokenLoss(masked, ids, int32([[1, 2]]))).toThrow(
      'maskedTokenLoss: labels must be int32 [1, 3] as the ids, got int32 [1, 2]',
    );
    expect(() => maskedTokenLoss(masked, ids, int32([[-100, 31, -100]]))).toThrow(IndexError);
    expect(maskedTokenLoss(masked, ids, int32([[-100, -100, -100]])).item()).toBeNaN();
  });

  it('refuses to pool what is no text', () => {
    const hidden = tensor([[[1, 2]], [[3, 4]]]); // prettier-ignore
    expect(() => poolTokens(tensor([[1, 2]]), 'mean')).toThrow(
      'poolTokens: hidden must be (B, T, C) with T at least 1, got [1, 2]',
    );
    expect(() => poolTokens(hidden, 'sum' as 'mean')).toThrow(
      "poolTokens: pooling must be 'cls', 'mean' or 'max', got 'sum'",
    );
    expect(() => poolTokens(hidden, 'mean', { attentionMask: bool([[1], [0]]) })).toThrow(
      'poolTokens: row 1 has no token, only padding',
    );
  });
});
