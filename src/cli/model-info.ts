/**
 * `tsgpt info --model`: what a model folder, a safetensors or a GGUF file is, from its headers. Also models that cannot be
 * run here are described; damaged files are refused with the loader's own words. `--check` reads all weights.
 */

import { statSync } from 'node:fs';

import {
  abs,
  FileError,
  amax,
  openGguf,
  openSafetensors,
  scope,
  type GgufFile,
  type Tensor,
  to,
  TsgptError,
} from '../../lib/index.js';
import { fileError } from '../../lib/formats/system-error.js';
import { type ConfigFile, openCheckpoint, type WeightFiles } from '../models/checkpoint.js';
import { AutoModel } from '../models/index.js';
import { robertaTypes } from '../models/roberta.js';
import { AutoTokenizer, type PretrainedTokenizer } from '../tokenizers/index.js';
import { formatBytes } from './format.js';

/** What is said of a model; null where the files do not say it. */
export interface ModelReport {
  readonly path: string;
  readonly format: 'safetensors' | 'gguf';
  /** `model_type` or `general.architecture`. */
  readonly architecture: string | null;
  /** The class that config.json names, of the base model or with a head: `BertForMaskedLM`. */
  readonly class: string | null;
  /** Whether this version runs models of that architecture. */
  readonly supported: boolean;
  readonly context: number | null;
  /** Numbers in all tensors; a tied head that is stored twice counts twice. */
  readonly parameters: number;
  readonly tensors: number;
  /** Tensors of each element type. */
  readonly dtypes: Readonly<Record<string, number>>;
  readonly bytes: number;
  /** The tokenizer's kind and size, or why there is none. */
  readonly tokenizer: string;
  /** With `--check`: the tensors that hold NaN or infinity. */
  readonly not_finite?: readonly string[];
}

/** @throws FileError or ConfigError as loading would. */
export function describeModel(path: string, check: boolean): ModelReport {
  const { weights, ...rest } = open(path);
  const names = weights.names();
  const infos = names.map((name) => weights.info(name));
  const dtypes: Record<string, number> = {};
  for (const { dtype } of infos) dtypes[dtype] = (dtypes[dtype] ?? 0) + 1;
  const sum = (of: (info: (typeof infos)[number]) => number): number =>
    infos.reduce((n, info) => n + of(info), 0);
  return {
    path,
    ...rest,
    parameters: sum(({ shape }) => shape.reduce((a, b) => a * b, 1)),
    tensors: names.length,
    dtypes,
    bytes: sum(({ bytes }) => bytes),
    ...(check ? { not_finite: names.filter((name) => !isFinite(weights, name)) } : {}),
  };
}

type Opened = Pick<
  ModelReport,
  'format' | 'architecture' | 'class' | 'supported' | 'context' | 'tokenizer'
> & {
  readonly weights: WeightFiles;
};

function open(path: string): Opened {
  if (isFolder(path)) return openFolder(path);
  if (!path.endsWith('.safetensors')) return openGgufFile(openGguf(path));
  return {
    format: 'safetensors',
    architecture: null,
    class: null,
    supported: false,
    context: null,
    tokenizer: 'none: the file holds weights only; give the model folder',
    weights: openSafetensors(path),
  };
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    throw fileError(path, 'cannot be read', error);
  }
}

function openFolder(path: string): Opened {
  const { config, weights } = openCheckpoint(path);
  return {
    format: 'safetensors',
    ...named(config.model_type, contextOf(config)),
    class: Array.isArray(config.architectures) ? String(config.architectures[0]) : null,
    tokenizer: describeTokenizer(() => AutoTokenizer.fromPretrained(path)),
    weights,
  };
}

function openGgufFile(file: GgufFile): Opened {
  const architecture = file.metadata.get('general.architecture');
  return {
    format: 'gguf',
    ...named(architecture, file.metadata.get(`${String(architecture)}.context_length`)),
    class: null,
    tokenizer: describeTokenizer(() => AutoTokenizer.fromGguf(file.metadata)),
    weights: {
      path: file.path,
      names: () => file.names(),
      info: (name) => {
        const { type, shape, bytes } = file.info(name);
        return { dtype: type, shape, bytes };
      },
      tensor: (name, dtype) => file.tensor(name, { dtype }),
      close: () => file.close(),
    },
  };
}

/** T5 has no limit, whatever its configuration says; RoBERTa's positions begin behind the padding token's id. */
function contextOf({
  model_type: type,
  max_position_embeddings: most,
  n_positions,
  pad_token_id: pad,
}: ConfigFile): unknown {
  if (type === 't5') return null;
  const reserved = robertaTypes.includes(String(type)) && typeof pad === 'number' ? pad + 1 : 0;
  return typeof most === 'number' ? most - reserved : n_positions;
}

function named(type: unknown, context: unknown): Pick<Opened, 'architecture' | 'supported' | 'context'> {
  const architecture = typeof type === 'string' ? type : null;
  return {
    architecture,
    supported: architecture !== null && AutoModel.modelTypes.includes(architecture),
    context: typeof context === 'number' ? context : null,
  };
}

function describeTokenizer(load: () => ReturnType<typeof AutoTokenizer.fromPretrained>): string {
  try {
    const tokenizer = load();
    const kind = (tokenizer as Partial<PretrainedTokenizer>).type ?? 'characters';
    return `${kind}, ${tokenizer.vocabSize.toLocaleString('en')} tokens`;
  } catch (error) {
    if (!(error instanceof TsgptError)) throw error;
    return `none: ${error.message.replace(error instanceof FileError ? `${error.file}: ` : '', '')}`;
  }
}

/** Whether a tensor holds neither NaN nor infinity. Integers do not. */
function isFinite(weights: WeightFiles, name: string): boolean {
  const { dtype, shape } = weights.info(name);
  if (/^[IU]\d+$|^BOOL$/.test(dtype) || shape.includes(0)) return true;
  return scope(() => {
    const t: Tensor = weights.tensor(name, 'float32');
    return Number.isFinite(amax(abs(t.dtype === 'float64' ? t : to(t, 'float32'))).item());
  });
}

/** The report as rows of a table. */
export function modelRows(report: ModelReport): Record<string, string> {
  const dtypes = Object.entries(report.dtypes).map(([dtype, count]) => `${count} ${dtype}`);
  const known = report.architecture ?? 'unknown';
  return {
    model: report.path,
    format: report.format === 'gguf' ? 'GGUF' : 'safetensors',
    architecture:
      report.supported || report.architecture === null ? known : `${known}, which cannot be run here`,
    ...(report.class === null ? {} : { class: report.class }),
    ...(report.context === null ? {} : { context: `${report.context.toLocaleString('en')} tokens` }),
    parameters: report.parameters.toLocaleString('en'),
    tensors: `${report.tensors}: ${dtypes.join(', ')}`,
    size: formatBytes(report.bytes),
    tokenizer: report.tokenizer,
    ...(report.not_finite === undefined ? {} : { weights: finiteLine(report.not_finite) }),
  };
}

function finiteLine(bad: readonly string[]): string {
  if (bad.length === 0) return 'all finite';
  const more = bad.length > 3 ? `, and ${bad.length - 3} more` : '';
  return `NaN or infinity in ${bad.slice(0, 3).join(', ')}${more}`;
}
