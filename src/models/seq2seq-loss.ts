/** Teacher forcing: what the decoder of an encoder-decoder reads in training, and the loss of what it then says. */

import {
  ArgumentError,
  DTypeError,
  formatShape,
  linearCrossEntropy,
  scope,
  ShapeError,
  type Tensor,
  tensor,
} from '../../lib/index.js';
import { checkTensor } from '../../lib/tensor.js';
import { type T5 } from './t5.js';

/**
 * The decoder's input for these labels: moved one place to the right behind the start token, so that each position says the
 * label that comes next. Labels of -100, which are padding, become the padding token.
 *
 * @param labels (B, T) int32
 * @returns (B, T) int32
 */
export function shiftRight(
  labels: Tensor,
  config: { readonly decoder_start_token_id: number | null; readonly pad_token_id: number | null },
): Tensor {
  checkTensor('shiftRight', labels);
  if (labels.dtype !== 'int32') throw new DTypeError(`shiftRight: labels must be int32, got ${labels.dtype}`);
  if (labels.rank !== 2 || labels.size === 0) {
    throw new ShapeError(
      `shiftRight: labels must be (B, T) with T at least 1, got ${formatShape(labels.shape)}`,
    );
  }
  const { decoder_start_token_id: start, pad_token_id: pad } = config;
  if (start === null || pad === null) {
    throw new ArgumentError(
      `shiftRight: the configuration must have decoder_start_token_id and pad_token_id, got ${start} and ${pad}`,
    );
  }
  const [B, T] = labels.shape;
  const ids = new Int32Array(B * T);
  for (let i = 0; i < ids.length; i++) {
    const before = i % T === 0 ? start : labels.data[i - 1];
    ids[i] = before === -100 ? pad : before;
  }
  return tensor(ids, { shape: [B, T] });
}

/**
 * Mean cross-entropy of the labels, given the text they belong to. Never holds all logits.
 *
 * @param ids (B, S) int32, the text that is read
 * @param labels (B, T) int32, the text to write, `</s>` last; -100 where it is padded
 * @param options.attentionMask (B, S) bool, of `ids`
 * @throws IndexError for a label outside the vocabulary.
 */
export function seq2seqLoss(
  model: T5,
  ids: Tensor,
  labels: Tensor,
  options: { attentionMask?: Tensor } = {},
): Tensor {
  const decoderIds = shiftRight(labels, model.config);
  return scope(() => {
    const encoderOutput = model.encode(ids, { ...options, skipPadding: true });
    const hidden = model.hidden(decoderIds, { encoderOutput, encoderMask: options.attentionMask });
    return linearCrossEntropy(hidden, model.headWeight, labels);
  });
}
