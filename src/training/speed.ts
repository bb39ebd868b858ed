/** Tokens per second over windows of a second, so that the number shown neither jumps with every step nor lags behind. */
export class SpeedMeter {
  #tokens: number;
  #time: number;
  #perSecond = 0;

  /**
   * Starts the first window.
   * @param tokens Tokens so far.
   * @param time Milliseconds of training so far.
   */
  constructor(tokens: number, time: number) {
    this.#tokens = tokens;
    this.#time = time;
  }

  /** The speed now, tokens per second. */
  measure(tokens: number, time: number): number {
    const elapsed = time - this.#time;
    if (this.#perSecond > 0 && elapsed < 1000) return this.#perSecond;
    const now = (1000 * (tokens - this.#tokens)) / Math.max(elapsed, 1e-3);
    // The first second is measured from its beginning on, so that there is a speed from the first step on.
    if (elapsed < 1000) return now;
    [this.#tokens, this.#time, this.#perSecond] = [tokens, time, now];
    return now;
  }
}
