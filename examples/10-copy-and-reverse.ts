// T5 learns a task with an answer that is right or wrong: to repeat a row of letters, or to turn it round.
//
//   node dist/examples/10-copy-and-reverse.js [steps] [model folder]

import {
  encodeSeq2SeqExamples,
  ExampleSource,
  generate,
  Generator,
  manualSeed,
  seq2seqBatches,
  T5,
  t5SpecialTokens,
  textToText,
  Trainer,
  trainUnigram,
} from 'tsgpt';

const [steps = '60', folder = 'models/example-reverse'] = process.argv.slice(2);
manualSeed(1);

// copy: d b a -> d b a, reverse: d b a -> a b d; no row of letters is both learned and asked for.
const letters = Array.from('abcdefghijklmnop');
const random = new Generator(1);
const rows = new Set<string>();
while (rows.size < 20_200) {
  const length = 2 + random.nextInt(9);
  rows.add(Array.from({ length }, () => letters[random.nextInt(letters.length)]).join(' '));
}
const pairs = [...rows].map((row, i) =>
  i % 2 === 0
    ? { source: `copy: ${row}`, target: row }
    : { source: `reverse: ${row}`, target: row.split(' ').reverse().join(' ') },
);
const [asked, learned] = [pairs.slice(0, 200), pairs.slice(200)];

const tokenizer = await trainUnigram(
  pairs.map(({ source }) => source),
  { vocabSize: 60, specialTokens: t5SpecialTokens(0), endToken: '</s>' },
);
const model = new T5({
  ...{ vocab_size: tokenizer.vocabSize, d_model: 128, d_kv: 32, d_ff: 512, num_heads: 4, num_layers: 3 },
  ...{ dropout_rate: 0 },
});
console.log(`${model.numParameters()} weights`);

const examples = encodeSeq2SeqExamples(tokenizer, learned, 32);
const trainer = new Trainer({
  model,
  tokenizer,
  train: new ExampleSource(examples, seq2seqBatches(32, tokenizer.padId!), new Generator(2)),
  objective: textToText(model),
  steps: Number(steps),
  lr: 1e-3,
  evalInterval: 0,
  folder,
});
trainer.on('step', ({ step, loss }) => {
  if (step % 100 === 0) console.log(`step ${step}: loss ${loss.toFixed(3)}`);
});
await trainer.run();

const sources = asked.map(({ source }) => source);
const texts = await generate(model, tokenizer, sources, { maxNewTokens: 24, temperature: 0 }).texts();
const right = asked.filter(({ target }, i) => texts[i].trim() === target).length;
console.log(`${sources[0]} -> ${texts[0]}; ${sources[1]} -> ${texts[1]}`);
console.log(
  `${right} of ${asked.length} new rows are right (${((100 * right) / asked.length).toFixed(1)} %)`,
);
