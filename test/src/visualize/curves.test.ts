import { expect, describe, it } from 'vitest';

import { Curve } from '../../../src/visualize/curve.js';
import { smoothedValues } from '../../../src/visualize/browser/lines.js';
import { namesOf, RunCurves } from '../../../src/visualize/index.js';

describe('Curve', () => {
  it('keeps every point of a short curve, and leaves out what is no number', () => {
    const curve = new Curve();
    for (let i = 1; i <= 2000; i++) curve.add(i, i % 7);
    curve.add(2001, null);
    curve.add(2002, NaN);
    curve.add(2003, Infinity);
    const { steps, values } = curve.points();
    expect(steps).toEqual(Array.from({ length: 2000 }, (_, i) => i + 1));
    expect(values).toEqual(steps.map((i) => i % 7));
  });

  it('stays small and loses no spike', () => {
    const curve = new Curve();
    const spikes = [3, 4_999, 77_777, 199_999, 200_000];
    for (let i = 1; i <= 200_000; i++) curve.add(i, spikes.includes(i) ? 100 + i : Math.sin(i));
    const { steps, values } = curve.points();
    expect(steps.length).toBeLessThanOrEqual(4000);
    expect(steps.length).toBeGreaterThan(1500);
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
    for (const spike of spikes.slice(0, 3)) expect(steps).toContain(spike);
    expect(steps.at(-1)).toBe(200_000);
    steps.forEach((step, i) => expect(values[i]).toBe(spikes.includes(step) ? 100 + step : Math.sin(step)));
  });
});

describe('the curve of skipped steps', () => {
  it('counts them, and goes on counting where a page follows a run', () => {
    const rest = { lr: 1, tokens: 1, tokensPerSecond: 1, memory: 1, lossScale: 2, time: 1 };
    const curves = new RunCurves();
    const add = (run: RunCurves, step: number, skipped: boolean): void =>
      run.add({
        ...{ type: 'step', step, ...rest, loss: skipped ? null : 2, gradNorm: null },
        ...(skipped ? { skipped } : {}),
      });
    [false, true, false, true].forEach((skipped, i) => add(curves, i + 1, skipped));
    expect(curves.data('run', 9).curves.skipped).toEqual({ steps: [1, 2, 3, 4], values: [0, 1, 1, 2] });
    const followed = RunCurves.of(curves.data('run', 9));
    add(followed, 5, true);
    expect(followed.data('run', 9).curves.skipped).toEqual({
      steps: [1, 2, 3, 4, 5],
      values: [0, 1, 1, 2, 3],
    });
  });
});

describe('smoothing', () => {
  it('is the average without the pull of its beginning', () => {
    const points = { steps: [1, 2, 3], values: [4, 2, 1] };
    const [a, b, c] = smoothedValues(points, 0.5);
    expect([a, b]).toEqual([4, (0.5 * 2 + 0.25 * 4) / 0.75]);
    expect(c).toBeCloseTo((0.5 * 1 + 0.25 * 2 + 0.125 * 4) / 0.875, 12);
    expect(smoothedValues({ steps: [1, 2, 9], values: [5, 5, 5] }, 0.9)).toEqual(
      [5, 5, 5].map((v) => expect.closeTo(v, 12)),
    );
  });
});

describe('names of runs', () => {
  it('are the shortest that differ', () => {
    expect(namesOf(['runs/a', 'runs/b/'])).toEqual(['a', 'b']);
    expect(namesOf(['x/run', 'y/run', 'y/other'])).toEqual(['x/run', 'y/run', 'other']);
  });
});
