/** Activations by the names that Hugging Face's configurations give them. */

import { gelu, relu, silu, type Tensor } from '../../lib/index.js';

const tanhGelu = (x: Tensor): Tensor => gelu(x, { approximate: 'tanh' });

export const activations = {
  gelu: (x: Tensor): Tensor => gelu(x),
  gelu_new: tanhGelu,
  gelu_pytorch_tanh: tanhGelu,
  relu,
  silu,
};

export type Activation = keyof typeof activations;

export const activationNames = Object.keys(activations) as Activation[];
