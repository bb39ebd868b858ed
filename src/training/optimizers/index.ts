/** The optimizers, a file for each family. */

export { Adafactor, type AdafactorOptions } from './adafactor.js';
export { Adam, AdamW, type AdamOptions, type AdamWOptions } from './adam.js';
export { Adagrad, RMSprop, type AdagradOptions, type RMSpropOptions } from './adaptive.js';
export { Lion, type LionOptions } from './lion.js';
export { Muon, type MuonOptions } from './muon.js';
export {
  decayGroups,
  Optimizer,
  type OptimizerOptions,
  type ParameterGroup,
  type Parameters,
  type Settings,
} from './optimizer.js';
export { SGD, type SGDOptions } from './sgd.js';
