import { spawnSync } from 'node:child_process';
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  ArgumentError,
  FileError,
  Generator,
  memory,
  TrainingError,
  type Tensor,
} from '../../../lib/index.js';
import { splitTokens } from '../../../src/data/index.js';
import { GPT } from '../../../src/models/index.js';
import { AutoTokenizer, CharTokenizer } from '../../../src/tokenizers/index.js';
import {
  hasTrainingState,
  lockRun,
  readTrainingProgress,
  Trainer,
  type StepEvent,
  type TrainerOptions,
} from '../../../src/training/index.js';
import { compiled, root, runNode } from '../../support/cli.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-trainer-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const text = 'the quick brown fox jumps over the lazy dog; '.repeat(20);
const tokenizer = CharTokenizer.fromText(text);
const { train, validation } = splitTokens(tokenizer.encode(text), 0.1);

function makeModel(generator: Generator, dropout = 0.1): GPT {
  const sizes = { vocab_size: tokenizer.vocabSize, n_positions: 8, n_embd: 16, n_layer: 2, n_head: 2 };
  const dropouts = { resid_pdrop: dropout, embd_pdrop: dropout, attn_pdrop: dropout };
  return new GPT({ ...sizes, ...dropouts, bos_token_id: null, eos_token_id: null }, { generator });
}

function makeTrainer(options: Partial<TrainerOptions> = {}): {
  model: GPT;
  trainer: Trainer;
  steps: StepEvent[];
} {
  const generator = new Generator(1);
  const model = (options.model as GPT | undefined) ?? makeModel(generator);
  const trainer = new Trainer({
    model,
    train,
    validation,
    batchSize: 4,
    sequenceLength: 8,
    ...(options.epochs === undefined ? { steps: 12 } : {}),
    seed: 3,
    generator,
    evalInterval: 5,
    tokenizer,
    ...options,
  });
  const steps: StepEvent[] = [];
  trainer.on('step', (event) => steps.push(event));
  return { model, trainer, steps };
}

const readJson = (...path: string[]): unknown => JSON.parse(readFileSync(join(folder, ...path), 'utf8'));

/** The bits of all weights. */
const bits = (model: GPT): string =>
  model.parameters().map((p) => Buffer.from(p.data.slice().buffer).toString('base64')).join(); // prettier-ignore

