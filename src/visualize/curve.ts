/**
 * A curve of any length in bounded memory: neighbouring points share a bucket, of which the lowest and the highest are
 * kept, so that no spike is lost. When there are too many buckets, pairs of them become one. The page inlines this file, and
 * a live page draws with it what it is sent.
 */

/** Points of a curve: what `values[i]` was after `steps[i]`. */
export interface Points {
  readonly steps: number[];
  readonly values: number[];
}

interface Bucket {
  readonly count: number;
  readonly low: Point;
  readonly high: Point;
}

type Point = readonly [step: number, value: number];

/** Buckets of a curve at most; it has up to twice as many points. */
const mostBuckets = 2000;

/** A curve that grows at its end. */
export class Curve {
  #buckets: Bucket[] = [];
  /** Points that make a bucket full. */
  #size = 1;

  /** Adds a point after all others; what is not a finite number is left out. */
  add(step: number, value: number | null): void {
    if (value === null || !Number.isFinite(value)) return;
    const point: Point = [step, value];
    const last = this.#buckets.at(-1);
    const bucket = { count: 1, low: point, high: point };
    if (last !== undefined && last.count < this.#size)
      this.#buckets[this.#buckets.length - 1] = join(last, bucket);
    else this.#buckets.push(bucket);
    if (this.#buckets.length > mostBuckets) this.#halve();
  }

  /** What is kept, in order of steps. */
  points(): Points {
    const steps: number[] = [];
    const values: number[] = [];
    for (const { low, high } of this.#buckets) {
      const pair = low === high ? [low] : low[0] < high[0] ? [low, high] : [high, low];
      for (const [step, value] of pair) {
        steps.push(step);
        values.push(value);
      }
    }
    return { steps, values };
  }

  #halve(): void {
    const old = this.#buckets;
    this.#size *= 2;
    this.#buckets = [];
    for (let i = 0; i < old.length; i += 2) {
      this.#buckets.push(i + 1 < old.length ? join(old[i], old[i + 1]) : old[i]);
    }
  }
}

const join = (a: Bucket, b: Bucket): Bucket => ({
  count: a.count + b.count,
  low: b.low[1] < a.low[1] ? b.low : a.low,
  high: b.high[1] > a.high[1] ? b.high : a.high,
});
