/** One chart: a uPlot with our colours, a tooltip, and a zoom that all charts share. */

import type uPlotType from 'uplot';

import { formatX, type ChartKind, type Line, type XAxis } from './lines.js';

/** The part of the horizontal axis that is shown; null shows all. */
export type Zoom = readonly [from: number, to: number] | null;

/** A run's colour in the current theme. */
export const colourOf = (run: number): string => cssValue(`--run-${run % 8}`);

const cssValue = (name: string): string =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A colour with an opacity. */
const faded = (colour: string, opacity: string): string => `${colour}${opacity}`;

// uPlot's name for it is an enumeration that exists in its types only.
// eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment
const logarithmic = 3 as uPlotType.Scale.Distr;

export class Chart {
  readonly #kind: ChartKind;
  readonly #card = document.createElement('section');
  readonly #body = document.createElement('div');
  readonly #tooltip = document.createElement('div');
  readonly #zoomed: (zoom: Zoom) => void;
  #plot: uPlotType | null = null;
  #lines: readonly Line[] = [];
  #x: XAxis = 'step';
  #zoom: Zoom = null;
  #log: boolean;

  /** @param zoomed Told when the reader drags over a part, or clicks twice. */
  constructor(parent: HTMLElement, kind: ChartKind, zoomed: (zoom: Zoom) => void) {
    this.#kind = kind;
    this.#log = kind.log;
    this.#zoomed = zoomed;
    this.#card.className = kind.wide === true ? 'card wide' : 'card';
    this.#card.id = `chart-${kind.id}`;
    this.#tooltip.className = 'tooltip';
    this.#body.className = 'plot';
    this.#card.append(this.#heading(), this.#body);
    parent.append(this.#card);
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(this.#body);
    this.#listenToPinches();
  }

  /** Whether there is something to draw. */
  get isShown(): boolean {
    return !this.#card.hidden;
  }

  /** Takes the whole width, or half of it. */
  widen(wide: boolean): void {
    this.#card.classList.toggle('wide', wide);
  }

  /** Draws anew, after a change of the view. */
  draw(lines: readonly Line[], x: XAxis, zoom: Zoom): void {
    this.#card.hidden = lines.length === 0;
    this.#plot?.destroy();
    this.#plot = null;
    [this.#lines, this.#x, this.#zoom] = [lines, x, zoom];
    if (lines.length === 0) return;
    this.#plot = new uPlot(this.#options(), this.#data(), this.#body);
    this.#body.append(this.#tooltip);
    this.zoom(zoom);
  }

  /** New points of the lines that are drawn. */
  update(lines: readonly Line[], x: XAxis, zoom: Zoom): void {
    const same =
      lines.length === this.#lines.length && lines.every((line, i) => line.label === this.#lines[i].label);
    if (!same || this.#plot === null) {
      this.draw(lines, x, zoom);
      return;
    }
    this.#lines = lines;
    this.#plot.setData(this.#data(), zoom === null);
    if (zoom !== null) this.#plot.redraw();
  }

  /** Shows a part of the horizontal axis. */
  zoom(zoom: Zoom): void {
    this.#zoom = zoom;
    const plot = this.#plot;
    if (plot === null) return;
    const xs = plot.data[0];
    if (zoom !== null) plot.setScale('x', { min: zoom[0], max: zoom[1] });
    else if (xs.length > 0) plot.setScale('x', { min: xs[0], max: xs[xs.length - 1] });
  }

  #heading(): HTMLElement {
    const heading = document.createElement('header');
    const title = document.createElement('h2');
    title.textContent = this.#kind.title;
    const log = document.createElement('button');
    log.type = 'button';
    log.textContent = 'log';
    log.title = 'logarithmic axis';
    const show = (): void => log.setAttribute('aria-pressed', String(this.#log));
    log.addEventListener('click', () => {
      this.#log = !this.#log;
      show();
      this.draw(this.#lines, this.#x, this.#zoom);
    });
    show();
    const key = document.createElement('span');
    if (this.#kind.curves.length > 1) key.textContent = this.#kind.curves.map(keyOf).join('   ');
    heading.append(title, key, log);
    return heading;
  }

  #size(): { width: number; height: number } {
    return { width: this.#body.clientWidth, height: this.#kind.wide === true ? 340 : 230 };
  }

  /** All lines over one horizontal axis; null where a line has no point. */
  #data(): uPlotType.AlignedData {
    const tables = this.#lines.map(({ x, y }): uPlotType.AlignedData => {
      // A logarithmic axis has no place for what is not positive.
      return [[...x], y.map((v) => (this.#log && v <= 0 ? null : v))];
    });
    return uPlot.join(tables);
  }

  #options(): uPlotType.Options {
    const axis = {
      stroke: cssValue('--muted'),
      font: '12px system-ui, sans-serif',
      grid: { stroke: cssValue('--grid'), width: 1 },
      ticks: { show: false },
    };
    const { format } = this.#kind;
    return {
      ...this.#size(),
      legend: { show: false },
      padding: [8, 22, 0, 0],
      scales: { x: { time: false }, y: this.#log ? { distr: logarithmic } : {} },
      axes: [
        { ...axis, values: (_, ticks) => ticks.map((v) => formatX(v, this.#x)), space: 70, size: 30 },
        { ...axis, values: (_, ticks) => ticks.map((v) => (v === null ? '' : format(v))), size: 62 },
      ],
      series: [{}, ...this.#lines.map((line) => this.#series(line))],
      cursor: {
        sync: { key: 'tsgpt', scales: ['x', null] },
        drag: { x: true, y: false, setScale: false },
        points: { show: false },
        y: false,
        bind: {
          dblclick: () => () => {
            this.#zoomed(null);
            return null;
          },
        },
      },
      hooks: {
        setSelect: [(plot) => this.#selected(plot)],
        setCursor: [(plot) => this.#showTooltip(plot)],
      },
    };
  }

  #series({ run, raw, dashed }: Line): uPlotType.Series {
    const colour = colourOf(run);
    return {
      stroke: raw ? faded(colour, '40') : colour,
      width: raw ? 1 : 2,
      spanGaps: true,
      points: { show: dashed, size: 6, fill: cssValue('--card'), stroke: colour },
      ...(dashed ? { dash: [6, 4] } : {}),
    };
  }

  #selected(plot: uPlotType): void {
    const { left, width } = plot.select;
    if (width <= 2) return;
    const zoom: Zoom = [plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')];
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.#zoomed(zoom);
  }

  /** The values under the cursor, beside it. */
  #showTooltip(plot: uPlotType): void {
    const { left = -1 } = plot.cursor;
    const lines = this.#lines.filter((line) => !line.raw && line.x.length > 0);
    this.#tooltip.hidden = left < 0 || lines.length === 0 || !plot.cursor.event;
    if (this.#tooltip.hidden) return;
    const at = plot.posToVal(left, 'x');
    const heading = document.createElement('b');
    heading.textContent = `${this.#x} ${formatX(at, this.#x)}`;
    const rows = lines.map((line) => {
      const row = document.createElement('div');
      const swatch = document.createElement('i');
      swatch.style.background = colourOf(line.run);
      const value = document.createElement('span');
      value.textContent = this.#kind.format(line.y[nearest(line.x, at)]);
      row.append(swatch, line.label, value);
      return row;
    });
    this.#tooltip.replaceChildren(heading, ...rows);
    const offset = plot.over.offsetLeft + left;
    const onRight = offset + this.#tooltip.offsetWidth + 24 < this.#body.clientWidth;
    this.#tooltip.style.left = `${onRight ? offset + 12 : Math.max(0, offset - this.#tooltip.offsetWidth - 12)}px`;
  }

  /** Two fingers zoom, on a touch screen. */
  #listenToPinches(): void {
    let start: { from: number; to: number; left: number; right: number } | null = null;
    const places = (touches: TouchList): [number, number] => {
      const edge = this.#plot!.over.getBoundingClientRect().left;
      const [a, b] = [touches[0].clientX - edge, touches[1].clientX - edge];
      return a < b ? [a, b] : [b, a];
    };
    this.#body.addEventListener('touchstart', ({ touches }) => {
      const { min, max } = this.#plot?.scales.x ?? {};
      if (touches.length !== 2 || min === undefined || max === undefined) return;
      const [left, right] = places(touches);
      start = { from: min, to: max, left, right };
    });
    this.#body.addEventListener(
      'touchmove',
      (event) => {
        if (start === null || event.touches.length !== 2) return;
        event.preventDefault();
        this.#zoomed(pinched(start, places(event.touches), this.#plot!.over.clientWidth));
      },
      { passive: false },
    );
    this.#body.addEventListener('touchend', () => (start = null));
  }
}

/** How a curve of a chart is drawn, in words. */
const keyOf = ({ label, dashed }: ChartKind['curves'][number]): string =>
  `${dashed === true ? '╌╌' : '──'} ${label}`;

/** The part that is shown when two fingers went from `left` and `right` to `now`: what was under them stays there. */
function pinched(
  start: { readonly from: number; readonly to: number; readonly left: number; readonly right: number },
  now: readonly [number, number],
  width: number,
): Zoom {
  const { from, to, left, right } = start;
  const valueAt = (place: number): number => from + ((to - from) * place) / width;
  const perPixel = (valueAt(right) - valueAt(left)) / Math.max(8, now[1] - now[0]);
  const first = valueAt(left) - now[0] * perPixel;
  return [first, first + width * perPixel];
}

/** The place of the value next to `wanted` in an ascending list that is not empty. */
function nearest(values: readonly number[], wanted: number): number {
  let [low, high] = [0, values.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle] <= wanted) low = middle;
    else high = middle;
  }
  return wanted - values[low] <= values[high] - wanted ? low : high;
}
