/** What a training run starts from: random weights, another model (`--from`), adapters beside one, or its own last save. */

import { FileError } from '../../lib/index.js';
import {
  AutoModelForCausalLM,
  type DecoderModel,
  GPT,
  type GPTConfig,
  Llama,
  loadLora,
  loraTrainable,
} from '../models/index.js';
import { Lora } from '../nn/index.js';
import type { Tokenizer } from '../tokenizers/index.js';
import type { Savable, TrainableModel } from '../training/index.js';
import { UsageError } from './args.js';
import { type DecoderSizes, gptSizes, llamaSizes } from './memory-plan.js';
import type { RunValues } from './run-flags.js';

/** A model, and what of it is trained and saved. */
export interface Start {
  readonly model: DecoderModel;
  readonly trained: TrainableModel & Savable;
  readonly adapters: Lora | null;
}

/** The model of a run without `--from`. */
export type NewModel = Partial<GPTConfig> & Parameters<typeof gptSizes>[0];

/** Sizes of the model that a run has, before it is made. */
export function sizesOf(base: DecoderModel | null, config: NewModel): DecoderSizes {
  if (base === null) return gptSizes(config);
  return base instanceof Llama ? llamaSizes(base.config) : gptSizes(base.config);
}

/** Opens the model of `--from`; null without. */
export function openBase(values: RunValues): DecoderModel | null {
  const { from, seq } = values;
  if (from === undefined) return null;
  const model = AutoModelForCausalLM.fromPretrained(from, { dtype: 'float32' });
  if (seq > model.contextLength) {
    throw new UsageError(`--seq ${seq} is more than the ${model.contextLength} tokens that ${from} can see`);
  }
  return model;
}

/** Throws FileError when a tokenizer has tokens that the model does not know. */
export function checkVocabulary({ from }: RunValues, base: DecoderModel, tokenizer: Tokenizer): void {
  const { vocab_size: rows } = base.config;
  if (tokenizer.vocabSize <= rows) return;
  throw new FileError(
    from!,
    `the tokenizer has ${tokenizer.vocabSize} tokens, the model ${rows}: they do not belong together`,
  );
}

/** The weights of a run at its beginning, or where it was stopped. */
export function startModel(values: RunValues, base: DecoderModel | null, config: NewModel): Start {
  const { model: folder, resume } = values;
  if (values['lora-rank'] !== undefined) return startAdapters(values, base!);
  const model = resume ? ownModel(folder, base) : (base ?? new GPT(config));
  return { model, trained: model, adapters: null };
}

/** What the run has saved: of the class that it started with. */
const ownModel = (folder: string, base: DecoderModel | null): DecoderModel =>
  base === null ? GPT.fromPretrained(folder) : AutoModelForCausalLM.fromPretrained(folder);

function startAdapters(values: RunValues, model: DecoderModel): Start {
  const { model: folder, resume, from } = values;
  const adapters = resume ? loadLora(folder, model) : new Lora(model, loraOptions(values));
  return { model, trained: loraTrainable(model, adapters, { base: from }), adapters };
}

export function loraOptions(values: RunValues) {
  const { 'lora-rank': rank, 'lora-alpha': alpha, 'lora-targets': targets, 'lora-dropout': dropout } = values;
  return {
    ...{ rank, dropout },
    ...(alpha === undefined ? {} : { alpha }),
    ...(targets === undefined ? {} : { targets: targets.split(',').map((name) => name.trim()) }),
  };
}
