/** Steps in half types, out of parts, and with numbers that got lost. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

import {
  add,
  type BatchLoss,
  crossEntropy,
  Generator,
  GPT,
  LossScaler,
  mul,
  nextTokenLoss,
  reshape,
  SGD,
  sqrt,
  type StepEvent,
  sum,
  tensor,
  type Tensor,
  Trainer,
} from '../../../src/index.js';
import type { BatchSource, JsonValue } from '../../../src/data/batch-source.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-step-'));
afterAll(() => rmSync(folder, { recursive: true }));

const config = { vocab_size: 31, n_positions: 16, n_embd: 24, n_layer: 2, n_head: 2 };
const undropped = { resid_pdrop: 0, embd_pdrop: 0, attn_pdrop: 0 };
const newModel = (changes: object = undropped): GPT =>
  new GPT({ ...config, ...changes }, { generator: new Generator(1) });

const text = Int32Array.from({ length: 4000 }, (_, i) => (i * i) % 31);

/** Rows of ids and targets; -100 counts for nothing. */
type Rows = readonly (readonly number[])[];

/** Batches in their order, over and over. */
class ListSource implements BatchSource<Rows> {
  readonly identity = {};
  #next = 0;

  constructor(readonly batches: readonly Rows[]) {}

  get length(): number {
    return this.batches.length;
  }

