import { describe, expect, it } from 'vitest';

import { Generator, tensor } from '../../../lib/index.js';
import { maskedBatches, TokenMasker } from '../../../src/data/index.js';
import {
  bleu,
  classificationReport,
  findClasses,
  maskedAccuracy,
  pseudoPerplexity,
  rouge,
  unigramAccuracy,
  type Bleu,
  type ClassificationReport,
  type Rouge,
} from '../../../src/evaluation/index.js';
import { BertForMaskedLM } from '../../../src/models/index.js';
import { readGolden } from '../../support/golden.js';
import { wordPieces } from '../../support/word-tokenizers.js';

const recorded = readGolden<{
  texts: { texts: string[]; references: string[]; bleu: Bleu; rouge: Rouge }[];
  classes: { labels: string[]; expected: number[]; found: number[]; report: ClassificationReport }[];
}>('metrics.json');

describe('texts', () => {
  it.each(recorded.texts)('$texts have the BLEU of sacreBLEU', ({ texts, references, bleu: expected }) => {
    const found = bleu(texts, references);
    expect(found.score).toBeCloseTo(expected.score, 9);
    found.precisions.forEach((p, n) => expect(p).toBeCloseTo(expected.precisions[n], 9));
    expect(found.brevityPenalty).toBeCloseTo(expected.brevityPenalty, 12);
    expect([found.words, found.referenceWords]).toEqual([expected.words, expected.referenceWords]);
  });

  it.each(recorded.texts)(
    '$texts have the ROUGE of rouge-score',
    ({ texts, references, rouge: expected }) => {
      const found = rouge(texts, references);
      for (const name of ['rouge1', 'rouge2', 'rougeL'] as const) {
        expect(found[name]).toBeCloseTo(expected[name], 12);
      }
    },
  );

  it('need a reference each', () => {
    expect(() => bleu(['a'], [])).toThrow(
      'bleu: a reference for each text is needed, and one text at least; got 0 for 1',
    );
    expect(() => rouge([], [])).toThrow('rouge: a reference for each text is needed');
  });
});

describe('classes', () => {
  it.each(recorded.classes)("$found has scikit-learn's report", ({ labels, expected, found, report }) => {
    const mine = classificationReport(expected, found, labels);
    expect(mine.accuracy).toBeCloseTo(report.accuracy, 12);
    const pairs = [
      ...labels.map((label) => [mine.classes[label], report.classes[label]] as const),
      [mine.macro, report.macro] as const,
      [mine.weighted, report.weighted] as const,
    ];
    for (const [a, b] of pairs) {
      for (const name of ['precision', 'recall', 'f1', 'support'] as const)
        expect(a[name]).toBeCloseTo(b[name], 12);
    }
  });

  it('must be classes', () => {
    expect(() => classificationReport([0, 2], [0, 1], ['a', 'b'])).toThrow(
      'classificationReport: 2 is none of the 2 classes',
    );
    expect(() => classificationReport([], [], ['a'])).toThrow('one at least; got 0 for 0');
  });

  it('are the likeliest ones, without dropout', () => {
    const model = {
      training: true,
      train(mode: boolean) {
        this.training = mode;
      },
      forward() {
        expect(this.training).toBe(false);
        return tensor([[1, 3, 2], [5, 0, 1]]); // prettier-ignore
      },
    };
    const labels = tensor(Int32Array.of(1, 2));
    const ids = tensor(new Int32Array(4), { shape: [2, 2] });
    expect(findClasses(model, [{ ids, labels }])).toEqual({ expected: [1, 2], found: [1, 0] });
    expect(model.training).toBe(true);
  });
});

describe('hidden tokens', () => {
  const tokenizer = wordPieces(Array.from('abcdefgh'));
  const config = { hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32 };
  const model = new BertForMaskedLM(
    { ...config, vocab_size: tokenizer.vocabSize, max_position_embeddings: 16 },
    { generator: new Generator(1) },
  );
  const ids = Int32Array.from({ length: 90 }, (_, i) => (i % 3 === 0 ? 5 : 6 + (i % 7)));
  const sizes = { batchSize: 4, sequenceLength: 16, tokenizer, masker: new TokenMasker(tokenizer) };
  const batches = maskedBatches(ids, sizes, new Generator(3));

  it('are found by a model as its logits say', () => {
    let [correct, total] = [0, 0];
    model.train(false);
    for (const { ids: inputs, labels, attentionMask } of batches) {
      const logits = model
        .forward(inputs, { ...(attentionMask && { attentionMask }) })
        .toArray() as number[][][];
      (labels.toArray() as number[][]).forEach((row, b) =>
        row.forEach((label, t) => {
          if (label === -100) return;
          total++;
          correct += Number(logits[b][t].indexOf(Math.max(...logits[b][t])) === label);
        }),
      );
    }
    model.train(true);
    expect(maskedAccuracy(model, batches)).toEqual({ accuracy: correct / total, correct, total });
    expect(model.training).toBe(true);
    expect(total).toBeGreaterThan(8);
  });

  it('are found by their frequency', () => {
    const labels = batches.flatMap((batch) => [...batch.labels.data]).filter((label) => label !== -100);
    const right = labels.filter((label) => label === 5).length;
    expect(unigramAccuracy(ids, batches).accuracy).toBeCloseTo(right / labels.length, 12);
    expect(() => unigramAccuracy(ids, [])).toThrow('masked accuracy: no token is hidden in the batches');
  });

  it('give the pseudo-perplexity of texts, each token hidden once', async () => {
    const text = Int32Array.of(2, 5, 7, 9, 3);
    const options = { maskId: 4, isSpecial: (id: number) => id < 5 };
    model.train(false);
    let sum = 0;
    for (const place of [1, 2, 3]) {
      const hidden = text.slice();
      hidden[place] = 4;
      const [row] = (model.forward(tensor(hidden, { shape: [1, 5] })).toArray() as number[][][])[0].slice(
        place,
      );
      sum -= row[text[place]] - Math.log(row.reduce((s, x) => s + Math.exp(x), 0));
    }
    for (const batchSize of [1, 2, 16]) {
      const { loss, tokens, perplexity } = await pseudoPerplexity(model, [text], { ...options, batchSize });
      expect(tokens).toBe(3);
      expect(loss).toBeCloseTo(sum / 3, 5);
      expect(perplexity).toBeCloseTo(Math.exp(loss), 10);
    }
    await expect(pseudoPerplexity(model, [Int32Array.of(2, 3)], options)).rejects.toThrow(
      'pseudoPerplexity: there is no token to predict',
    );
  });
});
