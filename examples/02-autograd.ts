// Gradients: fit a line to noisy points by following the slope of the error downhill.
//
//   node dist/examples/02-autograd.js

import { manualSeed, mseLoss, noGrad, randn, scope, zeros } from 'tsgpt';

manualSeed(1);

// Points around y = 3x - 2.
const x = randn([200, 1]);
const y = x
  .mul(3)
  .sub(2)
  .add(randn([200, 1]).mul(0.1));

// What is to be learned. Every operation on them is recorded.
const slope = zeros([1], { requiresGrad: true });
const shift = zeros([1], { requiresGrad: true });

for (let step = 1; step <= 100; step++) {
  const error = scope(() => {
    const loss = mseLoss(x.mul(slope).add(shift), y);
    loss.backward(); // fills slope.grad and shift.grad
    return loss.item();
  });
  noGrad(() => {
    for (const parameter of [slope, shift]) {
      parameter.add_(parameter.grad!.mul(-0.1));
      parameter.grad!.zero_(); // gradients add up until they are cleared
    }
  });
  if (step % 20 === 0) console.log(`step ${step}: error ${error.toFixed(4)}`);
}

console.log(`y = ${slope.item().toFixed(2)}x + ${shift.item().toFixed(2)}`);
