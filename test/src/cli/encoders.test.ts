/** The commands for BERT and T5, as users run them: train, stop and resume, fine-tune, classify, fill gaps, evaluate. */

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { AutoTokenizer } from '../../../src/tokenizers/index.js';
import { BertForMaskedLM, BertForSequenceClassification, T5 } from '../../../src/models/index.js';
import { readTrainingProgress } from '../../../src/training/index.js';
import { compiled, tsgpt, type Outcome } from '../../support/cli.js';

let folder: string;
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tsgpt-encoders-'));
  const lines = ['The quick brown fox jumps over the lazy dog.', 'A dog and a fox sit in the sun.'];
  writeFileSync(at('text.txt'), `${lines.join('\n')}\n\n`.repeat(30));
  const words = ['good', 'fine', 'great', 'bad', 'poor', 'awful'];
  const reviews = Array.from({ length: 60 }, (_, i) => `a ${words[i % 6]} day ${i}\t${Number(i % 6 < 3)}`);
  writeFileSync(at('reviews.tsv'), `${reviews.join('\n')}\n`);
  const pairs = Array.from({ length: 40 }, (_, i) => ({
    source: `copy ${'abc'[i % 3]}`,
    target: 'abc'[i % 3],
  }));
  writeFileSync(at('pairs.jsonl'), pairs.map((pair) => JSON.stringify(pair)).join('\n'));
  await compiled();
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const sizes = ['--layers', '1', '--heads', '2', '--embed', '16', '--batch', '4', '--seed', '1'];

const good = (outcome: Outcome): Outcome => {
  expect(outcome.code, outcome.stderr).toBe(0);
  return outcome;
};
const lastJson = ({ stdout }: Outcome): Record<string, unknown> =>
  JSON.parse(stdout.trim().split('\n').at(-1)!) as Record<string, unknown>;

/** Runs a training in one go, and stopped in the middle and resumed; the weights must be the same bits. */
async function trainTwice(name: string, args: readonly string[]): Promise<Outcome> {
  const command = ['train', ...args, '--eval-interval', '4', '--json'];
  const whole = good(await tsgpt([...command, '--steps', '8', '--model', at(name)]));
  const stopped = await tsgpt(
    [...command, '--steps', '8', '--save-interval', '1', '--model', at(`${name}-2`)],
    {
      started: (child) => {
        child.stderr!.on('data', (text: string) => text.includes('step 4:') && child.kill('SIGINT'));
      },
    },
  );
  expect([0, 130]).toContain(stopped.code); // it may be through before the signal comes
  good(await tsgpt(['train', '--model', at(`${name}-2`), '--resume']));
  expect(readTrainingProgress(at(`${name}-2`)).step).toBe(8);
  expect(readFileSync(join(at(`${name}-2`), 'model.safetensors'))).toEqual(
    readFileSync(join(at(name), 'model.safetensors')),
  );
  return whole;
}

