/** The trainer on sources of its user's: order, place, weights of batches, and going on exactly. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ArgumentError, Generator, memory, mseLoss, tensor, type Tensor } from '../../../lib/index.js';
import { BatchSampler, type BatchSource, type JsonValue } from '../../../src/data/index.js';
import { GPT } from '../../../src/models/index.js';
import { Linear } from '../../../src/nn/index.js';
import {
  nextTokenLoss,
  Trainer,
  type Objective,
  type SourceTrainerOptions,
} from '../../../src/training/index.js';
import { batchesOfEpochs } from '../../../src/training/run-length.js';
import { bits } from '../../support/compare.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-sources-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Points of y = 2 x1 - x2, batches of 3, in order. */
class Points implements BatchSource<number[][]> {
  #place = 0;
  readonly drawn: number[] = [];
  readonly identity = { batchSize: 3, trainExamples: 10, trainHash: 7 };
  readonly length = 10 / 3;

  next(): number[][] {
    this.drawn.push(this.#place);
    return Array.from({ length: 3 }, () => {
      const i = this.#place++ % 10;
      return [Math.sin(i), Math.cos(3 * i)];
    });
  }
  state(): JsonValue {
    return { place: this.#place };
  }
  setState(state: JsonValue): void {
    const { place } = state as { place?: number };
    if (place === undefined) throw new ArgumentError('Points: no place');
    this.#place = place;
  }
}

class Line extends Linear {
  savePretrained(folder: string): void {
    writeFileSync(join(folder, 'config.json'), '{}');
  }
}

const makeModel = (): Line => new Line(2, 1, { generator: new Generator(1) });

function regression(model: Line): Objective<number[][]> {
  return {
    loss: (points) => ({
      loss: mseLoss(model.forward(tensor(points)), tensor(points.map(([a, b]) => [2 * a - b]))),
      weight: points.length,
      tokens: 2 * points.length,
    }),
  };
}

function make(options: Partial<SourceTrainerOptions<number[][]>> = {}) {
  const model = makeModel();
  const source = new Points();
  const run = { lr: 0.1, weightDecay: 0, evalInterval: 10 };
  const length = options.epochs === undefined ? { steps: 40 } : {};
  const objective = regression(model);
  const trainer = new Trainer({ model, train: source, objective, ...length, ...run, ...options });
  return { model, source, trainer };
}

describe('a source of batches', () => {
  it('is learned from in its order, by its objective', async () => {
    const { model, source, trainer } = make({ steps: 120, gradAccumSteps: 2 });
    const live: number[] = [];
    trainer.on('step', () => live.push(memory().liveBytes));
    const result = await trainer.run();
    expect(source.drawn).toEqual(Array.from({ length: 240 }, (_, i) => 3 * i));
    expect(model.weight.data[0]).toBeCloseTo(2, 1);
    expect(model.weight.data[1]).toBeCloseTo(-1, 1);
    expect(result).toMatchObject({ steps: 120, tokens: 120 * 2 * 6, validationLoss: null });
    expect(live[119]).toBe(live[9]);
  });

  it('is evaluated on batches weighed by what counts in them', async () => {
    const validation = [[[1, 0]], [[0, 1], [1, 1], [2, 1]]]; // prettier-ignore
    const { model, trainer } = make({ validation });
    const { validationLoss } = await trainer.run();
    const [a, b] = model.weight.data;
    const errors = validation.flat().map(([x, y]) => (a * x + b * y + model.bias!.data[0] - 2 * x + y) ** 2);
    expect(validationLoss).toBeCloseTo(errors.reduce((sum, e) => sum + e) / 4, 6);
  });

  it('counts passes over the data', () => {
    expect(make({ epochs: 3 }).trainer.steps).toBe(10);
    expect(make({ epochs: 0.5 }).trainer.steps).toBe(2);
    // 49 batches of 1/49 are one, although the product is a little more or less.
    for (let n = 1; n < 500; n++) expect(batchesOfEpochs(n, 1 / n)).toBe(1);
    expect(batchesOfEpochs(2, 810 / 32)).toBe(51);
  });

  it('goes on where it was left, with the same bits', async () => {
    const straight = make();
    await straight.trainer.run();
    const stop = new AbortController();
    const first = make({ folder, signal: stop.signal });
    first.trainer.on('step', ({ step }) => step === 7 && stop.abort());
    await first.trainer.run();
    const second = make({ folder });
    second.model.loadStateDict(first.model.stateDict());
    expect(second.trainer.resume()).toEqual([]);
    await second.trainer.run();
    expect(second.source.drawn[0]).toBe(21);
    expect(second.model.parameters().map(bits)).toEqual(straight.model.parameters().map(bits));
  });

  it('says what is different when it goes on', async () => {
    await make({ folder, steps: 2 }).trainer.run();
    const resume = (identity: Record<string, number>): string[] => {
      const source = Object.assign(new Points(), { identity });
      return make({ folder, steps: 2, train: source }).trainer.resume();
    };
    expect(resume({ batchSize: 3, trainExamples: 9, trainHash: 8 })).toEqual([
      'the training text: 10 examples, now 9',
    ]);
    expect(resume({ batchSize: 4, trainExamples: 10, trainHash: 8 })).toEqual([
      'batchSize: 3, now 4',
      'the training text: it has changed since',
    ]);
    const sampler = new BatchSampler(
      new Int32Array(9),
      { batchSize: 1, sequenceLength: 4 },
      new Generator(0),
    );
    const other = new Trainer({
      model: makeModel(),
      train: sampler,
      objective: { loss: () => expect.fail('not run') },
      steps: 2,
      folder,
    });
    expect(() => other.resume()).toThrow(
      'BatchSampler: the state must have the seed and offset of a random stream, got {"place":6}; was it saved by a run on other data?',
    );
  });
});

it('trains on token ids with the same bits as the short form', async () => {
  const ids = Int32Array.from({ length: 200 }, (_, i) => (i * i) % 13);
  const config = { vocab_size: 13, n_positions: 8, n_embd: 8, n_layer: 1, n_head: 2 };
  const model = () => {
    const none = { bos_token_id: null, eos_token_id: null };
    return new GPT({ ...config, ...none }, { generator: new Generator(1) });
  };
  const sizes = { batchSize: 4, sequenceLength: 8 };
  const run = { steps: 12, evalInterval: 0 };
  const [short, long] = [model(), model()];
  await new Trainer({
    model: short,
    train: ids,
    ...sizes,
    ...run,
    seed: 3,
    generator: new Generator(5),
  }).run();
  await new Trainer({
    model: long,
    train: new BatchSampler(ids, sizes, new Generator(3)),
    objective: {
      loss: ({ inputs, targets }: { inputs: Tensor; targets: Tensor }) => ({
        loss: nextTokenLoss(long, inputs, targets),
        weight: 32,
        tokens: 32,
      }),
    },
    ...run,
    generator: new Generator(5),
  }).run();
  expect(long.parameters().map(bits)).toEqual(short.parameters().map(bits));
});

it('refuses options of the other form, and a source that has no objective', () => {
  const wrong = (options: object) => () => make(options);
  expect(wrong({ batchSize: 4 })).toThrow("Trainer: unknown option 'batchSize'");
  expect(wrong({ objective: undefined })).toThrow(
    'Trainer: a source of batches needs an objective, { loss(batch) }',
  );
  expect(wrong({ train: new Int32Array(9) })).toThrow("Trainer: unknown option 'objective'");
});

it('refuses a validation without anything to predict', async () => {
  const { trainer } = make({ validation: new Set<number[][]>() });
  await expect(trainer.run()).rejects.toThrow(
    'Trainer: there is nothing to predict in the validation batches',
  );
  expect((await make({ validation: [] }).trainer.run()).validationLoss).toBeNull();
});
