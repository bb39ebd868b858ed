/** Activations by the names that Hugging Face's configurations give them. */

import type { ActivationName } from '../../lib/index.js';

export const activations = {
  gelu: 'gelu',
  gelu_new: 'geluTanh',
  gelu_pytorch_tanh: 'geluTanh',
  relu: 'relu',
  silu: 'silu',
} as const satisfies Record<string, ActivationName>;

export type Activation = keyof typeof activations;

export const activationNames = Object.keys(activations) as Activation[];
