// A tokenizer and a small Llama, both trained on one text file, saved in Hugging Face's layout.
//
//   node dist/examples/06-train-llama.js [text file] [model folder]
//
// transformers loads the folder: LlamaForCausalLM.from_pretrained('models/example-llama').

import { generate, Llama, manualSeed, readTexts, splitTokens, trainBpe, Trainer } from 'tsgpt';

const [file = 'examples/data/tinyshakespeare.txt', folder = 'models/example-llama'] = process.argv.slice(2);
manualSeed(1);

// Byte-level BPE: any text becomes tokens and back without loss, common words become single ones.
const tokenizer = await trainBpe({ files: file }, { vocabSize: 1024, specialTokens: ['<|endoftext|>'] });
const { text } = await readTexts(file);
const ids = tokenizer.encode(text);
console.log(`${tokenizer.vocabSize} tokens; ${(text.length / ids.length).toFixed(2)} characters each`);
const { train, validation } = splitTokens(ids, 0.1);

// Rotary positions, RMSNorm, SwiGLU, and two query heads for each head of keys and values.
const model = new Llama({
  vocab_size: tokenizer.vocabSize,
  hidden_size: 96,
  intermediate_size: 256,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 128,
  tie_word_embeddings: true,
  bos_token_id: null,
  eos_token_id: tokenizer.tokenToId('<|endoftext|>'),
});

const trainer = new Trainer({
  model,
  tokenizer,
  train,
  validation: validation.subarray(0, 10_000),
  batchSize: 8,
  sequenceLength: 64,
  steps: 600,
  lr: 3e-3,
  evalInterval: 300,
  folder,
});
trainer.on('step', ({ step, loss }) => {
  if (step % 100 === 0) console.log(`step ${step}: loss ${loss.toFixed(3)}`);
});
trainer.on('evaluation', ({ loss }) => console.log(`validation loss ${loss.toFixed(3)}`));
await trainer.run();

console.log(
  await generate(model, tokenizer, 'ROMEO:\n', { maxNewTokens: 60, temperature: 0.7, seed: 1 }).text(),
);
console.log(`saved in ${folder}`);
