// T5 learns to translate short sentences from English to French, and is judged by BLEU beside a copy of the English.
//
//   node dist/examples/11-translate.js [epochs] [TSV file: English TAB French] [model folder]

import {
  Adafactor,
  bleu,
  encodeSeq2SeqExamples,
  exampleBatches,
  ExampleSource,
  generate,
  Generator,
  manualSeed,
  readTextPairs,
  seq2seqBatches,
  shuffle,
  T5,
  t5SpecialTokens,
  textToText,
  Trainer,
  trainUnigram,
} from 'tsgpt';

const [epochs = '2', data = 'examples/data/eng-fra.tsv', folder = 'models/example-translate'] =
  process.argv.slice(2);
manualSeed(1);

// An English sentence may have several translations: all of them are on one side, so that none is judged that was learned.
const pairs = await readTextPairs(data);
const sentences = shuffle([...new Set(pairs.map(({ source }) => source))], new Generator(1));
const kept = new Set(sentences.slice(0, Math.ceil(sentences.length / 20)));
const [validation, train] = [true, false].map((isKept) =>
  pairs.filter(({ source }) => kept.has(source) === isKept),
);

const tokenizer = await trainUnigram(
  train.flatMap(({ source, target }) => [source, target]),
  { vocabSize: Math.min(1000, 2 * train.length), specialTokens: t5SpecialTokens(0), endToken: '</s>' },
);
const model = new T5({
  ...{ vocab_size: tokenizer.vocabSize, d_model: 256, d_kv: 64, d_ff: 1024, num_heads: 4, num_layers: 3 },
});
console.log(
  `${model.numParameters()} weights, ${train.length} pairs to learn, ${validation.length} to judge by`,
);

const batches = seq2seqBatches(32, tokenizer.padId!);
const trainer = new Trainer({
  model,
  tokenizer,
  train: new ExampleSource(encodeSeq2SeqExamples(tokenizer, train, 64), batches, new Generator(2)),
  objective: textToText(model),
  validation: exampleBatches(encodeSeq2SeqExamples(tokenizer, validation, 64), batches),
  epochs: Number(epochs),
  // T5's weights begin in very different sizes, word embeddings at 1, queries at 0.01. Adafactor, with which T5 was trained,
  // moves each by a part of its size. With AdamW at 1e-3 in its place, BLEU is 3 instead of 21.
  optimizer: (groups, lr) => new Adafactor(groups, { lr }),
  lr: 1e-2,
  warmup: 100,
  evalInterval: 500,
  folder,
});
trainer.on('evaluation', ({ step, loss, trainLoss }) =>
  console.log(`step ${step}: validation loss ${loss.toFixed(3)}, training loss ${trainLoss.toFixed(3)}`),
);
const { seconds } = await trainer.run();
console.log(`${trainer.steps} steps in ${seconds.toFixed(0)} seconds`);

// Translations of all sentences that were kept, the best of four beams, each judged by its first translation.
const asked = [...kept];
const references = asked.map((sentence) => validation.find(({ source }) => source === sentence)!.target);
const texts = await generate(model, tokenizer, asked, { maxNewTokens: 40, numBeams: 4 }).texts();
for (let i = 0; i < 5; i++) console.log(`${asked[i]} -> ${texts[i]} (${references[i]})`);
console.log(`BLEU ${bleu(texts, references).score.toFixed(1)}`);
console.log(`BLEU of the English as it is: ${bleu(asked, references).score.toFixed(1)}`);
