/**
 * What is kept of a forward pass for backward: a tensor, or, where operations are told to save memory (`selective`), the
 * recipe of one that is cheap to compute again: the operation and its inputs, which somebody keeps anyway.
 */

import { AutogradError } from './errors.js';
import { formatShape } from './shape.js';
import type { Recomputation, Tensor } from './tensor.js';

let selectiveMode = false;

/** Whether results of cheap operations get recipes now. */
export const isSelective = (): boolean => selectiveMode;

/** Runs `body` with recipes for cheap operations; see `selectiveCheckpoint`. */
export function withSelectiveMode<T>(body: () => T): T {
  const before = selectiveMode;
  selectiveMode = true;
  try {
    return body();
  } finally {
    selectiveMode = before;
  }
}

/** How a tensor is computed again. Counts the tensor and the saved values that hold it, and keeps its inputs until the last lets go. */
export class Recipe implements Recomputation {
  readonly #inputs: readonly (SavedValue | null)[];
  #users = 1;

  /** @param compute The operation, without recording. */
  constructor(
    private readonly name: string,
    inputs: readonly (Tensor | null)[],
    private readonly compute: (inputs: readonly (Tensor | null)[]) => Tensor,
  ) {
    this.#inputs = inputs.map((t) => t && new SavedValue(t));
  }

  /** The tensor once more. What it took on the way is the caller's scope's. */
  run(): Tensor {
    return this.compute(this.#inputs.map((input) => input && input.get(this.name)));
  }

  retain(): this {
    this.#users++;
    return this;
  }

  release(): void {
    if (--this.#users === 0) for (const input of this.#inputs) input?.dispose();
  }
}

/** A value kept until {@link dispose}. */
export class SavedValue {
  #tensor: Tensor | null = null;
  #recipe: Recipe | null = null;
  #version = 0;

  constructor(t: Tensor) {
    if (t.recipe !== null) this.#recipe = (t.recipe as Recipe).retain();
    else this.#hold(t);
  }

  #hold(t: Tensor): void {
    // A handle of its own: the caller's may be disposed at the end of its scope.
    this.#tensor = t.view(t.shape, t.strides, t.offset, t.origin).keep();
    this.#version = t.storage.version;
  }

  /**
   * The tensor, checked to be what it was.
   * @param user The operation that needs it, for the message.
   */
  get(user: string): Tensor {
    if (this.#tensor === null) {
      const recipe = this.#recipe!;
      const fresh = recipe.run();
      this.#hold(fresh);
      fresh.dispose();
      recipe.release();
      this.#recipe = null;
    }
    const t = this.#tensor!;
    if (t.storage.version !== this.#version) {
      throw new AutogradError(
        `backward: a tensor ${formatShape(t.shape)} that ${user} needs was changed in place after it ran; ` +
          'change a copy instead',
      );
    }
    return t;
  }

  dispose(): void {
    this.#tensor?.dispose();
    this.#tensor = null;
    this.#recipe?.release();
    this.#recipe = null;
  }
}
