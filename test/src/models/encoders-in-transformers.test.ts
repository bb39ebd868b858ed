/** What tsgpt saves of BERT, RoBERTa, DistilBERT and T5 loads in Hugging Face's transformers unchanged, with equal outputs. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  add_,
  BertForMaskedLM,
  BertForPreTraining,
  BertForQuestionAnswering,
  BertForSequenceClassification,
  BertForTokenClassification,
  BertModel,
  DistilBertForMaskedLM,
  DistilBertForQuestionAnswering,
  DistilBertForSequenceClassification,
  DistilBertForTokenClassification,
  DistilBertModel,
  Generator,
  type Module,
  noGrad,
  randn,
  RobertaForMaskedLM,
  RobertaForQuestionAnswering,
  RobertaForSequenceClassification,
  RobertaForTokenClassification,
  RobertaModel,
  T5,
  Tensor,
} from '../../../src/index.js';
import { bool, int32 } from '../../support/encoders.js';
import { expectClose } from '../../support/golden.js';
import { pythonWith, runPython } from '../../support/python.js';

const python = pythonWith('torch', 'transformers');
const folder = mkdtempSync(join(tmpdir(), 'tsgpt-transformers-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Loads each folder by the class its configuration names, and prints all outputs that are tensors. */
const program = `
import json, sys, torch, transformers
torch.set_grad_enabled(False)
results = {}
for folder in sys.argv[1:]:
    with open(folder + "/config.json") as file:
        kind = getattr(transformers, json.load(file)["architectures"][0])
    model, info = kind.from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
    problems = [str(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]]
    ids = torch.tensor([[3, 8, 15, 9, 26, 5], [4, 28, 7, 1, 1, 1]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
    decoder = {"decoder_input_ids": torch.tensor([[0, 5, 6], [0, 7, 9]])} if "T5" in kind.__name__ else {}
    out = model.eval()(input_ids=ids, attention_mask=mask, **decoder)
    names = ["prediction_logits", "seq_relationship_logits", "start_logits", "end_logits", "logits",
      "last_hidden_state", "pooler_output"]
    first = [n for n in names if getattr(out, n, None) is not None]
    results[folder] = {"problems": problems, "outputs": [getattr(out, n).tolist() for n in first if n != "encoder_last_hidden_state"]}
print(json.dumps(results))
`;

const ids = int32([[3, 8, 15, 9, 26, 5], [4, 28, 7, 1, 1, 1]]); // prettier-ignore
const attentionMask = bool([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]); // prettier-ignore

const generator = new Generator(5);
const options = { generator };
const bert = {
  vocab_size: 31,
  hidden_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  intermediate_size: 20,
  max_position_embeddings: 16,
  initializer_range: 0.3,
};
const roberta = { ...bert, type_vocab_size: 1, layer_norm_eps: 1e-5 };
const distilbert = {
  vocab_size: 31,
  dim: 12,
  n_layers: 2,
  n_heads: 3,
  hidden_dim: 20,
  max_position_embeddings: 16,
  initializer_range: 0.3,
};
const t5 = { vocab_size: 31, d_model: 12, d_kv: 5, d_ff: 20, num_layers: 2, num_heads: 3 };
const labels = { id2label: { 0: 'no', 1: 'yes', 2: 'perhaps' } };

interface Saved extends Module {
  savePretrained(folder: string): void;
}

/** Our outputs, in the order in which the program prints them. */
const forward = (model: Saved): Tensor[] => {
  if (model instanceof T5) {
    const encoderOutput = model.encode(ids, { attentionMask });
    return [model.forward(int32([[0, 5, 6], [0, 7, 9]]), { encoderOutput, encoderMask: attentionMask })]; // prettier-ignore
  }
  const encoder = model as unknown as {
    forward(ids: Tensor, options: object): Tensor | Record<string, Tensor>;
  };
  const out = encoder.forward(ids, { attentionMask });
  if (!(out instanceof Tensor)) return Object.values(out);
  return model instanceof BertModel || model instanceof RobertaModel ? [out, model.pool(out)] : [out];
};

const models: Saved[] = [
  new BertModel(bert, options),
  new BertForPreTraining(bert, options),
  new BertForMaskedLM(bert, options),
  new BertForMaskedLM({ ...bert, tie_word_embeddings: false }, options),
  new BertForSequenceClassification({ ...bert, ...labels }, options),
  new BertForTokenClassification({ ...bert, ...labels }, options),
  new BertForQuestionAnswering(bert, options),
  new RobertaModel(roberta, options),
  new RobertaForMaskedLM(roberta, options),
  new RobertaForSequenceClassification({ ...roberta, ...labels }, options),
  new RobertaForTokenClassification({ ...roberta, ...labels }, options),
  new RobertaForQuestionAnswering(roberta, options),
  new DistilBertModel(distilbert, options),
  new DistilBertForMaskedLM(distilbert, options),
  new DistilBertForSequenceClassification({ ...distilbert, ...labels }, options),
  new DistilBertForTokenClassification({ ...distilbert, ...labels }, options),
  new DistilBertForQuestionAnswering(distilbert, options),
  new T5(t5, options),
  new T5({ ...t5, feed_forward_proj: 'gated-gelu', tie_word_embeddings: false }, options),
];

describe.skipIf(python === null)('saved models in transformers', () => {
  it('load without a key too few or too many, and say the same', { timeout: 180_000 }, () => {
    const folders = models.map((model, i) => join(folder, `${i}-${model.constructor.name}`));
    noGrad(() => {
      for (const [i, model] of models.entries()) {
        // Biases and norms that are not those of the beginning.
        for (const p of model.parameters())
          if (p.rank === 1) add_(p, randn(p.shape, { std: 0.3, generator }));
        model.eval();
        model.savePretrained(folders[i]);
      }
    });
    type Results = Record<string, { problems: string[]; outputs: number[][][] }>;
    const results = runPython<Results>(python!, program, ...folders);
    for (const [i, model] of models.entries()) {
      const { problems, outputs } = results[folders[i]];
      expect(problems, folders[i]).toEqual([]);
      const own = noGrad(() => forward(model));
      expect(own.length, folders[i]).toBe(outputs.length);
      own.forEach((tensor, n) => expectClose(tensor, outputs[n], { atol: 2e-5, rtol: 2e-5 }, folders[i]));
    }
  });
});
