/**
 * Losses. Cross-entropy takes logits and is fused with the softmax (native/cpu/softmax.cpp): forward is one pass over
 * the logits, and its gradient is written over them when nobody else needs them, so that a vocabulary of 50,257 never
 * costs a second buffer of that size.
 *
 * linearCrossEntropy takes the last hidden states and the output head instead, and never holds all logits: a chunk of
 * rows at a time it computes the logits, their loss and, where a gradient is wanted, at once the chunk's gradients, as
 * Liger-Kernel does ("Liger Kernel: Efficient Triton Kernels for LLM Training", Hsu et al., 2024). Computing the logits
 * again in backward would cost a fourth product, a third of the head's time and a tenth of GPT-2 124M's step, to spare
 * one buffer of the weight's size between forward and backward. In a training step that buffer is no cost: it becomes
 * the weight's gradient, which backward would have to ask for at this very moment, the fullest of the step. GPT-2 124M
 * on 1024 positions peaks at 2.60 instead of 2.81 GB. Only where a gradient is there already, that of an earlier batch
 * of the same step, it is a second one (154 MB) beside it, still less than the 206 MB of logits it replaces there.
 */

import { ArgumentError, checkOptions, IndexError, ShapeError } from '../errors.js';
import * as kernels from '../kernels.js';
import { cast, checkFloating, compact, defineOp, detach, fromHalf, promoted } from '../op.js';
import { formatShape, sameShape, sizeOf } from '../shape.js';
import { checkTensor, scope, Tensor } from '../tensor.js';
import { abs, add, exp, gt, log, log1p, maximum, mul, ne, neg, square, sub, where } from './elementwise.js';
import { multiplyInto, transposed } from './gemm.js';
import { gather } from './indexing.js';
import { linear } from './matmul.js';
import { reshape } from './movement.js';
import { mean, sum } from './reduce.js';
import { logSoftmax } from './softmax.js';

/** How the losses of the elements become one: their mean, their sum, or all of them. */
export type Reduction = 'mean' | 'sum' | 'none';

function reduceLoss(losses: Tensor, reduction: Reduction): Tensor {
  if (reduction === 'none') return losses;
  if (reduction === 'sum') return sum(losses);
  if (reduction === 'mean') return mean(losses);
  throw new ArgumentError(`loss: reduction must be 'mean', 'sum' or 'none', got '${String(reduction)}'`);
}

interface RowSettings {
  readonly ignoreIndex: number;
  readonly labelSmoothing: number;
}

/** The loss of each row of logits (N, V) against its class id (N); 0 for ignored rows. */
const crossEntropyRows = defineOp<[Tensor, Tensor], RowSettings>({
  name: 'crossEntropy',
  shape: ([logits]) => ({ shape: [logits.shape[0]], dtype: logits.dtype }),
  forward(losses, [input, ids], { ignoreIndex, labelSmoothing }, tape) {
    if (input.dtype !== 'float32') return false;
    const logits = compact(input);
    const targets = compact(ids);
    const lse = Tensor.empty([logits.shape[0], 2], 'float32', 'crossEntropy');
    tape?.save(logits, targets, lse);
    return kernels.crossEntropy(logits, targets, losses, lse, ignoreIndex, labelSmoothing);
  },
  // dlogits = (softmax(logits) - target distribution) · dloss of the row
  backward(grad, node, { ignoreIndex, labelSmoothing }) {
    const [logits, targets, lse] = node.saved as [Tensor, Tensor, Tensor];
    const dlogits = node.mayOverwrite(logits)
      ? logits
      : Tensor.empty(logits.shape, 'float32', 'crossEntropy gradient');
    kernels.crossEntropyGrad(logits, targets, lse, compact(grad), dlogits, ignoreIndex, labelSmoothing);
    return [dlogits];
  },
  definition([logits, targets], { ignoreIndex, labelSmoothing }) {
    const logProbabilities = logSoftmax(logits, -1); // (N, V)
    const counted = ne(targets, ignoreIndex);
    const picked = mul(pickTargets(logProbabilities, where(counted, targets, 0)), labelSmoothing - 1);
    const smoothed = withSmoothing(picked, labelSmoothing, () => mean(logProbabilities, -1));
    return where(counted, smoothed, 0);
  },
});

