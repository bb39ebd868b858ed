import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ArgumentError, Generator, IndexError } from '../../../lib/index.js';
import {
  splitTokenFile,
  TokenFile,
  TokenFileSource,
  TokenFileWindows,
  TokenFileWriter,
  type Batch,
  type JsonValue,
} from '../../../src/data/index.js';
import { GPT } from '../../../src/models/index.js';
import { nextToken, Trainer } from '../../../src/training/index.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-windows-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function fileOf(
  name: string,
  documents: readonly (readonly number[])[],
  options: { eosId?: number; tokenizerHash?: string } = {},
): TokenFile {
  const path = join(folder, name);
  using writer = new TokenFileWriter(path, { vocabSize: 1000, ...options });
  for (const ids of documents) {
    writer.append(ids);
    writer.endDocument();
  }
  writer.finish();
  return new TokenFile(path);
}

const count = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i);
const rowsOf = ({ inputs }: Batch): number[][] => inputs.toArray() as number[][];

describe('windows of token files', () => {
  const sizes = { batchSize: 3, sequenceLength: 4 };

  it('are each drawn once in a pass, in another order each time, with the targets one on', () => {
    const source = new TokenFileSource([{ file: fileOf('a.bin', [count(62)]) }], { ...sizes, seed: 5 });
    expect(source.length).toBe(15 / 3);
    const pass = (): number[] =>
      count(5).flatMap(() => {
        const batch = source.next();
        const rows = rowsOf(batch);
        expect(batch.targets.toArray()).toEqual(rows.map((row) => row.map((id) => id + 1)));
        for (const [first, ...rest] of rows) expect(rest).toEqual(count(3, first + 1));
        return rows.map(([first]) => first);
      });
    const [first, second] = [pass(), pass()];
    const sorted = (places: number[]): number[] => [...places].sort((a, b) => a - b);
    expect(sorted(first)).toEqual(count(15).map((i) => 4 * i));
    expect(sorted(second)).toEqual(sorted(first));
    expect(second).not.toEqual(first);
    expect(first).not.toEqual(sorted(first));
  });

  it('go on from a saved place, whatever the seed then, and are others with another seed', () => {
    const file = fileOf('a.bin', [count(90)]);
    const other = fileOf('b.bin', [count(50, 500)]);
    const make = (seed: number): TokenFileSource =>
      new TokenFileSource(
        [
          { file, weight: 2 },
          { file: other, weight: 1 },
        ],
        { ...sizes, seed },
      );
    const source = make(1);
    const earlier = count(17).map(() => rowsOf(source.next()));
    const state = JSON.parse(JSON.stringify(source.state())) as JsonValue;
    const later = count(17).map(() => rowsOf(source.next()));
    const resumed = make(2);
    resumed.setState(state);
    expect(count(17).map(() => rowsOf(resumed.next()))).toEqual(later);
    const again = make(1);
    expect(count(17).map(() => rowsOf(again.next()))).toEqual(earlier);
    const fresh = make(2);
    expect(count(17).map(() => rowsOf(fresh.next()))).not.toEqual(earlier);
  });

  it.each([[[0.7, 0.3]], [[1, 1, 1]], [[97, 1, 2]], [undefined]])(
    'of several files are drawn by weight: %j',
    (weights) => {
      const files = count(weights?.length ?? 2).map((i) => fileOf(`${i}.bin`, [count(41 + 40 * i, 300 * i)]));
      const source = new TokenFileSource(
        files.map((file, i) => ({ file, ...(weights && { weight: weights[i] }) })),
        sizes,
      );
      const shares = weights ?? [10, 20];
      const total = shares.reduce((a, b) => a + b, 0);
      const drawn = files.map(() => 0);
      for (let n = 1; n <= 400; n++) {
        for (const [first] of rowsOf(source.next())) drawn[Math.floor(first / 300)]++;
        shares.forEach((share, i) =>
          expect(Math.abs(drawn[i] - (3 * n * share) / total)).toBeLessThan(files.length),
        );
      }
    },
  );

  it('of a validation part come in order, all of it, again and again', () => {
    const file = fileOf('a.bin', [count(100)]);
    const { train, validation } = splitTokenFile(file, 0.35);
    expect([train.end, validation.first, validation.end]).toEqual([65, 65, 100]);
    expect(splitTokenFile(file, 0.35, 10).train.end).toBe(90);
    const windows = new TokenFileWindows([validation], sizes);
    for (let repeat = 0; repeat < 2; repeat++) {
      const seen: number[] = [];
      for (const { inputs, targets } of windows) {
        expect(targets.toArray()).toEqual(
          (inputs.toArray() as number[][]).map((row) => row.map((id) => id + 1)),
        );
        seen.push(...(inputs.toArray() as number[][]).flat());
      }
      expect(seen).toEqual(count(34, 65));
    }
    const source = new TokenFileSource([train], sizes);
    for (let i = 0; i < 50; i++) expect(Math.max(...rowsOf(source.next()).flat())).toBeLessThan(64);
  });

  it('keep documents apart where asked for, by the ends that the file has or by its token', () => {
    const documents = [[1, 2, 9], [3, 9], [4, 5, 6, 7, 8, 9], [9], [2, 2]];
    const raw = join(folder, 'raw.bin');
    writeFileSync(raw, Buffer.from(Uint16Array.from(documents.flat()).buffer));
    const expected = [
      { inputs: [1, 2, 9, 3, 9, 4], starts: [0, 0, 0, 3, 3, 5], targets: [2, 9, -100, 9, -100, 5] },
      { inputs: [5, 6, 7, 8, 9, 9], starts: [0, 0, 0, 0, 0, 5], targets: [6, 7, 8, 9, -100, -100] },
      { inputs: [2], starts: [0], targets: [2] },
    ];
    const options = { batchSize: 1, sequenceLength: 6, documents: true };
    for (const [file, more] of [
      [fileOf('a.bin', documents), {}],
      [new TokenFile(raw), { eosId: 9 }],
    ] as const) {
      const found = Array.from(new TokenFileWindows([{ file }], { ...options, ...more }), (batch) => ({
        inputs: (batch.inputs.toArray() as number[][])[0],
        starts: (batch.documentStarts!.toArray() as number[][])[0],
        targets: (batch.targets.toArray() as number[][])[0],
      }));
      expect(found).toEqual(expected);
    }
    expect(() => new TokenFileSource([{ file: new TokenFile(raw) }], options)).toThrow(
      `TokenFileSource: ${raw} does not say where documents end, and there is no token that ends them`,
    );
  });

  it('refuse what they cannot be of', () => {
    const file = fileOf('a.bin', [count(20)], { tokenizerHash: '1'.repeat(64) });
    const other = fileOf('b.bin', [count(20)], { tokenizerHash: '2'.repeat(64) });
    const make =
      (...args: ConstructorParameters<typeof TokenFileSource>) =>
      () =>
        new TokenFileSource(...args);
    expect(make([], sizes)).toThrow(/there must be a token file at least/);
    expect(make([{ file }, { file: other }], sizes)).toThrow(
      /a\.bin and .*b\.bin were made with different tokenizers/,
    );
    expect(make([{ file, weight: 1 }, { file }], sizes)).toThrow(/give all token files a weight, or none/);
    expect(make([{ file, weight: -1 }], sizes)).toThrow(/weights must be positive, got -1/);
    expect(make([{ file }], { ...sizes, sequenceLength: 20 })).toThrow(
      /a\.bin has 20 tokens to train on, too few for a sequence of 20 \(at least 21 are needed\); use more text/,
    );
    expect(make([{ file, end: 21 }], sizes)).toThrow(/has 20 tokens, not 0 to 21/);
    expect(make([{ file }], { ...sizes, batchSize: 0 })).toThrow(ArgumentError);
    expect(make([{ file }], { ...sizes, seed: -1 })).toThrow(/seed and stream must be whole numbers/);
    expect(() => splitTokenFile(file, 1)).toThrow(/must be from 0 to below 1/);
    const source = new TokenFileSource([{ file }], { ...sizes, vocabSize: 10 });
    expect(() => count(9).map(() => source.next())).toThrow(IndexError);
    expect(() => count(9).map(() => source.next())).toThrow(
      /a\.bin: token \d+ is id 1\d, outside the vocabulary of 10; was the file/,
    );
    expect(() => source.setState({ seed: 1, offset: 2 })).toThrow(
      /the state must have a seed and the windows drawn/,
    );
    expect(() => source.setState({ seed: 1, drawn: [1, 2] })).toThrow(
      /the state is of 2 token files, there are 1/,
    );
  });
});

