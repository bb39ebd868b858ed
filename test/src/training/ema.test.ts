import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Generator, memory, StateDictError } from '../../../lib/index.js';
import { splitTokens } from '../../../src/data/index.js';
import { GPT } from '../../../src/models/index.js';
import { CharTokenizer } from '../../../src/tokenizers/index.js';
import { evaluateLoss } from '../../../src/training/evaluation.js';
import { ValidationWindows } from '../../../src/training/learning.js';
import { nextToken } from '../../../src/training/objective.js';
import { Trainer, type TrainerOptions } from '../../../src/training/index.js';
import { bits } from '../../support/compare.js';
import { expectClose } from '../../support/golden.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-ema-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const text = 'the quick brown fox jumps over the lazy dog; '.repeat(20);
const tokenizer = CharTokenizer.fromText(text);
const { train, validation } = splitTokens(tokenizer.encode(text), 0.1);
const sizes = { batchSize: 4, sequenceLength: 8 };
const windows = new ValidationWindows(validation, sizes);

function makeModel(): GPT {
  const config = { vocab_size: tokenizer.vocabSize, n_positions: 8, n_embd: 16, n_layer: 1, n_head: 2 };
  const still = { resid_pdrop: 0, embd_pdrop: 0, attn_pdrop: 0 };
  return new GPT(
    { ...config, ...still, bos_token_id: null, eos_token_id: null },
    { generator: new Generator(1) },
  );
}
function makeTrainer(model: GPT, options: Partial<TrainerOptions> = {}): Trainer {
  const run = { steps: 12, seed: 3, generator: new Generator(2), evalInterval: 5, lr: 1e-2 };
  return new Trainer({ model, train, validation, ...sizes, ...run, ema: 0.9, folder, ...options });
}
const weights = (model: GPT): string[] => model.parameters().map((p) => bits(p).toString('hex'));

describe('the moving average of the weights', () => {
  it('is what is evaluated, saved and left in the model', async () => {
    const model = makeModel();
    let average = model.parameters().map((p) => p.toFloat64Array());
    const trainer = makeTrainer(model);
    trainer.on('step', ({ step }) => {
      const decay = Math.min(0.9, (1 + step) / (10 + step));
      average = model.parameters().map((p, i) => {
        const now = p.toFloat64Array();
        return average[i].map((a, j) => decay * a + (1 - decay) * now[j]);
      });
    });
    const { validationLoss, best } = await trainer.run();
    model.parameters().forEach((p, i) => expectClose(p, average[i], { atol: 1e-6 }));
    const saved = GPT.fromPretrained(folder);
    expect(weights(saved)).toEqual(weights(model));
    expect(await evaluateLoss(saved, nextToken(saved), windows, () => false)).toBe(validationLoss);
    const bestModel = GPT.fromPretrained(join(folder, 'best'));
    expect(await evaluateLoss(bestModel, nextToken(bestModel), windows, () => false)).toBe(best!.loss);
  });

  it('goes on with the same bits after a stop, and uses no more memory as it goes', async () => {
    const straight = makeModel();
    await makeTrainer(straight, { folder: join(folder, 'straight') }).run();
    const stop = new AbortController();
    const target = join(folder, 'stopped');
    const first = makeTrainer(makeModel(), { folder: target, signal: stop.signal });
    first.on('step', ({ step }) => step === 7 && stop.abort());
    await first.run();
    const model = GPT.fromPretrained(target);
    const second = makeTrainer(model, { folder: target });
    expect(second.resume()).toEqual([]);
    const live: number[] = [];
    second.on('step', () => live.push(memory().liveBytes));
    await second.run();
    expect(weights(model)).toEqual(weights(straight));
    expect(live.at(-1)).toBeLessThanOrEqual(live[1]);
  });

  it('gives the weights back to a run that goes on without it', async () => {
    const plain = makeModel();
    await makeTrainer(plain, { ema: undefined, folder: join(folder, 'plain') }).run();
    const stop = new AbortController();
    const target = join(folder, 'stopped');
    const first = makeTrainer(makeModel(), { folder: target, signal: stop.signal });
    first.on('step', ({ step }) => step === 7 && stop.abort());
    await first.run();
    const model = GPT.fromPretrained(target);
    const second = makeTrainer(model, { folder: target, ema: undefined });
    expect(second.resume()).toEqual(['ema: 0.9, now not set']);
    await second.run();
    expect(weights(model)).toEqual(weights(plain)); // the average does not touch the training
  });

  it('refuses what is no decay, and the weights of another model', async () => {
    expect(() => makeTrainer(makeModel(), { ema: 1 })).toThrow(
      'Trainer: ema must be from 0 to below 1, got 1',
    );
    await makeTrainer(makeModel()).run();
    const other = { vocab_size: 5, n_positions: 8, n_embd: 8, n_layer: 1, n_head: 2 };
    const trainer = makeTrainer(new GPT({ ...other, bos_token_id: null, eos_token_id: null }));
    expect(() => trainer.resume()).toThrow(StateDictError);
    expect(() => trainer.resume()).toThrow('Trainer: weights.0 must be float32 [5, 8], it is float32');
  });
});

it('schedules by name drive the steps and belong to the run', async () => {
  const options = { ema: undefined, schedule: { type: 'wsd', decay: 4 }, warmup: 2 } as const;
  const trainer = makeTrainer(makeModel(), options);
  const rates: number[] = [];
  trainer.on('step', ({ lr }) => rates.push(lr));
  await trainer.run();
  const [a, b] = [1e-2 / 3, 2e-2 / 3];
  expectClose(rates, [a, b, ...Array<number>(7).fill(1e-2), 7.75e-3, 5.5e-3, 3.25e-3], { rtol: 1e-12 });
  const again = makeTrainer(GPT.fromPretrained(folder), { ...options, schedule: { type: 'linear' } });
  expect(again.resume()).toEqual(['schedule: wsd, now linear', 'decay: 4, now not set']);
});
