"""Records what Hugging Face transformers computes with tiny Llamas, Mistrals and Qwen2s of random weights.

Run by hand: python record-llama.py FOLDER (torch, transformers). The folders it writes are read by
test/src/models/llama.test.ts. Biases and norms are drawn at random too: as initialized they would hide mistakes.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

SIZES = dict(
    vocab_size=67,
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=32,
    bos_token_id=1,
    eos_token_id=2,
    attn_implementation="eager",
)


def build(cls, config, seed):
    torch.manual_seed(seed)
    model = cls(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.randn_like(p) * 0.3 + (1 if "norm" in name else 0))
    model.generation_config.eos_token_id = None
    return model


def rounded(tensor):
    return [rounded(t) for t in tensor] if tensor.dim() > 0 else float(f"{tensor.item():.8g}")


def record(folder, model):
    ids = torch.randint(3, 67, (2, 14))
    logits = model(ids).logits
    loss = model(ids, labels=ids).loss
    loss.backward()
    grads = {name: float(f"{p.grad.norm().item():.8g}") for name, p in model.named_parameters()}
    greedy = model.generate(ids[:1, :4], max_new_tokens=20, do_sample=False, pad_token_id=0)
    mask = torch.ones(2, 14, dtype=torch.long)
    mask[0, :5] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    padded = model(ids, attention_mask=mask, position_ids=positions).logits[:, -1]
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    expected = {
        "input_ids": ids.tolist(),
        "logits": rounded(logits),
        "loss": float(f"{loss.item():.8g}"),
        "grad_norms": grads,
        "greedy": greedy[0].tolist(),
        "padded": {"attention_mask": mask.tolist(), "logits_last": rounded(padded)},
    }
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")


def record_rope(folder):
    """One model under every scaling of the rotary positions, within and beyond its context."""
    original = dict(original_max_position_embeddings=16)
    scalings = [
        dict(rope_type="default"),
        dict(rope_type="linear", factor=2.5),
        dict(rope_type="dynamic", factor=2.0),
        dict(rope_type="yarn", factor=4.0, **original),
        dict(rope_type="yarn", factor=4.0, beta_fast=8.0, beta_slow=2.0, truncate=False, **original),
        dict(rope_type="yarn", factor=4.0, attention_factor=0.8, **original),
        dict(rope_type="yarn", factor=8.0, mscale=0.7, mscale_all_dim=1.3, **original),
        dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, **original),
    ]
    # Heads of 16: enough pairs for the ramps between scaled and unscaled frequencies.
    sizes = {**SIZES, "head_dim": 16}
    first = build(LlamaForCausalLM, LlamaConfig(**sizes), 4)
    first.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    ids = torch.randint(3, 67, (1, 48))
    cases = []
    for scaling in scalings:
        model = LlamaForCausalLM(LlamaConfig(**sizes, rope_parameters=dict(rope_theta=1000.0, **scaling))).eval()
        model.load_state_dict(first.state_dict())
        lengths = [20, 48] if scaling["rope_type"] == "dynamic" else [20]
        cases += [
            dict(rope_parameters=dict(rope_theta=1000.0, **scaling), length=n, logits_last=rounded(model(ids[:, :n]).logits[0, -1]))
            for n in lengths
        ]
    (folder / "expected.json").write_text(json.dumps({"input_ids": ids.tolist(), "cases": cases}) + "\n")


def main():
    root = Path(sys.argv[1])
    bias = LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True, head_dim=8)
    mistral = MistralConfig(**SIZES, sliding_window=6, head_dim=10)
    qwen2 = Qwen2Config(
        **SIZES, use_sliding_window=True, sliding_window=5, max_window_layers=1, tie_word_embeddings=True
    )
    record(root / "hf-llama-bias", build(LlamaForCausalLM, bias, 1))
    record(root / "hf-mistral", build(MistralForCausalLM, mistral, 2))
    record(root / "hf-qwen2", build(Qwen2ForCausalLM, qwen2, 3))
    record_rope(root / "hf-llama-rope")


main()
