/**
 * The runs that docs/training-dynamics.md is about (docs/runs) still draw. With TSGPT_SCREENSHOTS=1 the pictures of the
 * documentation are made anew:  TSGPT_SCREENSHOTS=1 npx vitest run test/src/visualize/screenshots.test.ts
 */

import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Browser, chromium } from '../../support/chromium.js';
import { compiled, root, tsgpt } from '../../support/cli.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-screenshots-'));
const runs = join(root, 'docs', 'runs');
const images = join(root, 'docs', 'images');

/** Pictures: which runs, how large, and what is set before. */
const pictures: [name: string, runs: string[], size: [number, number], theme: 'light' | 'dark'][] = [
  ['runs-light', ['lr-3e-4', 'lr-3e-3', 'lr-3e-2'], [1200, 940], 'light'],
  ['run-dark', ['lr-3e-3'], [1200, 820], 'dark'],
  ['run-phone', ['lr-3e-3'], [390, 780], 'light'],
  ['learning-rates', ['lr-3e-4', 'lr-3e-3', 'lr-3e-2', 'lr-3e-1'], [1000, 720], 'light'],
  ['overfitting', ['overfitting', 'overfitting-dropout'], [1000, 640], 'light'],
  ['precision', ['precision-float32', 'precision-bf16', 'precision-fp16'], [1000, 640], 'light'],
  ['warmup', ['lr-3e-2', 'no-clip-no-warmup'], [1000, 640], 'light'],
];

describe('the runs of the documentation', () => {
  let browser: Browser | undefined;
  beforeAll(async () => {
    await compiled();
    if (chromium !== undefined) browser = await Browser.open(chromium);
  }, 120_000);
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });

  it('are all in a picture', () => {
    const shown = new Set(pictures.flatMap(([, names]) => names));
    const kept = readdirSync(runs).filter((name) => name.endsWith('.jsonl'));
    expect(kept.map((name) => name.replace('.jsonl', '')).sort()).toEqual([...shown].sort());
  });

  it.each(pictures)('%s', async (name, names, [width, height], theme) => {
    const page = join(folder, `${name}.html`);
    const files = names.map((run) => join(runs, `${run}.jsonl`));
    expect(await tsgpt(['visualize', ...files, '--out', page])).toMatchObject({ code: 0 });
    if (browser === undefined) {
      console.warn('not drawn: Chromium is not installed');
      return;
    }
    browser.complaints.length = 0;
    await browser.look(width, height, theme, width < 500);
    await browser.goto(pathToFileURL(page).href);
    const picture = await browser.screenshot();
    expect(picture.length).toBeGreaterThan(20_000);
    expect(browser.complaints).toEqual([]);
    if (process.env.TSGPT_SCREENSHOTS !== '1') return;
    mkdirSync(images, { recursive: true });
    writeFileSync(join(images, `${name}.png`), picture);
  });
});
