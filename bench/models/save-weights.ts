/** Writes a model with random weights, for all contenders to start from. */

import { Generator } from '../../lib/index.js';
import { GPT, type GPTConfig } from '../../src/models/index.js';
import { readTask, report } from '../measure.js';

const task = readTask() as { config: Partial<GPTConfig>; folder: string };
new GPT(task.config, { generator: new Generator(1) }).savePretrained(task.folder);
report({});
