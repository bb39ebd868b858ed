/**
 * Ctrl-C and SIGTERM: the first asks the work to come to a clean end; the next one is the system's and ends the process
 * at once, in the middle of a computation too. Exit codes are the shell's: 130 for SIGINT, 143 for SIGTERM.
 */

const exitCodes = { SIGINT: 130, SIGTERM: 143 };
type Name = keyof typeof exitCodes;

/** Listens until it is disposed: `using stop = stopOnSignals(...)`. */
export interface SignalStop extends Disposable {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** The exit code of the signal that came, or undefined. */
  readonly exitCode: number | undefined;
}

/** @param notice Said on standard error when the first signal comes. */
export function stopOnSignals(notice: string): SignalStop {
  const controller = new AbortController();
  let exitCode: number | undefined;
  const release = (): void => {
    for (const name of Object.keys(exitCodes)) process.off(name, handle);
  };
  const handle = (name: Name): void => {
    release();
    exitCode = exitCodes[name];
    process.stderr.write(`\n${notice}\n`);
    controller.abort();
  };
  for (const name of Object.keys(exitCodes)) process.on(name, handle);
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    [Symbol.dispose]: release,
  };
}
