/** Embeddings of texts of mixed length, as token ids: `embed` against batches that are padded. */

import { embed } from '../../src/embedding/index.js';
import { BertModel } from '../../src/models/index.js';
import { readTask, report, secondsPerAsyncCall, tokenIds } from '../measure.js';

const task = readTask() as { weights: string; texts: number };
const model = BertModel.fromPretrained(task.weights, { pooler: false });
const lengths = Array.from(tokenIds(task.texts, 120), (u) => 8 + Math.floor((u * u) / 120));
const total = lengths.reduce((a, b) => a + b, 0);
const ids = tokenIds(total, model.config.vocab_size);
let end = 0;
const texts = lengths.map((length) => ids.subarray(end, (end += length)));
const tokenizer = { encode: () => new Int32Array() }; // ids need none

const run = () => embed(model, tokenizer, texts);
const vectors = await run();
const values = [0, 1].flatMap((row) => Array.from(vectors.data.subarray(row * 384, row * 384 + 8), Number));
const seconds = await secondsPerAsyncCall([run], 3);
const result = { seconds, tokens: total };
report({ 'against plain padding': result, 'against padding after sorting': result }, values);
