/** The curves and samples of one run, made of the lines of its metrics; what a page is given of it. The page inlines this file. */

import type { MetricsRecord } from '../training/metrics-records.js';
import { Curve, type Points } from './curve.js';

/** Names of a run's curves over its steps. */
export const curveNames = [
  'loss', 'validationLoss', 'lr', 'gradNorm', 'tokensPerSecond', 'memory', 'lossScale', 'skipped', 'tokens', 'time',
] as const; // prettier-ignore

export type CurveName = (typeof curveNames)[number];

/** A text that the model wrote after a step. */
export interface Sample {
  readonly step: number;
  readonly prompt: string;
  readonly text: string;
}

/** A run as plain data. */
export interface RunData {
  readonly name: string;
  /** Steps of the whole run, where they are known. */
  readonly total: number | null;
  readonly curves: Readonly<Record<CurveName, Points>>;
  readonly samples: readonly Sample[];
}

/** Samples that a run keeps; beyond them every second one goes. */
const mostSamples = 200;

/** Collects the records of a run. */
export class RunCurves {
  readonly #curves = Object.fromEntries(curveNames.map((name) => [name, new Curve()])) as Record<
    CurveName,
    Curve
  >;
  #samples: Sample[] = [];
  /** Steps skipped so far. */
  #skipped = 0;

  /** What a run's data holds, to be added to. */
  static of({ curves, samples }: RunData): RunCurves {
    const run = new RunCurves();
    for (const name of curveNames) {
      const { steps, values } = curves[name];
      steps.forEach((step, i) => run.#curves[name].add(step, values[i]));
    }
    run.#samples = [...samples];
    run.#skipped = curves.skipped.values.at(-1) ?? 0;
    return run;
  }

  /** The next line of the run's metrics. */
  add(record: MetricsRecord): void {
    const { step } = record;
    switch (record.type) {
      case 'step':
        for (const name of [
          'loss',
          'lr',
          'gradNorm',
          'tokensPerSecond',
          'memory',
          'tokens',
          'time',
        ] as const) {
          this.#curves[name].add(step, record[name]);
        }
        this.#curves.lossScale.add(step, record.lossScale ?? null);
        this.#count(step, record.skipped ?? false);
        break;
      case 'evaluation':
        this.#curves.validationLoss.add(step, record.loss);
        break;
      case 'sample':
        this.#samples.push({ step, prompt: record.prompt, text: record.text });
        if (this.#samples.length > mostSamples) this.#samples = this.#samples.filter((_, i) => i % 2 === 0);
    }
  }

  /** Counts the steps that were skipped; there is no such curve before the first of them. */
  #count(step: number, skipped: boolean): void {
    if (skipped && this.#skipped === 0) this.#curves.skipped.add(step - 1, 0);
    if (skipped) this.#skipped++;
    if (this.#skipped > 0) this.#curves.skipped.add(step, this.#skipped);
  }

  /** All of it as data for a page. */
  data(name: string, total: number | null): RunData {
    const curves = Object.fromEntries(
      curveNames.map((curve) => [curve, this.#curves[curve].points()]),
    ) as Record<CurveName, Points>;
    return { name, total, curves, samples: this.#samples };
  }
}
