/** Tokenizers: encoding with GPT-2's, from a JavaScript string to an Int32Array; loading it; training BPE. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { setThreads } from '../../lib/index.js';
import { AutoTokenizer, trainBpe } from '../../src/tokenizers/index.js';
import { readTask, report, secondsOf, median, type Measurement } from '../measure.js';
import { encodeCase, hashOf, type EncodeTask } from '../peers/encode.js';

export interface TrainTask {
  readonly corpus: readonly string[];
  readonly vocabSize: number;
  readonly samples: number;
}

const task = readTask() as { threads: number } & (EncodeTask | TrainTask);
if ('corpus' in task) await train(task);
else encode(task, task.threads);

function encode({ folder, text: file, samples }: EncodeTask, threads: number): void {
  const text = readFileSync(file, 'utf8');
  const load = () => AutoTokenizer.fromPretrained(join(folder, 'tokenizer.json'));
  // The first time in this process: nothing is compiled or remembered yet.
  const seconds = secondsOf(load);
  const results: Record<string, Measurement> = { 'load GPT-2': { seconds } };
  const tokenizer = load();
  setThreads(1);
  const textBytes = Buffer.byteLength(text);
  results['encode, the first time'] = { seconds: secondsOf(() => tokenizer.encode(text)), textBytes };
  const call = () => tokenizer.encode(text);
  results.encode = encodeCase(text, call, samples);
  if (threads > 1) {
    setThreads(threads);
    results[`encode, ${threads} threads`] = encodeCase(text, call, samples);
  }
  report(results, hashOf(call()));
}

async function train({ corpus, vocabSize, samples }: TrainTask): Promise<void> {
  const texts = corpus.map((file) => readFileSync(file, 'utf8'));
  const textBytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  const times: number[] = [];
  for (let i = 0; i < samples; i++) {
    const start = performance.now();
    const { vocabSize: made } = await trainBpe(texts, { vocabSize });
    times.push((performance.now() - start) / 1000);
    if (made !== vocabSize) throw new Error(`the texts gave ${made} tokens, not ${vocabSize}`);
  }
  const name = `train ${vocabSize} tokens on ${(textBytes / 1e6).toFixed(0)} MB`;
  report({ [name]: { seconds: median(times), textBytes } });
}