/** picked - smoothing · smooth; without smoothing picked alone, because a logit of -Infinity would make 0 · ∞ of the rest. */
const withSmoothing = (picked: Tensor, smoothing: number, smooth: () => Tensor): Tensor =>
  smoothing === 0 ? picked : sub(picked, mul(smooth(), smoothing));

/** The entry of each row (N, V) that its target (N) names. */
function pickTargets(rows: Tensor, targets: Tensor): Tensor {
  return reshape(gather(rows, 1, reshape(targets, [-1, 1])), [-1]);
}

/** Options of {@link crossEntropy}. */
export interface CrossEntropyOptions {
  /** Rows with this target count for nothing; -100 by default. */
  readonly ignoreIndex?: number;
  /** Share of the target distribution that is spread evenly over all classes, 0 by default. */
  readonly labelSmoothing?: number;
  /** 'mean' (over the rows that count) by default. */
  readonly reduction?: Reduction;
  /** A weight for each class, [V]. */
  readonly weight?: Tensor | null;
}

/**
 * Softmax cross-entropy of logits against class ids.
 *
 * @param logits (..., V)
 * @param targets (...) int32 class ids in [0, V), or `ignoreIndex`
 * @returns A tensor without dimensions; with reduction 'none', one loss per target. The mean over no row is NaN, as in
 *   PyTorch.
 * @throws ShapeError, IndexError when a target is no class.
 */
export function crossEntropy(logits: Tensor, targets: Tensor, options: CrossEntropyOptions = {}): Tensor {
  checkOptions('crossEntropy', options, ['ignoreIndex', 'labelSmoothing', 'reduction', 'weight']);
  const { ignoreIndex = -100, labelSmoothing = 0, reduction = 'mean', weight = null } = options;
  checkFloating('crossEntropy', logits);
  checkTensor('crossEntropy', targets);
  const classes = logits.shape[logits.rank - 1];
  if (
    logits.rank === 0 ||
    classes === 0 ||
    !sameShape(logits.shape.slice(0, -1), targets.shape) ||
    targets.dtype !== 'int32'
  ) {
    throw new ShapeError(
      `crossEntropy: logits must be (..., V) and targets (...) of int32, got logits ${formatShape(logits.shape)} and ` +
        `targets ${targets.dtype} ${formatShape(targets.shape)}`,
    );
  }
  checkSettings('crossEntropy', { ignoreIndex, labelSmoothing });
  const counted = countTargets('crossEntropy', targets, classes, ignoreIndex);
  return scope(() => {
    const rows = reshape(fromHalf(logits), [sizeOf(targets.shape), classes]);
    const ids = reshape(targets, [targets.size]);
    if (weight !== null) {
      return weightedCrossEntropy(
        rows,
        ids,
        weight,
        { ignoreIndex, labelSmoothing, reduction },
        targets.shape,
      );
    }
    const losses = crossEntropyRows([rows, ids], { ignoreIndex, labelSmoothing });
    if (reduction === 'mean') return mul(sum(losses), counted === 0 ? NaN : 1 / counted);
    return reduction === 'none' ? reshape(losses, targets.shape) : reduceLoss(losses, reduction);
  });
}

function checkSettings(name: string, { ignoreIndex, labelSmoothing }: RowSettings): void {
  if ((ignoreIndex | 0) !== ignoreIndex) {
    throw new ArgumentError(`${name}: ignoreIndex must be a 32-bit integer, got ${ignoreIndex}`);
  }
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) {
    throw new ArgumentError(`${name}: labelSmoothing must lie in [0, 1], got ${labelSmoothing}`);
  }
}

