// Training: a small GPT learns the letters of Shakespeare's plays, in about ten seconds.
//
//   node dist/examples/03-train-gpt.js [text file] [model folder]

import { CharTokenizer, GPT, manualSeed, readTexts, splitTokens, Trainer } from 'tsgpt';

const [file = 'examples/data/tinyshakespeare.txt', folder = 'models/example'] = process.argv.slice(2);
manualSeed(1);

// Text to token ids, one for each character. The last tenth is kept to judge by.
const { text } = await readTexts(file);
const tokenizer = CharTokenizer.fromText(text);
const { train, validation } = splitTokens(tokenizer.encode(text), 0.1);

// The configuration has the keys of Hugging Face's config.json.
const model = new GPT({
  vocab_size: tokenizer.vocabSize,
  n_positions: 64,
  n_embd: 64,
  n_layer: 2,
  n_head: 2,
  resid_pdrop: 0,
  embd_pdrop: 0,
  attn_pdrop: 0,
});
console.log(`${model.numParameters()} weights, ${train.length} tokens to train on`);

// AdamW with warm-up, cosine schedule and clipping; the folder gets the model, the tokenizer and what resuming needs.
const trainer = new Trainer({
  model,
  tokenizer,
  train,
  validation: validation.subarray(0, 20_000),
  batchSize: 12,
  sequenceLength: 64,
  steps: 400,
  lr: 3e-3,
  evalInterval: 200,
  folder,
});
trainer.on('step', ({ step, loss, tokensPerSecond }) => {
  if (step % 50 === 0)
    console.log(`step ${step}: loss ${loss.toFixed(3)}, ${tokensPerSecond.toFixed(0)} tokens/s`);
});
trainer.on('evaluation', ({ loss }) => console.log(`validation loss ${loss.toFixed(3)}`));
await trainer.run();
console.log(`saved in ${folder}`);
