// Generation: the model of 03-train-gpt continues a prompt, piece by piece.
//
//   node dist/examples/04-generate.js [model folder] [prompt]

import { AutoTokenizer, generate, GPT } from 'tsgpt';

const [folder = 'models/example', prompt = 'ROMEO:'] = process.argv.slice(2);
const model = GPT.fromPretrained(folder);
const tokenizer = AutoTokenizer.fromPretrained(folder);

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

// Several prompts go through the model side by side; each gets the text that it would get alone.
const texts = await generate(model, tokenizer, ['ROMEO:', 'JULIET:'], { maxNewTokens: 40, seed: 1 }).texts();
console.log(texts);

// A beam search keeps the likeliest of several texts. Pieces of a batch say which text they belong to.
const beams = generate(model, tokenizer, [prompt], { numBeams: 4, numReturnSequences: 2, maxNewTokens: 40 });
for await (const { index, text } of beams) console.log(beams.sequences[index].score?.toFixed(3), text);
