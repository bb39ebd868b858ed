/**
 * The page of one or more training runs. Everything that comes from a run is put in as text, never as HTML. A live page is
 * sent the run as it is, then its new records, by server-sent events.
 */

import type { MetricsRecord } from '../../training/metrics-records.js';
import { RunCurves, type RunData } from '../run-curves.js';
import { Chart, colourOf, type Zoom } from './chart.js';
import { bytes, chartKinds, duration, linesOf, smoothedValues, type View, type XAxis } from './lines.js';

const element = (id: string): HTMLElement => document.getElementById(id)!;
const { live, runs } = JSON.parse(element('data').textContent) as { live: boolean; runs: RunData[] };

const view: View = { x: 'step', smoothing: 0.9 };
const hidden = new Set<number>();
let zoom: Zoom = null;
const charts = chartKinds.map((kind) => ({ kind, chart: new Chart(element('charts'), kind, setZoom) }));

const shownRuns = (): number[] => runs.map((_, i) => i).filter((i) => !hidden.has(i));

function setZoom(wanted: Zoom): void {
  zoom = wanted;
  element('reset').hidden = zoom === null;
  for (const { chart } of charts) chart.zoom(zoom);
}

/** Draws everything; `fresh` after a change of what is shown, else after new points. */
function show(fresh: boolean): void {
  for (const { kind, chart } of charts) {
    const lines = linesOf(kind, runs, shownRuns(), view);
    if (fresh) chart.draw(lines, view.x, zoom);
    else chart.update(lines, view.x, zoom);
  }
  // Half a row is not left empty.
  const narrow = charts.filter(({ kind, chart }) => kind.wide !== true && chart.isShown);
  narrow.forEach(({ chart }, i) => chart.widen(i === narrow.length - 1 && i % 2 === 0));
  showRuns();
  showSamples();
}

// ---- the table of runs, which is also the legend

const cell = (text: string, heading = ''): HTMLElement => {
  const td = document.createElement('td');
  td.textContent = text;
  td.dataset.heading = heading;
  return td;
};

function showRuns(): void {
  element('runs').replaceChildren(
    ...runs.map((run, i) => {
      const { loss, validationLoss, tokens, tokensPerSecond, memory, time } = run.curves;
      const step = loss.steps.at(-1) ?? 0;
      const best = Math.min(...validationLoss.values);
      const at = validationLoss.steps[validationLoss.values.indexOf(best)];
      const mean = smoothedValues(loss, 0.98).at(-1);
      const elapsed = (time.values.at(-1) ?? 0) - (time.values[0] ?? 0);
      const name = document.createElement('th');
      name.append(switchOf(run.name, i));
      const row = document.createElement('tr');
      row.append(
        name,
        cell(
          `${step.toLocaleString('en')}${run.total === null ? '' : ` / ${run.total.toLocaleString('en')}`}`,
          'step',
        ),
        cell(mean?.toFixed(4) ?? '–', 'training loss'),
        cell(
          Number.isFinite(best) ? `${best.toFixed(4)} at ${at.toLocaleString('en')}` : '–',
          'best validation loss',
        ),
        cell((tokens.values.at(-1) ?? 0).toLocaleString('en'), 'tokens'),
        cell(Math.round(tokensPerSecond.values.at(-1) ?? 0).toLocaleString('en'), 'tokens/s'),
        cell(memory.values.length === 0 ? '–' : bytes(Math.max(...memory.values)), 'memory'),
        cell(duration(elapsed), 'time'),
      );
      return row;
    }),
  );
}

/** A run's name with its colour; it shows and hides the run. */
function switchOf(name: string, i: number): HTMLElement {
  const label = document.createElement('label');
  const box = document.createElement('input');
  box.type = 'checkbox';
  box.checked = !hidden.has(i);
  box.style.accentColor = colourOf(i);
  box.addEventListener('change', () => {
    if (box.checked) hidden.delete(i);
    else hidden.add(i);
    show(true);
  });
  label.append(box, name);
  return label;
}