describe('a run', () => {
  it('uses no more memory as it goes', async () => {
    const { trainer } = makeTrainer({ steps: 60, evalInterval: 7 });
    const live: number[] = [];
    trainer.on('step', () => live.push(memory().liveBytes));
    await trainer.run();
    expect(live[59]).toBeLessThanOrEqual(live[9]); // less when earlier garbage went meanwhile
  });

  it('learns, evaluates and reports', async () => {
    const { trainer, steps } = makeTrainer({ steps: 60, lr: 1e-2, evalInterval: 25 });
    const events: string[] = [];
    trainer.on('evaluation', (e) => {
      events.push(`evaluation ${e.step} ${e.best}`);
      expect(e.perplexity).toBeCloseTo(Math.exp(e.loss), 10);
    });
    trainer.on('done', () => events.push('done'));
    const result = await trainer.run();
    expect(steps.map((e) => e.step)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
    expect(steps[0].loss).toBeCloseTo(Math.log(tokenizer.vocabSize), 0);
    expect(steps[59].loss).toBeLessThan(2.5);
    expect(steps.every((e) => e.gradNorm > 0 && e.tokensPerSecond > 0 && e.steps === 60)).toBe(true);
    expect(steps[59].tokens).toBe(60 * 32);
    expect(events.map((e) => e.replace(/true|false/, '?'))).toEqual([
      'evaluation 25 ?',
      'evaluation 50 ?',
      'evaluation 60 ?',
      'done',
    ]);
    expect(result).toMatchObject({ steps: 60, stopped: false, tokens: 1920 });
    expect(result.validationLoss).toBeLessThan(2.5);
    expect(result.best!.loss).toBeLessThanOrEqual(result.validationLoss!);
    expect(result.trainLoss).toBeCloseTo(steps.reduce((sum, e) => sum + e.loss, 0) / 60, 6);
  });

  it('has the same bits with the same seed, others with another', async () => {
    const run = async (seed: number): Promise<string> => {
      const { model, trainer } = makeTrainer({ seed });
      await trainer.run();
      return bits(model);
    };
    const first = await run(3);
    expect(await run(3)).toBe(first);
    expect(await run(4)).not.toBe(first);
  });

  it('is not changed by evaluations', async () => {
    const run = async (evalInterval: number): Promise<string> => {
      const { model, trainer } = makeTrainer({ evalInterval });
      const result = await trainer.run();
      expect(result.validationLoss === null).toBe(evalInterval === 0);
      return bits(model);
    };
    expect(await run(3)).toBe(await run(0));
  });

  it('accumulates gradients of small batches to those of a large one', async () => {
    const run = async (batchSize: number, gradAccumSteps: number): Promise<StepEvent[]> => {
      const model = makeModel(new Generator(1), 0);
      const { trainer, steps } = makeTrainer({ model, batchSize, gradAccumSteps, steps: 4, clip: 0.5 });
      await trainer.run();
      return steps;
    };
    const large = await run(8, 1);
    const small = await run(2, 4);
    small.forEach((event, i) => {
      expect(event.loss).toBeCloseTo(large[i].loss, 5);
      expect(event.gradNorm).toBeCloseTo(large[i].gradNorm, 5);
      expect(event.tokens).toBe(large[i].tokens);
    });
  });

  it('computes the loss without all logits where the model offers its head, else from its logits', async () => {
    const run = async (model: GPT | Pick<GPT, 'forward' | 'parameters' | 'train'>): Promise<number[]> => {
      const losses: number[] = [];
      const sizes = { batchSize: 4, sequenceLength: 8, steps: 4, lr: 1e-2, seed: 3 };
      const trainer = new Trainer({ model, train, validation, ...sizes });
      trainer.on('step', ({ loss }) => losses.push(loss));
      const { validationLoss } = await trainer.run();
      return [...losses, validationLoss!];
    };
    const model = makeModel(new Generator(1), 0);
    const inner = makeModel(new Generator(1), 0);
    const opaque = {
      forward: (ids: Tensor) => inner.forward(ids),
      parameters: () => inner.parameters(),
      train: (mode?: boolean) => inner.train(mode),
    };
    model.forward = () => expect.fail('the trainer asked for all logits');
    const [headed, whole] = [await run(model), await run(opaque)];
    headed.forEach((loss, i) => expect(loss).toBeCloseTo(whole[i], 5));
  });

  it('counts epochs in batches and applies the last partial group', async () => {
    // 811 tokens make ceil(811 / 32) = 26 batches an epoch.
    expect(train.length).toBe(810);
    const { trainer, steps } = makeTrainer({ epochs: 1, gradAccumSteps: 4 });
    expect(trainer.steps).toBe(7);
    await trainer.run();
    expect(steps.map((e, i) => e.tokens - (steps[i - 1]?.tokens ?? 0))).toEqual([
      128, 128, 128, 128, 128, 128, 64,
    ]);
  });

  it('stops with a clear error when the loss is lost, and saves nothing then', async () => {
    const { trainer } = makeTrainer({ schedule: () => 1e30, clip: 0, folder, saveInterval: 1 });
    await expect(trainer.run()).rejects.toThrow(TrainingError);
    await expect(makeTrainer({ schedule: () => 1e30, clip: 0 }).trainer.run()).rejects.toThrow(
      /^training: the loss is .* not finite for 4 steps in a row; first .* lower the learning rate/,
    );
    expect(Number.isFinite(GPT.fromPretrained(folder).wte.weight.data[0])).toBe(true);
  });

  it('never saves weights that are not finite, and calls no such evaluation the best', async () => {
    await makeTrainer({ folder }).trainer.run();
    const good = readFileSync(join(folder, 'model.safetensors'));
    const goOn = (options: Partial<TrainerOptions>): Promise<unknown> => {
      const { trainer } = makeTrainer({ folder, model: GPT.fromPretrained(folder), steps: 20, ...options });
      trainer.resume();
      return trainer.run();
    };
    const infinite = { schedule: () => 1e39 }; // infinite as a float32
    await expect(goOn({ ...infinite, saveInterval: 1, evalInterval: 0 })).rejects.toThrow(
      /^training: after step 13 some weights are not finite; lower the learning rate/,
    );
    await expect(goOn({ ...infinite, evalInterval: 1 })).rejects.toThrow(
      /^training: the validation loss after step 13 is NaN; lower the learning rate/,
    );
    expect(readFileSync(join(folder, 'model.safetensors')).equals(good)).toBe(true);
    expect(readTrainingProgress(folder).step).toBe(12);
    expect(existsSync(join(folder, 'training.lock'))).toBe(false);
    const unsaved = makeTrainer({ ...infinite, steps: 1, evalInterval: 0 }).trainer;
    await expect(unsaved.run()).rejects.toThrow(TrainingError);
  });

  it('lets others have a turn between the batches of a step', async () => {
    const { trainer, model } = makeTrainer({ steps: 2, gradAccumSteps: 3, evalInterval: 0 });
    let turns = 0;
    const seen: number[] = [];
    const hidden = model.hidden.bind(model);
    model.hidden = (ids) => {
      seen.push(turns);
      return hidden(ids);
    };
    const count = (): unknown => setImmediate(() => (turns++, seen.length < 6 && count()));
    count();
    await trainer.run();
    expect(seen).toHaveLength(6);
    for (let i = 1; i < 6; i++) expect(seen[i]).toBeGreaterThan(seen[i - 1]);
  });
});

describe('saving', () => {
  it('writes a model folder, the best model and the last snapshots', async () => {
    const { model, trainer } = makeTrainer({
      folder,
      saveInterval: 3,
      keep: 2,
      settings: { data: 'fox.txt' },
    });
    const saves: string[] = [];
    trainer.on('checkpoint', ({ kind, step, folder: f }) =>
      saves.push(`${kind} ${step} ${f.slice(folder.length)}`),
    );
    await trainer.run();
    expect(saves.filter((save) => !save.startsWith('best'))).toEqual([
      'last 0 ', 'last 3 ', 'snapshot 3 /checkpoint-3', 'last 5 ', 'last 6 ', 'snapshot 6 /checkpoint-6', 'last 9 ',
      'snapshot 9 /checkpoint-9', 'last 10 ', 'last 12 ', 'snapshot 12 /checkpoint-12',
    ]); // prettier-ignore
    const files = ['config.json', 'model.safetensors', 'tokenizer.json'];
    const whole = [...files, 'training_state.safetensors', 'metrics.jsonl'].sort();
    expect(readdirSync(folder).sort()).toEqual(['best', 'checkpoint-12', 'checkpoint-9', ...whole].sort());
    expect(readdirSync(join(folder, 'best')).sort()).toEqual([...files, 'evaluation.json'].sort());
    expect(readJson('best', 'evaluation.json')).toEqual(readTrainingProgress(folder).best);
    expect(readdirSync(join(folder, 'checkpoint-9')).sort()).toEqual(whole);
    expect(bits(GPT.fromPretrained(folder))).toBe(bits(model));
    expect(AutoTokenizer.fromPretrained(folder).vocabSize).toBe(tokenizer.vocabSize);
    expect(readTrainingProgress(folder)).toMatchObject({ step: 12, settings: { data: 'fox.txt' } });
    expect(readTrainingProgress(join(folder, 'checkpoint-9')).step).toBe(9);
  });

  it('keeps the earlier checkpoint when the disk is full or read-only', async (context) => {
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=160k', 'tmpfs', disk]).status !== 0) {
      return context.skip('not allowed to mount a small disk');
    }
    try {
      const target = join(disk, 'run');
      const { trainer } = makeTrainer({ folder: target, steps: 2, evalInterval: 0 });
      await trainer.run();
      const files = () =>
        Object.fromEntries(
          readdirSync(target)
            .filter((f) => f !== 'metrics.jsonl') // which goes on between saves
            .map((f) => [f, readFileSync(join(target, f), 'base64')]),
        );
      const before = files();
      const next = { folder: target, steps: 3, evalInterval: 0 };
      const model = GPT.fromPretrained(target);
      const failing = makeTrainer({ ...next, model }).trainer;
      failing.resume();
      await expect(failing.run()).rejects.toThrow(
        /run: cannot be saved: \S+ cannot be written: no space is left on the device$/,
      );
      expect(files()).toEqual(before);
      const ballast = openSync(join(disk, 'ballast'), 'w');
      expect(() => {
        for (;;) writeSync(ballast, Buffer.alloc(1024));
      }).toThrow('ENOSPC');
      closeSync(ballast);
      await expect(makeTrainer(next).trainer.run()).rejects.toThrow('no space is left on the device');
      expect(files()).toEqual(before);
      spawnSync('mount', ['-o', 'remount,ro', disk]);
      await expect(makeTrainer(next).trainer.run()).rejects.toThrow(
        `${target}: cannot be written: the file system is read-only`,
      );
      expect(readTrainingProgress(target).step).toBe(2);
    } finally {
      spawnSync('umount', ['-l', disk]);
    }
  });

  it('saves the run at its beginning and with every evaluation', async () => {
    const { trainer } = makeTrainer({ folder, steps: 12 });
    const saves: string[] = [];
    trainer.on('checkpoint', ({ kind, step }) => {
      if (kind !== 'best') saves.push(`${kind} ${step}`);
      expect(readTrainingProgress(folder).step).toBe(step);
    });
    await trainer.run();
    expect(saves).toEqual(['last 0', 'last 5', 'last 10', 'last 12']);
  });

  it('holds the lock of the folder from the first moment to the last', async () => {
    const { trainer } = makeTrainer({ folder });
    const locked: boolean[] = [];
    for (const event of ['step', 'checkpoint', 'evaluation'] as const) {
      trainer.on(event, () => locked.push(existsSync(join(folder, 'training.lock'))));
    }
    const running = trainer.run();
    await expect(makeTrainer({ folder }).trainer.run()).rejects.toThrow('another run trains in it');
    await running;
    expect(new Set(locked)).toEqual(new Set([true]));
    expect(existsSync(join(folder, 'training.lock'))).toBe(false);
    const lock = lockRun(folder);
    await makeTrainer({ folder, lock, saveInterval: 5 }).trainer.run();
    expect(existsSync(join(folder, 'training.lock'))).toBe(true); // the caller's
    expect(existsSync(join(folder, 'checkpoint-5', 'training.lock'))).toBe(false);
    lock[Symbol.dispose]();
  });

  it('overwrites no unfinished run, and no model from elsewhere', async () => {
    const stopped = makeTrainer({ folder, signal: AbortSignal.abort() });
    expect(await stopped.trainer.run()).toMatchObject({ steps: 0, stopped: true });
    await expect(makeTrainer({ folder }).trainer.run()).rejects.toThrow(
      `${folder}: holds a run that is not finished (step 0 of 12); resume it (--resume), or remove the folder`,
    );
    for (const place of ['', 'best', 'checkpoint-5']) {
      const target = join(folder, `foreign${place}`);
      makeModel(new Generator(1)).savePretrained(join(target, place));
      await expect(makeTrainer({ folder: target }).trainer.run()).rejects.toThrow(
        `${join(target, place)}: holds a model that was not trained there; choose another folder`,
      );
    }
  });

  it('leaves nothing of a finished run beside the next one', async () => {
    await makeTrainer({ folder, saveInterval: 3 }).trainer.run();
    mkdirSync(join(folder, 'checkpoint-99')); // not a run's: it stays
    const { trainer } = makeTrainer({ folder, seed: 4, signal: AbortSignal.abort() });
    await trainer.run();
    expect(readdirSync(folder).filter((name) => /best|checkpoint/.test(name))).toEqual(['checkpoint-99']);
    expect(readTrainingProgress(folder)).toMatchObject({ step: 0, best: null });
    // A kill right after the first save leaves the old folders; the resumed run removes them.
    mkdirSync(join(folder, 'checkpoint-9'));
    cpSync(
      join(folder, 'training_state.safetensors'),
      join(folder, 'checkpoint-9', 'training_state.safetensors'),
    );
    const again = makeTrainer({ folder, seed: 4, evalInterval: 0 });
    again.model.loadStateDict(GPT.fromPretrained(folder).stateDict());
    again.trainer.resume();
    await again.trainer.run();
    expect(existsSync(join(folder, 'checkpoint-9'))).toBe(false);
  });

  it('has saved the run when the best model cannot be saved', async () => {
    const { trainer } = makeTrainer({ folder });
    trainer.once('step', () => writeFileSync(join(folder, 'best'), '')); // a file in its place
    await expect(trainer.run()).rejects.toThrow('best: is not a folder');
    expect(readTrainingProgress(folder)).toMatchObject({ step: 5, best: { step: 5 } });
    expect(existsSync(join(folder, 'training.lock'))).toBe(false);
  });

  it('refuses folders that cannot be', async () => {
    writeFileSync(join(folder, 'file'), '');
    await expect(makeTrainer({ folder: join(folder, 'file') }).trainer.run()).rejects.toThrow(
      'is not a folder',
    );
    await expect(makeTrainer({ folder: join(folder, 'file', 'run') }).trainer.run()).rejects.toThrow(
      FileError,
    );
  });
});

