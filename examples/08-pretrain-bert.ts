// BERT from nothing: hidden words of a text are predicted from those around them. Then it is compared with one who always
// says the most frequent token.
//
//   node dist/examples/08-pretrain-bert.js [steps] [text file, folder or glob] [model folder]

import {
  BertForMaskedLM,
  Generator,
  manualSeed,
  maskedAccuracy,
  maskedBatches,
  maskedTokens,
  MaskedTextSource,
  readTexts,
  splitTokens,
  TokenMasker,
  Trainer,
  trainWordPiece,
  unigramAccuracy,
} from 'tsgpt';

const [steps = '30', data = 'examples/data/tinyshakespeare.txt', folder = 'models/example-bert'] =
  process.argv.slice(2);
manualSeed(1);

const { text } = await readTexts(data);
const tokenizer = await trainWordPiece([text], { vocabSize: 16_384 });
const ids = tokenizer.encode(text, { addSpecialTokens: false });
const { train, validation } = splitTokens(ids, 0.05);

const model = new BertForMaskedLM({
  vocab_size: tokenizer.vocabSize,
  hidden_size: 256,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  intermediate_size: 1024,
  max_position_embeddings: 128,
  hidden_dropout_prob: 0,
  attention_probs_dropout_prob: 0,
  pad_token_id: tokenizer.padId,
});
console.log(`${model.numParameters()} weights, ${train.length} tokens to train on`);

// 20 % of the tokens are to be predicted, 15 % in the judgement as in BERT's; of these 80 % become [MASK], 10 % another token
// and 10 % stay.
const sizes = { batchSize: 16, sequenceLength: 64, tokenizer, masker: new TokenMasker(tokenizer) };
const batches = maskedBatches(validation, sizes, new Generator(1));
const more = { ...sizes, masker: new TokenMasker(tokenizer, { maskProb: 0.2 }) };

const trainer = new Trainer({
  model,
  tokenizer,
  train: new MaskedTextSource(train, more, new Generator(2)),
  objective: maskedTokens(model),
  validation: batches.slice(0, 10),
  steps: Number(steps),
  lr: 1e-3,
  warmup: Math.round(Number(steps) / 20),
  evalInterval: Math.ceil(Number(steps) / 10),
  folder,
});
trainer.on('step', ({ step, loss, tokensPerSecond }) => {
  if (step % 100 === 0)
    console.log(`step ${step}: loss ${loss.toFixed(3)}, ${tokensPerSecond.toFixed(0)} tok/s`);
});
trainer.on('evaluation', ({ step, loss }) => console.log(`step ${step}: validation loss ${loss.toFixed(3)}`));
const { tokens, seconds } = await trainer.run();
console.log(`${tokens} tokens in ${seconds.toFixed(0)} seconds`);

const percent = (part: number): string => `${(100 * part).toFixed(1)} %`;
const { accuracy, total } = maskedAccuracy(model, batches);
console.log(`of ${total} hidden tokens BERT finds ${percent(accuracy)}`);
console.log(`the most frequent token is ${percent(unigramAccuracy(train, batches).accuracy)}`);
