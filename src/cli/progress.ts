/**
 * Progress on standard error: on a terminal one line that is rewritten, elsewhere (a file, a pipe, a build log) plain
 * lines, about twenty in all. Standard output stays free for results.
 */

import { formatCount, formatDuration, formatLoss } from './format.js';

/** What the progress line shows. */
export interface ProgressState {
  readonly step: number;
  readonly loss: number;
  readonly lr: number;
  readonly tokensPerSecond: number;
}

/** Where progress is written: `process.stderr`, or a test's stand-in. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** The bar takes the room that the numbers leave, within these limits. */
const leastBar = 5;
const mostBar = 30;
/** Columns of the numbers at their longest, the digits of the steps apart, so that the bar keeps its width. */
const numbersWidth = 59;
const redrawMs = 100;
const plainLines = 20;
/** A slow run says something at least this often. */
const plainMs = 30_000;

export class Progress {
  readonly #terminal: boolean;
  readonly #start: number;
  #drawn = false;
  #lastDraw = -Infinity;

  /**
   * @param total Steps of the whole run.
   * @param first Steps already done when it was resumed; time left is reckoned from there.
   */
  constructor(
    private readonly total: number,
    private readonly first = 0,
    private readonly stream: ProgressStream = process.stderr,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.#terminal = stream.isTTY === true;
    this.#start = now();
  }

  /** After each step. */
  update(state: ProgressState): void {
    const time = this.now();
    const { step } = state;
    const last = step === this.total;
    if (this.#terminal) {
      if (time - this.#lastDraw < redrawMs && !last) return;
      this.#draw(state);
    } else {
      const every = Math.max(1, Math.ceil(this.total / plainLines));
      if (step % every !== 0 && step !== this.first + 1 && !last && time - this.#lastDraw < plainMs) return;
      this.stream.write(`${Object.values(this.#parts(state)).join('  ')}\n`);
    }
    this.#lastDraw = time;
  }

  /** A line that stays: an evaluation, a notice. */
  note(line: string): void {
    this.end();
    this.stream.write(`${line}\n`);
    this.#lastDraw = this.#terminal ? -Infinity : this.now();
  }

  /** Removes the line that is rewritten. */
  end(): void {
    if (this.#drawn) this.stream.write('\r\x1b[K');
    this.#drawn = false;
  }

  #draw(state: ProgressState): void {
    // The last column stays free: some terminals wrap there already.
    const width = (this.stream.columns ?? 80) - 1;
    const room = Math.min(mostBar, width - numbersWidth - 2 * String(this.total).length);
    const part = state.step / this.total;
    const filled = Math.floor(part * room);
    const bar = room < leastBar ? '' : '█'.repeat(filled) + '░'.repeat(room - filled);
    const percent = `${Math.floor(part * 100)}%`.padStart(4);
    const { step, loss, lr, speed, left } = this.#parts(state);
    // A narrow terminal shows the first of these that fits.
    const lines = [
      [`${bar}${percent}`, step, loss, lr, speed, left],
      [percent, step, loss, speed, left],
      [percent, loss, speed, left],
      [percent, loss, left],
    ].map((parts) => parts.join(' '));
    const line = lines.find((text) => text.length <= width) ?? lines.at(-1)!.slice(0, width);
    this.stream.write(`\r${line}\x1b[K`);
    this.#drawn = true;
  }

  #parts({ step, loss, lr, tokensPerSecond }: ProgressState) {
    const perStep = (this.now() - this.#start) / Math.max(1, step - this.first);
    return {
      step: `step ${step}/${this.total}`,
      loss: `loss ${formatLoss(loss)}`,
      lr: `lr ${lr.toExponential(1)}`,
      speed: `${formatCount(tokensPerSecond)} tok/s`,
      left: `${formatDuration(((this.total - step) * perStep) / 1000)} left`,
    };
  }
}