/** Checks every target and counts those that are not ignored. */
function countTargets(name: string, targets: Tensor, classes: number, ignoreIndex: number): number {
  const ids = targets.elementsToRead();
  let counted = 0;
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i];
    if (id === ignoreIndex) continue;
    if (id < 0 || id >= classes) {
      throw new IndexError(
        `${name}: target ${id} at position ${i} is outside the ${classes} classes (ignoreIndex is ${ignoreIndex})`,
      );
    }
    counted++;
  }
  return counted;
}

/** With class weights w: Σ_rows of -(1 - s) w_y log p_y - s / V Σ_c w_c log p_c; its mean divides by Σ_rows w_y. */
function weightedCrossEntropy(
  logits: Tensor,
  targets: Tensor,
  weight: Tensor,
  options: Required<Omit<CrossEntropyOptions, 'weight'>>,
  shape: readonly number[],
): Tensor {
  const { ignoreIndex, labelSmoothing, reduction } = options;
  const classes = logits.shape[1];
  checkFloating('crossEntropy', weight);
  if (weight.rank !== 1 || weight.size !== classes) {
    throw new ShapeError(`crossEntropy: weight must be [${classes}], got ${formatShape(weight.shape)}`);
  }
  const logProbabilities = logSoftmax(logits, -1);
  const counted = ne(targets, ignoreIndex);
  const safe = where(counted, targets, 0);
  const weights = cast(detach(weight), logits.dtype);
  const rowWeights = where(counted, gather(weights, 0, safe), 0); // (N)
  const picked = mul(mul(pickTargets(logProbabilities, safe), rowWeights), labelSmoothing - 1);
  const smoothed = withSmoothing(picked, labelSmoothing, () => mean(mul(logProbabilities, weights), -1));
  const losses = where(counted, smoothed, 0);
  if (reduction === 'mean') return mul(sum(losses), 1 / sum(rowWeights).item());
  return reduction === 'none' ? reshape(losses, shape) : reduceLoss(losses, reduction);
}

/**
 * Most logits that linearCrossEntropy holds at once: 100 MiB, 521 rows of GPT-2's vocabulary. Every chunk reads and packs
 * the weight and adds to its gradient anew. On 1024 rows chunks of 512 lengthen the head's three products and its loss by
 * 2 %, of 256 by 5 %, of 128 by 12 %; in bfloat16 with AMX chunks of 256 cost GPT-2 124M 3 % of its step beside those of 512.
 */
const mostLogits = 100 * 2 ** 18;
/** Rows that are worked on together however large the vocabulary is. */
const leastRows = 64;

/** How many of `rows` rows of logits {@link linearCrossEntropy} holds at once; depends on these two sizes alone. */
export function linearCrossEntropyRows(rows: number, classes: number): number {
  const most = Math.max(leastRows, Math.floor(mostLogits / classes));
  return Math.ceil(rows / Math.max(1, Math.ceil(rows / most)));
}

interface HeadSettings extends RowSettings {
  readonly reduction: 'mean' | 'sum';
  /** What the sum of the rows' losses is multiplied by. */
  readonly scale: number;
}

