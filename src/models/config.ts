/** Checks of model configurations: every key against its rule, before anything is allocated. */

import { totalmem } from 'node:os';
import { ConfigError, didYouMean } from '../../lib/index.js';
import { weightsWaiting } from '../nn/index.js';

/** What a value must be: one of the named rules, or one of the listed words. */
export type ConfigRule =
  | 'positive integer'
  | 'positive integer or null'
  | 'token id or null'
  | 'token id, a list of them or null'
  | 'layer count'
  | 'layer count or null'
  | 'object'
  | 'object or null'
  | 'probability'
  | 'probability or null'
  | 'positive number'
  | 'boolean'
  | readonly (string | null)[];

export type ConfigRules<C> = { readonly [K in keyof C]-?: ConfigRule };

const isCount = (x: unknown): boolean => Number.isSafeInteger(x) && (x as number) > 0;

const isTokenId = (x: unknown): boolean => Number.isSafeInteger(x) && (x as number) >= 0;

const isObject = (x: unknown): boolean => typeof x === 'object' && x !== null && !Array.isArray(x);

const isProbability = (x: unknown): boolean => typeof x === 'number' && x >= 0 && x < 1;

const tests: Record<Extract<ConfigRule, string>, (x: unknown) => boolean> = {
  'positive integer': isCount,
  'positive integer or null': (x) => x === null || isCount(x),
  'token id or null': (x) => x === null || isTokenId(x),
  'token id, a list of them or null': (x) =>
    x === null || isTokenId(x) || (Array.isArray(x) && x.every(isTokenId)),
  // Far above any model's; each layer is a dozen objects before it has a weight.
  'layer count': (x) => isCount(x) && (x as number) <= 10_000,
  object: isObject,
  'layer count or null': (x) => x === null || (isCount(x) && (x as number) <= 10_000),
  'object or null': (x) => x === null || isObject(x),
  probability: isProbability,
  'probability or null': (x) => x === null || isProbability(x),
  'positive number': (x) => typeof x === 'number' && x > 0 && Number.isFinite(x),
  boolean: (x) => typeof x === 'boolean',
};

/**
 * Returns the configuration reduced to the keys of `rules`, each valid.
 *
 * @throws ConfigError naming the key, what it must be and what it is.
 */
export function checkConfig<C extends object>(model: string, config: C, rules: ConfigRules<C>): C {
  const result: Partial<C> = {};
  for (const key of Object.keys(rules) as (keyof C & string)[]) {
    const rule: ConfigRule = rules[key];
    const value = config[key];
    const fits = typeof rule === 'string' ? tests[rule](value) : rule.includes(value as string | null);
    if (!fits) {
      const wanted =
        typeof rule === 'string' ? (wordings[rule] ?? rule) : `one of ${rule.map(String).join(', ')}`;
      throw new ConfigError(
        `${model}: ${key} must be ${article(wanted)}, got ${typeof value === 'number' ? value : JSON.stringify(value)}`,
      );
    }
    result[key] = value;
  }
  for (const key of Object.keys(config)) {
    if (!Object.hasOwn(rules, key)) {
      throw new ConfigError(
        `${model}: unknown configuration key '${key}'${didYouMean(key, Object.keys(rules))}`,
      );
    }
  }
  return result as C;
}

const wordings: Partial<Record<ConfigRule & string, string>> = {
  'layer count': 'positive integer up to 10000',
  'layer count or null': 'positive integer up to 10000 or null',
};

const article = (rule: string): string =>
  /^(one|boolean)/.test(rule) ? rule : `${rule.startsWith('object') ? 'an' : 'a'} ${rule}`;

/**
 * The keys of a config.json that this model knows; all others (notes of other programs) are left out.
 *
 * @param fixed Keys that change the computation, with the only value that is served.
 * `auto_map` names program code that came with a model: it is never run, and a warning says so.
 *
 * @throws ConfigError when one of those has another value.
 */
export function knownKeys<C extends object>(
  model: string,
  config: Record<string, unknown>,
  rules: ConfigRules<C>,
  fixed: Record<string, unknown>,
): Partial<C> {
  if (Object.hasOwn(config, 'auto_map')) {
    process.emitWarning(`${model}: auto_map is ignored; code that comes with a model is never run`);
  }
  for (const [key, value] of Object.entries(fixed)) {
    if (Object.hasOwn(config, key) && config[key] !== value) {
      throw new ConfigError(
        `${model}: ${key} ${JSON.stringify(config[key])} is not supported, only ${JSON.stringify(value)}`,
      );
    }
  }
  return Object.fromEntries(
    Object.entries(config).filter(([key]) => Object.hasOwn(rules, key)),
  ) as Partial<C>;
}

/**
 * Refuses a model that cannot be, before anything of it is made: one whose weights alone exceed this machine's memory, or,
 * where a checkpoint's tensors will be its weights, one that describes far more than the files hold.
 */
export function checkFits(model: string, parameters: number): void {
  const count = (n: number): string => n.toLocaleString('en');
  const held = weightsWaiting();
  if (held !== null) {
    // Far more: what is missing is otherwise named tensor by tensor.
    if (parameters <= 4 * held + 1e6) return;
    throw new ConfigError(
      `${model}: the configuration describes ${count(parameters)} weights, the files hold ${count(held)}`,
    );
  }
  const bytes = parameters * 4;
  if (bytes > totalmem()) {
    const gib = (n: number): string => `${(n / 2 ** 30).toPrecision(3)} GiB`;
    throw new ConfigError(
      `${model}: ${count(parameters)} weights take ${gib(bytes)}, this machine has ${gib(totalmem())}`,
    );
  }
}