describe('resuming', () => {
  /** A model as the folder holds it, and a trainer that goes on with it. */
  function resume(
    options: Partial<TrainerOptions> = {},
  ): ReturnType<typeof makeTrainer> & { changed: string[] } {
    const generator = new Generator(99);
    const model = makeModel(generator);
    model.loadStateDict(GPT.fromPretrained(folder).stateDict());
    const made = makeTrainer({ model, generator, folder, ...options });
    return { ...made, changed: made.trainer.resume() };
  }

  it('after a stop goes on with the same bits as if there had been none', async () => {
    const straight = makeTrainer({ folder: join(folder, 'straight') });
    const expected = await straight.trainer.run();

    const controller = new AbortController();
    const first = makeTrainer({ folder, signal: controller.signal });
    first.trainer.on('step', ({ step }) => step === 5 && controller.abort());
    const stopped = await first.trainer.run();
    expect(stopped).toMatchObject({ steps: 5, stopped: true });
    expect(hasTrainingState(folder)).toBe(true);

    const { trainer, model, steps, changed } = resume();
    expect(changed).toEqual([]);
    expect(trainer.step).toBe(5);
    const result = await trainer.run();
    expect(bits(model)).toBe(bits(straight.model));
    expect(steps.map((e) => [e.step, e.loss, e.gradNorm, e.lr])).toEqual(
      straight.steps.slice(5).map((e) => [e.step, e.loss, e.gradNorm, e.lr]),
    );
    for (const key of ['trainLoss', 'validationLoss', 'best', 'tokens', 'steps', 'stopped'] as const) {
      expect(result[key], key).toEqual(expected[key]);
    }
    for (const file of ['model.safetensors', 'best/model.safetensors', 'tokenizer.json', 'config.json']) {
      expect(
        readFileSync(join(folder, file)).equals(readFileSync(join(folder, 'straight', file))),
        file,
      ).toBe(true);
    }
  });

  it('after a stop in an evaluation makes up for it', async () => {
    const straight = makeTrainer();
    const expected = await straight.trainer.run();
    const controller = new AbortController();
    const first = makeTrainer({ folder, signal: controller.signal });
    // The evaluation at step 5 begins right after this event and lasts for several turns of the event loop.
    first.trainer.on(
      'step',
      ({ step }) => step === 5 && setImmediate(() => setImmediate(() => controller.abort())),
    );
    const evaluations: number[] = [];
    first.trainer.on('evaluation', ({ step }) => evaluations.push(step));
    expect(await first.trainer.run()).toMatchObject({ steps: 5, stopped: true, validationLoss: null });
    expect(evaluations).toEqual([]);
    const { trainer, model } = resume();
    trainer.on('evaluation', ({ step }) => evaluations.push(step));
    const result = await trainer.run();
    expect(evaluations).toEqual([5, 10, 12]);
    expect(result.best).toEqual(expected.best);
    expect(bits(model)).toBe(bits(straight.model));
  });

  it('after a stop in the last evaluation makes up for it, once', async () => {
    const controller = new AbortController();
    const first = makeTrainer({ folder, steps: 5, signal: controller.signal });
    first.trainer.on(
      'step',
      ({ step }) => step === 5 && setImmediate(() => setImmediate(() => controller.abort())),
    );
    expect(await first.trainer.run()).toMatchObject({ steps: 5, stopped: true, validationLoss: null });
    const second = resume({ steps: 5 });
    const result = await second.trainer.run();
    expect(result).toMatchObject({ stopped: false, best: { step: 5 } });
    expect(readTrainingProgress(folder).evaluation).toEqual({ step: 5, loss: result.validationLoss });
    const third = resume({ steps: 5 });
    third.trainer.on('evaluation', () => expect.fail('evaluated once more'));
    expect(await third.trainer.run()).toMatchObject({
      stopped: false,
      validationLoss: result.validationLoss,
    });
  });

  it('says what changes the bits, and only that', async () => {
    const controller = new AbortController();
    const first = makeTrainer({ folder, signal: controller.signal });
    first.trainer.on('step', ({ step }) => step === 5 && controller.abort());
    await first.trainer.run();
    expect(resume({ seed: 999, evalInterval: 3, keep: 7 }).changed).toEqual([]);
    expect(resume({ lr: 0.5, clip: 2, weightDecay: 0, betas: [0.8, 0.9] }).changed).toEqual([
      'lr: 0.001, now 0.5', 'minLr: 0.0001, now 0.05', 'weightDecay: 0.1, now 0', 'beta1: 0.9, now 0.8',
      'beta2: 0.99, now 0.9', 'clip: 1, now 2',
    ]); // prettier-ignore
    expect(resume({ train: train.slice().reverse() }).changed).toEqual([
      'the training text: it has changed since',
    ]);
    expect(resume({ train: train.slice(1) }).changed).toEqual(['the training text: 810 tokens, now 809']);
    expect(() => resume({ steps: 4 })).toThrow(
      `Trainer: the run in ${folder} is at step 5 already, it cannot go on to step 4`,
    );
  });

  it('makes best/ and the state agree', async () => {
    const controller = new AbortController();
    const first = makeTrainer({ folder, steps: 20, signal: controller.signal });
    first.trainer.on('evaluation', () => controller.abort());
    await first.trainer.run();
    const bestWeights = (): Buffer => readFileSync(join(folder, 'best', 'model.safetensors'));
    const best = readTrainingProgress(folder).best!;
    expect(best.step).toBe(5);
    // A kill between the save of the state and that of best/ leaves an older model there.
    makeModel(new Generator(7)).savePretrained(join(folder, 'best'));
    writeFileSync(join(folder, 'best', 'evaluation.json'), JSON.stringify({ step: 1, loss: best.loss + 1 }));
    await resume({ steps: 20, signal: AbortSignal.abort() }).trainer.run();
    expect(bestWeights().equals(readFileSync(join(folder, 'model.safetensors')))).toBe(true);
    expect(readJson('best', 'evaluation.json')).toEqual(best);
    // Where an earlier state was put back, best/ may hold a better model than the state knows.
    writeFileSync(join(folder, 'best', 'evaluation.json'), JSON.stringify({ step: 15, loss: 0.001 }));
    const before = bestWeights();
    expect(await resume({ steps: 20 }).trainer.run()).toMatchObject({ best: { step: 15, loss: 0.001 } });
    expect(bestWeights().equals(before)).toBe(true);
  });

  it('refuses a run that went on meanwhile', async () => {
    const controller = new AbortController();
    const first = makeTrainer({ folder, signal: controller.signal });
    first.trainer.on('step', ({ step }) => step === 5 && controller.abort());
    await first.trainer.run();
    const late = resume();
    await resume().trainer.run();
    await expect(late.trainer.run()).rejects.toThrow('the run in it went on meanwhile');
  });

  it('after a kill does so as well', { timeout: 300_000 }, async () => {
    await compiled();
    const run = join(folder, 'killed');
    const script = `
      import { Generator, GPT, CharTokenizer, Trainer, splitTokens, hasTrainingState } from '${join(root, 'dist/src/index.js')}';
      const [folder] = process.argv.slice(1);
      const text = 'the quick brown fox jumps over the lazy dog; '.repeat(20);
      const tokenizer = CharTokenizer.fromText(text);
      const { train, validation } = splitTokens(tokenizer.encode(text), 0.1);
      const generator = new Generator(1);
      const model = new GPT({ vocab_size: tokenizer.vocabSize, n_positions: 8, n_embd: 16, n_layer: 2, n_head: 2,
        bos_token_id: null, eos_token_id: null }, { generator });
      const going = hasTrainingState(folder);
      if (going) model.loadStateDict(GPT.fromPretrained(folder).stateDict());
      const trainer = new Trainer({ model, train, validation, batchSize: 4, sequenceLength: 8, steps: 60, seed: 3,
        generator, evalInterval: 7, saveInterval: 1, keep: 2, tokenizer, folder });
      if (going) trainer.resume();
      trainer.on('step', ({ step }) => process.stdout.write(step + '\\n'));
      await trainer.run();`;
    const child = (target: string, killAfter = Infinity) => {
      let lines = 0;
      return runNode(['--input-type=module', '-e', script, target], {
        started: (process) =>
          process.stdout!.on('data', (chunk: string) => {
            lines += chunk.split('\n').length - 1;
            if (lines >= killAfter) process.kill('SIGKILL');
          }),
      });
    };
    const straight = join(folder, 'straight');
    expect(await child(straight)).toMatchObject({ code: 0, stderr: '' });
    for (const after of [3, 7, 5, 11]) {
      await child(run, after);
      expect(readTrainingProgress(run).step).toBeGreaterThan(0);
    }
    expect(await child(run)).toMatchObject({ code: 0, stderr: '' });
    for (const file of ['model.safetensors', 'best/model.safetensors']) {
      expect(readFileSync(join(run, file)).equals(readFileSync(join(straight, file))), file).toBe(true);
    }
    const withoutTimes = (f: string) => ({ ...readTrainingProgress(f), seconds: 0 });
    expect(withoutTimes(run)).toEqual(withoutTimes(straight));
  });

  it('goes on from a snapshot, to more steps, and says what is different', async () => {
    await makeTrainer({ folder, saveInterval: 5 }).trainer.run();
    rmSync(join(folder, 'model.safetensors'));
    cpSync(join(folder, 'checkpoint-5'), folder, { recursive: true });
    const { trainer, steps, changed } = resume({ steps: 14, batchSize: 5 });
    expect(changed).toEqual(['batchSize: 4, now 5', 'steps: 12, now 14']);
    await trainer.run();
    expect(steps.map((e) => e.step)).toEqual([6, 7, 8, 9, 10, 11, 12, 13, 14]);
  });

  it('of a finished run does nothing', async () => {
    await makeTrainer({ folder }).trainer.run();
    const { trainer, steps } = resume();
    expect(await trainer.run()).toMatchObject({ steps: 12, stopped: false });
    expect(steps).toEqual([]);
  });

  it('refuses what is no run, or another model', async () => {
    expect(hasTrainingState(folder)).toBe(false);
    expect(() => makeTrainer({ folder }).trainer.resume()).toThrow(FileError);
    expect(() => makeTrainer().trainer.resume()).toThrow(ArgumentError);
    await makeTrainer({ folder }).trainer.run();
    const other = new GPT({
      vocab_size: tokenizer.vocabSize,
      n_positions: 8,
      n_embd: 8,
      n_layer: 1,
      n_head: 1,
      bos_token_id: null,
      eos_token_id: null,
    });
    expect(() => makeTrainer({ folder, model: other }).trainer.resume()).toThrow(
      'AdamW: the state must count the updates of',
    );
    cpSync(join(folder, 'model.safetensors'), join(folder, 'training_state.safetensors'));
    expect(() => resume()).toThrow('training_state.safetensors: is not the state of a training');
  });
});

