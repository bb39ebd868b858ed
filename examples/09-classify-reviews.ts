// BERT learns to tell good reviews from bad ones, beside a logistic regression on the words of the same reviews. Both are
// judged by cross-validation: each fifth of the reviews after learning from the other four.
//
//   node dist/examples/09-classify-reviews.js [epochs] [pre-trained folder] [TSV file: text TAB 0 or 1] [model folder] [BERTs]
//
// 08-pretrain-bert.js makes a pre-trained folder. Without one there BERT starts from random weights, and does worse. Several
// BERTs, which begin with other heads and see the reviews in other orders, decide together: of so few reviews each learns
// some things by heart, and each others.

import { existsSync } from 'node:fs';

import {
  AdamW,
  AutoTokenizer,
  BertForSequenceClassification,
  classBatches,
  classesOf,
  classificationReport,
  encodeClassExamples,
  exampleBatches,
  ExampleSource,
  findClasses,
  Generator,
  manualSeed,
  mean,
  readLabelledTexts,
  shuffle,
  softmax,
  stack,
  textClasses,
  TokenMasker,
  Trainer,
  trainWordPiece,
  type ClassExample,
  type ClassifyingModel,
  type PretrainedTokenizer,
} from 'tsgpt';

const [
  epochs = '1',
  pretrained = 'models/example-bert',
  data = 'examples/data/sentiment.tsv',
  folder = 'models/example-reviews',
  members = '1',
] = process.argv.slice(2);
manualSeed(1);

const names = ['bad', 'good'];
const reviews = shuffle(await readLabelledTexts(data), new Generator(1));
const classes = classesOf(reviews, names);
const words = reviews.map(({ text }) => text.toLowerCase().match(/\w\w+/g) ?? []);

const hasModel = existsSync(pretrained);
console.log(
  hasModel ? `starting from ${pretrained}` : `${pretrained} is not there: starting from random weights`,
);
const tokenizer = hasModel
  ? (AutoTokenizer.fromPretrained(pretrained) as PretrainedTokenizer)
  : await trainWordPiece(
      reviews.map(({ text }) => text),
      { vocabSize: 2000 },
    );
const examples = encodeClassExamples(tokenizer, reviews, classes, 64);
const batches = classBatches(32, tokenizer.padId!);

const expected: number[] = [];
const found: number[] = [];
let bagIsRight = 0;
for (let fifth = 0; fifth < 5; fifth++) {
  const isJudged = (i: number): boolean => i % 5 === fifth;
  const [judged, learned] = [true, false].map((wanted) =>
    [...examples.keys()].filter((i) => isJudged(i) === wanted),
  );
  const [asked, known] = [judged, learned].map((numbers) => numbers.map((i) => examples[i]));
  const berts: BertForSequenceClassification[] = [];
  for (let member = 0; member < Number(members); member++) berts.push(await trainBert(known, member));
  const answers = findClasses(together(berts), exampleBatches(asked, batches));
  expected.push(...answers.expected);
  found.push(...answers.found);
  const bag = trainBagOfWords(learned);
  bagIsRight += judged.filter((i) => bag(words[i]) === classes[i]).length;
  const { accuracy } = classificationReport(expected, found, names);
  console.log(
    `after ${fifth + 1} of 5: BERT ${percent(accuracy)}, words ${percent(bagIsRight / found.length)}`,
  );
}
const report = classificationReport(expected, found, names);
console.log(`BERT: accuracy ${percent(report.accuracy)}, macro F1 ${percent(report.macro.f1)}`);
console.log(`bag of words: accuracy ${percent(bagIsRight / reviews.length)}`);

/** One classifier of several: the mean of their probabilities. */
function together(berts: readonly BertForSequenceClassification[]): ClassifyingModel {
  for (const bert of berts) bert.train(false);
  return {
    training: false,
    train: () => undefined,
    forward: (ids, options) => mean(stack(berts.map((bert) => softmax(bert.forward(ids, options), -1))), 0),
  };
}

/** A classifier that has learned from these reviews; the last one stays in the folder. */
async function trainBert(
  learned: readonly ClassExample[],
  member: number,
): Promise<BertForSequenceClassification> {
  const model = hasModel
    ? BertForSequenceClassification.fromPretrained(pretrained, { newHead: true, labels: names, dropout: 0.3 })
    : new BertForSequenceClassification({
        ...{ vocab_size: tokenizer.vocabSize, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2 },
        ...{ intermediate_size: 256, max_position_embeddings: 64, id2label: { 0: 'bad', 1: 'good' } },
      });
  // Of each review some words are hidden, others each time, against learning it by heart. The word embeddings learn ten times
  // as fast as the layers, since most words are in few batches.
  const masker = new TokenMasker(tokenizer);
  const random = new Generator(2 * member + 3);
  const hide = (example: ClassExample): ClassExample => ({
    ...example,
    ids: masker.mask(example.ids, random).ids,
  });
  const hiding = {
    ...batches,
    collate: (some: readonly ClassExample[]) => batches.collate(some.map(hide)),
  };
  const { weight } = model.bert.embeddings.word_embeddings;
  const trainer = new Trainer({
    model,
    tokenizer,
    train: new ExampleSource(learned, hiding, new Generator(2 * member + 2)),
    optimizer: (groups, lr) =>
      new AdamW(
        [
          ...groups.map((group) => ({ ...group, params: group.params.filter((p) => p !== weight) })),
          { params: [weight], lr: 10 * lr, weightDecay: 0.1 },
        ],
        { lr },
      ),
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
  return model;
}

/** A logistic regression on the counts of words, with the penalty |w|^2 / 2 (scikit-learn's default). */
function trainBagOfWords(learned: readonly number[]): (words: readonly string[]) => number {
  const numbers = new Map([...new Set(learned.flatMap((i) => words[i]))].map((word, i) => [word, i]));
  const numbersOf = (row: readonly string[]): number[] => row.flatMap((word) => numbers.get(word) ?? []);
  const rows = learned.map((i) => numbersOf(words[i]));
  const weights = new Float64Array(numbers.size + 1); // the last is the bias, which has no penalty
  const score = (row: number[]): number => row.reduce((sum, i) => sum + weights[i], weights[numbers.size]);
  for (let step = 0; step < 3000; step++) {
    const gradient = weights.slice();
    gradient[numbers.size] = 0;
    rows.forEach((row, r) => {
      const error = 1 / (1 + Math.exp(-score(row))) - classes[learned[r]];
      for (const i of row) gradient[i] += error;
      gradient[numbers.size] += error;
    });
    gradient.forEach((g, i) => (weights[i] -= 1e-3 * g));
  }
  return (row) => Number(score(numbersOf(row)) > 0);
}

function percent(part: number): string {
  return `${(100 * part).toFixed(1)} %`;
}
