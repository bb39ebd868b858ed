/** A model and its tokenizer, as the commands that use a trained model open them. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { FileError, setThreads } from '../../lib/index.js';
import type { CausalModel } from '../generation/index.js';
import { GPT, Llama } from '../models/index.js';
import { AutoTokenizer, type Tokenizer } from '../tokenizers/index.js';

/** A model that continues text. */
export type DecoderModel = (GPT | Llama) & Pick<CausalModel, 'generationConfig'>;

export interface Opened {
  readonly model: DecoderModel;
  readonly tokenizer: Tokenizer;
}

/** Opens both and checks that they belong together; says on standard error what is odd about them. */
export function openModel(values: { model: string; tokenizer?: string; threads?: number }): Opened {
  if (values.threads !== undefined) setThreads(values.threads);
  const model = modelClass(values.model).fromPretrained(values.model).eval();
  const tokenizer = AutoTokenizer.fromPretrained(values.tokenizer ?? values.model);
  const { vocab_size: rows } = model.config;
  if (tokenizer.vocabSize > rows) {
    throw new FileError(
      values.tokenizer ?? values.model,
      `its tokenizer has ${tokenizer.vocabSize} tokens, the model in ${values.model} ${rows}: they do not belong together`,
    );
  }
  if (tokenizer.vocabSize < rows) {
    process.stderr.write(
      `note: the tokenizer has ${tokenizer.vocabSize} tokens, the model ${rows}; ` +
        'those that only the model has are never drawn\n',
    );
  }
  return { model, tokenizer };
}

function modelClass(folder: string): typeof GPT | typeof Llama {
  try {
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as { model_type?: unknown };
    return config.model_type === 'gpt2' ? GPT : Llama;
  } catch {
    return GPT; // which says what is wrong
  }
}
