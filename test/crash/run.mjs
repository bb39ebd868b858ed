/**
 * The run that crash.test.ts kills: a small GPT with dropout on two token files, that saves after every step, evaluates, keeps
 * its best model and snapshots. Goes on where the folder's run stands, and appends the bits of every loss to a log.
 *
 * Usage: node run.mjs PACKAGE FOLDER LOG DATA...
 */

import { appendFileSync } from 'node:fs';

const [entry, folder, log, ...data] = process.argv.slice(2);
const t = await import(entry);

/** A line at a time, so that a kill leaves whole lines. */
const note = (kind, step, loss) =>
  appendFileSync(log, `${kind} ${step} ${Buffer.from(Float64Array.of(loss).buffer).toString('hex')}\n`);

const generator = new t.Generator(1);
const config = {
  ...{
    vocab_size: 50,
    n_positions: 16,
    n_embd: 32,
    n_layer: 2,
    n_head: 2,
    attn_pdrop: 0.1,
    resid_pdrop: 0.1,
  },
  ...{ bos_token_id: null, eos_token_id: null },
};
const model = new t.GPT(config, { generator });
using lock = t.lockRun(folder);
const going = t.hasTrainingState(folder);
if (going && t.recoverRun(folder) !== null) throw new Error('a kill has damaged a save');
if (going) model.loadStateDict(t.GPT.fromPretrained(folder).stateDict());

const sizes = { batchSize: 4, sequenceLength: 16, documents: true, seed: 3 };
const splits = data.map((path) => t.splitTokenFile(new t.TokenFile(path), 0.1));
const trainer = new t.Trainer({
  ...{ model, generator, folder, lock, objective: t.nextToken(model) },
  train: new t.TokenFileSource(
    splits.map(({ train }, i) => ({ ...train, weight: 1 + i })),
    sizes,
  ),
  validation: new t.TokenFileWindows(
    splits.map(({ validation }) => validation),
    sizes,
  ),
  ...{ steps: 60, gradAccumSteps: 2, lr: 1e-2, ema: 0.9, evalInterval: 7, saveInterval: 1, keep: 2 },
});
trainer.on('step', ({ step, loss }) => note('step', step, loss));
trainer.on('evaluation', ({ step, loss }) => note('evaluation', step, loss));
if (going && trainer.resume().length > 0) throw new Error('it does not go on as before');
await trainer.run();
