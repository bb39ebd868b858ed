// Generation: the model of 03-train-gpt continues a prompt, piece by piece.
//
//   node dist/examples/04-generate.js [model folder] [prompt]

import { generate, GPT, loadTokenizer } from 'tsgpt';

const [folder = 'models/example', prompt = 'ROMEO:'] = process.argv.slice(2);
const model = GPT.fromPretrained(folder);
const tokenizer = loadTokenizer(folder);

// A generation is an async iterable: text appears as it is made.
const generation = generate(model, tokenizer, prompt, {
  maxNewTokens: 200,
  temperature: 0.8,
  topK: 40,
  seed: 1,
});
process.stdout.write(prompt);
for await (const piece of generation) process.stdout.write(piece);
console.log(`\n${(generation.tokens.length / generation.decodeSeconds).toFixed(0)} tokens/s`);

// Temperature 0 takes the likeliest token each time; text() waits for the whole.
console.log(await generate(model, tokenizer, prompt, { temperature: 0, stopStrings: '\n\n' }).text());
