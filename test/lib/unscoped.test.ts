/** A loop that opens no scope and frees nothing: the garbage collector's pace bounds its memory. In its own process. */

import { expect, it } from 'vitest';

import { memory, randn } from '../../lib/index.js';

it('is bounded over 2,000 steps', () => {
  const w = randn([512, 512], { requiresGrad: true });
  let early = 0;
  for (let i = 0; i < 2000; i++) {
    // five tensors of 1 MiB a step: 10 GB in all
    w.mul(2).add(1).tanh().sum().backward();
    w.grad!.zero_();
    if (i === 200) early = memory().liveBytes + memory().pooledBytes;
  }
  const { liveBytes, pooledBytes } = memory();
  expect(liveBytes + pooledBytes).toBeLessThan(2 * early + 128 * 2 ** 20);
  expect(process.memoryUsage().rss).toBeLessThan(900 * 2 ** 20);
});

it('is bounded over 20,000 steps of small tensors', () => {
  const w = randn([8, 8], { requiresGrad: true });
  const step = (): void => {
    w.mul(2).add(1).tanh().sum().backward();
    w.grad!.zero_();
  };
  for (let i = 0; i < 2000; i++) step();
  const { rss } = process.memoryUsage();
  for (let i = 0; i < 20_000; i++) step();
  expect(process.memoryUsage().rss - rss).toBeLessThan(150 * 2 ** 20);
  expect(memory().tensors).toBeLessThan(20_000);
});
