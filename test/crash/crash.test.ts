/**
 * A run that is killed again and again, at any moment, continues the curve of one that never was: every loss of every
 * process has the bits of the uninterrupted run's, with one thread and with two, and so do the final weights. A few kills
 * here; `npm run test:crash` makes 200 with each number of threads. TSGPT_KILL_SEED=N chooses other moments, and
 * `-- -t '1 thread'` one half of them.
 */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';

import { Generator } from '../../lib/index.js';
import { TokenFileWriter } from '../../src/data/index.js';
import { hasTrainingState, readTrainingProgress } from '../../src/training/index.js';
import { compiled, root, runNode, type Outcome } from '../support/cli.js';

const kills = Number(process.env.TSGPT_KILLS ?? 3); // with each number of threads
const seed = Number(process.env.TSGPT_KILL_SEED ?? 1);
const minutes = 60_000;

let folder: string;
beforeAll(compiled, 120_000);
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'tsgpt-crash-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function writeTokens(name: string, factor: number): string {
  using writer = new TokenFileWriter(join(folder, name), { vocabSize: 50 });
  for (let document = 0; document < 120; document++) {
    writer.append(Int32Array.from({ length: 5 + (document % 30) }, (_, i) => (factor * i + document) % 50));
    writer.endDocument();
  }
  writer.finish();
  return join(folder, name);
}

/** The losses in a log, by what they are of. Throws when a loss that is there twice has two values. */
function lossesOf(log: string): Map<string, string> {
  const losses = new Map<string, string>();
  for (const line of readFileSync(log, 'utf8').trimEnd().split('\n')) {
    const [, key, bits] = /^(\w+ \d+) ([0-9a-f]{16})$/.exec(line) ?? [];
    if (key === undefined) throw new Error(`a line of the log is ${JSON.stringify(line)}`);
    if ((losses.get(key) ?? bits) !== bits) throw new Error(`${key}: ${losses.get(key)} and ${bits}`);
    losses.set(key, bits);
  }
  return losses;
}

it.each([[1], [2]])(
  'every resume continues the uninterrupted curve bit for bit, with %d thread(s)',
  { timeout: 5 * minutes + kills * 8000 },
  async (threads) => {
    const start = performance.now();
    const data = [writeTokens('a.bin', 1), writeTokens('b.bin', 3)];
    const child = (name: string, started?: Parameters<typeof runNode>[1]): Promise<Outcome> => {
      const args = [join(root, 'test/crash/run.mjs'), join(root, 'dist/src/index.js'), join(folder, name)];
      return runNode([...args, join(folder, `${name}.log`), ...data], {
        env: { TSGPT_THREADS: String(threads) },
        ...started,
      });
    };
    expect(await child('whole')).toMatchObject({ code: 0, stderr: '' });
    const whole = lossesOf(join(folder, 'whole.log'));
    expect(whole.size).toBeGreaterThanOrEqual(60 + 8);

    const random = new Generator(seed);
    const killed = join(folder, 'killed');
    let done = 0;
    let finished = 0;
    let life = 1500; // milliseconds until a kill, at most: longer once a process saved nothing, shorter once one came to its end
    let before = -1;
    while (done < kills) {
      const delay = random.nextFloat() * life;
      const { code, stderr } = await child('killed', {
        started: (process) => setTimeout(() => process.kill('SIGKILL'), delay),
      });
      expect(code === 0 || code === 'SIGKILL', stderr).toBe(true);
      if (code === 'SIGKILL') done++;
      else {
        finished++;
        rmSync(killed, { recursive: true }); // and from the beginning
      }
      const step = hasTrainingState(killed) ? readTrainingProgress(killed).step : -1;
      if (code !== 'SIGKILL') life = Math.max(500, life / 1.5);
      else if (step === before) life = Math.min(20_000, life * 1.5);
      before = step;
    }
    expect(await child('killed')).toMatchObject({ code: 0, stderr: '' });
    const losses = lossesOf(join(folder, 'killed.log'));
    for (const [key, bits] of whole) expect(losses.get(key), key).toBe(bits);
    expect(losses.size).toBe(whole.size);
    for (const file of ['model.safetensors', 'best/model.safetensors']) {
      expect(readFileSync(join(killed, file)).equals(readFileSync(join(folder, 'whole', file))), file).toBe(
        true,
      );
    }
    if (kills > 20) {
      const seconds = Math.round((performance.now() - start) / 1000);
      process.stderr.write(
        `${done} kills with ${threads} thread(s), seed ${seed}: ${finished} runs ended between them, ${seconds} s\n`,
      );
    }
  },
);
