/** `tsgpt merge`: a folder of adapters to a model of its own. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { FileError } from '../../lib/index.js';
import { AutoModel, holdsLora } from '../models/index.js';
import { AutoTokenizer } from '../tokenizers/index.js';
import { checkFree } from '../training/checkpoint.js';
import { formatCount } from './format.js';
import type { MergeValues } from './commands.js';

/** Runs the command and answers its exit code. */
export function merge({ model: folder, out }: MergeValues): number {
  if (!holdsLora(folder)) throw new FileError(folder, 'holds no adapters (adapter_config.json)');
  checkFree(out);
  const model = AutoModel.fromPretrained(folder);
  const tokenizer = existsSync(join(folder, 'tokenizer.json'))
    ? AutoTokenizer.fromPretrained(folder)
    : undefined;
  model.savePretrained(out, { tokenizer });
  process.stderr.write(`${formatCount(model.numParameters())} parameters saved in ${out}\n`);
  return 0;
}