  next(): Rows {
    return this.batches[this.#next++ % this.batches.length];
  }

  state(): JsonValue {
    return this.#next;
  }

  setState(state: JsonValue): void {
    this.#next = state as number;
  }
}

/** Texts of unequal lengths: one place counts for each token, and -100 for none. */
const masked = (model: GPT) => ({
  loss: (rows: Rows): BatchLoss => {
    const ids = tensor(
      rows.map((row) => row.map((id) => Math.max(id, 0))),
      { dtype: 'int32' },
    );
    const targets = tensor(rows.flat(), { dtype: 'int32' });
    const weight = rows.flat().filter((id) => id !== -100).length;
    const logits = reshape(model.forward(ids), [rows.flat().length, 31]);
    return { loss: crossEntropy(logits, targets), weight, tokens: targets.size };
  },
});

async function train(
  batches: readonly Rows[],
  options: { gradAccumSteps: number; epochs?: number },
): Promise<{ model: GPT; steps: StepEvent[] }> {
  const model = newModel();
  const steps: StepEvent[] = [];
  const trainer = new Trainer({
    ...{
      model,
      train: new ListSource(batches),
      objective: masked(model),
      epochs: 1,
      lr: 0.1,
      warmup: 0,
      ...options,
    },
    optimizer: (groups, lr) => new SGD(groups, { lr, momentum: 0.9 }), // whose steps are as long as the gradient
  });
  trainer.on('step', (event) => steps.push(event));
  await trainer.run();
  return { model, steps };
}

describe('accumulation', () => {
  const row = (start: number, counted: number): number[] =>
    Array.from({ length: 8 }, (_, i) => (i < counted ? text[start + i] : -100));
  const rows = Array.from({ length: 12 }, (_, i) => row(9 * i, [8, 1, 5, 0, 3, 7][i % 6]));

  it('of batches with unequal numbers of tokens is the large batch', async () => {
    const large = await train([rows.slice(0, 6), rows.slice(6)], { gradAccumSteps: 1 });
    const small = await train(
      rows.map((r) => [r]),
      { gradAccumSteps: 6 },
    ); // one of them counts nothing at all
    expect(small.steps).toHaveLength(2);
    small.steps.forEach((event, i) => {
      expect(Math.abs(event.loss / large.steps[i].loss - 1)).toBeLessThan(1e-6);
      expect(Math.abs(event.gradNorm / large.steps[i].gradNorm - 1)).toBeLessThan(1e-6);
      expect(event.tokens).toBe(large.steps[i].tokens);
    });
    const weights = large.model.parameters();
    small.model.parameters().forEach((p, i) => {
      const expected = weights[i].data as Float32Array;
      p.data.forEach((w, j) => expect(Math.abs(w - expected[j])).toBeLessThan(1e-6));
    });
  });

  it('applies a last group that is not full as the batch that it is', async () => {
    const whole = await train([rows.slice(0, 4), rows.slice(4, 6)], { gradAccumSteps: 1 });
    const parts = await train(
      rows.slice(0, 6).map((r) => [r]),
      { gradAccumSteps: 4 },
    );
    expect(parts.steps).toHaveLength(2);
    parts.steps.forEach((event, i) => {
      expect(Math.abs(event.gradNorm / whole.steps[i].gradNorm - 1)).toBeLessThan(1e-6);
    });
  });
});

const sizes = { batchSize: 4, sequenceLength: 16, steps: 60, lr: 3e-3, evalInterval: 0 };

async function losses(changes: object, model = newModel()): Promise<{ model: GPT; steps: StepEvent[] }> {
  const steps: StepEvent[] = [];
  const trainer = new Trainer({ model, train: text, ...sizes, ...changes });
  trainer.on('step', (event) => steps.push(event));
  await trainer.run();
  return { model, steps };
}

describe('precision', () => {
  it.each(['bf16', 'fp16'] as const)('%s learns as float32 does, with float32 weights', async (precision) => {
    const plain = await losses({});
    const half = await losses({ precision });
    const end = (steps: StepEvent[]): number => steps.slice(-10).reduce((sum, e) => sum + e.loss, 0) / 10;
    expect(end(plain.steps)).toBeLessThan(0.9 * plain.steps[0].loss);
    expect(Math.abs(end(half.steps) - end(plain.steps))).toBeLessThan(0.02);
    expect(half.steps.map((e) => e.loss)).not.toEqual(plain.steps.map((e) => e.loss));
    expect(half.model.parameters().every((p) => p.dtype === 'float32')).toBe(true);
    expect(half.steps.at(-1)).toMatchObject({
      skippedSteps: 0,
      lossScale: precision === 'fp16' ? 65536 : null,
    });
  });

  it('fp16 halves a scale that overflows, skips these steps and reports them', async () => {
    const { steps } = await losses({
      precision: 'fp16',
      lossScale: { initial: 2 ** 24, growthInterval: 20 },
    });
    const skipped = steps.filter((e) => e.skipped).length;
    expect(skipped).toBeGreaterThan(0);
    expect(steps.at(-1)!.skippedSteps).toBe(skipped);
    expect(steps[0]).toMatchObject({ skipped: true, lossScale: 2 ** 23 });
    expect(steps.slice(1).some((e, i) => e.lossScale! > steps[i].lossScale!)).toBe(true);
    expect(steps.at(-1)!.loss).toBeLessThan(steps[0].loss);
  });

  it('goes on after a stop with the same bits', async () => {
    const options = {
      precision: 'fp16',
      lossScale: { initial: 2 ** 22, growthInterval: 7 },
      recompute: 'every:1',
    };
    const whole = await losses(options);
    const stop = new AbortController();
    const path = join(folder, 'fp16');
    const first = new Trainer({
      model: newModel(),
      train: text,
      ...sizes,
      ...options,
      folder: path,
      signal: stop.signal,
    } as never);
    first.on('step', ({ step }) => step === 23 && stop.abort());
    await first.run();
    const model = GPT.fromPretrained(path);
    const second = new Trainer({ model, train: text, ...sizes, ...options, folder: path } as never);
    expect(second.resume()).toEqual([]);
    const steps: StepEvent[] = [];
    second.on('step', (event) => steps.push(event));
    await second.run();
    const facts = (list: StepEvent[]): unknown[] =>
      list
        .slice(-37)
        .map(({ loss, gradNorm, lossScale, skippedSteps }) => ({ loss, gradNorm, lossScale, skippedSteps }));
    expect(facts(steps)).toEqual(facts(whole.steps));
  });

  it('refuses words that it does not know', () => {
    const make = (options: object) => () =>
      new Trainer({ model: newModel(), train: text, ...sizes, ...options });
    expect(make({ precision: 'int8' })).toThrow(
      "Trainer: precision must be float32, bf16 or fp16, got 'int8'",
    );
    expect(make({ lossScale: {} })).toThrow('Trainer: lossScale is for precision fp16');
    expect(make({ precision: 'fp16', lossScale: { initial: 0 } })).toThrow(
      'LossScaler: initial must be positive, got 0',
    );
    expect(make({ precision: 'fp16', lossScale: { growthInterval: 0 } })).toThrow(
      'growthInterval must be a positive integer',
    );
    expect(make({ maxSkips: -1 })).toThrow('Trainer: maxSkips must be an integer of at least 0, got -1');
    expect(make({ recompute: 'all' })).toThrow("recompute: must be 'off', 'selective' or 'every:N'");
  });
});

describe('recompute', () => {
  it('changes no bit of a run with dropout', async () => {
    const run = async (recompute: string): Promise<number[]> => {
      const generator = new Generator(9);
      const model = new GPT(config, { generator });
      return (await losses({ recompute, generator, steps: 6 }, model)).steps.map((e) => e.loss);
    };
    const plain = await run('off');
    expect(await run('every:1')).toEqual(plain);
    expect(await run('selective')).toEqual(plain);
  });
});

describe('LossScaler', () => {
  it("does what PyTorch's GradScaler does", () => {
    // torch.amp.GradScaler('cpu', init_scale=8, growth_interval=3) over these overflows: get_scale() after each update().
    const overflows = [0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0];
    const scales = [8, 8, 4, 4, 4, 8, 8, 8, 16, 8, 4, 4, 4, 8];
    const scaler = new LossScaler({ initial: 8, growthInterval: 3 });
    const seen = overflows.map((overflow) => {
      scaler.update(overflow === 1);
      return scaler.scale;
    });
    expect(seen).toEqual(scales);
  });
});

describe('numbers that got lost', () => {
  /** Multiplies the loss of some batches by what they say. */
  const faulty = (model: GPT, fault: (call: number) => number) => {
    let call = 0;
    return {
      loss: (rows: Rows): BatchLoss => {
        const ids = tensor(
          rows.map((r) => [...r]),
          { dtype: 'int32' },
        );
        const loss = mul(nextTokenLoss(model, ids, ids), fault(call++));
        return { loss, weight: ids.size, tokens: ids.size };
      },
    };
  };
  const source = (): ListSource => new ListSource([[[1, 2, 3, 4]], [[5, 6, 7, 8]]]);
  const make = (
    fault: (call: number) => number,
    options: object = {},
  ): { trainer: Trainer<Rows>; events: StepEvent[]; model: GPT } => {
    const model = newModel();
    const events: StepEvent[] = [];
    const objective = faulty(model, fault);
    const trainer = new Trainer({ model, train: source(), objective, steps: 8, lr: 1e-2, ...options });
    trainer.on('step', (event) => events.push(event));
    return { trainer, events, model };
  };

  it('are skipped and reported; the weights stay', async () => {
    const { trainer, events, model } = make((call) => (call === 2 || call === 5 ? NaN : 1));
    const before: Tensor[][] = [];
    trainer.on('step', () => before.push([model.wte.weight.clone()]));
    const result = await trainer.run();
    expect(events.map((e) => e.skipped)).toEqual([false, false, true, false, false, true, false, false]);
    expect(events.map((e) => e.skippedSteps)).toEqual([0, 0, 1, 1, 1, 2, 2, 2]);
    expect(before[2][0].toArray()).toEqual(before[1][0].toArray());
    expect(before[3][0].toArray()).not.toEqual(before[2][0].toArray());
    expect(result.steps).toBe(8);
    expect(Number.isFinite(result.trainLoss)).toBe(true);
  });

  it('end the run after too many in a row, with where it began', async () => {
    const stopped = make((call) => (call >= 2 ? Infinity : 1), { maxSkips: 2 });
    await expect(stopped.trainer.run()).rejects.toThrow(
      /^training: the loss is Infinity .*, not finite for 3 steps in a row; first the result of mul \[\]; lower the learning rate/,
    );
    expect(stopped.events).toHaveLength(4);
    const named = make(() => 1, { maxSkips: 0, clip: 0 });
    named.model.h[1].mlp.c_fc.weight.data.fill(1e30);
    named.model.h[1].mlp.c_proj.weight.data.fill(1e30);
    await expect(named.trainer.run()).rejects.toThrow(
      /not finite for 1 step; first the result of \w+ \[1, 4, \d+\] with h\.1\.mlp\.c_proj\.weight/,
    );
    const weight = make(() => 1, { maxSkips: 1 });
    weight.model.ln_f.weight.data[0] = NaN;
    await expect(weight.trainer.run()).rejects.toThrow('first the weight ln_f.weight; lower');
    const gradient = make(() => 1, { maxSkips: 0 });
    const { forward, h } = gradient.model;
    const root = (): Tensor => sum(sqrt(mul(h[0].mlp.c_fc.bias!, 0))); // 0, of infinite slope
    gradient.model.hidden = undefined as never; // so that the loss is of the logits
    gradient.model.forward = (ids) => add(forward.call(newModel(), ids), root());
    await expect(gradient.trainer.run()).rejects.toThrow(
      /first the gradient of h\.0\.mlp\.c_fc\.bias; lower/,
    );
  });
});
