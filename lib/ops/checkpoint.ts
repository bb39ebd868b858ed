/**
 * Gradient checkpointing ("Training Deep Nets with Sublinear Memory Cost", Chen et al., 2016): a function keeps nothing but
 * its arguments for backward, which runs it again. Memory for time: a network of L such functions keeps L arguments and
 * the values of one function, for a second forward pass. Gradients are the same to the last bit: random numbers are
 * drawn again from where the streams were, and gradients are added in the same order.
 */

import { autocast, autocastType } from '../autocast.js';
import {
  backward,
  enableGrad,
  isGradEnabled,
  released,
  TapeNode,
  traceStructure,
  type Gradients,
} from '../autograd.js';
import { AutogradError } from '../errors.js';
import { detach } from '../op.js';
import { recordDraws, replayDraws, type Draws } from '../random.js';
import { withSelectiveMode } from '../saved.js';
import { checkTensor, isPlain, scope, Tensor } from '../tensor.js';

type Body<A extends readonly unknown[]> = (...args: A) => Tensor;

/**
 * `fn(...args)`, of which only the arguments are kept for backward: it then runs a second time, with the same random
 * numbers (of any {@link Generator}). Tensors are found among the arguments also inside of arrays and plain objects.
 *
 * A parameter may be used without being an argument. A tensor that was computed and requires a gradient may not, and what
 * else `fn` depends on must not change until backward has run.
 *
 * @param fn A function of one result, without effects but its draws; what it computes in between should be left to a
 *   `scope`, and is by default.
 * @throws AutogradError when `fn` uses a computed tensor that is no argument.
 * @example
 * const y = checkpoint((x) => block.forward(x), x);
 */
export function checkpoint<A extends readonly unknown[]>(fn: Body<A>, ...args: A): Tensor {
  if (!isGradEnabled()) return scope(() => fn(...args));
  const type = autocastType(); // backward runs outside of it
  const inputs = [...tensorsIn(args)];
  const leaves = inputs.map((t) => leafOf(t, t.requiresGrad));
  const [{ result, outside, leaves: used }, draws] = recordDraws(() =>
    traceStructure(() => scope(() => fn(...withTensors(args, inputs, leaves)))),
  );
  checkTensor('checkpoint', result);
  if (outside.length > 0) {
    throw new AutogradError(
      `checkpoint: the function uses a tensor that ${outside[0].name} made and that requires a gradient; ` +
        'make it an argument',
    );
  }
  if (result.node === null) return inputs[leaves.indexOf(result)] ?? result;
  // Parameters that it uses without their being arguments get their gradients when it runs again, not before.
  const parameters = used.filter((t) => !leaves.includes(t));
  const node: TapeNode = new TapeNode('checkpoint', [...inputs, ...parameters], (grad) =>
    recompute(node, grad, draws, (again) => autocast(type, () => fn(...withTensors(args, inputs, again)))),
  );
  node.save(...inputs);
  result.node = node;
  return result;
}

/** Runs the function once more, on a tape of its own, and walks it back. */
function recompute(node: TapeNode, grad: Tensor, draws: Draws, fn: (inputs: Tensor[]) => Tensor): Gradients {
  const leaves = (node.saved as Tensor[]).map((t, i) => leafOf(t, node.needs(i)));
  // Where others have left a gradient, this one is added to it piece by piece, as it would be without a checkpoint.
  const arrived = leaves.map((leaf, i) => (leaf.grad = node.needs(i) ? node.gradOf(i) : null));
  const result = replayDraws(draws, () => enableGrad(() => scope(() => fn(leaves))));
  backward(result, grad);
  return leaves.map(({ grad: g }, i) => (g === null || arrived[i] !== null ? null : released(g)));
}

function leafOf(t: Tensor, requiresGrad: boolean): Tensor {
  const leaf = detach(t);
  leaf.requiresGrad = requiresGrad;
  return leaf;
}

/** The tensors of a value made of arrays and plain objects. */
function tensorsIn(value: unknown, found = new Set<Tensor>()): Set<Tensor> {
  if (value instanceof Tensor) found.add(value);
  else if (Array.isArray(value)) for (const item of value) tensorsIn(item, found);
  else if (typeof value === 'object' && value !== null && isPlain(value)) {
    for (const item of Object.values(value)) tensorsIn(item, found);
  }
  return found;
}

/** The value with each tensor of `from` replaced by that of `to`. */
function withTensors<V>(value: V, from: readonly Tensor[], to: readonly Tensor[]): V {
  const replaced = (item: unknown): unknown => {
    if (item instanceof Tensor) return to[from.indexOf(item)];
    if (Array.isArray(item)) return item.map(replaced);
    if (typeof item !== 'object' || item === null || !isPlain(item)) return item;
    return Object.fromEntries(Object.entries(item).map(([key, inner]) => [key, replaced(inner)]));
  };
  return replaced(value) as V;
}

/**
 * Runs `body`; of what it computes, backward computes again what is cheap beside the memory that it takes: normalizations
 * and the activations GELU, SiLU and SwiGLU, more than a third of a transformer block. The idea is that of "Reducing
 * Activation Recomputation in Large Transformer Models", Korthikanti et al., 2022; attention's weights, which it is about,
 * are never kept here. Gradients are the same to the last bit.
 *
 * @example
 * const loss = selectiveCheckpoint(() => crossEntropy(model.forward(ids), targets));
 */
export function selectiveCheckpoint<T>(body: () => T): T {
  return withSelectiveMode(body);
}