// ---- samples of text by step

const slider = element('sample-step') as HTMLInputElement;
slider.addEventListener('input', showSamples);

function showSamples(): void {
  const steps = [...new Set(runs.flatMap(({ samples }) => samples.map(({ step }) => step)))].sort(
    (a, b) => a - b,
  );
  element('samples').hidden = steps.length === 0;
  const atEnd = slider.value === slider.max;
  slider.max = String(Math.max(0, steps.length - 1));
  if (atEnd) slider.value = slider.max; // it follows a live run
  const until = steps[Number(slider.value)] ?? 0;
  element('sample-label').textContent = `step ${until.toLocaleString('en')}`;
  element('texts').replaceChildren(
    ...shownRuns().flatMap((i) => {
      const { samples, name } = runs[i];
      const last = samples.findLast(({ step }) => step <= until)?.step;
      return samples.filter(({ step }) => step === last).map((sample) => textOf(sample, i, name));
    }),
  );
}

function textOf({ step, prompt, text }: RunData['samples'][number], run: number, name: string): HTMLElement {
  const figure = document.createElement('figure');
  figure.style.borderColor = colourOf(run);
  const caption = document.createElement('figcaption');
  caption.textContent =
    runs.length > 1 ? `${name} · step ${step.toLocaleString('en')}` : `step ${step.toLocaleString('en')}`;
  const pre = document.createElement('pre');
  const given = document.createElement('b');
  given.textContent = prompt;
  if (prompt.trim() === '') pre.append(text.trimStart());
  else pre.append(given, text);
  figure.append(caption, pre);
  return figure;
}

// ---- the controls

const smoothing = element('smoothing') as HTMLInputElement;
smoothing.addEventListener('input', () => {
  // The slider's right part is finer: 0, 0.9 in the middle, 0.99 and 0.999 at its end.
  const value = Number(smoothing.value);
  view.smoothing = value === 0 ? 0 : Number((1 - 10 ** (-value / 50)).toFixed(3));
  element('smoothing-label').textContent = String(view.smoothing);
  show(true);
});
const axis = element('x-axis') as HTMLSelectElement;
axis.addEventListener('change', () => {
  view.x = axis.value as XAxis;
  setZoom(null);
  show(true);
});
element('reset').addEventListener('click', () => setZoom(null));

const systemIsDark = matchMedia('(prefers-color-scheme: dark)');
let theme = systemIsDark.matches ? 'dark' : 'light';
function setTheme(wanted: string): void {
  theme = wanted;
  document.documentElement.dataset.theme = theme;
  element('theme').textContent = theme === 'dark' ? 'light' : 'dark';
  show(true);
}
element('theme').addEventListener('click', () => setTheme(theme === 'dark' ? 'light' : 'dark'));
systemIsDark.addEventListener('change', ({ matches }) => setTheme(matches ? 'dark' : 'light'));

// ---- a run that goes on

function follow(): void {
  const status = element('status');
  const say = (text: string, state: string): void => {
    status.textContent = text;
    status.className = state;
  };
  const stream = new EventSource('events');
  let curves = new RunCurves();
  stream.addEventListener('run', ({ data }: MessageEvent<string>) => {
    runs[0] = JSON.parse(data) as RunData;
    curves = RunCurves.of(runs[0]);
    say('live', 'live');
    show(true);
  });
  stream.addEventListener('records', ({ data }: MessageEvent<string>) => {
    for (const record of JSON.parse(data) as MetricsRecord[]) curves.add(record);
    runs[0] = curves.data(runs[0].name, runs[0].total);
    show(false);
  });
  stream.addEventListener('end', () => {
    stream.close();
    say('finished', 'finished');
  });
  stream.addEventListener('error', () => {
    if (stream.readyState !== EventSource.CLOSED) say('no connection; trying again', 'lost');
    else say('the run has ended', 'finished');
  });
}

setTheme(theme);
if (live) follow();