it('refuses wrong options', () => {
  const make = (options: object) => () => makeTrainer(options);
  expect(make({ steps: 0 })).toThrow('Trainer: steps must be an integer of at least 1, got 0');
  expect(make({ epochs: 1, steps: 1 })).toThrow('give either steps or epochs');
  expect(make({ epochs: 0 })).toThrow('epochs must be positive');
  expect(make({ evalInterval: -1 })).toThrow(ArgumentError);
  expect(make({ keep: 0.5 })).toThrow('keep must be an integer');
  expect(make({ betas: [0.9] })).toThrow('AdamW: betas must be two numbers, got 1');
  expect(make({ epochs: 1e308 })).toThrow('epochs must not make more than 2^53 batches, got 1e+308');
  expect(make({ batchSize: 5e9 })).toThrow(
    'a batch of 5000000000 sequences of 8 has more than 2147483647 tokens',
  );
  expect(make({ clip: -1 })).toThrow('clip must be 0 or more');
  expect(make({ batchsize: 1 })).toThrow("did you mean 'batchSize'?");
  expect(make({ train: new Int32Array(8) })).toThrow(
    'the text has 8 tokens to train on, too few for a sequence of 8',
  );
  expect(make({ validation: new Int32Array(1) })).toThrow('the validation part is one token');
  expect(make({ validation: new Int32Array(1), evalInterval: 0 })).not.toThrow();
  const { model } = makeTrainer();
  const plain = {
    forward: model.forward.bind(model),
    parameters: () => model.parameters(),
    train: () => null,
  };
  expect(make({ model: plain, folder })).toThrow('a model without savePretrained cannot be saved');
  expect(existsSync(join(folder, 'config.json'))).toBe(false);
});

it('refuses learning rates that are none', async () => {
  for (const lr of [NaN, -1, Infinity]) {
    await expect(makeTrainer({ schedule: () => lr }).trainer.run()).rejects.toThrow(
      `Trainer: the schedule must give 0 or more, it gave ${lr} for step 0`,
    );
  }
});
