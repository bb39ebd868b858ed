/**
 * Ctrl-C, SIGTERM and SIGHUP (the terminal is closed): the first asks the work to come to a clean end, the next one ends
 * the process. JavaScript hears of signals only between turns of the event loop: after the first is heard the system ends
 * the process at once, in the middle of a computation too; two that come in one turn are heard at its end, and the second
 * ends the process there. Exit codes are the shell's: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP.
 */

const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };
type Name = keyof typeof exitCodes;

/** Listens until it is disposed: `using stop = stopOnSignals(...)`. */
export interface SignalStop extends Disposable {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** The exit code of the signal that came, or undefined. */
  readonly exitCode: number | undefined;
  /** Said on standard error when the first signal comes. */
  notice: string;
}

/** @param notice See {@link SignalStop.notice}. */
export function stopOnSignals(notice: string): SignalStop {
  const controller = new AbortController();
  let exitCode: number | undefined;
  const handle = (name: Name): void => {
    if (exitCode !== undefined) {
      if (name === 'SIGHUP') return; // a terminal that closes sends it more than once
      process.exit(exitCodes[name]);
    }
    exitCode = exitCodes[name];
    // The next one is the system's; not before the end of this turn, as those that came in it would be lost.
    setImmediate(() => release('SIGINT', 'SIGTERM'));
    process.stderr.write(`\n${stop.notice}\n`);
    controller.abort();
  };
  const release = (...names: Name[]): void => names.forEach((name) => process.off(name, handle));
  const names = Object.keys(exitCodes) as Name[];
  for (const name of names) process.on(name, handle);
  const stop: SignalStop = {
    notice,
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    [Symbol.dispose]: () => release(...names),
  };
  return stop;
}
