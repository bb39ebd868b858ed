/** Tables of Markdown, for people and for docs/benchmarking.md; the JSON line after them has all numbers. */

import { spread, type CaseResult, type CaseSummary, type Peaks, type Round, type Spread } from './harness.js';
import { median } from './measure.js';

/** What was measured of one task. */
export interface TaskResult {
  readonly name: string;
  readonly rounds: readonly Round[];
  readonly cases: readonly CaseSummary[];
}

/** A row for each case: our time, rate and share of the ceiling, then each rival's time and ratio, if it has the case. */
export function timeTable(cases: readonly CaseSummary[], microseconds: boolean): string {
  const [own, ...rivals] = new Set(cases.flatMap(({ contenders }) => Object.keys(contenders)));
  const [unit, factor] = microseconds ? ['us', 1e6] : ['ms', 1e3];
  const ceilingColumn = cases.some((c) => c.ceiling !== undefined);
  const lossColumn = cases.some((c) => c.contenders[own].losses.length > 0);
  const rateColumn = cases.some(({ work }) => rateText(work, 1) !== '');
  const time = (result?: CaseResult): string[] => [
    result === undefined ? '' : spreadText(result.seconds, factor),
    ...(lossColumn ? [result === undefined ? '' : median(result.losses).toFixed(4)] : []),
  ];
  const ratio = (result?: CaseResult): string => (result === undefined ? '' : spreadText(result.ratio));
  const heading = (name: string): string[] => [`${name}, ${unit}`, ...(lossColumn ? ['loss'] : [])];
  return table(
    [
      '',
      ...heading(own),
      ...(rateColumn ? ['rate'] : []),
      ...(ceilingColumn ? ['of ceiling'] : []),
      ...rivals.flatMap((r) => [...heading(r), `${r} / ${own}`]),
    ],
    cases.map(({ name, work, contenders, ceiling }) => [
      name,
      ...time(contenders[own]),
      ...(rateColumn ? [rateText(work, contenders[own].seconds.median)] : []),
      ...(ceilingColumn ? [percent(ceiling)] : []),
      ...rivals.flatMap((r) => [...time(contenders[r]), ratio(contenders[r])]),
    ]),
  );
}

/** A row for each case, which is a step from the one before: its time and rate, and how much it gained. */
export function ladderTable(cases: readonly CaseSummary[]): string {
  const ceilingColumn = cases.some((c) => c.ceiling !== undefined);
  const times = cases.map(({ contenders }) => Object.values(contenders)[0].seconds);
  const gain = (from: Spread, to: Spread): string =>
    digits(median(from.all.map((seconds, round) => seconds / to.all[round])));
  return table(
    ['', 'ms', 'rate', ...(ceilingColumn ? ['of ceiling'] : []), 'step', 'in all'],
    cases.map(({ name, work, ceiling }, i) => [
      name,
      spreadText(times[i], 1e3),
      rateText(work, times[i].median),
      ...(ceilingColumn ? [percent(ceiling)] : []),
      i === 0 ? '' : gain(times[i - 1], times[i]),
      gain(times[0], times[i]),
    ]),
  );
}

/** A row for each task: everybody's greatest resident set in MiB. */
export function memoryTable(tasks: readonly TaskResult[]): string {
  const names = Object.keys(tasks[0].rounds[0].trials);
  const rows = tasks.map(({ name: title, rounds }) => [
    title,
    ...names.map((name) => spreadText(spread(rounds.map((r) => r.trials[name].peakRssBytes)), 2 ** -20)),
  ]);
  return table(['', ...names.map((name) => `${name}, MiB`)], rows);
}

/** Under which conditions the rounds ran: ceilings, disturbance, versions. */
export function conditionsText(rounds: readonly Round[]): string {
  const ceilings = rounds.map((round) => round.peaks).filter((peaks) => peaks !== null);
  const of = (key: keyof Peaks): string => digits(median(ceilings.map((peaks) => peaks[key])));
  const trials = rounds.flatMap((round) => Object.entries(round.trials));
  const foreign = spread(trials.map(([, trial]) => trial.foreign));
  const versions = new Set(trials.map(([name, { version }]) => `${name}: ${version}`));
  return [
    ...(ceilings.length > 0
      ? [
          `Ceilings: ${of('gflops')} GFLOP/s, ${of('bf16Gflops')} of bfloat16 pairs, ${of('tileGflops')} of tiles, ` +
            `reading ${of('readGbs')} GB/s, copying ${of('copyGbs')} GB/s.`,
        ]
      : []),
    `Other work took ${percent(foreign.median)} of one core, at most ${percent(foreign.max)}` +
      `${foreign.max > 0.08 ? ': NOT QUIET, measure again' : ''}.`,
    [...versions].join('; '),
  ].join('\n');
}

function rateText(
  { tokens, flops, bytes, memoryBytes = bytes, textBytes }: CaseSummary['work'],
  seconds: number,
): string {
  if (tokens !== undefined) return `${digits(tokens / seconds)} tokens/s`;
  if (textBytes !== undefined) return `${digits(textBytes / seconds / 1e6)} MB/s`;
  if (memoryBytes !== undefined) return `${digits(memoryBytes / seconds / 1e9)} GB/s`;
  return flops === undefined ? '' : `${digits(flops / seconds / 1e9)} GFLOP/s`;
}

function percent(share: number | undefined): string {
  return share === undefined ? '' : `${(share * 100).toFixed(0)} %`;
}

/** Three significant digits, but all digits of the integer part. */
function digits(x: number): string {
  return x >= 100 ? x.toFixed(0) : x.toPrecision(3);
}

function spreadText({ median, min, max, all }: Spread, factor = 1): string {
  if (all.length === 1) return digits(median * factor);
  return `${digits(median * factor)} (${digits(min * factor)}..${digits(max * factor)})`;
}

/** A table of Markdown that also reads well as it is. */
function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((_, column) =>
    Math.max(3, ...[header, ...rows].map((row) => row[column].length)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' | ')} |`;
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [header, rule, ...rows].map(line).join('\n');
}
