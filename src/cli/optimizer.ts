/**
 * The optimizer and the schedule that the flags of a training run ask for: names, their own flags, and which flags they have
 * no use for.
 */

import type { Tensor } from '../../lib/index.js';
import { Embedding, type Module } from '../nn/index.js';
import {
  Adafactor,
  Adagrad,
  Adam,
  AdamW,
  Lion,
  Muon,
  RMSprop,
  SGD,
  type NamedSchedule,
  type Optimizer,
  type ParameterGroup,
} from '../training/index.js';
import { UsageError } from './args.js';
import type { TrainValues } from './commands.js';

/** Names for `--optimizer`. */
export type OptimizerName = 'adamw' | 'adam' | 'sgd' | 'adagrad' | 'rmsprop' | 'adafactor' | 'lion' | 'muon';

const adams: readonly OptimizerName[] = ['adamw', 'adam'];

/** Which optimizers a flag is for. */
const uses = {
  beta1: [...adams, 'lion', 'muon'],
  beta2: [...adams, 'lion', 'muon'],
  amsgrad: adams,
  momentum: ['sgd', 'rmsprop', 'muon'],
  nesterov: ['sgd'],
} as const satisfies Partial<Record<keyof TrainValues, readonly OptimizerName[]>>;

/** Which schedule a flag is for. */
const scheduleUses = { cycles: 'cosine-restarts', power: 'polynomial', 'decay-steps': 'wsd' } as const;

/** Those that add the weight decay to the gradient, where as much as for the others would hurt. */
const coupled: readonly string[] = ['adam', 'adagrad', 'rmsprop'];

/**
 * Throws UsageError for flags that the optimizer or the schedule does not have.
 * @param given Names of the flags that were given.
 */
export function checkOptimizerFlags(values: TrainValues, given: ReadonlySet<string>): void {
  for (const [name, optimizers] of Object.entries(uses)) {
    if (!given.has(name) || values[name as keyof typeof uses] === false) continue;
    if ((optimizers as readonly string[]).includes(values.optimizer)) continue;
    throw new UsageError(
      `--${name} is not for --optimizer ${values.optimizer}, only for ${optimizers.join(', ')}`,
    );
  }
  for (const [name, schedule] of Object.entries(scheduleUses)) {
    if (!given.has(name) || values.schedule === schedule) continue;
    throw new UsageError(`--${name} is not for --schedule ${values.schedule}, only for ${schedule}`);
  }
  if (values.nesterov && values.optimizer === 'sgd' && !values.momentum) {
    throw new UsageError('--nesterov needs a --momentum');
  }
}

/** The schedule of a run. */
export function scheduleOf(values: TrainValues): NamedSchedule {
  const type = values.schedule as NamedSchedule['type'];
  switch (type) {
    case 'cosine-restarts':
      return { type, cycles: values.cycles };
    case 'polynomial':
      return { type, power: values.power };
    case 'wsd':
      return values['decay-steps'] === undefined ? { type } : { type, decay: values['decay-steps'] };
    default:
      return { type };
  }
}

/** The weight decay of a run: the flag's, or what the optimizer bears. */
export function weightDecayOf(values: TrainValues): number {
  return values['weight-decay'] ?? (coupled.includes(values.optimizer) ? 0 : 0.1);
}

/**
 * Numbers that the optimizer and the moving average keep of every weight. Adafactor's few count for none; Muon's tables and vectors, which keep
 * one more, for matrices.
 */
export function statesOf(values: TrainValues): number {
  return optimizerStates(values) + (values.ema === undefined ? 0 : 1);
}

function optimizerStates({ optimizer, amsgrad, momentum }: TrainValues): number {
  switch (optimizer as OptimizerName) {
    case 'adamw':
    case 'adam':
      return amsgrad ? 3 : 2;
    case 'sgd':
      return momentum ? 1 : 0;
    case 'rmsprop':
      return momentum ? 2 : 1;
    case 'adafactor':
      return 0;
    case 'adagrad':
    case 'lion':
    case 'muon':
      return 1;
  }
}

/** Makes the optimizer for the Trainer. */
export function optimizerOf(values: TrainValues, model: Module & { readonly headWeight?: Tensor }) {
  const { beta1, beta2, amsgrad, nesterov, momentum } = values;
  const betas = [beta1, beta2] as const;
  return (groups: readonly ParameterGroup[], lr: number): Optimizer => {
    switch (values.optimizer as OptimizerName) {
      case 'adamw':
        return new AdamW(groups, { lr, betas, amsgrad });
      case 'adam':
        return new Adam(groups, { lr, betas, amsgrad });
      case 'sgd':
        return new SGD(groups, { lr, momentum, nesterov });
      case 'adagrad':
        return new Adagrad(groups, { lr });
      case 'rmsprop':
        return new RMSprop(groups, { lr, momentum });
      case 'adafactor':
        return new Adafactor(groups, { lr });
      case 'lion':
        return new Lion(groups, { lr, betas });
      case 'muon': {
        const adamw = [...tables(model), ...(model.headWeight === undefined ? [] : [model.headWeight])];
        return new Muon(groups, { lr, betas, momentum, adjustLr: 'matchRmsAdamW', adamw });
      }
    }
  };
}

/** The weights of all embeddings of a model. */
function* tables(module: Module): Generator<Tensor> {
  if (module instanceof Embedding) yield module.weight;
  for (const [, child] of module.children()) yield* tables(child);
}
