import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import { manualSeed } from '../../../lib/index.js';
import { GPT } from '../../../src/models/index.js';
import {
  readMetrics,
  Trainer,
  type MetricsRecord,
  type TrainerOptions,
} from '../../../src/training/index.js';

const root = mkdtempSync(join(tmpdir(), 'tsgpt-metrics-'));
afterAll(() => rmSync(root, { recursive: true }));
const place = (name: string): string => join(root, name);
const ids = Int32Array.from({ length: 400 }, (_, i) => (i * i + (i >> 3)) % 11);

function newTrainer(folder: string, resume: boolean, options: Partial<TrainerOptions> = {}): Trainer {
  manualSeed(3);
  const sizes = { vocab_size: 11, n_positions: 8, n_embd: 8, n_layer: 1, n_head: 2 };
  const trainer = new Trainer({
    ...{ model: resume ? GPT.fromPretrained(folder) : new GPT(sizes), train: ids.subarray(0, 300) },
    ...{ validation: ids.subarray(300), batchSize: 2, sequenceLength: 8, steps: 12, evalInterval: 4, folder },
    sample: (step) => Promise.resolve([{ prompt: 'a', text: `text of step ${step}\n"</script>` }]),
    sampleInterval: 4,
    ...options,
  });
  if (resume) trainer.resume();
  return trainer;
}

/** What does not depend on the clock. */
const timeless = (records: Iterable<MetricsRecord>): object[] =>
  [...records].map((record) => ({ ...record, time: 0, memory: 0, tokensPerSecond: 0 }));

describe('metrics.jsonl', () => {
  it('has a line for each step, evaluation and sample, in order', async () => {
    await newTrainer(place('whole'), false).run();
    const lines = [...readMetrics(place('whole'))];
    expect(lines.map(({ type, step }) => `${step} ${type}`)).toEqual(
      Array.from({ length: 12 }, (_, i) => i + 1).flatMap((step) =>
        step % 4 === 0 ? [`${step} step`, `${step} sample`, `${step} evaluation`] : [`${step} step`],
      ),
    );
    expect(lines[0]).toMatchObject({ type: 'step', step: 1, tokens: 16 });
    for (const line of lines) {
      if (line.type === 'step') expect(Object.values(line).slice(1).every(Number.isFinite)).toBe(true);
    }
    expect(lines[4]).toMatchObject({ prompt: 'a', text: 'text of step 4\n"</script>' });
  });

  it.each([
    ['after a step that was not saved', 6, 4],
    ['between a step and its evaluation', 8, 4],
    ['after the end', 12, 12],
  ])('goes on as if nothing had happened when a run is killed %s', async (name, killedAt, saved) => {
    const folder = place(name);
    const trainer = newTrainer(folder, false);
    trainer.on('step', ({ step }) => {
      if (step === killedAt && killedAt < 12) throw new Error('killed');
    });
    await trainer.run().catch(() => undefined);
    appendFileSync(join(folder, 'metrics.jsonl'), '{"type":"step","st'); // a write that was cut off
    const resumed = newTrainer(folder, true);
    expect(resumed.step).toBe(saved);
    await resumed.run();
    expect(timeless(readMetrics(folder))).toEqual(timeless(readMetrics(place('whole'))));
  });

  it('begins anew with a run that replaces a finished one', async () => {
    const folder = place('again');
    await newTrainer(folder, false).run();
    await newTrainer(folder, false, { steps: 3 }).run();
    expect([...readMetrics(folder)].filter(({ type }) => type === 'step')).toHaveLength(3);
  });

  it('has the loss scale of half precision', async () => {
    await newTrainer(place('fp16'), false, { precision: 'fp16', steps: 3 }).run();
    const steps = [...readMetrics(place('fp16'))].filter((record) => record.type === 'step');
    expect(steps.every(({ lossScale }) => lossScale! >= 1)).toBe(true);
    const plain = [...readMetrics(place('whole'))];
    expect(plain.some((record) => 'lossScale' in record)).toBe(false);
  });

  it('says which steps were skipped', async () => {
    const lossScale = { initial: 2 ** 22, growthInterval: 3 };
    const trainer = newTrainer(place('skipped'), false, { precision: 'fp16', lossScale });
    const skipped: number[] = [];
    trainer.on('step', (event) => event.skipped && skipped.push(event.step));
    await trainer.run();
    expect(skipped[0]).toBe(1);
    expect(skipped.length).toBeLessThan(12);
    const steps = [...readMetrics(place('skipped'))].filter((record) => record.type === 'step');
    expect(steps.filter((record) => record.skipped === true).map(({ step }) => step)).toEqual(skipped);
    expect(steps.filter((record) => 'skipped' in record)).toHaveLength(skipped.length);
  });

  it('is kept with snapshots as it was', async () => {
    const folder = place('snapshots');
    await newTrainer(folder, false, { saveInterval: 5, keep: 2 }).run();
    const steps = [...readMetrics(join(folder, 'checkpoint-5'))].map(({ step }) => step);
    expect(steps.at(-1)).toBe(5);
    cpSync(join(folder, 'checkpoint-5'), place('moved'), { recursive: true });
    await newTrainer(place('moved'), true, { saveInterval: 5, keep: 2 }).run();
    expect(timeless(readMetrics(place('moved')))).toEqual(timeless(readMetrics(folder)));
  });

  it('says which line is none', () => {
    const path = place('bad.jsonl');
    const good = readFileSync(join(place('whole'), 'metrics.jsonl'), 'utf8').split('\n', 2);
    for (const bad of [
      '{',
      'null',
      '{"type":"step","step":3}',
      '{"type":"other","step":3}',
      '{"type":"evaluation","step":-1,"loss":2}',
      good[0].replace('"time"', '"skipped":1,"time"'),
    ]) {
      writeFileSync(path, `${good[0]}\n${good[1]}\n${bad}\n`);
      expect(() => [...readMetrics(path)]).toThrow(`${path}: line 3 is not a record of a training's metrics`);
    }
    expect(() => [...readMetrics(place('none'))]).toThrow('cannot be read: there is no such file or folder');
  });
});
