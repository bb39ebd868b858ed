/**
 * Reading the parts of a parsed JSON file that nobody has checked yet. Each function answers a value of the type that it
 * is named for or throws a TokenizerError that says where in the file something else stands.
 */

import { TokenizerError } from '../../lib/errors.js';

/** An object of a JSON file, and what to call it in messages. */
export class Fields {
  private constructor(
    readonly where: string,
    private readonly members: Readonly<Record<string, unknown>>,
  ) {}

  static of(where: string, value: unknown): Fields {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new TokenizerError(`${where}: must be an object, got ${show(value)}`);
    }
    return new Fields(where, value as Record<string, unknown>);
  }

  /** The member as it is; undefined where there is none (inherited names are none). */
  raw(name: string): unknown {
    return Object.hasOwn(this.members, name) ? this.members[name] : undefined;
  }

  /** Whether the member is there and not null. */
  has(name: string): boolean {
    return (this.raw(name) ?? null) !== null;
  }

  string(name: string, otherwise?: string): string {
    const value = this.raw(name) ?? otherwise;
    return typeof value === 'string' ? value : this.#fail(name, 'a string', value);
  }

  /** A string, or null where the member is missing or null. */
  optionalString(name: string): string | null {
    return this.has(name) ? this.string(name) : null;
  }

  boolean(name: string, otherwise?: boolean): boolean {
    const value = this.raw(name) ?? otherwise;
    return typeof value === 'boolean' ? value : this.#fail(name, 'true or false', value);
  }

  /** A whole number from `least` to `most`. */
  integer(name: string, least: number, most: number, otherwise?: number): number {
    const value = this.raw(name) ?? otherwise;
    if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most) {
      return value as number;
    }
    return this.#fail(name, `a whole number from ${least} to ${most}`, value);
  }

  list(name: string, otherwise?: readonly unknown[]): readonly unknown[] {
    const value = this.raw(name) ?? otherwise;
    return Array.isArray(value) ? value : this.#fail(name, 'a list', value);
  }

  object(name: string): Fields {
    return Fields.of(`${this.where}.${name}`, this.raw(name));
  }

  oneOf<T extends string>(name: string, choices: readonly T[], otherwise?: T): T {
    const value = this.raw(name) ?? otherwise;
    if (choices.includes(value as T)) return value as T;
    return this.#fail(name, `one of ${choices.join(', ')}`, value);
  }

  entries(): [string, unknown][] {
    return Object.entries(this.members);
  }

  #fail(name: string, wanted: string, value: unknown): never {
    throw new TokenizerError(`${this.where}.${name}: must be ${wanted}, got ${show(value)}`);
  }
}

/** A value for a message, in at most 60 characters. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = typeof value === 'bigint' ? `${value}n` : (JSON.stringify(value) ?? typeof value);
  return text.length <= 60 ? text : `${text.slice(0, 57)}...`;
}