describe('training on token files', () => {
  const documents = count(40).map((i) => [...count(5 + (i % 11), i % 7), 99]);
  const options = { batchSize: 4, sequenceLength: 16, documents: true };

  function makeTrainer(seed: number, run?: string, steps = 12): { trainer: Trainer; losses: number[] } {
    const file = new TokenFile(join(folder, 'a.bin'));
    const generator = new Generator(1);
    const sizes = { vocab_size: 100, n_positions: 16, n_embd: 16, n_layer: 2, n_head: 2, attn_pdrop: 0.1 };
    const model = new GPT({ ...sizes, bos_token_id: null, eos_token_id: null }, { generator });
    if (seed !== 1) model.loadStateDict(GPT.fromPretrained(run!).stateDict());
    const { train, validation } = splitTokenFile(file, 0.2);
    const trainer = new Trainer({
      ...{ model, objective: nextToken(model), generator, steps, evalInterval: 4, lr: 1e-2 },
      train: new TokenFileSource([train], { ...options, seed }),
      validation: new TokenFileWindows([validation], options),
      ...(run === undefined ? {} : { folder: run }),
    });
    const losses: number[] = [];
    trainer.on('step', ({ loss }) => losses.push(loss));
    trainer.on('evaluation', ({ loss }) => losses.push(loss));
    return { trainer, losses };
  }

  it('learns, and goes on from a stop with the same bits', async () => {
    fileOf('a.bin', documents);
    const whole = makeTrainer(1);
    const { best } = await whole.trainer.run();
    expect(best!.loss).toBeLessThan(4.6);
    const run = join(folder, 'run');
    const stopped = makeTrainer(1, run, 12);
    stopped.trainer.on('step', ({ step }) => {
      if (step === 7) throw new Error('killed');
    });
    await expect(stopped.trainer.run()).rejects.toThrow('killed');
    const resumed = makeTrainer(2, run);
    expect(resumed.trainer.resume()).toEqual([]);
    await resumed.trainer.run();
    expect(resumed.losses).toEqual(whole.losses.slice(-resumed.losses.length));
    expect(resumed.losses.length).toBeGreaterThan(8);
  });

  it('says so when a run goes on with other data', async () => {
    fileOf('a.bin', documents);
    const run = join(folder, 'run');
    await makeTrainer(1, run, 2).trainer.run();
    fileOf('a.bin', [...documents, [1, 2, 3]]);
    expect(makeTrainer(2, run, 3).trainer.resume().join()).toMatch(
      /steps: 2, now 3.*the training text: \d+ tokens, now \d+/,
    );
  });
});
