// Loading: any decoder in Hugging Face's layout (GPT-2, Llama, Mistral, Qwen2, SmolLM) or a GGUF file continues a prompt.
//
//   node dist/examples/05-load-and-stream.js [model folder or GGUF file] [prompt]
//
// Without arguments it takes the model of 03-train-gpt. GPT-2 itself is such a folder:
//   git clone https://huggingface.co/openai-community/gpt2

import { AutoModelForCausalLM, AutoTokenizer, generate } from 'tsgpt';

const [source = 'models/example', prompt = 'ROMEO:'] = process.argv.slice(2);

// The files stay mapped: weights are read when they are first used, in the width that they have in the file.
const started = performance.now();
const model = AutoModelForCausalLM.fromPretrained(source);
const tokenizer = AutoTokenizer.fromPretrained(source);
console.log(
  `${model.constructor.name} of ${model.numParameters().toLocaleString('en')} weights, ` +
    `loaded in ${(performance.now() - started).toFixed(0)} ms`,
);

// Ctrl-C ends the text, and the cache is given back.
const abort = new AbortController();
process.once('SIGINT', () => abort.abort());
const generation = generate(model, tokenizer, prompt, { maxNewTokens: 60, seed: 1, signal: abort.signal });
process.stdout.write(prompt);
for await (const piece of generation) process.stdout.write(piece);
console.log(`\n[${generation.finishReason}, ${generation.tokens.length} tokens]`);
