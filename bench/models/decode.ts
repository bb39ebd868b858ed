/**
 * Prefill and greedy decoding through `generate`, with its cache and sampling, from prompts of one token: at batch 1, where
 * the first logits and the first tokens must be the same for all contenders, and eight texts at once.
 */

import { noGrad, scope, setFloat32MatmulPrecision, tensor } from '../../lib/index.js';
import { generate } from '../../src/generation/index.js';
import { GPT } from '../../src/models/index.js';
import { CharTokenizer } from '../../src/tokenizers/index.js';
import { median, readTask, report, tokenIds } from '../measure.js';

const task = readTask() as {
  weights: string;
  prompt: number;
  new: number;
  prefills: number;
  dtype?: 'bfloat16';
};
const { dtype = 'float32' } = task;
if (dtype === 'bfloat16') setFloat32MatmulPrecision('medium');
const model = GPT.fromPretrained(task.weights, { dtype }).eval();
const { vocab_size: V, n_embd, n_layer } = model.config;
const prompt = tokenIds(task.prompt, V);

/** Ids are all this needs: a character for each. */
const tokenizer = new CharTokenizer(Array.from({ length: V }, (_, id) => String.fromCodePoint(0x10000 + id)));

const batch = 8;

async function run(ids: Int32Array, maxNewTokens: number) {
  const generation = generate(model, tokenizer, ids, { maxNewTokens, temperature: 0, eosTokenId: null });
  await generation.text();
  return generation;
}

/** Seconds for the tokens after the first of each text. */
async function runBatch(maxNewTokens: number): Promise<number> {
  const prompts = Array.from(prompt.subarray(0, batch), (id) => [id]);
  const generation = generate(model, tokenizer, prompts, { maxNewTokens, temperature: 0, eosTokenId: null });
  await generation.texts();
  return generation.decodeSeconds;
}

const logits = noGrad(() =>
  scope(() => {
    const ids = tensor(prompt, { dtype: 'int32', shape: [1, task.prompt] });
    return Array.from(model.forward(ids, { lastOnly: true }).data.subarray(0, 8), Number);
  }),
);
const prefills: number[] = [];
for (let i = 0; i < task.prefills; i++) prefills.push((await run(prompt, 1)).prefillSeconds);
const { tokens, decodeSeconds } = await run(prompt.subarray(0, 1), task.new + 1);
const batchSeconds = await runBatch(task.new + 1);
const weights = 12 * n_layer * n_embd ** 2 + V * n_embd;
report(
  {
    [`${dtype} prefill ${task.prompt}`]: {
      seconds: median(prefills),
      tokens: task.prompt,
      flops: task.prompt * (24 * n_layer * n_embd ** 2 + 2 * n_layer * task.prompt * n_embd),
    },
    [`${dtype} decode ${task.new}`]: {
      seconds: decodeSeconds,
      tokens: task.new,
      memoryBytes: (dtype === 'float32' ? 4 : 2) * weights * task.new,
    },
    [`${dtype} decode ${task.new}, batch ${batch}`]: {
      seconds: batchSeconds,
      tokens: batch * task.new,
      memoryBytes: (dtype === 'float32' ? 4 : 2) * weights * task.new,
    },
  },
  // In half precision the greatest of random logits may be another one.
  dtype === 'float32' ? [...logits, ...tokens.slice(0, 16)] : logits,
);
