import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';

import type { MetricsRecord } from '../../../src/training/index.js';
import { Browser, chromium } from '../../support/chromium.js';
import { compiled, tsgpt } from '../../support/cli.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-page-'));
const hostile = `</script><script>document.title='broken'</script><img src=x onerror="document.title='broken'">&amp;<!--`;

/** A run of 200 steps, one of them skipped, with evaluations and samples. */
function writeRun(name: string, rate: number): string {
  const run = join(folder, name);
  mkdirSync(run);
  const add = (record: MetricsRecord): void =>
    appendFileSync(join(run, 'metrics.jsonl'), `${JSON.stringify(record)}\n`);
  for (let step = 1; step <= 200; step++) {
    const loss = 1 + 3 * Math.exp(-rate * step);
    const rest = {
      lr: step / 1e5,
      gradNorm: 1 / step,
      tokens: step * 1000,
      tokensPerSecond: 500,
      memory: 2e8,
    };
    const skipped = step === 120 ? ({ skipped: true } as const) : {};
    add({ type: 'step', step, loss, ...rest, ...skipped, time: 1e9 + step });
    if (step % 50 === 0) add({ type: 'evaluation', step, loss: loss + 0.1, time: 1e9 + step });
    if (step % 50 === 0)
      add({ type: 'sample', step, prompt: 'ROMEO:', text: `${hostile} ${step}`, time: 1e9 });
  }
  return run;
}

const runs = [join('a', `<b>"'&`), join('b', `<b>"'&`)];
const page = join(folder, 'page.html');
const address = pathToFileURL(page).href;

