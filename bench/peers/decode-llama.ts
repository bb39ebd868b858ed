/**
 * Prefill and greedy decoding in llama.cpp through the npm package node-llama-cpp; the counterpart of
 * bench/models/decode.ts. The package's own binary of this platform is used; nothing is built or downloaded.
 */

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { median, printReport, readTask, tokenIds } from '../measure.js';
import { writeGguf } from './gguf.js';

/** The package's interface, as far as it is used here. */
interface NodeLlamaCpp {
  getLlama(options: object): Promise<{
    dispose(): Promise<void>;
    loadModel(options: object): Promise<{
      createContext(options: object): Promise<{ getSequence(): Sequence }>;
    }>;
  }>;
}
interface Sequence {
  clearHistory(): Promise<void>;
  evaluate(tokens: readonly number[], options: object): AsyncIterable<number>;
  controlledEvaluate(
    input: readonly (number | readonly [number, object])[],
  ): Promise<readonly ({ next: { logits?: ReadonlyMap<number, number> } } | undefined)[]>;
}

interface Task {
  readonly module: string;
  readonly threads: number;
  readonly weights: string;
  readonly config: { readonly vocab_size: number; readonly n_positions: number };
  readonly prompt: number;
  readonly new: number;
  readonly prefills: number;
}

const task = readTask() as Task;
const modelPath = `${task.weights}.gguf`;
if (!existsSync(modelPath)) writeGguf(task.weights, modelPath);
const prompt = [...tokenIds(task.prompt, task.config.vocab_size)];

const imported = (await import(pathToFileURL(task.module).href)) as NodeLlamaCpp;
const llama = await imported.getLlama({
  gpu: false,
  build: 'never',
  skipDownload: true,
  progressLogs: false,
  logLevel: 'error',
  maxThreads: task.threads,
});
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const context = await model.createContext({
  contextSize: task.config.n_positions,
  batchSize: task.prompt,
  threads: { ideal: task.threads, min: task.threads },
  experimentalKvCacheKeyType: 'F32',
  experimentalKvCacheValueType: 'F32',
});
const sequence = context.getSequence();

/** `count` greedy tokens after `ids`; seconds until the first one, and from there to the last. */
async function run(ids: readonly number[], count: number) {
  await sequence.clearHistory();
  const start = performance.now();
  let first = 0;
  const tokens: number[] = [];
  for await (const token of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
    tokens.push(token);
    if (tokens.length === 1) first = performance.now();
    if (tokens.length === count) break;
  }
  if (tokens.length < count) throw new Error(`llama.cpp stopped after ${tokens.length} of ${count} tokens`);
  return { tokens, prefill: (first - start) / 1000, decode: (performance.now() - first) / 1000 };
}

const last = prompt.length - 1;
const outputs = await sequence.controlledEvaluate([
  ...prompt.slice(0, last),
  [prompt[last], { generateNext: { logits: true } }],
]);
const logits = outputs[last]!.next.logits!;
const prefills: number[] = [];
for (let i = 0; i < task.prefills; i++) prefills.push((await run(prompt, 1)).prefill);
const { tokens, decode } = await run(prompt.slice(0, 1), task.new + 1);
printReport({
  results: {
    [`float32 prefill ${task.prompt}`]: { seconds: median(prefills) },
    [`float32 decode ${task.new}`]: { seconds: decode },
  },
  values: [...Array.from({ length: 8 }, (_, id) => logits.get(id)!), ...tokens.slice(0, 16)],
  version: versionOf(task.module),
});
await llama.dispose(); // its threads would keep the process

function versionOf(module: string): string {
  let folder = dirname(module);
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Record<
    string,
    string
  >;
  return `${name} ${version}`;
}
