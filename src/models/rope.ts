/**
 * Rotary positions for models: which angle each pair of features turns by, and tables of their cosines and sines.
 * The scaling rules stretch a model trained on short texts to longer ones; they and their keys are those of Hugging Face's
 * `modeling_rope_utils.py`, which computes in float32 as this file does. Sources: linear (kaiokendev, 2023), dynamic NTK
 * (emozilla, 2023), yarn (Peng et al., "YaRN", 2023), llama3 (Meta, Llama 3.1, 2024).
 */

import { ConfigError, indexSelect, reshape, slice, sub, tensor, type Tensor } from '../../lib/index.js';
import type { Placement } from './placement.js';

/** `rope_scaling` of a config.json. The keys beside `rope_type` and `factor` are those that the type has. */
export interface RopeScaling {
  /**
   * `dynamic` frequencies change with the length once it exceeds max_position_embeddings: keys in a cache keep those they
   * were turned by, as in transformers, so cached decoding and recomputation differ there.
   */
  readonly rope_type: 'linear' | 'dynamic' | 'yarn' | 'llama3';
  /** How many times longer the texts may become. */
  readonly factor: number;
  /** yarn, llama3: the context length before; max_position_embeddings by default. */
  readonly original_max_position_embeddings?: number;
  /** llama3: wavelengths longer than original / low are scaled, shorter than original / high are not. */
  readonly low_freq_factor?: number;
  readonly high_freq_factor?: number;
  /** yarn: factor of the cosines and sines; derived from `factor` and the two `mscale` by default. */
  readonly attention_factor?: number;
  readonly mscale?: number;
  readonly mscale_all_dim?: number;
  /** yarn: pairs that turn more often than this within the original context keep their frequency; 32 by default. */
  readonly beta_fast?: number;
  /** yarn: pairs that turn less often than this are scaled whole; 1 by default. */
  readonly beta_slow?: number;
  /** yarn: whether the bounds between the two are rounded to whole pairs; true by default. */
  readonly truncate?: boolean;
}

/** What the angles depend on. */
export interface RopeConfig {
  /** Features of a head, D; even. */
  readonly headSize: number;
  readonly theta: number;
  /** The context length that `dynamic` starts to stretch from. */
  readonly maxPositions: number;
  readonly scaling: RopeScaling | null;
}

const required = {
  linear: ['factor'],
  dynamic: ['factor'],
  yarn: ['factor'],
  llama3: ['factor', 'low_freq_factor', 'high_freq_factor'],
} as const;
const common = ['rope_type', 'factor', 'original_max_position_embeddings'];
const optional: Record<RopeScaling['rope_type'], readonly string[]> = {
  linear: common,
  dynamic: common,
  llama3: [...common, 'low_freq_factor', 'high_freq_factor'],
  yarn: [...common, 'attention_factor', 'mscale', 'mscale_all_dim', 'beta_fast', 'beta_slow', 'truncate'],
};

/**
 * Checks `rope_scaling` as a config.json has it: null or `default` for none, the type under `rope_type` or the older
 * `type`. A null value counts as absent.
 *
 * @throws ConfigError for an unknown type, an unknown key, or a value that is missing or impossible.
 */
export function checkRopeScaling(model: string, given: unknown): RopeScaling | null {
  if (given === null || given === undefined) return null;
  const fail = (text: string): never => {
    throw new ConfigError(`${model}: rope_scaling ${text}`);
  };
  if (typeof given !== 'object' || Array.isArray(given)) {
    return fail(`must be an object or null, got ${JSON.stringify(given)}`);
  }
  const { type, rope_type = type, ...rest } = given as Record<string, unknown>;
  const present = Object.entries(rest).filter(([, value]) => value !== null && value !== undefined);
  const scaling: Record<string, unknown> = { rope_type, ...Object.fromEntries(present) };
  const kind = scaling.rope_type as RopeScaling['rope_type'];
  if ((kind as string) === 'default') return null;
  if (typeof kind !== 'string' || !Object.hasOwn(required, kind)) {
    return fail(
      `has the type ${JSON.stringify(kind)}; supported are default, ${Object.keys(required).join(', ')}`,
    );
  }
  for (const [key, value] of present) {
    const wanted = key === 'truncate' ? 'boolean' : 'positive number';
    if (!optional[kind].includes(key)) fail(`of type ${kind} has the unknown key '${key}'`);
    const fits = wanted === 'boolean' ? typeof value === 'boolean' : isNumber(value) && value > 0;
    if (!fits) fail(`must have a ${wanted} ${key}, got ${JSON.stringify(value)}`);
  }
  for (const key of required[kind]) if (!Object.hasOwn(scaling, key)) fail(`of type ${kind} needs ${key}`);
  const checked = scaling as unknown as RopeScaling;
  if (checked.factor < 1) fail(`must have a factor of at least 1, got ${checked.factor}`);
  if (kind === 'llama3' && checked.high_freq_factor! <= checked.low_freq_factor!) {
    fail('must have a high_freq_factor above its low_freq_factor');
  }
  return checked;
}

const isNumber = (x: unknown): x is number => typeof x === 'number' && Number.isFinite(x);
const { fround } = Math;

