"""Proves that what tsgpt saves loads in Hugging Face transformers with equal logits.

Run by hand after `npm run build:ts`: python check-saved.py (torch, transformers). It lets tsgpt save models of every
layout, loads each by AutoModelForCausalLM and compares the logits that tsgpt computed.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

SAVE = """
import { writeFileSync } from 'node:fs';
import { Generator, GPT, Llama, noGrad, randn, add_, tensor } from '%(index)s';
const root = '%(root)s';
const ids = [[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7], [30, 29, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22]];
const gpt = { vocab_size: 31, n_positions: 24, n_embd: 24, n_layer: 2, n_head: 4, initializer_range: 0.2 };
const all = { ...gpt, use_rope: true, use_swiglu: true, use_rmsnorm: true };
const size = { vocab_size: 31, max_position_embeddings: 24, hidden_size: 24, intermediate_size: 40, num_hidden_layers: 2,
  num_attention_heads: 4, num_key_value_heads: 2, initializer_range: 0.2 };
const generator = new Generator(1);
const scaled = (rope_scaling) => new Llama({ ...size, rope_theta: 1000, rope_scaling }, { generator });
const models = {
  'gpt2': new GPT(gpt, { generator }),
  'gpt2 with the explicit mask, untied': new GPT({ ...gpt, use_explicit_mask: true, tie_word_embeddings: false }, { generator }),
  'gpt with all switches': new GPT({ ...all, n_kv_head: 2, bias: false, tie_word_embeddings: false, sliding_window: 3,
    use_explicit_mask: true }, { generator }),
  'gpt as llama': new GPT({ ...all, n_kv_head: 1, bias: false }, { generator }),
  'gpt as llama, biases, llama3 positions': new GPT({ ...all, rope_theta: 500, rope_scaling: { rope_type: 'llama3',
    factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8 } }, { generator }),
  'llama': new Llama({ ...size, attention_bias: true, mlp_bias: true, head_dim: 10 }, { generator }),
  'llama, linear': scaled({ rope_type: 'linear', factor: 2 }),
  'llama, dynamic': scaled({ rope_type: 'dynamic', factor: 2 }),
  'llama, yarn': scaled({ rope_type: 'yarn', factor: 3, original_max_position_embeddings: 8 }),
  'mistral': new Llama({ ...size, model_type: 'mistral', sliding_window: 4 }, { generator }),
  'qwen2': new Llama({ ...size, model_type: 'qwen2', use_sliding_window: true, sliding_window: 4, max_window_layers: 1,
    tie_word_embeddings: true }, { generator }),
};
for (const [name, model] of Object.entries(models)) {
  noGrad(() => model.parameters().forEach((p) => p.rank === 1 && add_(p, randn(p.shape, { std: 0.3, generator }))));
  model.eval().savePretrained(`${root}/${name}`);
  const logits = noGrad(() => model.forward(tensor(ids, { dtype: 'int32' }))).toArray();
  writeFileSync(`${root}/${name}/logits.json`, JSON.stringify({ ids, logits }));
}
"""


def main():
    index = Path(__file__).resolve().parents[2] / "dist" / "src" / "index.js"
    with tempfile.TemporaryDirectory() as root:
        script = SAVE % {"index": index, "root": root}
        subprocess.run(["node", "--input-type=module", "-e", script], check=True)
        for folder in sorted(Path(root).iterdir()):
            model, info = AutoModelForCausalLM.from_pretrained(
                folder, output_loading_info=True, attn_implementation="eager"
            )
            assert not info["missing_keys"] and not info["unexpected_keys"], info
            expected = json.loads((folder / "logits.json").read_text())
            with torch.no_grad():
                logits = model.eval()(torch.tensor(expected["ids"])).logits
            difference = (logits - torch.tensor(expected["logits"])).abs().max().item()
            print(f"{folder.name:45} {type(model).__name__:20} greatest difference {difference:.2e}")
            assert difference < 2e-5


main()
