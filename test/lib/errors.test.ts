/** The class, the code and the text of every error that the tensor library throws at a caller. */

import { describe, expect, it } from 'vitest';

import * as ts from '../../lib/index.js';
import { ones, tensor, zeros } from '../../lib/index.js';
import { checkOptions, didYouMean } from '../../lib/errors.js';

const ids = (...values: number[]): ts.Tensor => tensor(values, { dtype: 'int32' });
const x = zeros([2, 3]);
const cube = zeros([2, 3, 4]);

type Thrown = readonly [body: () => unknown, kind: new (...args: never[]) => ts.TsgptError, text: string];

const thrown: Record<string, readonly Thrown[]> = {
  create: [
    [() => tensor([[1, 2], [3]]), ts.ShapeError, 'tensor: nested arrays must have equal lengths, got an array of 1 where an array of 2 should be'],
    [() => tensor([[1, 2], 3]), ts.ShapeError, 'tensor: nested arrays must have equal lengths, got 3 where an array of 2 should be'],
    [() => tensor([1, [2]]), ts.ShapeError, 'tensor: nested arrays must have equal lengths, got an array of 1 where a number should be'],
    [() => tensor(['1'] as never), ts.ArgumentError, 'tensor: elements must be numbers or booleans, got 1'],
    [() => tensor(BigInt64Array.of(7n) as never), ts.ArgumentError, 'tensor: elements must be numbers or booleans, got 7'],
    [() => tensor(new Float32Array(3), { shape: [2, 2] }), ts.ShapeError, 'tensor: shape [2, 2] has 4 elements, the data has 3'],
    [() => tensor([1, 2], { shape: [2] }), ts.ArgumentError, 'tensor: nested arrays have their shape already; shape is for typed arrays'],
    [() => tensor([1], { dtype: 'float' as never }), ts.DTypeError, "tensor: unknown dtype 'float'; use one of float32, float64, float16, bfloat16, int32, uint8, bool"],
    [() => tensor([1], { requireGrad: true } as never), ts.ArgumentError, "tensor: unknown option 'requireGrad' (did you mean 'requiresGrad'?)"],
    [() => zeros(3 as never), ts.ShapeError, 'zeros: the shape must be an array of sizes, got 3'],
    [() => zeros([2, -1]), ts.ShapeError, 'zeros: sizes must be non-negative integers, got [2, -1]'],
    [() => zeros([1.5]), ts.ShapeError, 'zeros: sizes must be non-negative integers, got [1.5]'],
    [() => zeros([1, 1, 1, 1, 1, 1, 1, 1, 1]), ts.ShapeError, 'zeros: at most 8 dimensions, got [1, 1, 1, 1, 1, 1, 1, 1, 1]'],
    [() => zeros([2 ** 30, 2 ** 30]), ts.ShapeError, 'zeros: [1073741824, 1073741824] is larger than can be addressed'],
    [() => zeros([0, 2 ** 30, 2 ** 30]), ts.ShapeError, 'zeros: [0, 1073741824, 1073741824] is larger than can be addressed'],
    [() => zeros([2 ** 33, 2 ** 10]), ts.MemoryError, 'out of memory: could not allocate'],
    [() => ones([1], { requiresGrad: true, dtype: 'int32' }), ts.DTypeError, 'requiresGrad: only floating tensors have gradients, this one is int32'],
    [() => ts.arange(0, 5, -1), ts.ArgumentError, 'arange: step must lead from start to end, got 0 to 5 by -1'],
    [() => ts.arange(0, 5, 0), ts.ArgumentError, 'arange: step must lead from start to end, got 0 to 5 by 0'],
    [() => ts.arange(3e9, 3e9 + 2), ts.ArgumentError, "arange: numbers of int32 must lie in [-2147483648, 2147483647], got 3000000000 to 3000000001; give it the dtype 'float64'"],
    [() => ts.arange(0, 300, 1, { dtype: 'uint8' }), ts.ArgumentError, 'arange: numbers of uint8 must lie in [0, 255], got 0 to 299'],
    [() => ts.arange(0, 1e15, 1, { dtype: 'float64' }), ts.MemoryError, 'out of memory: could not allocate'],
    [() => ts.eye(1e6), ts.MemoryError, 'out of memory: could not allocate'],
    [() => tensor(Uint32Array.of(1, 2 ** 32 - 1)), ts.ArgumentError, "tensor: an element of a Uint32Array must fit into int32, got 4294967295 at position 1; give it the dtype 'float64'"],
    [() => ts.rand([2], { dtype: 'int32' }), ts.DTypeError, 'rand: draws floating numbers, got dtype int32; use randint'],
    [() => ts.randn([2], { std: -1 }), ts.ArgumentError, 'randn: std must not be negative, got -1'],
    [() => ts.rand([2], { mean: 1 } as never), ts.ArgumentError, "rand: unknown option 'mean'"],
    [() => ts.randint(3, 3, [2]), ts.ArgumentError, 'randint: low and high must be 32-bit integers with low below high, got 3 and 3'],
  ],
  elementwise: [
    [() => ts.add(x, zeros([4])), ts.ShapeError, 'add: shapes do not broadcast, got a [2, 3] and b [4] (dimension -1: 3 and 4)'],
    [() => ts.where(x, x, x), ts.DTypeError, 'where: the condition must be bool, got float32; compare it: condition.ne(0)'],
    [() => ts.maskedFill(x, x, 0), ts.DTypeError, 'maskedFill: the mask must be bool, got float32; compare it: mask.ne(0)'],
    [() => ts.maskedFill(x, zeros([2, 2, 3], { dtype: 'bool' }), 0), ts.ShapeError, 'maskedFill: the mask must broadcast to the tensor, got mask [2, 2, 3] and x [2, 3]'],
    [() => ids(1).mul(2 ** 31), ts.ArgumentError, "mul: a number next to int32 must fit into it, got 2147483648; convert the tensor with to('float64')"],
    [() => ids(1).add(3e9), ts.ArgumentError, 'add: a number next to int32 must fit into it, got 3000000000'],
    [() => ts.sub(-1, zeros([2], { dtype: 'uint8' })), ts.ArgumentError, "sub: a number next to uint8 must fit into it, got -1; convert the tensor with to('int32')"],
    [() => ts.maximum(ids(1), 3e9), ts.ArgumentError, 'maximum: a number next to int32 must fit into it, got 3000000000'],
    [() => ts.where(ids(1).eq(1), ids(1), 3e9), ts.ArgumentError, 'where: a number next to int32 must fit into it, got 3000000000'],
    [() => ts.maskedFill(zeros([2], { dtype: 'uint8' }), zeros([2], { dtype: 'bool' }), -1), ts.ArgumentError, 'maskedFill: a number next to uint8 must fit into it, got -1'],
    [() => ts.maskedFill(ids(1), ids(1).eq(1), 1.5), ts.ArgumentError, "maskedFill: a number next to int32 must fit into it, got 1.5; convert the tensor with to('float32')"],
    [() => ts.exp([1] as never), ts.ArgumentError, 'exp: needs a tensor, got an array'],
    [() => ts.clamp([1] as never), ts.ArgumentError, 'clamp: needs a tensor, got an array'],
    [() => ts.gelu(x, { approximate: 'erf' as never }), ts.ArgumentError, "gelu: approximate must be 'none' or 'tanh', got 'erf'"],
    [() => ts.gelu(x, { aproximate: 'tanh' } as never), ts.ArgumentError, "gelu: unknown option 'aproximate' (did you mean 'approximate'?)"],
    [() => ts.dropout(x, 1.5), ts.ArgumentError, 'dropout: p must lie in [0, 1], got 1.5'],
    [() => ts.to(x, 'float128' as never), ts.DTypeError, "to: unknown dtype 'float128'"],
    [() => ts.abs(zeros([2], { dtype: 'bool' })), ts.DTypeError, "abs: not available for bool; convert with to('float32')"],
  ],
  reduce: [
    [() => ts.sum(x, 2), ts.ShapeError, 'sum: dimension 2 does not exist; use -2 to 1'],
    [() => ts.sum(x, [0, -2]), ts.ArgumentError, 'sum: a dimension may be named once, got [0, -2] for [2, 3]'],
    [() => ts.sum(x, 0, { keepDim: true } as never), ts.ArgumentError, "sum: unknown option 'keepDim' (did you mean 'keepdim'?)"],
    [() => ts.mean(ids(1, 2)), ts.DTypeError, "mean: needs a floating tensor, got int32 [2]; convert with to('float32')"],
    [() => ts.amax(zeros([0, 2]), 0), ts.ShapeError, 'amax: nothing to reduce along an empty dimension of [0, 2]'],
    [() => ts.argmax(zeros([0])), ts.ShapeError, 'argmax: nothing to reduce along an empty dimension of [0]'],
    [() => ts.sum([1] as never), ts.ArgumentError, 'sum: needs a tensor, got an array'],
    [() => ts.std([1] as never), ts.ArgumentError, 'std: needs a tensor, got an array'],
    [() => ts.cumsum(zeros([]), 0), ts.ShapeError, 'cumsum: dimension 0 does not exist; a 0-dimensional tensor has none'],
    [() => ts.topk(x, 4), ts.ArgumentError, 'topk: k must be an integer from 0 to 3, got 4 for [2, 3]'],
    [() => ts.sort(x, 0, { reverse: true } as never), ts.ArgumentError, "sort: unknown option 'reverse'"],
  ],
  movement: [
    [() => ts.reshape(x, [4]), ts.ShapeError, 'reshape: the number of elements must stay, got [2, 3] (6) to [4]'],
    [() => ts.reshape(x, [4, -1]), ts.ShapeError, 'reshape: the number of elements must stay, got [2, 3] (6) to [4, -1]'],
    [() => ts.reshape(x, [-1, -1]), ts.ShapeError, 'reshape: sizes must be non-negative integers'],
    [() => (x.reshape as () => unknown)(), ts.ShapeError, 'reshape: the shape must be an array of sizes, got undefined'],
    [() => (x.expand as () => unknown)(), ts.ShapeError, 'expand: the shape must be an array of sizes, got undefined'],
    [() => ts.flatten(cube, 2, 1), ts.ArgumentError, 'flatten: start must not lie behind end, got 2 and 1 of [2, 3, 4]'],
    [() => ts.unsqueeze(zeros([1, 1, 1, 1, 1, 1, 1, 1]), 0), ts.ShapeError, 'unsqueeze: at most 8 dimensions'],
    [() => ts.permute(cube, [0, 1]), ts.ArgumentError, 'permute: each of the 3 dimensions must be named once, got [0, 1] for [2, 3, 4]'],
    [() => ts.permute(cube, [0, 1, 1]), ts.ArgumentError, 'permute: each of the 3 dimensions must be named once'],
    [() => ts.expand(x, [3, 3]), ts.ShapeError, 'expand: shapes do not broadcast'],
    [() => ts.expand(x, [3]), ts.ShapeError, 'expand: [2, 3] does not broadcast to [3]'],
    [() => ts.slice(x, 0, 0.5), ts.ArgumentError, 'slice: start and end must be integers, got 0.5 and Infinity'],
    [() => ts.select(x, 1, 3), ts.IndexError, 'select: index 3 is outside dimension 1 of [2, 3]'],
    [() => ts.split(x, 0), ts.ArgumentError, 'split: size must be a positive integer, got 0'],
    [() => ts.split(x, [1, 1], 1), ts.ShapeError, 'split: the sizes must add up to 3, dimension 1 of [2, 3], got [1, 1]'],
    [() => ts.cat([]), ts.ArgumentError, 'cat: needs at least one tensor'],
    [() => ts.cat([1, 2] as never), ts.ArgumentError, 'cat: needs a tensor, got number; make one with tensor(...)'],
    [() => (ts.cat as () => unknown)(), ts.ArgumentError, 'cat: needs an array of tensors, got nothing'],
    [() => ts.stack(x as never), ts.ArgumentError, 'stack: needs an array of tensors, got a tensor'],
    [() => ts.cat([x, zeros([2, 4])]), ts.ShapeError, 'cat: all sizes but that of dimension 0 must agree, got [2, 3] and [2, 4]'],
    [() => ts.stack([x, zeros([3])]), ts.ShapeError, 'stack: all shapes must agree, got [2, 3] and [3]'],
    [() => ts.stack([]), ts.ArgumentError, 'stack: needs at least one tensor'],
    [() => ts.pad(x, [1]), ts.ArgumentError, 'pad: needs pairs of non-negative integers for at most 2 dimensions, got [1]'],
    [() => ts.pad(x, [1, -1]), ts.ArgumentError, 'pad: needs pairs of non-negative integers'],
    [() => ts.tril(zeros([3])), ts.ShapeError, 'tril: needs at least two dimensions, got [3]'],
    [() => ts.roll(x, 0.5, 0), ts.ArgumentError, 'roll: shift must be an integer, got 0.5'],
    [() => ts.repeatInterleave(x, -1, 0), ts.ArgumentError, 'repeatInterleave: n must be a non-negative integer, got -1'],
  ],
  index: [
    [() => ts.indexSelect(x, 0, ids(0, 2)), ts.IndexError, 'indexSelect: id 2 at position 1 is outside dimension 0 of [2, 3]'],
    [() => ts.indexSelect(x, 0, tensor([0])), ts.DTypeError, "indexSelect: ids must be int32, got float32; convert with to('int32')"],
    [() => ts.indexSelect(x, 0, ids(0).reshape([1, 1])), ts.ShapeError, 'indexSelect: ids must have one dimension, got [1, 1]'],
    [() => ts.embedding(ids(0, 50257), zeros([50257, 2])), ts.IndexError, "embedding: id 50257 at position 1 is outside the table of 50257 rows; is this the model's tokenizer?"],
    [() => ts.embedding(ids(-1), x), ts.IndexError, 'embedding: id -1 at position 0'],
    [() => ts.embedding(ids(0), zeros([3])), ts.ShapeError, 'embedding: weight must be [rows, features], got [3]'],
    [() => ts.embedding(ids(0).reshape([1, 1, 1, 1, 1, 1, 1, 1]), x), ts.ShapeError, 'embedding: at most 8 dimensions, got [1, 1, 1, 1, 1, 1, 1, 1, 3]'],
    [() => ts.gather(x, 1, ids(0, 1)), ts.ShapeError, 'gather: ids may be no larger than x outside dimension 1, got x [2, 3] and ids [2]'],
    [() => ts.gather(x, 1, ids(0, 3).reshape([2, 1])), ts.IndexError, 'gather: id 3 at position 1 is outside dimension 1 of [2, 3]'],
    [() => ts.scatterAdd(x, 1, ids(0).reshape([1, 1]), ones([1, 1])), ts.ShapeError, 'scatterAdd: ids and source must be alike and agree with x outside dimension 1, got x [2, 3], ids [1, 1] and source [1, 1]'],
  ],
  'in place': [
    [() => ts.copy_(zeros([3]), x), ts.ShapeError, 'copy_: the source must broadcast to the tensor, got source [2, 3] for [3]'],
    [() => ts.add_(zeros([1]).expand([3]), zeros([3])), ts.ArgumentError, 'add_: elements of an expanded tensor [3] share their memory; write to its clone()'],
    [() => ts.add_(zeros([3]), [1] as never), ts.ArgumentError, 'add_: needs a tensor, got an array'],
    [() => ts.fill_([1] as never, 1), ts.ArgumentError, 'fill_: needs a tensor, got an array'],
    [() => ts.add_(zeros([3]), zeros([2])), ts.ShapeError, 'add_: shapes do not broadcast'],
  ],
  matmul: [
    [() => ts.matmul(x, zeros([4, 5])), ts.ShapeError, 'matmul: inner dimensions must match, got a [2, 3] and b [4, 5] (3 and 4)'],
    [() => ts.matmul(x, zeros([2])), ts.ShapeError, 'matmul: inner dimensions must match, got a [2, 3] and b [2] (3 and 2)'],
    [() => ts.matmul(zeros([]), x), ts.ShapeError, 'matmul: needs at least one dimension each, got a [] and b [2, 3]; use mul'],
    [() => ts.matmul(ids(1), ids(1)), ts.DTypeError, 'matmul: needs a floating tensor, got int32'],
    [() => ts.matmul(zeros([2, 3, 4]), zeros([3, 4, 2])), ts.ShapeError, 'matmul: shapes do not broadcast'],
    [() => ts.linear(x, zeros([4, 5])), ts.ShapeError, "linear: the last dimension of x must be the weight's input size, got x [2, 3] and weight [4, 5] ([out, in])"],
    [() => ts.linear(x, zeros([3])), ts.ShapeError, 'linear: weight must have two dimensions, got [3]'],
    [() => ts.linear(x, zeros([4, 3]), ids(1, 2, 3, 4)), ts.DTypeError, 'linear: needs a floating tensor, got int32 [4]'],
    [() => ts.linear(x, zeros([4, 3]), zeros([3])), ts.ShapeError, 'linear: bias must be [4], got [3]'],
  ],
  'norm and softmax': [
    [() => ts.layerNorm(x, zeros([2])), ts.ShapeError, 'layerNorm: weight and bias must match the last dimension, got x [2, 3] and [2]'],
    [() => ts.layerNorm(zeros([])), ts.ShapeError, 'layerNorm: needs a last dimension to normalize over, got []'],
    [() => ts.rmsNorm(ids(1)), ts.DTypeError, 'rmsNorm: needs a floating tensor, got int32 [1]'],
    [() => ts.softmax(ids(1)), ts.DTypeError, 'softmax: needs a floating tensor, got int32 [1]'],
    [() => ts.softmax(zeros([2, 0])), ts.ShapeError, 'softmax: dimension -1 of [2, 0] is empty'],
  ],
  'rotary positions and gates': [
    [() => ts.rotaryEmbedding(cube, x, x), ts.ShapeError, 'rotaryEmbedding: x must be (B, H, T, D) with an even D, got x [2, 3, 4], cos [2, 3], sin [2, 3]'],
    [() => ts.rotaryEmbedding(zeros([1, 1, 2, 3]), x, x), ts.ShapeError, 'x must be (B, H, T, D) with an even D, got x [1, 1, 2, 3]'],
    [() => ts.rotaryEmbedding(zeros([1, 1, 3, 6]), x, x), ts.ShapeError, 'rotaryEmbedding: cos and sin must be (T, D / 2) or (B, T, D / 2), got x [1, 1, 3, 6], cos [2, 3], sin [2, 3]'],
    [() => ts.rotaryEmbedding(zeros([1, 1, 2, 6]), x, zeros([2, 2])), ts.ShapeError, 'cos and sin must be (T, D / 2)'],
    [() => ts.rotaryEmbedding(zeros([1, 1, 2, 6]), x, [1] as never), ts.ArgumentError, 'rotaryEmbedding: needs a tensor, got an array'],
    [() => ts.rotaryEmbedding(ids(1), x, x), ts.DTypeError, 'rotaryEmbedding: needs a floating tensor, got int32 [1]'],
    [() => ts.swiglu(x, zeros([3])), ts.ShapeError, 'swiglu: gate and up must have the same shape, got [2, 3] and [3]'],
    [() => ts.swiglu(ids(1), ids(1)), ts.DTypeError, 'swiglu: needs a floating tensor, got int32 [1]'],
  ],
  attention: [
    [() => ts.scaledDotProductAttention(x, x, x), ts.ShapeError, 'scaledDotProductAttention: q, k and v must be (B, H, T, D), got q [2, 3], k [2, 3], v [2, 3]'],
    [() => ts.scaledDotProductAttention(zeros([1, 3, 2, 4]), zeros([1, 2, 2, 4]), zeros([1, 2, 2, 4])), ts.ShapeError, 'the query heads must be a multiple of the key heads'],
    [() => ts.scaledDotProductAttention(zeros([1, 1, 2, 4]), zeros([1, 1, 2, 4]), zeros([1, 1, 3, 4])), ts.ShapeError, 'k and v must have the same shape'],
    [() => ts.scaledDotProductAttention(zeros([1, 1, 2, 4]), zeros([1, 1, 2, 5]), zeros([1, 1, 2, 5])), ts.ShapeError, 'q and k must agree in batch and head size'],
    [() => ts.scaledDotProductAttention([1] as never, [1] as never, [1] as never), ts.ArgumentError, 'scaledDotProductAttention: needs a tensor, got an array'],
    [() => attend({ mask: ids(1, 0) }), ts.DTypeError, 'scaledDotProductAttention: the mask must be bool or floating, got int32 [2]; compare it: mask.ne(0)'],
    [() => attend({ mask: [1, 0] as never }), ts.ArgumentError, 'scaledDotProductAttention: needs a tensor, got an array'],
    [() => attend({ relativeBias: zeros([1, 4]) }), ts.ShapeError, 'scaledDotProductAttention: relativeBias must be (H, T + S - 1) [1, 3], got [1, 4]'],
    [() => attend({ relativeBias: zeros([1, 3]), mask: zeros([2, 2]) }), ts.ArgumentError, 'scaledDotProductAttention: relativeBias takes the place of a mask, got both'],
    [() => attend({ relativeBias: ids(1, 0) }), ts.DTypeError, 'scaledDotProductAttention: needs a floating tensor, got int32 [2]'],
    [() => attend({ queryLengths: [1, 1] }), ts.ShapeError, 'scaledDotProductAttention: packed sequences must be (1, H, sum of the lengths, D), and as many for queries and keys, got q [1, 1, 2, 4] of 2 sequences of 2 rows in all, k [1, 1, 2, 4]'],
    [() => attend({ queryLengths: [2], keyLengths: [3] }), ts.ShapeError, 'k [1, 1, 2, 4] of 1 sequences of 3 rows in all'],
    [() => attend({ queryLengths: [3, -1], keyLengths: [2] }), ts.ArgumentError, 'scaledDotProductAttention: lengths of sequences must be integers of at least 0, got -1 for sequence 1'],
    [() => attend({ dropout: 1 }), ts.ArgumentError, 'scaledDotProductAttention: dropout must be at least 0 and below 1, got 1'],
    [() => attend({ window: 2 }), ts.ArgumentError, 'window must be a non-negative integer and needs causal, got 2'],
    [() => attend({ mask: zeros([3, 2]) }), ts.ShapeError, 'scaledDotProductAttention: '],
  ],
  losses: [
    [() => ts.crossEntropy(x, ids(0, 3)), ts.IndexError, 'crossEntropy: target 3 at position 1 is outside the 3 classes (ignoreIndex is -100)'],
    [() => ts.crossEntropy(x, ids(0)), ts.ShapeError, 'crossEntropy: logits must be (..., V) and targets (...) of int32, got logits [2, 3] and targets int32 [1]'],
    [() => ts.crossEntropy(x, zeros([2])), ts.ShapeError, 'targets float32 [2]'],
    [() => ts.add(x, [1, 2] as never), ts.ArgumentError, 'add: needs a tensor, got an array; make one with tensor(...)'],
    [() => ts.matmul(x, undefined as never), ts.ArgumentError, 'matmul: needs a tensor, got nothing'],
    [() => ts.backward(x, { retainGraph: true } as never), ts.ArgumentError, 'backward: needs a tensor, got object'],
    [() => ts.crossEntropy(x, ids(0, 1), { ignoreIndex: 1.5 }), ts.ArgumentError, 'crossEntropy: ignoreIndex must be a 32-bit integer, got 1.5'],
    [() => ts.crossEntropy(x, ids(0, 1), { labelSmoothing: 2 }), ts.ArgumentError, 'crossEntropy: labelSmoothing must lie in [0, 1], got 2'],
    [() => ts.crossEntropy(x, ids(0, 1), { weight: zeros([2]) }), ts.ShapeError, 'crossEntropy: weight must be [3], got [2]'],
    [() => ts.crossEntropy(x, ids(0, 1), { weight: ids(1, 1, 1) }), ts.DTypeError, 'crossEntropy: needs a floating tensor, got int32 [3]'],
    [() => ts.crossEntropy(x, [0, 1] as never), ts.ArgumentError, 'crossEntropy: needs a tensor, got an array'],
    [() => ts.mseLoss(x, 0 as never), ts.ArgumentError, 'mseLoss: needs a tensor, got number'],
    [() => ts.linearCrossEntropy(x, zeros([4, 3]), ids(0, 4)), ts.IndexError, 'linearCrossEntropy: target 4 at position 1 is outside the 4 classes (ignoreIndex is -100)'],
    [() => ts.linearCrossEntropy(x, zeros([3, 4]), ids(0, 1)), ts.ShapeError, 'linearCrossEntropy: hidden must be (..., C), weight [V, C] and targets (...) of int32, got hidden [2, 3], weight [3, 4] and targets int32 [2]'],
    [() => ts.linearCrossEntropy(x, zeros([3]), ids(0, 1)), ts.ShapeError, 'got hidden [2, 3], weight [3] and'],
    [() => ts.linearCrossEntropy(x, zeros([4, 3]), ids(0)), ts.ShapeError, 'targets int32 [1]'],
    [() => ts.linearCrossEntropy(x, zeros([4, 3]), zeros([2])), ts.ShapeError, 'targets float32 [2]'],
    [() => ts.linearCrossEntropy(x, zeros([4, 3]), [0, 1] as never), ts.ArgumentError, 'linearCrossEntropy: needs a tensor, got an array'],
    [() => ts.linearCrossEntropy(ids(0), zeros([4, 1], { dtype: 'int32' }), ids(0)), ts.DTypeError, 'linearCrossEntropy: needs a floating tensor, got int32 [1]'],
    [() => ts.linearCrossEntropy(x, zeros([4, 3]), ids(0, 1), { reduction: 'none' as never }), ts.ArgumentError, "linearCrossEntropy: reduction must be 'mean' or 'sum', got 'none'; for the loss of each row use crossEntropy(linear(hidden, weight), targets)"],
    [() => ts.linearCrossEntropy(x, zeros([4, 3]), ids(0, 1), { ignoreIndex: 0.5 }), ts.ArgumentError, 'linearCrossEntropy: ignoreIndex must be a 32-bit integer, got 0.5'],
    [() => ts.linearCrossEntropy(x, zeros([4, 3]), ids(0, 1), { labelSmoothing: -1 }), ts.ArgumentError, 'linearCrossEntropy: labelSmoothing must lie in [0, 1], got -1'],
    [() => ts.linearCrossEntropy(x, zeros([4, 3]), ids(0, 1), { weight: null } as never), ts.ArgumentError, "linearCrossEntropy: unknown option 'weight'"],
    [() => ts.mseLoss(x, zeros([2])), ts.ShapeError, 'mseLoss: input and target must have the same shape, got [2, 3] and [2]'],
    [() => ts.mseLoss(x, x, { reduction: 'max' as never }), ts.ArgumentError, "loss: reduction must be 'mean', 'sum' or 'none', got 'max'"],
  ],
  threads: [
    [() => ts.setThreads(0), ts.ArgumentError, 'setThreads: must be a positive integer, got 0'],
  ],
}; // prettier-ignore