beforeAll(async () => {
  await compiled();
  for (const [i, name] of runs.entries()) {
    mkdirSync(join(folder, name.slice(0, 1)));
    writeRun(name, 0.02 * (i + 1));
  }
  const args = ['visualize', ...runs.map((run) => join(folder, run)), '--out', page];
  expect(await tsgpt(args)).toMatchObject({ code: 0, stderr: `2 runs drawn in ${page}\n` });
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

describe('the page', () => {
  it('holds all it needs, and no text of a run as markup', () => {
    const text = readFileSync(page, 'utf8');
    expect(text).not.toContain(hostile.slice(0, 20));
    expect(text.match(/<script/g)).toHaveLength(2);
    expect(text.match(/<\/script/g)).toHaveLength(2);
    expect(text).toContain('Copyright (c) 2022 Leon Sorokin'); // uPlot's licence asks for it
    expect(text).not.toMatch(/(src|href)="?https?:/);
    expect(text).toMatch(/default-src 'none'; script-src 'sha256-[\w+/]{43}='/);
  });

  it('is refused where there is nothing to draw', async () => {
    expect(await tsgpt(['visualize'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('no run given'),
    });
    const { code, stderr } = await tsgpt(['visualize', join(folder, 'none')]);
    expect([code, stderr]).toEqual([
      1,
      `tsgpt: ${join(folder, 'none')}: cannot be read: there is no such file or folder\n`,
    ]);
    writeFileSync(join(folder, 'notes.txt'), 'hello\n');
    expect(await tsgpt(['visualize', join(folder, 'notes.txt')])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("line 1 is not a record of a training's metrics"),
    });
  });
});

describe('the page in Chromium', () => {
  let browser: Browser | undefined;
  beforeAll(async () => {
    if (chromium !== undefined) browser = await Browser.open(chromium);
  });
  afterAll(() => browser?.[Symbol.asyncDispose]());

  /** The browser at a fresh page, or the test is skipped. */
  async function open(
    context: TestContext,
    url: string,
    theme: 'light' | 'dark' = 'light',
  ): Promise<Browser> {
    if (browser === undefined) return context.skip('Chromium is not installed');
    browser.complaints.length = 0;
    browser.requests.length = 0;
    await browser.look(1200, 900, theme);
    await browser.goto(url);
    return browser;
  }

  /** Where the plot of a chart lies in the window. */
  const plotOf = (id: string): string =>
    `(({ x, y, width, height }) => [x, y, width, height])(document.querySelector('#chart-${id} .u-over').getBoundingClientRect())`;

  /** The text of a chart's tooltip with the mouse at a part of its width. */
  async function hover(page: Browser, id: string, part: number): Promise<string> {
    const [x, y, width, height] = await page.evaluate<number[]>(plotOf(id));
    await page.mouse('mouseMoved', x + part * width - 3, y + height / 2);
    await page.mouse('mouseMoved', x + part * width, y + height / 2);
    await page.until(`!document.querySelector('#chart-${id} .tooltip').hidden`);
    return page.evaluate(`document.querySelector('#chart-${id} .tooltip').innerText`);
  }
  const stepIn = (tooltip: string): number => Number(/step ([\d,]+)/.exec(tooltip)![1].replaceAll(',', ''));

  it('draws every chart in the colours of the runs', async (context) => {
    const page = await open(context, address);
    const shown = await page.evaluate<string[]>(
      `[...document.querySelectorAll('#charts .card:not([hidden])')].map((card) => card.id)`,
    );
    expect(shown.map((id) => id.slice(6))).toEqual([
      'loss',
      'perplexity',
      'grad-norm',
      'lr',
      'speed',
      'memory',
      'skipped',
    ]);
    const colours = await page.evaluate<
      string[][]
    >(`[...document.querySelectorAll('#charts .card:not([hidden]) canvas')].map((canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const found = new Set();
      for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) found.add([data[i], data[i + 1], data[i + 2]].join());
      return [...found];
    })`);
    for (const found of colours.slice(0, 2))
      expect(found).toEqual(expect.arrayContaining(['37,99,235', '217,72,15']));
    for (const found of colours) expect(found).toContain('217,72,15');
    expect(page.complaints).toEqual([]);
    expect(page.requests).toEqual([address]);
  });

  it('shows names and texts as they are', async (context) => {
    const page = await open(context, address);
    expect(await page.evaluate('document.title')).toBe(runs.join(', '));
    expect(await page.evaluate(`document.querySelector('#runs label').innerText`)).toBe(runs[0]);
    expect(await page.evaluate(`document.querySelector('#texts pre').textContent`)).toBe(
      `ROMEO:${hostile} 200`,
    );
    await page.evaluate(
      `{ const s = document.getElementById('sample-step'); s.value = 0; s.dispatchEvent(new Event('input')); }`,
    );
    expect(await page.evaluate(`document.querySelector('#texts pre').textContent`)).toBe(
      `ROMEO:${hostile} 50`,
    );
    expect(page.complaints).toEqual([]);
  });

  it('tells the values under the mouse, zooms all charts by dragging and back by a double click', async (context) => {
    const page = await open(context, address);
    const text = await hover(page, 'grad-norm', 0.5);
    expect(Math.abs(stepIn(text) - 100)).toBeLessThan(3);
    expect(text).toContain(runs[0]);
    const [x, y, width, height] = await page.evaluate<number[]>(plotOf('loss'));
    await page.mouse('mouseMoved', x + 0.5 * width, y + height / 2);
    await page.mouse('mousePressed', x + 0.5 * width, y + height / 2);
    await page.mouse('mouseMoved', x + 0.6 * width, y + height / 2);
    await page.mouse('mouseMoved', x + 0.75 * width, y + height / 2);
    await page.mouse('mouseReleased', x + 0.75 * width, y + height / 2);
    await page.until(`!document.getElementById('reset').hidden`);
    for (const id of ['loss', 'grad-norm']) {
      expect(Math.abs(stepIn(await hover(page, id, 0.02)) - 101)).toBeLessThan(4);
      expect(Math.abs(stepIn(await hover(page, id, 0.98)) - 149)).toBeLessThan(4);
    }
    for (const clicks of [1, 2]) {
      await page.mouse('mousePressed', x + 100, y + 50, clicks);
      await page.mouse('mouseReleased', x + 100, y + 50, clicks);
    }
    await page.until(`document.getElementById('reset').hidden`);
    expect(stepIn(await hover(page, 'loss', 0.98))).toBeGreaterThan(190);
    expect(page.complaints).toEqual([]);
  });

  it('switches theme, axes and runs', async (context) => {
    const page = await open(context, address, 'dark');
    const colour = `getComputedStyle(document.body).backgroundColor`;
    expect(await page.evaluate(colour)).toBe('rgb(14, 17, 22)');
    await page.evaluate(`document.getElementById('theme').click()`);
    expect(await page.evaluate(colour)).toBe('rgb(246, 247, 249)');
    const before = await page.screenshot();
    await page.evaluate(`document.querySelector('#chart-loss header button').click()`);
    expect(before.equals(await page.screenshot())).toBe(false);
    await page.evaluate(
      `{ const a = document.getElementById('x-axis'); a.value = 'tokens'; a.dispatchEvent(new Event('change')); }`,
    );
    expect(await hover(page, 'loss', 0.5)).toMatch(/^tokens 1\d\dK|^tokens 99/);
    await page.evaluate(`document.querySelector('#runs input').click()`);
    expect(await hover(page, 'loss', 0.5)).not.toContain(runs[0]);
    expect(await page.evaluate(`document.querySelectorAll('#texts figure').length`)).toBe(1);
    expect(page.complaints).toEqual([]);
  });

  it('fits a phone', async (context) => {
    const page = await open(context, address);
    await page.look(360, 740, 'light', true);
    await page.goto(address);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
    expect(page.complaints).toEqual([]);
  });

  it('follows a run that trains, to its end', { timeout: 120_000 }, async (context) => {
    if (browser === undefined) context.skip('Chromium is not installed');
    const data = join(folder, 'text.txt');
    writeFileSync(data, 'the quick brown fox jumps over the lazy dog\n'.repeat(100));
    const model = join(folder, 'live');
    const size = [
      '--layers',
      '1',
      '--heads',
      '1',
      '--embed',
      '8',
      '--seq',
      '8',
      '--batch',
      '2',
      '--seed',
      '1',
    ];
    const length = [
      '--steps',
      '4000',
      '--eval-interval',
      '1000',
      '--gen-samples',
      '0',
      '--sample-interval',
      '1000',
    ];
    let page: Browser | undefined;
    const rows = `document.querySelector('#runs td').innerText`;
    const seen: number[] = [];
    let watching: Promise<void> = Promise.resolve();
    const { code, stderr } = await tsgpt(
      ['train', '--data', data, '--model', model, ...size, ...length, '--live', '0'],
      {
        started: (child) => {
          const watch = async (url: string): Promise<void> => {
            expect(await statusOf(url, { Host: 'evil.example' })).toBe(403);
            expect(await statusOf(`${url}nothing`, {})).toBe(404);
            page = await open(context, url);
            await page.until(`document.querySelector('#runs td') !== null`);
            for (let i = 0; i < 2; i++) {
              const text = await page.evaluate<string>(rows);
              seen.push(Number(text.split(' / ')[0].replaceAll(',', '')));
              await page.until(
                `${rows} !== ${JSON.stringify(text)} || document.getElementById('status').className === 'finished'`,
              );
            }
          };
          let text = '';
          child.stderr!.on('data', (part: string) => {
            const url = text.includes('live: ') ? undefined : /live: (\S+)\n/.exec((text += part))?.[1];
            if (url !== undefined) watching = watch(url);
          });
        },
      },
    );
    expect(code, stderr).toBe(0);
    await watching;
    await page!.until(`document.getElementById('status').className === 'finished'`);
    expect(seen[1]).toBeGreaterThan(seen[0]);
    expect(await page!.evaluate(rows)).toBe('4,000 / 4,000');
    expect(page!.complaints).toEqual([]);
  });
});

const statusOf = (url: string, headers: Record<string, string>): Promise<number | undefined> =>
  new Promise((resolve, reject) => {
    get(url, { headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).on('error', reject);
  });