describe('BERT', { timeout: 120_000 }, () => {
  it('is pre-trained on text, resumed with the same bits, and judged by hidden tokens', async () => {
    const args = ['--arch', 'bert', '--data', at('text.txt'), '--vocab-size', '300', '--seq', '16', ...sizes];
    const result = lastJson(await trainTwice('bert', [...args, '--whole-words']));
    expect(result.masked_accuracy).toBeGreaterThanOrEqual(0);
    expect(result.unigram_accuracy).toBeGreaterThan(0);
    expect(BertForMaskedLM.fromPretrained(at('bert')).config.num_hidden_layers).toBe(1);
    expect(AutoTokenizer.fromPretrained(at('bert')).type).toBe('wordpiece');
    const evaluated = lastJson(
      good(await tsgpt(['eval', '--model', at('bert'), '--data', at('text.txt'), '--json'])),
    );
    expect(evaluated).toMatchObject({
      hidden: expect.any(Number) as number,
      masked_accuracy: expect.any(Number) as number,
    });
    const pseudo = lastJson(
      good(await tsgpt(['eval', '--model', at('bert'), '--data', at('text.txt'), '--pseudo', '--json'])),
    );
    expect(pseudo.pseudo_perplexity).toBeGreaterThan(1);
    const filled = good(
      await tsgpt(['fill-mask', '--model', at('bert'), '--text', 'the [MASK] fox', '--top', '3', '--json']),
    );
    const rows = filled.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { probability: number });
    expect(rows).toHaveLength(3);
    expect(rows[0].probability).toBeGreaterThanOrEqual(rows[1].probability);
  });

  it('trains in half precision, computing again, and draws its curves', async () => {
    const command = [
      'train',
      '--arch',
      'bert',
      '--data',
      at('text.txt'),
      '--vocab-size',
      '300',
      '--seq',
      '16',
    ];
    const run = async (name: string, flags: readonly string[]): Promise<number> => {
      const args = [...command, ...sizes, '--steps', '6', '--json', ...flags, '--model', at(name)];
      return lastJson(good(await tsgpt(args))).train_loss as number;
    };
    const plain = await run('plain', []);
    const half = await run('half', ['--precision', 'bf16', '--metrics', at('half.html')]);
    expect(half).not.toBe(plain); // rounded, but near
    expect(Math.abs(half - plain)).toBeLessThan(0.02);
    expect(readFileSync(at('half.html'), 'utf8')).toContain('</html>');
    const again = ['--recompute', 'every:1', '--precision', 'bf16'];
    expect(await run('again', again)).toBe(half); // the same bits
    const wrong = await tsgpt([...command, ...sizes, '--sample-interval', '2', '--model', at('none')]);
    expect(wrong).toMatchObject({ code: 2 });
    expect(wrong.stderr).toContain('--sample-interval is not for --arch bert, only for gpt');
  });

  it('learns whether sentences follow one another', async () => {
    const args = [
      '--arch',
      'bert',
      '--next-sentence',
      '--data',
      at('text.txt'),
      '--vocab-size',
      '300',
      '--seq',
      '32',
    ];
    good(await tsgpt(['train', ...args, ...sizes, '--steps', '3', '--model', at('pairs')]));
    const config = JSON.parse(readFileSync(join(at('pairs'), 'config.json'), 'utf8')) as {
      architectures: string[];
    };
    expect(config.architectures).toEqual(['BertForPreTraining']);
  });

  it('is fine-tuned on labels from a saved model, classifies, and is judged', async () => {
    const from = [
      '--arch',
      'bert',
      '--from',
      at('bert'),
      '--data',
      at('reviews.tsv'),
      '--labels',
      'bad,good',
    ];
    const result = lastJson(
      await trainTwice('reviews', [...from, '--seq', '16', '--batch', '8', '--seed', '1']),
    );
    expect(result.accuracy).toBeGreaterThanOrEqual(0);
    const { config } = BertForSequenceClassification.fromPretrained(at('reviews'));
    expect(config.id2label).toEqual({ 0: 'bad', 1: 'good' });
    const classified = good(
      await tsgpt(['classify', '--model', at('reviews'), '--json'], { input: 'a good day\nbad\n' }),
    );
    const rows = classified.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { label: string; probabilities: object });
    expect(rows).toHaveLength(2);
    expect(Object.keys(rows[0].probabilities)).toEqual(['bad', 'good']);
    const plain = good(await tsgpt(['classify', '--model', at('reviews'), '--text', 'a good day']));
    expect(plain.stdout).toMatch(/^(good|bad)\t0\.\d{4}\ta good day\n$/);
    const report = good(await tsgpt(['eval', '--model', at('reviews'), '--data', at('reviews.tsv')]));
    expect(report.stdout).toMatch(
      /precision +recall +f1 +support\nbad .* 30\ngood .* 30\nmacro avg .*\nweighted avg .*\naccuracy/,
    );
    // Trained on, it keeps its head and labels.
    const more = ['--arch', 'bert', '--from', at('reviews'), '--data', at('reviews.tsv'), '--seq', '16'];
    const again = good(await tsgpt(['train', ...more, '--steps', '1', '--model', at('more')]));
    expect(again.stderr).toContain('labels bad, good');
  });
});

describe('T5', { timeout: 120_000 }, () => {
  it('is pre-trained on text and resumed with the same bits', async () => {
    const args = ['--arch', 't5', '--data', at('text.txt'), '--vocab-size', '300', '--seq', '16', ...sizes];
    await trainTwice('t5', args);
    expect(T5.fromPretrained(at('t5')).config.num_layers).toBe(1);
    const tokenizer = AutoTokenizer.fromPretrained(at('t5'));
    expect([...tokenizer.encode('the fox')].at(-1)).toBe(1);
  });

  it('learns pairs, writes, and is judged by BLEU and ROUGE', async () => {
    const args = ['--arch', 't5', '--data', at('pairs.jsonl'), '--vocab-size', '300', ...sizes];
    await trainTwice('copy', args);
    const written = good(
      await tsgpt([
        'generate',
        '--model',
        at('copy'),
        '--prompt',
        'copy a',
        '--temperature',
        '0',
        '--json',
        '--max-tokens',
        '5',
      ]),
    );
    expect(lastJson(written)).toHaveProperty('text');
    const judged = lastJson(
      good(
        await tsgpt([
          'eval',
          '--model',
          at('copy'),
          '--data',
          at('pairs.jsonl'),
          '--max-tokens',
          '5',
          '--json',
        ]),
      ),
    );
    expect(judged).toMatchObject({
      texts: 40,
      bleu: expect.any(Number) as number,
      rouge_l: expect.any(Number) as number,
    });
    good(
      await tsgpt([
        'train',
        '--arch',
        't5',
        '--from',
        at('t5'),
        '--data',
        at('pairs.jsonl'),
        '--steps',
        '1',
        '--model',
        at('tuned'),
      ]),
    );
  });
});

