// BERT learns to tell good reviews from bad ones, beside a logistic regression on the words of the same reviews.
//
//   node dist/examples/09-classify-reviews.js [epochs] [pre-trained folder] [TSV file: text TAB 0 or 1] [model folder]
//
// 08-pretrain-bert.js makes a pre-trained folder. Without one there BERT starts from random weights, and does worse.

import { existsSync } from 'node:fs';

import {
  BertForSequenceClassification,
  AutoTokenizer,
  classBatches,
  classesOf,
  classificationReport,
  encodeClassExamples,
  exampleBatches,
  ExampleSource,
  findClasses,
  Generator,
  manualSeed,
  readLabelledTexts,
  shuffle,
  textClasses,
  Trainer,
  trainWordPiece,
  type PretrainedTokenizer,
} from 'tsgpt';

const [
  epochs = '1',
  pretrained = 'models/example-bert',
  data = 'examples/data/sentiment.tsv',
  folder = 'models/example-reviews',
] = process.argv.slice(2);
manualSeed(1);

const names = ['bad', 'good'];
const reviews = shuffle(await readLabelledTexts(data), new Generator(1));
const classes = classesOf(reviews, names);
const cut = Math.floor(0.8 * reviews.length); // the rest is for judging

const hasModel = existsSync(pretrained);
const tokenizer = hasModel
  ? (AutoTokenizer.fromPretrained(pretrained) as PretrainedTokenizer)
  : await trainWordPiece(
      reviews.map(({ text }) => text),
      { vocabSize: 2000 },
    );
const model = hasModel
  ? BertForSequenceClassification.fromPretrained(pretrained, { newHead: true, labels: names })
  : new BertForSequenceClassification({
      ...{ vocab_size: tokenizer.vocabSize, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2 },
      ...{ intermediate_size: 256, max_position_embeddings: 64, id2label: { 0: 'bad', 1: 'good' } },
    });
console.log(
  hasModel ? `starting from ${pretrained}` : `${pretrained} is not there: starting from random weights`,
);

const examples = encodeClassExamples(tokenizer, reviews, classes, 64);
const batches = classBatches(16, tokenizer.padId!);
const trainer = new Trainer({
  model,
  tokenizer,
  train: new ExampleSource(examples.slice(0, cut), batches, new Generator(2)),
  objective: textClasses(model),
  epochs: Number(epochs),
  lr: 3e-4,
  evalInterval: 0,
  folder,
});
trainer.on('step', ({ step, steps, loss }) => {
  if (step % 100 === 0) console.log(`step ${step} of ${steps}: loss ${loss.toFixed(3)}`);
});
await trainer.run();

const { expected, found } = findClasses(model, exampleBatches(examples.slice(cut), batches));
const report = classificationReport(expected, found, names);
console.log(`BERT: accuracy ${percent(report.accuracy)}, macro F1 ${percent(report.macro.f1)}`);
console.log(`bag of words: accuracy ${percent(bagOfWords())}`);

/** Accuracy of a logistic regression on the counts of words, with the penalty |w|^2 / 2 (scikit-learn's default). */
function bagOfWords(): number {
  const words = reviews.map(({ text }) => text.toLowerCase().match(/\w\w+/g) ?? []);
  const numbers = new Map([...new Set(words.slice(0, cut).flat())].map((word, i) => [word, i]));
  const rows = words.map((row) => row.flatMap((word) => numbers.get(word) ?? []));
  const weights = new Float64Array(numbers.size + 1); // the last is the bias, which has no penalty
  const score = (row: number[]): number => row.reduce((sum, i) => sum + weights[i], weights[numbers.size]);
  for (let step = 0; step < 3000; step++) {
    const gradient = weights.slice();
    gradient[numbers.size] = 0;
    for (let r = 0; r < cut; r++) {
      const error = 1 / (1 + Math.exp(-score(rows[r]))) - classes[r];
      for (const i of rows[r]) gradient[i] += error;
      gradient[numbers.size] += error;
    }
    gradient.forEach((g, i) => (weights[i] -= 1e-3 * g));
  }
  const right = rows.slice(cut).filter((row, i) => Number(score(row) > 0) === classes[cut + i]);
  return right.length / (rows.length - cut);
}

function percent(part: number): string {
  return `${(100 * part).toFixed(1)} %`;
}