function attend(options: ts.AttentionOptions): ts.Tensor {
  const q = zeros([1, 1, 2, 4]);
  return ts.scaledDotProductAttention(q, q, q, options);
}

describe.each(Object.entries(thrown))('%s', (_, rows) => {
  it.each(rows.map(([body, kind, text]) => [text, body, kind] as const))('%s', (text, body, kind) => {
    let error: unknown;
    try {
      body();
    } catch (e) {
      error = e;
    }
    expect(error).toBeInstanceOf(kind);
    expect((error as ts.TsgptError).message).toContain(text);
    expect((error as ts.TsgptError).name).toBe(kind.name);
  });
});

describe('error classes', () => {
  it('have stable codes and one base', () => {
    const made = [
      new ts.ShapeError('x'),
      new ts.DTypeError('x'),
      new ts.ArgumentError('x'),
      new ts.IndexError('x'),
      new ts.DisposedError('x'),
      new ts.AutogradError('x'),
      new ts.MemoryError('x'),
      new ts.FileError('file', 'x'),
      new ts.ConfigError('x'),
      new ts.StateDictError('x'),
      new ts.TokenizerError('x'),
      new ts.TrainingError('x'),
      new ts.NativeLoadError('x'),
    ];
    expect(made.map((e) => e.code)).toEqual(
      'SHAPE DTYPE ARGUMENT INDEX DISPOSED AUTOGRAD MEMORY FILE CONFIG STATE_DICT TOKENIZER TRAINING NATIVE_LOAD'
        .split(' ')
        .map((code) => `ERR_${code}`),
    );
    for (const error of made) {
      expect(error).toBeInstanceOf(ts.TsgptError);
      expect(error).toBeInstanceOf(Error);
      expect(error.name).toBe(error.constructor.name);
    }
    expect(new ts.FileError('a.txt', 'is empty').message).toBe('a.txt: is empty');
    const cause = new Error('why');
    expect(new ts.FileError('a', 'b', { cause }).cause).toBe(cause);
  });

  it('suggest what was meant', () => {
    expect(didYouMean('topk', ['topK', 'topP'])).toBe(" (did you mean 'topK'?)");
    expect(didYouMean('nothing', ['topK', 'topP'])).toBe('');
    expect(didYouMean('jsno', ['keep', 'json'])).toBe(" (did you mean 'json'?)");
    expect(didYouMean('temp', ['topK', 'temperature'])).toBe(" (did you mean 'temperature'?)");
    expect(didYouMean('--temp', ['--keep', '--lr'])).toBe('');
    expect(didYouMean('wd', ['lr', 'topK'])).toBe('');
    expect(() => checkOptions('generate', { seeed: 1 }, ['seed'])).toThrow(
      "generate: unknown option 'seeed' (did you mean 'seed'?)",
    );
    expect(() => checkOptions('generate', { seed: 1 }, ['seed'])).not.toThrow();
    expect(() => checkOptions('generate', null as never, ['seed'])).toThrow(
      'generate: the options must be an object, got null',
    );
  });
});
