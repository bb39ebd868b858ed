/** One line on standard error about work that goes on: rewritten on a terminal, else a new one every ten seconds. */

import { formatDuration } from './format.js';

const redrawMs = 100;
const plainMs = 10_000;

/** Shows a line now and then, until its end. */
export class StatusLine {
  readonly #terminal = process.stderr.isTTY;
  readonly #started = performance.now();
  #last = performance.now();

  /** Seconds since it was made. */
  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  /** Shows the parts, where it is time for a new line. */
  update(parts: () => readonly string[]): void {
    const now = performance.now();
    if (now - this.#last < (this.#terminal ? redrawMs : plainMs)) return;
    this.#last = now;
    const line = parts().join('  ');
    process.stderr.write(this.#terminal ? `\r${line}\x1b[K` : `${line}\n`);
  }

  /** How much is done and how long the rest takes at this pace; nothing where the whole is not known. */
  share(done: number, total: number): { readonly percent?: string; readonly left?: string } {
    const left = this.seconds * (total / done - 1);
    if (!Number.isFinite(left)) return {};
    return { percent: `${Math.floor((100 * done) / total)}%`, left: `${formatDuration(left)} left` };
  }

  /** Removes the line that is rewritten. */
  end(): void {
    if (this.#terminal) process.stderr.write('\r\x1b[K');
  }
}
