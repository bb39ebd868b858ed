/**
 * Every error this package throws on purpose. Each has a stable `code`; the text says the rule, what was given and
 * what to do: `matmul: inner dimensions must match, got a [2, 3] and b [4, 5] (3 and 4)`.
 */

/** Base class of all errors thrown by tsgpt. `code` is stable across releases; the text is for people. */
export class TsgptError extends Error {
  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** Shapes that do not fit an operation. */
export class ShapeError extends TsgptError {
  constructor(message: string) {
    super('ERR_SHAPE', message);
  }
}

/** A dtype that an operation does not take. */
export class DTypeError extends TsgptError {
  constructor(message: string) {
    super('ERR_DTYPE', message);
  }
}

/** An argument or option outside its range, or unknown. */
export class ArgumentError extends TsgptError {
  constructor(message: string) {
    super('ERR_ARGUMENT', message);
  }
}

/** An index or id outside a tensor's bounds. */
export class IndexError extends TsgptError {
  constructor(message: string) {
    super('ERR_INDEX', message);
  }
}

/** Use of a tensor whose memory was given back. */
export class DisposedError extends TsgptError {
  constructor(message: string) {
    super('ERR_DISPOSED', message);
  }
}

/** A misuse of automatic differentiation. */
export class AutogradError extends TsgptError {
  constructor(message: string) {
    super('ERR_AUTOGRAD', message);
  }
}

/** Not enough memory for an allocation. */
export class MemoryError extends TsgptError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_MEMORY', message, options);
  }
}

/** A file that is missing, unreadable, damaged or of another kind. The text names the file and the reason. */
export class FileError extends TsgptError {
  constructor(
    readonly file: string,
    reason: string,
    options?: ErrorOptions,
  ) {
    super('ERR_FILE', `${file}: ${reason}`, options);
  }
}

/** A configuration value that makes no model. */
export class ConfigError extends TsgptError {
  constructor(message: string) {
    super('ERR_CONFIG', message);
  }
}

/** A state dict that does not fit the module it is loaded into. */
export class StateDictError extends TsgptError {
  constructor(message: string) {
    super('ERR_STATE_DICT', message);
  }
}

/** Text or ids that a tokenizer cannot take. */
export class TokenizerError extends TsgptError {
  constructor(message: string) {
    super('ERR_TOKENIZER', message);
  }
}

/** Training that cannot go on. */
export class TrainingError extends TsgptError {
  constructor(message: string) {
    super('ERR_TRAINING', message);
  }
}

/** Processes that cannot work together: no MPI, or one that failed. */
export class DistributedError extends TsgptError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_DISTRIBUTED', message, options);
  }
}

/** The native addon could not be loaded. The text is a repair guide. */
export class NativeLoadError extends TsgptError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_NATIVE_LOAD', message, options);
  }
}

/**
 * The candidate that `name` was meant to be, as ` (did you mean 'x'?)`, or an empty string: the closest one in which at
 * most a third of the letters differ, else the first that begins with `name`.
 */
export function didYouMean(name: string, candidates: Iterable<string>): string {
  const all = [...candidates];
  const letters = (text: string): string => text.replace(/^-+/, '').toLowerCase();
  const wanted = letters(name);
  let best = '';
  let least = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of all) {
    const distance = editDistance(wanted, letters(candidate));
    if (distance < least && distance < wanted.length) [best, least] = [candidate, distance];
  }
  if (best === '' && wanted.length > 1) best = all.find((c) => letters(c).startsWith(wanted)) ?? '';
  return best === '' ? '' : ` (did you mean '${best}'?)`;
}

/** A message in one line, whatever line breaks its parts brought along. */
export const oneLine = (message: string): string => message.replace(/\s*[\r\n]\s*/g, ' ').trim();

/** Throws ArgumentError when `options` is no object, or has a key that is not in `known`. */
export function checkOptions(where: string, options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || (options as object | null) === null) {
    throw new ArgumentError(`${where}: the options must be an object, got ${JSON.stringify(options)}`);
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new ArgumentError(`${where}: unknown option '${key}'${didYouMean(key, known)}`);
    }
  }
}

/** Insertions, deletions, substitutions and swaps of neighbours that make `b` of `a`. */
function editDistance(a: string, b: string): number {
  let earlier: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(previous[j] + 1, row[j - 1] + 1, substitution));
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) row[j] = Math.min(row[j], earlier[j - 2] + 1);
    }
    [earlier, previous] = [previous, row];
  }
  return previous[b.length];
}