describe('--dry-run', { timeout: 120_000 }, () => {
  it.each([
    ['bert', 'reviews.tsv'],
    ['t5', 'pairs.jsonl'],
  ])('measures the memory of %s in steps that nothing is kept of', async (arch, data) => {
    const shape = ['--layers', '4', '--heads', '2', '--embed', '32', '--batch', '20'];
    const command = ['train', '--arch', arch, '--data', at(data), ...shape, '--dry-run'];
    const plan = async (...more: string[]) => {
      const { stdout } = good(await tsgpt([...command, ...more, '--json', '--model', at('dry')]));
      return JSON.parse(stdout) as { parameters: number; steps: number; memory_bytes: { total: number } };
    };
    const [off, every] = [
      await plan('--steps', '7', '--schedule', 'wsd', '--decay-steps', '5'),
      await plan('--epochs', '2', '--recompute', 'every:1'),
    ];
    expect(off.steps).toBe(7);
    expect(off.memory_bytes.total).toBeGreaterThan(16 * off.parameters); // weights, gradients, two moments
    expect(every.memory_bytes.total).toBeLessThan(off.memory_bytes.total);
    expect(existsSync(at('dry'))).toBe(false);
    expect(good(await tsgpt(command)).stdout).toMatch(/memory .* two steps with the fullest of \d+ batches/);
  });
});

describe('what cannot be', { timeout: 120_000 }, () => {
  const refused = async (args: readonly string[], complaint: string): Promise<void> => {
    const { code, stderr } = await tsgpt(['train', '--steps', '1', '--model', at('none'), ...args]);
    expect(stderr).toContain(complaint);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect([1, 2]).toContain(code);
  };
  const bert = (...args: string[]) => ['--arch', 'bert', '--data', at('text.txt'), ...args];

  it('is said in one line, with the row where there is one', async () => {
    writeFileSync(at('missing.tsv'), 'good\t1\nno label\n');
    writeFileSync(at('unknown.tsv'), 'good\tyes\nbad\tmaybe\n');
    writeFileSync(at('range.tsv'), 'good\t1\nbad\t2\n');
    writeFileSync(at('empty.tsv'), 'good\t1\n\t0\n');
    const table = (name: string, ...args: string[]) => ['--arch', 'bert', '--data', at(name), ...args];
    await refused(table('missing.tsv'), 'missing.tsv: row 2: has no column 2, where the label should be');
    await refused(
      table('unknown.tsv', '--labels', 'no,yes'),
      "unknown.tsv: row 2: label 'maybe' is unknown; known are no, yes",
    );
    await refused(
      table('range.tsv', '--labels', 'no,yes'),
      'range.tsv: row 2: label 2 is out of range, there are 2 classes (no, yes)',
    );
    await refused(table('empty.tsv'), 'empty.tsv: row 2: the text in column 1 is empty');
    await refused(['--use-rope', ...bert()], '--use-rope is not for --arch bert, only for gpt');
    await refused(
      ['--arch', 't5', '--whole-words', '--data', at('text.txt')],
      '--whole-words is not for --arch t5, only for bert',
    );
    await refused(
      ['--mask-prob', '0.2', '--data', at('text.txt')],
      '--mask-prob is not for --arch gpt, only for bert',
    );
    await refused(
      bert('--task', 'pairs'),
      '--task pairs is not for --arch bert, which learns from text or labels',
    );
    await refused(bert('--from', at('nowhere'), '--layers', '2'), '--layers is not for --from');
    await refused(
      bert('--random-prob', '0.7', '--keep-prob', '0.7'),
      'randomProb and keepProb must be at most 1 together',
    );
    await refused(bert('--seq', '4000'), 'too few for a sequence of 4000');
  });

  it('concerns the other commands too', async () => {
    const fails = async (args: readonly string[], complaint: string): Promise<void> => {
      const { code, stderr } = await tsgpt(args);
      expect(stderr).toContain(complaint);
      expect([1, 2]).toContain(code);
    };
    await fails(
      ['fill-mask', '--model', at('bert'), '--text', 'no gap'],
      '--text has no gap; write [MASK] where a word is missing',
    );
    await fails(
      ['classify', '--model', at('bert'), '--text', 'x'],
      `has learned no labels; train it on a table of texts and labels: tsgpt train --arch bert --from ${at('bert')} --data labels.tsv --model FOLDER`,
    );
    await fails(['eval', '--model', at('reviews'), '--data', at('missing.tsv')], 'row 2: has no column 2');
    await fails(
      [
        'train',
        '--arch',
        'bert',
        '--from',
        at('bert'),
        '--data',
        at('reviews.tsv'),
        '--seq',
        '17',
        '--steps',
        '1',
        '--model',
        at('none'),
      ],
      "--seq 17 is more than the model's 16 positions",
    );
  });
});