/** The loss of rows of hidden states (N, C) under the head's weight (V, C) against class ids (N); see linearCrossEntropy. */
const linearCrossEntropyOp = defineOp<[Tensor, Tensor, Tensor], HeadSettings>({
  name: 'linearCrossEntropy',
  shape: ([hidden]) => ({ shape: [], dtype: hidden.dtype }),
  forward(out, [hidden, weight, targets], { ignoreIndex, labelSmoothing, scale }, tape) {
    if (hidden.dtype !== 'float32') return false;
    const empty = (shape: readonly number[]): Tensor => Tensor.empty(shape, 'float32', 'linearCrossEntropy');
    const [x, ids] = [compact(hidden), compact(targets)];
    const rows = x.shape[0];
    const [classes, channels] = weight.shape;
    const dx = tape?.needs(0) ? empty([rows, channels]) : null;
    const dweight = tape?.needs(1) ? empty([classes, channels]) : null;
    if (rows === 0 && dweight !== null) kernels.fill(dweight, 0);
    tape?.save(dx, dweight);
    if (dweight !== null) weight.storage.forget(); // as linear does

    const chunk = linearCrossEntropyRows(rows, classes);
    const workspace = empty([chunk, classes]);
    const dloss = empty([chunk]);
    kernels.fill(dloss, scale);
    const [losses, lse] = [empty([rows]), empty([rows, 2])];
    for (let first = 0; first < rows; first += chunk) {
      const count = Math.min(chunk, rows - first);
      const [xs, ts, ls, es] = [x, ids, losses, lse].map((t) => rowsOf(t, first, count));
      const logits = rowsOf(workspace, 0, count);
      multiplyInto(logits, xs, transposed(weight));
      kernels.crossEntropy(logits, ts, ls, es, ignoreIndex, labelSmoothing);
      if (dx === null && dweight === null) continue;
      kernels.crossEntropyGrad(logits, ts, es, dloss, logits, ignoreIndex, labelSmoothing); // dlogits from here on
      if (dx !== null) multiplyInto(rowsOf(dx, first, count), logits, weight);
      if (dweight !== null) multiplyInto(dweight, transposed(logits), xs, { beta: first > 0 ? 1 : 0 });
    }
    kernels.reduce('sum', losses, out, 1, rows, 1);
    return kernels.unary('affine', out, out, scale, 0);
  },
  // The gradients of a loss of weight 1 are there already, and are the leaf's own without a copy.
  backward(grad, node) {
    const factor = grad.item();
    return [0, 1].map((i) => {
      if (!node.needs(i)) return null;
      const gradient = node.take(i);
      if (factor !== 1) kernels.unary('affine', gradient, gradient, factor, 0);
      return gradient;
    });
  },
  definition: ([hidden, weight, targets], { ignoreIndex, labelSmoothing, reduction }) =>
    crossEntropy(linear(hidden, weight), targets, { ignoreIndex, labelSmoothing, reduction }),
});

/** Rows `first` to `first + count` of contiguous rows. */
function rowsOf(t: Tensor, first: number, count: number): Tensor {
  return t.view([count, ...t.shape.slice(1)], t.strides, t.offset + first * t.strides[0], t.origin);
}

/** Options of {@link linearCrossEntropy}: those of crossEntropy that make sense without the logits. */
export interface LinearCrossEntropyOptions extends Pick<
  CrossEntropyOptions,
  'ignoreIndex' | 'labelSmoothing'
> {
  /** 'mean' (over the rows that count) by default. */
  readonly reduction?: 'mean' | 'sum';
}

/**
 * `crossEntropy(linear(hidden, weight), targets)` that never holds all logits at once: the last layer of a language
 * model and its loss, a few rows at a time.
 *
 * The gradients are computed at once, in the forward pass, while a chunk's logits are there; so inside
 * `noGrad` it takes a third of the time.
 *
 * @param hidden (..., C), what the output head is applied to
 * @param weight [V, C], the output head's
 * @param targets (...) int32 class ids in [0, V), or `ignoreIndex`
 * @returns A tensor without dimensions. The mean over no row is NaN.
 * @throws ShapeError, IndexError when a target is no class.
 */
