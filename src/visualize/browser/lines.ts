/** What a chart draws: the lines of each run, smoothed, over steps, tokens or time. */

import type { Points } from '../curve.js';
import type { CurveName, RunData } from '../run-curves.js';

/** What lies on the horizontal axis. */
export type XAxis = 'step' | 'tokens' | 'time';

/** How all charts are drawn. */
export interface View {
  x: XAxis;
  /** What is kept of the average at each point, from 0 (none) to below 1. */
  smoothing: number;
}

/** A line of a chart; x and y are of equal length. */
export interface Line {
  readonly label: string;
  readonly run: number;
  /** Thin, and not in the tooltip: the values before smoothing. */
  readonly raw: boolean;
  /** An evaluation's line: dashed, with its points. */
  readonly dashed: boolean;
  readonly x: readonly number[];
  readonly y: readonly number[];
}

/** A chart: which curves, and what becomes of their values. */
export interface ChartKind {
  readonly id: string;
  readonly title: string;
  /** Logarithmic until the reader says otherwise. */
  readonly log: boolean;
  readonly wide?: boolean;
  readonly curves: readonly {
    readonly name: CurveName;
    readonly label: string;
    readonly smooth: boolean;
    readonly dashed?: boolean;
  }[];
  readonly map?: (value: number) => number;
  readonly format: (value: number) => string;
}

const decimals = (value: number): string => (value === 0 ? '0' : Number(value.toPrecision(4)).toString());
const short = (value: number): string =>
  new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 }).format(value);

/** Bytes in decimal units. */
export const bytes = (value: number): string => {
  const power = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(1, value)) / 3)));
  return `${Number((value / 1000 ** power).toPrecision(3))} ${['B', 'kB', 'MB', 'GB', 'TB'][power]}`;
};

/** Seconds as `45 s`, `4:05 min`, `2:10 h`. */
export const duration = (seconds: number): string => {
  const whole = Math.round(seconds);
  const two = (n: number): string => String(n).padStart(2, '0');
  if (whole < 100) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)} min`;
  return `${Math.floor(whole / 3600)}:${two(Math.floor((whole % 3600) / 60))} h`;
};

/** All charts, in order; those without a point are not shown. */
export const chartKinds: readonly ChartKind[] = [
  {
    ...{ id: 'loss', title: 'Loss', log: false, wide: true, format: decimals },
    curves: [
      { name: 'loss', label: 'training', smooth: true },
      { name: 'validationLoss', label: 'validation', smooth: false, dashed: true },
    ],
  },
  {
    ...{ id: 'perplexity', title: 'Perplexity', log: true, map: Math.exp, format: decimals },
    curves: [
      { name: 'loss', label: 'training', smooth: true },
      { name: 'validationLoss', label: 'validation', smooth: false, dashed: true },
    ],
  },
  {
    ...{ id: 'grad-norm', title: 'Gradient norm', log: false, format: decimals },
    curves: [{ name: 'gradNorm', label: '', smooth: true }],
  },
  {
    ...{
      id: 'lr',
      title: 'Learning rate',
      log: false,
      format: (v) => (v === 0 ? '0' : Number(v.toPrecision(3)).toExponential()),
    },
    curves: [{ name: 'lr', label: '', smooth: false }],
  },
  {
    ...{ id: 'speed', title: 'Tokens per second', log: false, format: short },
    curves: [{ name: 'tokensPerSecond', label: '', smooth: true }],
  },
  {
    ...{ id: 'memory', title: 'Memory', log: false, format: bytes },
    curves: [{ name: 'memory', label: '', smooth: false }],
  },
  {
    ...{ id: 'loss-scale', title: 'Loss scale', log: true, format: short },
    curves: [{ name: 'lossScale', label: '', smooth: false }],
  },
  {
    ...{ id: 'skipped', title: 'Steps skipped so far', log: false, format: short },
    curves: [{ name: 'skipped', label: '', smooth: false }],
  },
];

/** A value of the horizontal axis in words. */
export function formatX(value: number, x: XAxis): string {
  if (x === 'time') return duration(value);
  return x === 'tokens' ? short(value) : Math.round(value).toLocaleString('en');
}

/** The lines of a chart for the runs at the given places. */
export function linesOf(
  kind: ChartKind,
  runs: readonly RunData[],
  shown: readonly number[],
  view: View,
): Line[] {
  return shown.flatMap((run) =>
    kind.curves.flatMap(({ name, label, smooth, dashed = false }): Line[] => {
      const points = runs[run].curves[name];
      if (points.steps.length === 0) return [];
      const x = axisOf(runs[run], points.steps, view.x);
      const { map = (v) => v } = kind;
      const line = {
        run,
        dashed,
        x,
        label: [runs.length > 1 ? runs[run].name : '', label].filter(Boolean).join(' · '),
      };
      const y = points.values.map(map);
      if (!smooth || view.smoothing === 0) return [{ ...line, raw: false, y }];
      const smoothed = smoothedValues(points, view.smoothing).map(map);
      return [
        { ...line, raw: true, y },
        { ...line, raw: false, y: smoothed },
      ];
    }),
  );
}

/**
 * The exponential moving average, without the pull of its beginning. Where a long curve was thinned out, a point counts
 * for the points that it stands for.
 */
export function smoothedValues({ steps, values }: Points, smoothing: number): number[] {
  let sum = 0;
  let weight = 0;
  return values.map((value, i) => {
    const gap = i === 0 ? 1 : Math.max(1, steps[i] - steps[i - 1]);
    const kept = smoothing ** gap;
    sum = kept * sum + (1 - kept) * value;
    weight = kept * weight + (1 - kept);
    return sum / weight;
  });
}

/** Steps as places on the horizontal axis; between the points of the run's own curve it is a straight line. */
function axisOf(run: RunData, steps: readonly number[], x: XAxis): readonly number[] {
  if (x === 'step') return steps;
  const curve = run.curves[x];
  const first = x === 'time' ? (curve.values[0] ?? 0) : 0;
  let i = 0;
  return steps.map((step) => {
    while (i < curve.steps.length - 1 && curve.steps[i] < step) i++;
    const [s1, v1] = [curve.steps[i] ?? 0, curve.values[i] ?? 0];
    if (i === 0 || s1 <= step) return v1 - first;
    const [s0, v0] = [curve.steps[i - 1], curve.values[i - 1]];
    return v0 + ((v1 - v0) * (step - s0)) / (s1 - s0) - first;
  });
}
