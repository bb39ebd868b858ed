/** A model and its tokenizer, as the commands that use a trained model open them. */

import { FileError, setThreads } from '../../lib/index.js';
import { AutoModel, type DecoderModel } from '../models/index.js';
import { AutoTokenizer, type Tokenizer } from '../tokenizers/index.js';

export interface Opened {
  readonly model: DecoderModel;
  readonly tokenizer: Tokenizer;
}

/** Opens both and checks that they belong together; says on standard error what is odd about them. */
export function openModel(values: { model: string; tokenizer?: string; threads?: number }): Opened {
  if (values.threads !== undefined) setThreads(values.threads);
  const model = AutoModel.fromPretrained(values.model);
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
