/** Any model that this package knows, by the `model_type` of its configuration (GGUF: `general.architecture`). */

import { ConfigError, didYouMean } from '../../lib/index.js';
import { openCheckpoint, type Checkpoint } from './checkpoint.js';
import { ownType } from './gpt-config.js';
import { GPT } from './gpt.js';
import { modelTypes } from './llama-config.js';
import { Llama } from './llama.js';
import { holdsLora, loadLora, loraBase } from './lora-files.js';
import type { LoadModelOptions } from './pretrained.js';

/** The decoders: models that continue text. */
export type DecoderModel = GPT | Llama;

interface Family {
  fromPretrained(source: string | Checkpoint, options?: LoadModelOptions): DecoderModel;
}

const families: Readonly<Record<string, Family>> = {
  gpt2: GPT,
  [ownType]: GPT,
  ...Object.fromEntries(modelTypes.map((type) => [type, Llama])),
};

/** Loads a model without being told its class. */
export const AutoModel = {
  /** The values of `model_type` that are known. */
  modelTypes: Object.keys(families) as readonly string[],

  /**
   * The model in a folder of Hugging Face's layout, or in a GGUF file, in evaluation mode. A folder of adapters (LoRA) gives
   * the model that they belong to with them added.
   *
   * @param source The folder or file.
   * @param options.dtype What matrices and tables are kept in; the file's own width by default.
   * @throws ConfigError for a type that is not known; FileError, ConfigError or StateDictError naming what does not fit.
   * @example
   * const model = AutoModel.fromPretrained('SmolLM2-135M', { dtype: 'bfloat16' });
   */
  fromPretrained(source: string, options: LoadModelOptions = {}): DecoderModel {
    if (holdsLora(source)) {
      const model = AutoModel.fromPretrained(loraBase(source), options);
      loadLora(source, model).merge();
      return model;
    }
    const checkpoint = openCheckpoint(source);
    return familyOf(checkpoint).fromPretrained(checkpoint, options);
  },
};

function familyOf({ path, config }: Checkpoint): Family {
  const { model_type: type } = config;
  if (typeof type === 'string' && Object.hasOwn(families, type)) return families[type];
  const hint = typeof type === 'string' ? didYouMean(type, AutoModel.modelTypes) : '';
  throw new ConfigError(
    `${path}: model_type is ${JSON.stringify(type)}, known are ${AutoModel.modelTypes.join(', ')}${hint}`,
  );
}
