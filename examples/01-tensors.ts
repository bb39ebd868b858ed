// Tensors: making them, computing with them, looking at them.
//
//   node dist/examples/01-tensors.js

import { arange, manualSeed, matmul, randn, scope, tensor } from 'tsgpt';

manualSeed(0);

// Nested arrays become float32 tensors; every operation is a function and a method.
const a = tensor([
  [1, 2, 3],
  [4, 5, 6],
]);
console.log('a =', a);
console.log('a * 10 + [1, 2, 3] =', a.mul(10).add(tensor([1, 2, 3]))); // the row is broadcast

// Views share memory: transposing, slicing and reshaping copy nothing.
console.log('columns of a =', a.transpose(0, 1));
console.log('last column =', a.select(1, -1));
console.log('0 to 5 as 2 rows =', arange(0, 6).reshape([2, 3]));

// Reductions over one dimension, and the matrix product.
console.log('row means =', a.mean(1), 'largest =', a.amax().item());
console.log('a times its transpose =', matmul(a, a.transpose(0, 1)));
console.log('softmax of noise =', randn([2, 4]).softmax(-1));

// In a scope, temporaries give their memory back at its end; what is returned stays.
const norm = scope(() => a.square().sum().sqrt());
console.log('norm of a =', norm.item());