export function linearCrossEntropy(
  hidden: Tensor,
  weight: Tensor,
  targets: Tensor,
  options: LinearCrossEntropyOptions = {},
): Tensor {
  const name = 'linearCrossEntropy';
  checkOptions(name, options, ['ignoreIndex', 'labelSmoothing', 'reduction']);
  const { ignoreIndex = -100, labelSmoothing = 0, reduction = 'mean' } = options;
  const [h, w] = promoted(name, fromHalf(hidden), weight);
  checkFloating(name, h);
  checkTensor(name, targets);
  const [classes, channels] = w.shape;
  if (
    h.rank === 0 ||
    w.rank !== 2 ||
    classes === 0 ||
    h.shape[h.rank - 1] !== channels ||
    !sameShape(h.shape.slice(0, -1), targets.shape) ||
    targets.dtype !== 'int32'
  ) {
    throw new ShapeError(
      `${name}: hidden must be (..., C), weight [V, C] and targets (...) of int32, got hidden ` +
        `${formatShape(hidden.shape)}, weight ${formatShape(weight.shape)} and targets ${targets.dtype} ` +
        formatShape(targets.shape),
    );
  }
  if (reduction !== 'mean' && reduction !== 'sum') {
    throw new ArgumentError(
      `${name}: reduction must be 'mean' or 'sum', got '${String(reduction)}'; for the loss of each row use ` +
        'crossEntropy(linear(hidden, weight), targets)',
    );
  }
  checkSettings(name, { ignoreIndex, labelSmoothing });
  const counted = countTargets(name, targets, classes, ignoreIndex);
  const scale = reduction === 'sum' ? 1 : counted === 0 ? NaN : 1 / counted;
  return scope(() =>
    linearCrossEntropyOp([reshape(h, [targets.size, channels]), w, reshape(targets, [targets.size])], {
      ignoreIndex,
      labelSmoothing,
      reduction,
      scale,
    }),
  );
}

function checkPair(name: string, input: Tensor, target: Tensor, options: object): void {
  checkOptions(name, options, ['reduction']);
  checkFloating(name, input);
  checkTensor(name, target);
  if (!sameShape(input.shape, target.shape)) {
    throw new ShapeError(
      `${name}: input and target must have the same shape, got ${formatShape(input.shape)} and ${formatShape(target.shape)}`,
    );
  }
}

/** Mean (or sum, or all) of |input - target|. */
export function l1Loss(input: Tensor, target: Tensor, options: { reduction?: Reduction } = {}): Tensor {
  checkPair('l1Loss', input, target, options);
  return reduceLoss(abs(sub(fromHalf(input), fromHalf(target))), options.reduction ?? 'mean');
}

/** Mean (or sum, or all) of (input - target)². */
export function mseLoss(input: Tensor, target: Tensor, options: { reduction?: Reduction } = {}): Tensor {
  checkPair('mseLoss', input, target, options);
  return reduceLoss(square(sub(fromHalf(input), fromHalf(target))), options.reduction ?? 'mean');
}

/**
 * Binary cross-entropy of logits x against probabilities t, in the form that does not overflow:
 * max(x, 0) - x t + log(1 + exp(-|x|)).
 */
export function binaryCrossEntropyWithLogits(
  input: Tensor,
  target: Tensor,
  options: { reduction?: Reduction } = {},
): Tensor {
  checkPair('binaryCrossEntropyWithLogits', input, target, options);
  const [x, t] = [fromHalf(input), fromHalf(target)];
  const losses = add(sub(maximum(x, 0), mul(x, t)), log1p(exp(neg(abs(x)))));
  return reduceLoss(losses, options.reduction ?? 'mean');
}

/**
 * Kullback-Leibler divergence of log-probabilities `input` from probabilities `target`: Σ target (log target - input).
 * 'batchmean' divides the sum by the size of the first dimension, which is the mathematical mean.
 */
export function klDiv(
  input: Tensor,
  target: Tensor,
  options: { reduction?: Reduction | 'batchmean' } = {},
): Tensor {
  checkPair('klDiv', input, target, options);
  const { reduction = 'mean' } = options;
  const [x, t] = [fromHalf(input), fromHalf(target)];
  const entropy = mul(t, log(where(gt(t, 0), t, 1))); // t log t, 0 where t is 0
  const losses = sub(entropy, mul(x, t));
  if (reduction === 'batchmean') return mul(sum(losses), 1 / input.shape[0]);
  return reduceLoss(losses, reduction);
}