/** Radians per position of each pair of features, (D / 2). */
export function inverseFrequencies(config: RopeConfig, length: number): Float32Array {
  const { headSize, theta, scaling, maxPositions } = config;
  const power = (base: number): Float32Array =>
    Float32Array.from({ length: headSize / 2 }, (_, i) => 1 / fround(base ** ((2 * i) / headSize)));
  switch (scaling?.rope_type) {
    case 'dynamic': {
      const stretch = (scaling.factor * Math.max(length, maxPositions)) / maxPositions - (scaling.factor - 1);
      return power(theta * stretch ** (headSize / (headSize - 2)));
    }
    case 'linear':
      return power(theta).map((f) => f / scaling.factor);
    case 'llama3':
      return power(theta).map((f) => llama3(f, scaling, maxPositions));
    case 'yarn': {
      const [low, high] = yarnRange(config, scaling);
      return power(theta).map((f, i) => {
        const scaled = Math.min(Math.max((i - low) / (high - low), 0), 1); // how much of the pair's frequency is scaled
        return (f / scaling.factor) * scaled + f * (1 - scaled);
      });
    }
    default:
      return power(theta);
  }
}

function llama3(frequency: number, scaling: RopeScaling, maxPositions: number): number {
  const { factor, low_freq_factor: low = 1, high_freq_factor: high = 4 } = scaling;
  const original = scaling.original_max_position_embeddings ?? maxPositions;
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength > original / low) return frequency / factor;
  if (wavelength < original / high) return frequency;
  const smooth = (original / wavelength - low) / (high - low);
  return ((1 - smooth) * frequency) / factor + smooth * frequency;
}

/** The pairs between which yarn goes over from keeping a frequency to scaling it. */
function yarnRange({ headSize, theta, maxPositions }: RopeConfig, scaling: RopeScaling): [number, number] {
  const original = scaling.original_max_position_embeddings ?? maxPositions;
  const pairOf = (turns: number): number =>
    (headSize * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  let low = pairOf(scaling.beta_fast ?? 32);
  let high = pairOf(scaling.beta_slow ?? 1);
  if (scaling.truncate ?? true) [low, high] = [Math.floor(low), Math.ceil(high)];
  [low, high] = [Math.max(low, 0), Math.min(high, headSize - 1)];
  return [low, low === high ? high + 0.001 : high];
}

/** yarn's factor of the cosines and sines, which sharpens attention over more keys. */
export function attentionFactor(scaling: RopeScaling | null): number {
  if (scaling?.rope_type !== 'yarn') return 1;
  const { factor, attention_factor: given, mscale, mscale_all_dim: all } = scaling;
  const scale = (m: number): number => 0.1 * m * Math.log(factor) + 1;
  if (given !== undefined) return given;
  return mscale !== undefined && all !== undefined ? scale(mscale) / scale(all) : scale(1);
}

/** Longest sequence: `dynamic` alone goes beyond the configured length, which for it is that before scaling. */
export const stretchedLength = (length: number, scaling: RopeScaling | null): number =>
  scaling?.rope_type === 'dynamic' ? Math.floor(length * scaling.factor) : length;

/** @throws ConfigError when heads of this size cannot be turned. */
export function checkHeadSize(model: string, headSize: number, scaling: RopeScaling | null): void {
  if (headSize % 2 !== 0) {
    throw new ConfigError(`${model}: rotary positions need an even head size, got ${headSize}`);
  }
  if (headSize === 2 && scaling?.rope_type === 'dynamic') {
    throw new ConfigError(`${model}: rope_scaling of type dynamic needs a head size above 2`);
  }
}

/** Cosines and sines of the positions from `first` on, a row each. */
interface Table {
  readonly first: number;
  readonly cosine: Tensor;
  readonly sine: Tensor;
}

/** A model's tables of cosines and sines, made once and lengthened when later positions are asked for. */
export class RotaryTables {
  #table: Table | null = null;
  #end = 0;

  constructor(private readonly config: RopeConfig) {}

  /** The rows of the tokens' positions, for `rotaryEmbedding`: cosines and sines, (T, D / 2) or (B, T, D / 2). */
  at({ positions, start, end }: Placement): [Tensor, Tensor] {
    const { first, cosine, sine } = this.#covering(start, end);
    if (positions.rank === 1) {
      return [slice(cosine, 0, start - first, end - first), slice(sine, 0, start - first, end - first)];
    }
    const ids = sub(reshape(positions, [positions.size]), first);
    const rows = (table: Tensor): Tensor =>
      reshape(indexSelect(table, 0, ids), [...positions.shape, this.config.headSize / 2]);
    return [rows(cosine), rows(sine)];
  }

  #covering(start: number, end: number): Table {
    const { scaling, maxPositions } = this.config;
    // Beyond the context, dynamic frequencies depend on the length: such a table serves one call.
    if (scaling?.rope_type === 'dynamic' && end > maxPositions) return this.#make(start, end);
    if (this.#table === null || end > this.#end) {
      this.#table?.cosine.dispose();
      this.#table?.sine.dispose();
      this.#end = Math.max(end, Math.min(2 * this.#end, maxPositions));
      this.#table = this.#make(0, this.#end);
      this.#table.cosine.keep();
      this.#table.sine.keep();
    }
    return this.#table;
  }

  #make(first: number, end: number): Table {
    const frequencies = inverseFrequencies(this.config, end);
    const factor = attentionFactor(this.config.scaling);
    const table = (f: (angle: number) => number): Tensor => {
      const values = new Float32Array((end - first) * frequencies.length);
      for (let t = first, i = 0; t < end; t++) {
        for (const frequency of frequencies) values[i++] = f(fround(t * frequency)) * factor;
      }
      return tensor(values, { shape: [end - first, frequencies.length] });
    };
    return { first, cosine: table(Math.cos), sine: table(Math.sin) };
  }
}
