/**
 * LoRA adapters on disk, in the layout of Hugging Face's PEFT: adapter_config.json and adapter_model.safetensors, whose
 * names are `base_model.model.`, the layer's name in Hugging Face's class, and `.lora_A.weight` or `.lora_B.weight`. The
 * model that they belong to is named by its path, and stays where it is.
 */

import { existsSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';

import { replaceFiles } from '../../lib/formats/atomic-file.js';
import { readJsonObject } from '../../lib/formats/json-file.js';
import {
  checkOptions,
  ConfigError,
  copy_,
  FileError,
  formatShape,
  noGrad,
  openSafetensors,
  sameShape,
  saveSafetensors,
  scope,
  StateDictError,
  type Tensor,
  writeFileAtomic,
} from '../../lib/index.js';
import { Lora, type LoraOptions, type Module, type Recompute } from '../nn/index.js';
import { GPT } from './gpt.js';
import { Llama } from './llama.js';
import type { DecoderOptions } from './placement.js';

const configName = 'adapter_config.json';
const weightsName = 'adapter_model.safetensors';
const filePrefix = 'base_model.model.';

/** Options of {@link saveLora}. */
export interface SaveLoraOptions {
  /** The folder of the model that the adapters belong to, made absolute; whoever loads them looks for it there. */
  readonly base?: string;
  /** PEFT's word for what the model does: 'CAUSAL_LM', 'SEQ_2_SEQ_LM', 'SEQ_CLS', 'TOKEN_CLS', 'QUESTION_ANS'. */
  readonly task?: string;
  /** Saved beside the adapters. */
  readonly tokenizer?: { save(path: string): void };
}

/** What Hugging Face's class puts before the names of our module. */
function prefixOf(model: Module): string {
  if (model instanceof GPT) return 'transformer.';
  return model instanceof Llama ? 'model.' : '';
}

/** Our classes whose names say what PEFT calls their task. */
const tasks: readonly (readonly [RegExp, string])[] = [
  [/^(GPT|Llama)$/, 'CAUSAL_LM'],
  [/^T5$/, 'SEQ_2_SEQ_LM'],
  [/ForSequenceClassification$/, 'SEQ_CLS'],
  [/ForTokenClassification$/, 'TOKEN_CLS'],
  [/ForQuestionAnswering$/, 'QUESTION_ANS'],
];

/**
 * Writes a folder that PEFT's `PeftModel.from_pretrained(base, folder)` loads. Its files change together.
 *
 * @throws ConfigError for a GPT that is saved in another model's layout.
 */
export function saveLora(folder: string, model: Module, lora: Lora, options: SaveLoraOptions = {}): void {
  checkOptions('saveLora', options, ['base', 'task', 'tokenizer']);
  if (model instanceof GPT && model.config.use_rope) {
    throw new ConfigError(
      'saveLora: adapters of a GPT with rotary positions have no names elsewhere; load its folder with AutoModel, as a Llama',
    );
  }
  const { base, tokenizer, task = tasks.find(([name]) => name.test(model.constructor.name))?.[1] } = options;
  const { rank, alpha, targets, dropout, modulesToSave } = lora.options;
  const config = {
    peft_type: 'LORA',
    task_type: task ?? null,
    base_model_name_or_path: base === undefined ? null : resolve(base),
    r: rank,
    lora_alpha: alpha,
    lora_dropout: dropout,
    target_modules: targets,
    modules_to_save: modulesToSave.length === 0 ? null : modulesToSave,
    fan_in_fan_out: lora.transposed ?? false,
    bias: 'none',
    use_rslora: false,
    use_dora: false,
    init_lora_weights: true,
    inference_mode: true,
  };
  const prefix = filePrefix + prefixOf(model);
  const tensors = new Map([...lora.stateDict()].map(([name, t]) => [prefix + name, t]));
  replaceFiles(folder, (staging) => {
    saveSafetensors(join(staging, weightsName), tensors, { format: 'pt' });
    writeFileAtomic(join(staging, configName), `${JSON.stringify(config, null, 2)}\n`);
    tokenizer?.save(join(staging, 'tokenizer.json'));
  });
}

/**
 * A model with adapters as the Trainer wants it: what is trained is the adapters, and what is saved is their folder.
 *
 * @example
 * new Trainer({ model: loraTrainable(model, lora, { base: 'gpt2' }), train, batchSize: 4, sequenceLength: 256, steps: 500 });
 */
export function loraTrainable(model: GPT | Llama, lora: Lora, options: SaveLoraOptions = {}) {
  return {
    forward: (ids: Tensor, more?: DecoderOptions): Tensor => model.forward(ids, more),
    hidden: (ids: Tensor, more?: DecoderOptions): Tensor => model.hidden(ids, more),
    headWeight: model.headWeight,
    parameters: (): Tensor[] => lora.parameters(),
    namedParameters: (): [string, Tensor][] => [...lora.stateDict()],
    train: (mode?: boolean): unknown => model.train(mode),
    setRecompute: (choice: Recompute): unknown => model.setRecompute(choice),
    savePretrained: (folder: string): void => saveLora(folder, model, lora, options),
  };
}

/** Whether a folder holds adapters. */
export const holdsLora = (folder: string): boolean => existsSync(join(folder, configName));

/** The folder of the model that a folder's adapters belong to; one that is not absolute is beside the adapters. */
export function loraBase(folder: string): string {
  const { base_model_name_or_path: base } = readJsonObject(join(folder, configName));
  if (typeof base !== 'string') {
    throw new ConfigError(
      `${join(folder, configName)}: base_model_name_or_path must name the model's folder`,
    );
  }
  const path = isAbsolute(base) ? base : resolve(folder, base);
  if (existsSync(path)) return path;
  throw new FileError(
    path,
    `is the model that the adapters in ${folder} belong to, and is not there; write where it is into ${configName}`,
  );
}

/**
 * Attaches the adapters in a folder that PEFT or {@link saveLora} wrote to the model that they belong to, ready to be used,
 * trained on or merged.
 *
 * @throws FileError, ConfigError or StateDictError naming what does not fit; the model is as before then.
 */
export function loadLora(folder: string, model: Module, options: Pick<LoraOptions, 'generator'> = {}): Lora {
  checkOptions('loadLora', options, ['generator']);
  using file = openSafetensors(join(folder, weightsName));
  const settings = settingsOf(join(folder, configName));
  const prefix = filePrefix + prefixOf(model);
  const names = new Map(
    file.names().map((name) => [name.startsWith(prefix) ? name.slice(prefix.length) : name, name]),
  );
  const layers = [...names.keys()].flatMap((name) => /^(.*)\.lora_A\.weight$/.exec(name)?.[1] ?? []);
  const lora = new Lora(model, { ...settings, targets: settings.targets ?? layers, ...options });
  try {
    fill(lora, folder, (name) => (names.has(name) ? file.tensor(names.get(name)!) : null), [...names.keys()]);
  } catch (error) {
    lora.detach();
    throw error;
  }
  return lora;
}

function fill(lora: Lora, folder: string, read: (name: string) => Tensor | null, given: string[]): void {
  const own = lora.stateDict();
  const unexpected = given.find((name) => !own.has(name));
  if (unexpected !== undefined) {
    throw new StateDictError(
      `${folder}: the model has no place for ${unexpected}; do the adapters belong to it?`,
    );
  }
  noGrad(() =>
    scope(() => {
      for (const [name, parameter] of own) {
        const saved = read(name);
        if (saved === null) throw new StateDictError(`${folder}: ${name} is missing`);
        if (!sameShape(saved.shape, parameter.shape)) {
          throw new StateDictError(
            `${folder}: ${name} is ${formatShape(saved.shape)}, the model needs ${formatShape(parameter.shape)}; ` +
              'do the adapters belong to it?',
          );
        }
        copy_(parameter, saved);
      }
    }),
  );
}

/** The settings of adapter_config.json. What changes the computation and is not known is refused. */
function settingsOf(
  path: string,
): Required<Omit<LoraOptions, 'generator' | 'targets'>> & { targets: string[] | null } {
  const config = readJsonObject(path);
  const { peft_type: type, r, lora_alpha: alpha, lora_dropout: dropout = 0, modules_to_save: whole } = config;
  if (type !== 'LORA')
    throw new ConfigError(`${path}: peft_type is ${JSON.stringify(type)}, only LORA is known`);
  const plain = { use_dora: false, bias: 'none', lora_bias: false, rank_pattern: {}, alpha_pattern: {} };
  for (const [key, value] of Object.entries(plain)) {
    const given = config[key] ?? value;
    if (JSON.stringify(given) === JSON.stringify(value)) continue;
    throw new ConfigError(
      `${path}: ${key} is ${JSON.stringify(given)}, only ${JSON.stringify(value)} is known`,
    );
  }
  if (typeof r !== 'number' || typeof alpha !== 'number' || typeof dropout !== 'number') {
    throw new ConfigError(`${path}: r, lora_alpha and lora_dropout must be numbers`);
  }
  const modulesToSave = Array.isArray(whole) ? whole.map(String) : [];
  const { target_modules: named } = config; // else an expression: the names of the tensors say it too
  const targets = Array.isArray(named) ? named.map(String) : null;
  // rsLoRA divides alpha by the root of the rank.
  return {
    rank: r,
    alpha: config.use_rslora === true ? alpha * Math.sqrt(r) : alpha,
    dropout,
    modulesToSave,
    targets,
  };
}
