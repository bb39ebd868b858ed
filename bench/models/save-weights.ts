/** Writes a model with random weights, for all contenders to start from. */

import { Generator } from '../../lib/index.js';
import {
  BertForMaskedLM,
  type BertConfig,
  GPT,
  type GPTConfig,
  T5,
  type T5Config,
} from '../../src/models/index.js';
import { readTask, report } from '../measure.js';

/** The model that a configuration describes; GPT-2 where it does not say. */
export type BenchConfig =
  | Partial<GPTConfig>
  | ({ model_type: 'bert' } & Partial<BertConfig>)
  | ({ model_type: 't5' } & Partial<T5Config>);

function build(config: BenchConfig): GPT | BertForMaskedLM | T5 {
  const options = { generator: new Generator(1) };
  if (!('model_type' in config)) return new GPT(config, options);
  const { model_type: type, ...rest } = config;
  return type === 'bert' ? new BertForMaskedLM(rest, options) : new T5(rest, options);
}

const task = readTask() as { config: BenchConfig; folder: string };
build(task.config).savePretrained(task.folder);
report({});
