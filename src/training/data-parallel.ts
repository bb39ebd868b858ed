/**
 * Data-parallel training ("PyTorch Distributed: Experiences on Accelerating Data Parallel Training", Li et al., 2020): the
 * processes of a group hold the same weights, divide the batches of a step among them, and sum the gradients in buckets,
 * each as soon as backward has completed it, while it goes on. The last layers' gradients are complete first, so the
 * buckets go from the last parameter to the first.
 */

import { TrainingError } from '../../lib/errors.js';
import type { ProcessGroup } from '../../lib/process-group.js';
import * as kernels from '../../lib/kernels.js';
import type { Generator } from '../../lib/random.js';
import { Tensor } from '../../lib/tensor.js';

/** Elements after which a bucket is full: 16 MB. */
const bucketElements = 4 << 20;

/** The gradients of one model in one process of a group. */
export class DataParallel {
  readonly group: ProcessGroup;
  readonly #buckets: readonly (readonly Tensor[])[];
  readonly #parameters: readonly Tensor[];
  /** Leaves of the step's last backward that are complete. */
  readonly #complete = new Set<Tensor>();
  /** Buckets that are being summed. */
  #sums: Promise<void>[] = [];
  /** Whether this process had a gradient of a parameter before the sum. */
  readonly #had = new Map<Tensor, boolean>();

  /** @param parameters Those that are trained, in the same order in all processes. */
  constructor(group: ProcessGroup, parameters: readonly Tensor[]) {
    this.group = group;
    this.#parameters = parameters;
    this.#buckets = bucketsOf(parameters);
  }

  /** Makes the weights those of the first process, and the numbers of dropout this process's own. */
  async begin(generator: Generator): Promise<void> {
    await this.group.broadcast(this.#parameters);
    const { seed, offset } = generator.state();
    // Far apart in the space of seeds; the first process keeps its stream, which is the one that is saved.
    generator.setState({ seed: (seed + this.group.rank * 0x9e3779b97f) % 2 ** 53, offset });
  }

  /** Whether a step's batch of this number is this process's. */
  isMine(batch: number): boolean {
    return batch % this.group.size === this.group.rank;
  }

  /** For `backward`'s `onLeaf` in the step's last one: starts the sum of each bucket that is complete, in order. */
  readonly onLeaf = (leaf: Tensor): void => {
    this.#complete.add(leaf);
    for (let next = this.#sums.length; next < this.#buckets.length; next++) {
      if (!this.#buckets[next].every((parameter) => this.#complete.has(parameter))) return;
      this.#sumBucket(next);
    }
  };

  /**
   * Sums what is left, and the numbers; to be awaited before the gradients are used. A parameter that no process has a
   * gradient of has none afterwards.
   */
  async finish(numbers: readonly number[]): Promise<number[]> {
    while (this.#sums.length < this.#buckets.length) this.#sumBucket(this.#sums.length);
    const had = this.#parameters.map((parameter) => (this.#had.get(parameter) === true ? 1 : 0));
    const sums = await this.group.sumNumbers([...had, ...numbers]); // the last job: all sums have ended then
    await Promise.all(this.#sums);
    this.#parameters.forEach((parameter, i) => {
      if (sums[i] > 0) return;
      parameter.grad?.dispose();
      parameter.grad = null;
    });
    this.#sums = [];
    this.#complete.clear();
    this.#had.clear();
    return sums.slice(had.length);
  }

  /** Throws TrainingError when the weights are not the same numbers in all processes. */
  async check(): Promise<void> {
    const own = kernels.sumSquares(this.#parameters.filter((p) => p.isContiguous));
    const [first] = await this.group.sumNumbers([this.group.rank === 0 ? own : 0]);
    if (own === first) return;
    throw new TrainingError(
      `training: the weights of process ${this.group.rank} are no longer those of process 0; are all hosts of one kind, and ` +
        'is the data the same everywhere?',
    );
  }

  #sumBucket(index: number): void {
    const gradients = this.#buckets[index].map((parameter) => {
      this.#had.set(parameter, parameter.grad !== null);
      return (parameter.grad ??= zerosLike(parameter));
    });
    this.#sums.push(this.group.sum(gradients));
  }
}

function zerosLike(parameter: Tensor): Tensor {
  const zeros = Tensor.empty(parameter.shape, 'float32', 'gradient').keep();
  kernels.fill(zeros, 0);
  return zeros;
}

/** Parameters from the last to the first, in groups of about the size of a bucket. */
function bucketsOf(parameters: readonly Tensor[]): Tensor[][] {
  const buckets: Tensor[][] = [];
  let elements = Infinity;
  for (const parameter of [...parameters].reverse()) {
    if (elements + parameter.size > bucketElements) {
      buckets.push([]);
      elements = 0;
    }
    buckets.at(-1)!.push(parameter);
    elements += parameter.size;
  }
  return buckets;
}
