# A tiny Qwen2 with biases, saved in bfloat16 and in shards by transformers, and what it computes in float32.
# Run: python record-qwen2-shards.py (transformers 5.24.0, PyTorch 2.13 on CPU made the files here)
import json
import os

import torch
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hf-qwen2-shards")
torch.manual_seed(5)
config = Qwen2Config(
    vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=64, rope_theta=1e6, tie_word_embeddings=False,
    bos_token_id=None, eos_token_id=7, initializer_range=0.2,
)
model = Qwen2ForCausalLM(config)
with torch.no_grad():
    for name, p in model.named_parameters():
        if p.dim() == 1:
            p.add_(torch.randn_like(p) * 0.3)
model = model.to(torch.bfloat16)
model.generation_config = GenerationConfig(eos_token_id=[7, 9], pad_token_id=7, do_sample=True, temperature=0.7, top_k=20)
model.save_pretrained(folder, max_shard_size="20KB")

# Loaded again, as a conversion in place would keep the rotary frequencies rounded to bfloat16.
model = Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
ids = torch.randint(0, 96, (2, 12))
with torch.no_grad():
    logits = model(ids).logits
    greedy = model.generate(ids[:1, :5], max_new_tokens=10, do_sample=False, eos_token_id=None, pad_token_id=7, temperature=None, top_k=None)
json.dump(
    {"input_ids": ids.tolist(), "logits": [[[float(f"{x:.8g}") for x in row] for row in seq] for seq in logits.tolist()],
     "greedy_10": greedy.tolist()},
    open(os.path.join(folder, "expected.json"), "w"),
)
