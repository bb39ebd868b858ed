import { describe, expect, it } from 'vitest';

import { formatBytes, formatCount, formatDuration, formatLoss, shellWord } from '../../../src/cli/format.js';
import { Progress } from '../../../src/cli/progress.js';

/** A stream that remembers, and a clock that is moved by hand. */
function stage(isTTY: boolean, columns?: number) {
  const written: string[] = [];
  const clock = { ms: 0 };
  const stream = { isTTY, columns, write: (text: string) => written.push(text) };
  const state = (step: number) => ({ step, loss: 2.34567, lr: 1e-3, tokensPerSecond: 25_300 });
  return { written, clock, stream, now: () => clock.ms, state };
}

describe('Progress', () => {
  it('writes about twenty plain lines when it is not on a terminal', () => {
    const { written, clock, stream, now, state } = stage(false);
    const progress = new Progress(1000, 0, stream, now);
    for (let step = 1; step <= 1000; step++) {
      clock.ms += 10;
      progress.update(state(step));
    }
    expect(written).toHaveLength(21);
    expect(written.join('')).not.toMatch(/[\r\x1b]/);
    expect(written[0]).toBe('step 1/1000  loss 2.3457  lr 1.0e-3  25.3k tok/s  10 s left\n');
    expect(written.at(-1)).toContain('step 1000/1000');
    expect(written.at(-1)).toContain('0 s left');
  });

  it('speaks at least every half minute', () => {
    const { written, clock, stream, now, state } = stage(false);
    const progress = new Progress(1000, 0, stream, now);
    for (let step = 1; step <= 10; step++) {
      clock.ms += 20_000;
      progress.update(state(step));
    }
    expect(written).toHaveLength(5);
  });

  it('rewrites one line on a terminal, at most ten times a second and never wider than it', () => {
    const { written, clock, stream, now, state } = stage(true, 80);
    const progress = new Progress(1000, 0, stream, now);
    for (let step = 1; step <= 500; step++) {
      clock.ms += 10;
      progress.update(state(step));
    }
    expect(written).toHaveLength(50);
    expect(written.every((text) => text.startsWith('\r') && !text.includes('\n'))).toBe(true);
    expect(Math.max(...written.map((text) => text.replace(/\r|\x1b\[K/g, '').length))).toBeLessThan(80);
    expect(written.at(-1)).toMatch(/^\r█{5}░{7} 49% step 491\/1000 .* left\x1b\[K$/);
    progress.note('evaluation');
    expect(written.slice(-2)).toEqual(['\r\x1b[K', 'evaluation\n']);
  });

  it('leaves out the bar, then the least important numbers, where there is no room', () => {
    const line = (columns: number): string => {
      const { written, clock, stream, now, state } = stage(true, columns);
      const progress = new Progress(1000, 0, stream, now);
      clock.ms = 10_000;
      progress.update(state(500));
      return written[0];
    };
    expect(line(70)).toBe('\r 50% step 500/1000 loss 2.3457 lr 1.0e-3 25.3k tok/s 10 s left\x1b[K');
    expect(line(60)).toBe('\r 50% step 500/1000 loss 2.3457 25.3k tok/s 10 s left\x1b[K');
    expect(line(40)).toBe('\r 50% loss 2.3457 25.3k tok/s 10 s left\x1b[K');
    expect(line(30)).toBe('\r 50% loss 2.3457 10 s left\x1b[K');
    expect(line(10)).toBe('\r 50% loss\x1b[K');
  });

  it('reckons the time left of a resumed run from where it was resumed', () => {
    const { written, clock, stream, now, state } = stage(false);
    const progress = new Progress(100, 90, stream, now);
    clock.ms = 1000;
    progress.update(state(91));
    expect(written[0]).toContain('9 s left');
  });
});

describe('numbers', () => {
  it('are short and right', () => {
    expect([0, 63, 245, 7801].map(formatDuration)).toEqual(['0 s', '63 s', '4:05 min', '2:10 h']);
    expect([0, 3, 812, 999.6, 25_300, 124_439_808, 2e9].map(formatCount)).toEqual([
      '0',
      '3',
      '812',
      '1.00k',
      '25.3k',
      '124M',
      '2.00G',
    ]);
    expect([12, 3200, 3.2e6, 2.7e9].map(formatBytes)).toEqual(['12 B', '3.20 kB', '3.20 MB', '2.70 GB']);
    expect([1.90512, NaN, Infinity].map(formatLoss)).toEqual(['1.9051', 'NaN', 'Infinity']);
  });
});

it('words are quoted where a shell would split or change them', () => {
  expect(['models/a-1.b', 'my model', "it's", '$HOME', ''].map(shellWord)).toEqual([
    'models/a-1.b',
    "'my model'",
    "'it'\\''s'",
    "'$HOME'",
    "''",
  ]);
});
