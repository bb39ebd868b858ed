import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Generator, loadSafetensors } from '../../../lib/index.js';
import { OverfittingWatch } from '../../../src/cli/overfitting.js';
import { readTrainingProgress } from '../../../src/training/index.js';
import { golden } from '../../support/golden.js';
import { compiled, compiledModule, runNode, tsgpt, type Outcome } from '../../support/cli.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-train-'));
const data = join(folder, 'text.txt');
const toy = ['--layers', '1', '--heads', '2', '--embed', '16', '--seq', '16', '--batch', '4', '--seed', '7'];
const quiet = ['--gen-samples', '0'];

beforeAll(async () => {
  await compiled();
  const lines = Array.from(
    { length: 80 },
    (_, i) => `line ${i}: the quick brown fox jumps over the lazy dog\n`,
  );
  writeFileSync(data, lines.join(''));
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

const model = (name: string): string => join(folder, name);
const train = (name: string, ...args: string[]): Promise<Outcome> =>
  tsgpt(['train', '--data', data, '--model', model(name), ...toy, ...args]);
const weights = (name: string): Record<string, number[]> =>
  Object.fromEntries(
    [...loadSafetensors(join(model(name), 'model.safetensors'))].map(([key, t]) => [key, Array.from(t.data)]),
  );
/** What went wrong: one line. */
const problem = ({ code, stdout, stderr }: Outcome): [Outcome['code'], string] => {
  expect(stdout).toBe('');
  const lines = stderr.trimEnd().split('\n');
  expect(lines).toHaveLength(1);
  return [code, lines[0]];
};

describe('tsgpt train', () => {
  it('writes a model folder and reports in JSON', async () => {
    const { code, stdout, stderr } = await train('first', '--steps', '30', '--json', ...quiet);
    expect(stderr).not.toMatch(/error/i);
    expect(code).toBe(0);
    expect(stdout.trimEnd().split('\n')).toHaveLength(1);
    const result = JSON.parse(stdout) as Record<string, number>;
    expect(Object.keys(result).sort()).toEqual([
      'parameters',
      'peak_rss_bytes',
      'seconds',
      'steps',
      'tokens_per_second',
      'train_loss',
      'val_loss',
    ]);
    expect(result.steps).toBe(30);
    expect(result.train_loss).toBeGreaterThan(0);
    expect(result.val_loss).toBeGreaterThan(0);
    expect(result.val_loss).toBeLessThan(4);
    expect(result.tokens_per_second).toBeGreaterThan(0);
    expect(result.peak_rss_bytes).toBeGreaterThan(10e6);
    expect(readdirSync(model('first'))).toEqual(
      expect.arrayContaining([
        'checksums.sha256',
        'config.json',
        'model.safetensors',
        'tokenizer.json',
        'training_state.safetensors',
      ]),
    );
    const config = JSON.parse(readFileSync(join(model('first'), 'config.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    expect(config).toMatchObject({ model_type: 'gpt2', n_layer: 1, n_head: 2, n_embd: 16, n_positions: 16 });
  });

  it('shows plain progress and samples when it is not on a terminal', async () => {
    const args = ['--steps', '20', '--eval-interval', '10', '--gen-samples', '2', '--gen-len', '20'];
    const { code, stdout, stderr } = await train(
      'samples',
      ...args,
      '--seed',
      String(Number.MAX_SAFE_INTEGER),
    );
    expect(code).toBe(0);
    expect(stderr).not.toMatch(/[\r\x1b]/);
    expect(stderr).toMatch(/step 20\/20 {2}loss \d\.\d{4} {2}lr \S+ {2}\S+ tok\/s/);
    expect(stderr).toMatch(/step 10: validation loss/);
    expect(stdout).toContain('sample 1');
    expect(stdout).toContain('sample 2');
  });

  it('gives the same weights with the same seed, also with other threads, and others with another', async () => {
    await Promise.all([
      train('seed-a', '--steps', '10', '--threads', '1', ...quiet),
      train('seed-b', '--steps', '10', '--threads', '2', ...quiet),
    ]);
    await train('seed-c', '--steps', '10', '--seed', '8', ...quiet);
    expect(weights('seed-b')).toEqual(weights('seed-a'));
    expect(weights('seed-c')).not.toEqual(weights('seed-a'));
  });

  it('reads standard input, and epochs count passes over the text', async () => {
    const text = 'abcdefgh'.repeat(100); // 720 tokens train: 11.25 steps of 4 x 16 an epoch
    const args = [
      'train',
      '--data',
      '-',
      '--model',
      model('stdin'),
      ...toy,
      '--epochs',
      '2',
      '--json',
      ...quiet,
    ];
    const { code, stdout } = await tsgpt(args, { input: text });
    expect(code).toBe(0);
    expect((JSON.parse(stdout) as { steps: number }).steps).toBe(23);
  });

  it('--dry-run says when the text is too short', async () => {
    const outcome = await train('dry', '--val-split', '0.9999', '--dry-run');
    expect(problem(outcome)).toEqual([1, expect.stringContaining('too few for a sequence of 16')]);
  });

  it('--dry-run trains nothing and writes nothing', async () => {
    const { code, stdout } = await train('dry', '--steps', '5', '--dry-run');
    expect(code).toBe(0);
    for (const word of ['parameters', 'gradients', 'moments', 'activations', 'tokens', 'steps']) {
      expect(stdout).toContain(word);
    }
    expect(existsSync(model('dry'))).toBe(false);
    const json = JSON.parse((await train('dry', '--steps', '5', '--dry-run', '--json')).stdout) as Record<
      string,
      unknown
    >;
    expect(json).toMatchObject({
      steps: 5,
      tokens_per_step: 64,
      memory_bytes: { moments: expect.any(Number) },
    });
  });

  it('takes flags from --config', async () => {
    const config = join(folder, 'config.json');
    writeFileSync(config, JSON.stringify({ steps: 3, json: true, 'gen-samples': 0 }));
    const { stdout } = await train('config', '--config', config);
    expect((JSON.parse(stdout) as { steps: number }).steps).toBe(3);
  });

  it('makes a BPE tokenizer, generates with it and resumes', async () => {
    const flags = ['--tokenizer-type', 'bpe', '--vocab-size', '280', '--steps', '4'];
    const { code, stdout, stderr } = await train('bpe', ...flags, '--gen-samples', '1', '--gen-len', '5');
    expect([code, stderr]).toEqual([0, expect.stringContaining('vocabulary 280;')]);
    expect(stdout).toContain('--- sample 1 ---');
    const saved = readFileSync(join(model('bpe'), 'tokenizer.json'), 'utf8');
    const { model: bpe } = JSON.parse(saved) as { model: { type: string; merges: string[] } };
    expect([bpe.type, bpe.merges.length]).toEqual(['BPE', 280 - 256 - 1]);
    const again = await tsgpt(['train', '--model', model('bpe'), '--resume', '--steps', '6', ...quiet]);
    expect(again.code, again.stderr).toBe(0);
    expect(readFileSync(join(model('bpe'), 'tokenizer.json'), 'utf8')).toBe(saved);
    expect(
      problem(await tsgpt(['train', '--model', model('bpe'), '--resume', '--vocab-size', '300'])),
    ).toEqual([2, expect.stringContaining('--vocab-size cannot change in a run that is resumed; it is 280')]);
  });

  it('reuses a tokenizer', async () => {
    await train('tokenizer-a', '--steps', '2', ...quiet);
    const other = join(folder, 'other.txt');
    writeFileSync(other, 'the fox the dog '.repeat(50));
    const args = [
      'train',
      '--data',
      other,
      '--model',
      model('tokenizer-b'),
      ...toy,
      '--steps',
      '2',
      ...quiet,
    ];
    const { code } = await tsgpt([...args, '--tokenizer', model('tokenizer-a')]);
    expect(code).toBe(0);
    expect(readFileSync(join(model('tokenizer-b'), 'tokenizer.json'), 'utf8')).toBe(
      readFileSync(join(model('tokenizer-a'), 'tokenizer.json'), 'utf8'),
    );
  });
});

it('says that a model learns its text by heart, once', async () => {
  const letters = join(folder, 'letters.txt'); // of which nothing can be learned but by heart
  const random = new Generator(1);
  writeFileSync(letters, Array.from({ length: 250 }, () => 'abcdefgh'[random.nextInt(8)]).join(''));
  const sizes = ['--embed', '64', '--batch', '8', '--steps', '250', '--val-split', '0.3']; // prettier-ignore
  const pace = ['--lr', '5e-3', '--eval-interval', '25'];
  const { code, stderr } = await tsgpt([
    'train',
    '--data',
    letters,
    '--model',
    model('by-heart'),
    ...[...toy, ...sizes, ...pace, ...quiet],
  ]);
  expect(code).toBe(0);
  const lines = stderr.split('\n').filter((line) => line.includes('learns its texts by heart'));
  expect(lines).toEqual([
    expect.stringMatching(
      /^step \d+: the validation loss rises since step \d+ \(\S+, now \S+\) while the training loss falls \(\S+, now \S+\): the model learns its texts by heart; best\/ holds the best one; more text, --dropout, a smaller model or fewer steps help$/,
    ),
  ]);
});

it('notices it by three evaluations in a row that are worse, while the training loss falls', () => {
  const said = (losses: readonly number[], trainLosses: readonly number[]): (string | null)[] => {
    const watch = new OverfittingWatch();
    let least = Infinity;
    return losses.map((loss, i) => {
      const best = loss < least;
      least = Math.min(least, loss);
      return watch.add({ step: i + 1, loss, trainLoss: trainLosses[i], best });
    });
  };
  const falling = [5, 4, 3, 2, 1, 0.5, 0.4];
  expect(said([3, 2, 2.1, 2.2, 2.3, 2.4, 2.5], falling).map((text) => text !== null)).toEqual(
    [false, false, false, false, true, false, false], // once
  ); // prettier-ignore
  expect(said([3, 2, 2.1, 2.2, 2.15, 2.2, 2.3], falling).every((text) => text === null)).toBe(true);
  expect(said([3, 2, 2.1, 2.2, 2.3, 2.4, 2.5], [5, 4, 4, 4, 4, 4, 4]).every((text) => text === null)).toBe(
    true,
  );
});

describe('interrupting and resuming', () => {
  const run = ['--steps', '400', '--eval-interval', '0', '--dropout', '0.1', ...quiet];
  /** Starts the run and sends a signal when its progress matches. */
  const cut = (name: string, signal: NodeJS.Signals, at: RegExp, ...args: string[]): Promise<Outcome> =>
    tsgpt(['train', '--data', data, '--model', model(name), ...toy, ...run, ...args], {
      started: (child) => child.stderr!.on('data', (text: string) => at.test(text) && child.kill(signal)),
    });

  it('a run that was interrupted or killed ends with the weights of one that was not', async () => {
    const [whole, interrupted, killed] = await Promise.all([
      train('whole', ...run),
      cut('interrupted', 'SIGINT', /^text/),
      cut('killed', 'SIGKILL', /^step [1-3]\d\d\//m, '--save-interval', '15'),
    ]);
    expect([whole.code, interrupted.code, killed.code]).toEqual([0, 130, 'SIGKILL']);
    expect(interrupted.stderr).toContain(
      `continue with: tsgpt train --model ${model('interrupted')} --resume`,
    );
    for (const name of ['interrupted', 'killed']) {
      const resumed = await tsgpt(['train', '--model', model(name), '--resume', '--json']);
      expect(resumed.stderr).toContain(`resuming ${model(name)} at step`);
      expect(resumed.stderr).not.toContain('not go on exactly');
      expect(resumed.code).toBe(0);
      expect((JSON.parse(resumed.stdout) as { steps: number }).steps).toBe(400);
      expect(weights(name), name).toEqual(weights('whole'));
    }
  });

  it.each([
    ['tsgpt-gpt', ['--use-rope', '--kv-heads', '1', '--window', '8', '--untied', '--use-explicit-mask']],
    ['tsgpt-gpt', ['--use-swiglu', '--no-bias']],
    ['llama', ['--use-rope', '--rope-theta', '500', '--use-swiglu', '--use-rmsnorm']],
    [
      'mistral',
      ['--use-rope', '--use-swiglu', '--use-rmsnorm', '--no-bias', '--window', '5', '--kv-heads', '1'],
    ],
  ])('a run of a %s goes on with the same bits: %j', async (type, switches) => {
    const args = [...switches, '--dropout', '0.1', '--min-lr', '1e-3', '--warmup', '0', ...quiet];
    const name = switches.join('');
    const [whole, first] = await Promise.all([
      train(`${name}-whole`, '--steps', '8', ...args),
      train(name, '--steps', '4', ...args),
    ]);
    expect([whole.code, first.code]).toEqual([0, 0]);
    const resumed = await tsgpt(['train', '--model', model(name), '--resume', '--steps', '8']);
    expect(resumed.code).toBe(0);
    expect(weights(name)).toEqual(weights(`${name}-whole`));
    const config = JSON.parse(readFileSync(join(model(name), 'config.json'), 'utf8')) as object;
    expect(config).toMatchObject({ model_type: type });
    const made = await tsgpt([
      'generate',
      '--model',
      model(name),
      '--max-tokens',
      '20',
      '--temperature',
      '0',
    ]);
    expect(made.code).toBe(0);
    const other = await tsgpt(['train', '--model', model(name), '--resume', '--steps', '9', '--untied', '--window', '3']); // prettier-ignore
    expect(problem(other)[1]).toMatch(/--(untied|window) cannot change in a run that is resumed/);
  });

  it('SIGTERM and a closed terminal save as well and have exit codes of their own', async () => {
    const args = ['--steps', '1000000', '--eval-interval', '0', ...quiet];
    const [term, hup] = await Promise.all(
      (['SIGTERM', 'SIGHUP'] as const).map((signal) =>
        tsgpt(
          ['train', '--data', data, '--model', model(signal === 'SIGTERM' ? 'term' : 'hup'), ...toy, ...args],
          {
            started: (child) => child.stderr!.once('data', () => child.kill(signal)),
          },
        ),
      ),
    );
    expect([term.code, hup.code]).toEqual([143, 129]);
    for (const name of ['term', 'hup']) {
      expect(readdirSync(model(name)).sort()).toEqual([
        'checksums.sha256',
        'config.json',
        'metrics.jsonl',
        'model.safetensors',
        'tokenizer.json',
        'training_state.safetensors',
      ]);
    }
  });

  it('goes on with the same bits after Ctrl-C while a save is written, and after another one', async () => {
    const args = [...run.with(1, '20'), '--save-interval', '1', '--layers', '2', '--embed', '128'];
    /** Signals at the n-th save, while it is written: how many, for each save at which there are some. */
    const during = async (name: string, signals: Readonly<Record<number, number>>): Promise<Outcome> => {
      mkdirSync(model(name));
      const seen = new Set<string>();
      let inTime = 0;
      const outcome = await tsgpt(['train', '--data', data, '--model', model(name), ...toy, ...args], {
        started: (child) => {
          const watcher = watch(model(name), (_, file) => {
            if (file === null || !file.startsWith('..commit.') || seen.has(file)) return;
            seen.add(file);
            for (let i = 0; i < (signals[seen.size] ?? 0); i++) setTimeout(() => child.kill('SIGINT'), 2 * i);
            if (existsSync(join(model(name), file))) inTime++;
          });
          child.on('exit', () => watcher.close());
        },
      });
      expect(inTime).toBeGreaterThan(0); // saves were seen while they were written
      return outcome;
    };
    const [whole, once, twice, again] = [
      await train('saved', ...args),
      await during('saved-once', { 5: 1 }),
      await during('saved-twice', { 5: 3 }),
      await during('saved-again', { 5: 1, 6: 1 }), // the sixth is the one that the first signal asks for
    ];
    expect([whole.code, once.code, twice.code]).toEqual([0, 130, 130]);
    expect(['SIGINT', 130]).toContain(again.code); // 130 where it came after the save
    expect(once.stderr).toMatch(/stopped at step \d+ of 20 and saved/);
    for (const name of ['saved-once', 'saved-twice', 'saved-again']) {
      const { step } = readTrainingProgress(model(name));
      expect(step).toBeGreaterThan(2);
      expect(step).toBeLessThan(20);
      const resumed = await tsgpt(['train', '--model', model(name), '--resume']);
      expect(resumed.code, resumed.stderr).toBe(0);
      expect(resumed.stderr).not.toMatch(/damaged|not go on exactly/);
      expect(weights(name), name).toEqual(weights('saved'));
      expect(readdirSync(model(name)).filter((file) => file.startsWith('.'))).toEqual([]);
    }
  });

  it('ends at once before the training begins, and while it writes samples', async () => {
    const pipe = join(folder, 'pipe');
    expect(spawnSync('mkfifo', [pipe]).status).toBe(0);
    const [reading, sampling] = await Promise.all([
      tsgpt(['train', '--data', pipe, '--model', model('piped')], {
        started: (child) => setTimeout(() => child.kill('SIGINT'), 1000),
      }),
      tsgpt(
        [
          'train',
          '--data',
          data,
          '--model',
          model('sampling'),
          ...toy,
          '--steps',
          '2',
          '--gen-samples',
          '100000',
        ],
        { started: (child) => child.stdout!.once('data', () => child.kill('SIGINT')) },
      ),
    ]);
    expect([reading.code, reading.stderr]).toEqual(['SIGINT', '']);
    expect(existsSync(model('piped'))).toBe(false);
    expect([sampling.code, sampling.stderr.split('\n').at(-2)]).toEqual([130, 'stopped']);
  });

  it('goes on when nobody reads its progress', async () => {
    const { code } = await tsgpt(
      ['train', '--data', data, '--model', model('unread'), ...toy, '--steps', '300', ...quiet],
      { started: (child) => child.stderr!.once('data', () => child.stderr!.destroy()) },
    );
    expect(code).toBe(0);
    expect(readTrainingProgress(model('unread')).step).toBe(300);
  });

  it('a run owns its folder while it lives, and what a kill leaves is resumed or refused', async () => {
    const others: Promise<Outcome[]>[] = [];
    const { code } = await tsgpt(
      [
        'train',
        '--data',
        data,
        '--model',
        model('owned'),
        ...toy,
        '--steps',
        '1000000',
        '--eval-interval',
        '20',
      ],
      {
        started: (child) =>
          child.stderr!.on('data', (text: string) => {
            if (others.length > 0 || !/^step /m.test(text)) return;
            const more = Promise.all([
              train('owned', '--steps', '5', '--embed', '32'),
              tsgpt(['train', '--model', model('owned'), '--resume']),
            ]);
            others.push(more.finally(() => child.kill('SIGKILL')));
          }),
      },
    );
    expect(code).toBe('SIGKILL');
    for (const outcome of await others[0]) {
      expect(problem(outcome)).toEqual([1, expect.stringContaining('another run trains in it (process ')]);
    }
    const [, refused] = problem(await train('owned', '--steps', '5'));
    expect(refused).toMatch(/is not finished \(step \d+ of 1000000\)/);
    const { step } = readTrainingProgress(model('owned'));
    const resumed = await tsgpt([
      'train',
      '--model',
      model('owned'),
      '--resume',
      '--steps',
      String(step + 2),
    ]);
    expect(resumed.code).toBe(0);
    expect(existsSync(join(model('owned'), 'training.lock'))).toBe(false);
  });

  it('resumes with the paths of the first command, also from another folder', async () => {
    await train('paths-a', '--steps', '2', ...quiet);
    const args = [
      'train',
      '--data',
      'text.txt',
      '--tokenizer',
      'paths-a',
      '--model',
      'paths-b',
      ...toy,
      ...quiet,
    ];
    expect((await tsgpt([...args, '--steps', '4'], { cwd: folder })).code).toBe(0);
    const again = await tsgpt([...args, '--steps', '6', '--resume'], { cwd: folder });
    expect([again.code, again.stderr]).toEqual([0, expect.stringContaining('at step 4 of 6')]);
    const { settings } = readTrainingProgress(model('paths-b'));
    expect(settings).toMatchObject({ data, tokenizer: model('paths-a') });
    const less = await tsgpt(['train', '--model', model('paths-b'), '--resume', '--steps', '3']);
    expect(problem(less)).toEqual([
      1,
      expect.stringContaining('is at step 6 already, it cannot go on to step 3'),
    ]);
  });

  it('the second signal ends the process: in a computation, or at the end of the turn in which both came', async () => {
    const signals = JSON.stringify(await compiledModule('src/cli/signals.ts'));
    const head = `const { stopOnSignals } = await import(${signals}); const { writeSync } = await import('node:fs');
      const stop = stopOnSignals('ending');
      setInterval(() => {}, 1000);
      const busy = (ms) => { for (const end = Date.now() + ms; Date.now() < end;); };`;
    const run = (script: string, on: Record<string, NodeJS.Signals[]>) =>
      runNode(['--input-type=module', '-e', `${head} ${script}`], {
        started: (child) =>
          child.stderr!.on('data', (text: string) => {
            const all = Object.entries(on).flatMap(([word, list]) => (text.includes(word) ? list : []));
            // Not at once: the system joins equal signals that wait.
            all.forEach((signal, i) => setTimeout(() => child.kill(signal), 50 * i));
          }),
      });
    const [computing, turn, closed] = await Promise.all([
      run(
        "stop.signal.onabort = () => setTimeout(() => { writeSync(2, 'busy'); busy(60_000); }); writeSync(2, 'ready');",
        { ready: ['SIGINT'], busy: ['SIGINT'] },
      ),
      run("writeSync(2, 'ready'); busy(3000);", { ready: ['SIGINT', 'SIGINT', 'SIGINT'] }),
      run(
        "stop.signal.onabort = () => setTimeout(() => process.exit(stop.exitCode), 500); writeSync(2, 'ready');",
        {
          ready: ['SIGHUP', 'SIGHUP'],
        },
      ),
    ]);
    expect([computing.code, computing.stderr]).toEqual(['SIGINT', 'ready\nending\nbusy']);
    expect([turn.code, turn.stderr]).toEqual([130, 'ready\nending\n']);
    expect(closed.code).toBe(129); // a terminal that closes sends more than one
  });

  it('a run that is not finished is never overwritten', async () => {
    const [code, text] = problem(await train('term', '--steps', '5'));
    expect(code).toBe(1);
    expect(text).toMatch(/is not finished \(step \d+ of 1000000\); resume it \(--resume\)/);
  });

  it('a model that was not trained in the folder is never overwritten', async () => {
    cpSync(golden('hf-gpt2'), model('foreign'), { recursive: true });
    const [code, text] = problem(await train('foreign', '--steps', '1'));
    expect(code).toBe(1);
    expect(text).toMatch(/holds a model that was not trained there; choose another folder/);
  });

  it('refuses to resume what is not there, or with another model', async () => {
    const [code, text] = problem(await tsgpt(['train', '--model', model('none'), '--resume']));
    expect(code).toBe(1);
    expect(text).toContain(model('none'));
    await train('shape', '--steps', '2', ...quiet);
    const other = await tsgpt([
      'train',
      '--model',
      model('shape'),
      '--resume',
      '--layers',
      '3',
      '--steps',
      '4',
    ]);
    expect(problem(other)[0]).toBe(2);
    expect(other.stderr).toContain('--layers');
  });
});

describe('wrong command lines', () => {
  it.each([
    [['--leyers', '2'], "tsgpt: unknown flag --leyers (did you mean '--layers'?)"],
    [['--use-alibi'], 'tsgpt: unknown flag --use-alibi'],
    [['--rope'], "tsgpt: unknown flag --rope (did you mean '--use-rope'?)"],
    [['--rope-theta', '500'], 'tsgpt: --rope-theta is for rotary positions; add --use-rope'],
    [
      ['--use-rope', '--embed', '9', '--heads', '3'],
      'tsgpt: --use-rope needs heads of an even size, --embed / --heads is 3',
    ],
    [['--heads', '2', '--kv-heads', '3'], 'tsgpt: --heads 2 must be a multiple of --kv-heads 3'],
    [['--window', '0'], 'tsgpt: --window must be a whole number'],
    [['--lr', 'fast'], 'tsgpt: --lr must be a number above 0, got "fast"'],
    [['--embed', '10', '--heads', '3'], 'tsgpt: --embed 10 must be a multiple of --heads 3'],
    [['--steps', '5', '--epochs', '1'], 'tsgpt: --steps and --epochs exclude each other'],
    [['--lr', '1e-3', '--min-lr', '0.1'], 'tsgpt: --min-lr 0.1 must not be above --lr 0.001'],
    [['--tokenizer-type', 'word'], 'tsgpt: --tokenizer-type must be one of char, bpe, got "word"'],
    [['--vocab-size', '300'], 'tsgpt: --vocab-size is for --tokenizer-type bpe'],
    [
      ['--tokenizer-type', 'bpe', '--vocab-size', '256'],
      'tsgpt: --vocab-size must be a whole number of at least 257',
    ],
    [['--tokenizer', 'x', '--tokenizer-type', 'char'], 'tsgpt: --tokenizer brings its own vocabulary'],
  ])('%j exits with 2', async (args, message) => {
    const [code, text] = problem(await tsgpt(['train', '--data', data, ...args]));
    expect(code).toBe(2);
    expect(text.startsWith(message), text).toBe(true);
  });

  it('names unknown keys of a configuration file', async () => {
    const config = join(folder, 'bad.json');
    writeFileSync(config, '{"layer": 2}');
    const [code, text] = problem(await tsgpt(['train', '--config', config]));
    expect([code, text]).toEqual([
      2,
      `tsgpt: --config ${config}: unknown name layer (did you mean 'layers'?); see tsgpt train --help`,
    ]);
  });
});

describe('wrong data and folders: one line, exit code 1', () => {
  const file = (name: string, content: string | Uint8Array): string => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  it.each([
    ['missing', () => join(folder, 'none.txt'), 'none.txt'],
    ['empty', () => file('empty.txt', ''), 'empty.txt'],
    ['too short', () => file('short.txt', 'abc'), 'token'],
    ['not UTF-8', () => file('latin.txt', Uint8Array.from([0x66, 0xe9, 0x65, 0x0a])), 'latin.txt'],
    ['a folder without texts', () => (mkdirSync(join(folder, 'bare')), join(folder, 'bare')), 'bare'],
    ['a glob without matches', () => join(folder, '*.none'), '*.none'],
  ])('%s', async (_, path, part) => {
    const target = join(folder, 'never');
    const [code, text] = problem(await tsgpt(['train', '--data', path(), '--model', target, ...toy]));
    expect(code).toBe(1);
    expect(text).toContain(part);
    expect(existsSync(target)).toBe(false);
  });

  it('a model folder that cannot be made is noticed before training', async () => {
    const blocked = [data, join(data, 'model')]; // a file, and below it
    const outcomes = await Promise.all(
      blocked.map((path) => tsgpt(['train', '--data', data, '--model', path, ...toy, '--steps', '2'])),
    );
    outcomes.forEach((outcome, i) =>
      expect(problem(outcome)).toEqual([1, expect.stringMatching(`^tsgpt: ${blocked[i]}: .*not a folder`)]),
    );
  });
});
