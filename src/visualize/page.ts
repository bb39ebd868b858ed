/**
 * One HTML file that shows training runs and needs nothing else: uPlot, the code of browser/ and the data are in it. What
 * comes from a run (names, texts) is data in JSON, which the code puts in as text; the page's policy lets nothing run but
 * the scripts that are hashed in it, and nothing be loaded.
 */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

import { fileError } from '../../lib/formats/system-error.js';
import type { RunData } from './run-curves.js';
import { pageStyle } from './style.js';

/** Settings of {@link renderPage}. */
export interface PageOptions {
  readonly title: string;
  /** Whether the page is served while the run goes on (live.ts). */
  readonly live?: boolean;
}

/**
 * The page of one or more runs.
 *
 * @example
 * writeFileSync('runs.html', renderPage([readRun('runs/a'), readRun('runs/b')], { title: 'a and b' }));
 */
export function renderPage(runs: readonly RunData[], { title, live = false }: PageOptions): string {
  const { script, style, licence } = pageParts();
  // No `<` in it, so that no text can end the element.
  const data = JSON.stringify({ live, runs }).replaceAll('<', '\\u003c');
  const policy = [
    "default-src 'none'",
    `script-src '${hashOf(script)}'`,
    // uPlot and the page place things by style attributes; no text of a run becomes markup that could have one.
    "style-src 'unsafe-inline'",
    ...(live ? ["connect-src 'self'"] : []),
    'img-src data:',
    "base-uri 'none'; form-action 'none'",
  ].join('; ');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>${escapeHtml(title)}</title>
<style>${style}</style>
</head>
<body>
<div class="top">
  <h1>${escapeHtml(title)}</h1>
  <span id="status" role="status"></span>
  <div class="controls">
    <label>smoothing <input id="smoothing" type="range" min="0" max="150" value="50" aria-label="smoothing"><output id="smoothing-label">0.9</output></label>
    <label>over <select id="x-axis"><option value="step">steps</option><option value="tokens">tokens</option><option value="time">time</option></select></label>
    <button id="reset" type="button" hidden>show all</button>
    <button id="theme" type="button" title="switch the theme">dark</button>
  </div>
</div>
<div class="card runs">
  <table>
    <thead><tr><th>run</th><th>step</th><th>training loss</th><th>best validation loss</th><th>tokens</th><th>tokens/s</th><th>memory</th><th>time</th></tr></thead>
    <tbody id="runs"></tbody>
  </table>
</div>
<main id="charts"></main>
<section id="samples" class="card" hidden>
  <header><h2>Samples</h2><label><span id="sample-label"></span><input id="sample-step" type="range" min="0" max="0" value="0" aria-label="step of the samples"></label></header>
  <div id="texts"></div>
</section>
<footer>Drag over a chart to zoom, or use two fingers; a double click shows all.</footer>
<noscript>The charts need JavaScript.</noscript>
<script type="application/json" id="data">${data}</script>
<!-- uPlot, which draws the charts:
${licence}
-->
<script type="module">${script}</script>
</body>
</html>
`;
}

interface PageParts {
  readonly script: string;
  readonly style: string;
  readonly licence: string;
}

let parts: PageParts | undefined;

/** Reads what every page has in common, once. */
function pageParts(): PageParts {
  if (parts !== undefined) return parts;
  const uplot = dirname(createRequire(import.meta.url).resolve('uplot/package.json'));
  const own = join(import.meta.dirname, 'browser', 'main.js'); // compiled, with all that it imports
  const script = [join(uplot, 'dist', 'uPlot.iife.min.js'), own].map(read).join('\n');
  parts = {
    script: script.replaceAll(/<(?=\/script|!--)/gi, '\\x3c'),
    style: `${read(join(uplot, 'dist', 'uPlot.min.css'))}\n${pageStyle}`,
    licence: read(join(uplot, 'LICENSE')).trim(),
  };
  return parts;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw fileError(path, 'is a part of the page and cannot be read', error);
  }
}

const hashOf = (script: string): string => `sha256-${createHash('sha256').update(script).digest('base64')}`;

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escapeHtml = (text: string): string => text.replaceAll(/[&<>"]/g, (char) => entities[char]);
