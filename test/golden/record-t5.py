"""Records what Hugging Face transformers computes with tiny T5s of random weights, beside those of ../shared/data.

Run by hand: python record-t5.py FOLDER (torch, transformers). What it writes is read by test/src/models/t5.test.ts: a
gated T5 with SiLU whose decoder is deeper than its encoder and whose heads are wider than the model, one with exact GELU and
a decoder of one layer, and the buckets of relative positions under many rules.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention


def number(x):
    return float(f"{x:.8g}")


def rounded(tensor):
    return [rounded(t) for t in tensor] if tensor.dim() > 0 else number(tensor.item())


def record(folder, seed, **more):
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=61, d_model=16, d_ff=24, dropout_rate=0.0, decoder_start_token_id=0, attn_implementation="eager", **more
    )
    model = T5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.randn_like(p) * (0.2 if "shared" not in name else 1) + (1 if "norm" in name else 0))
    ids = torch.randint(2, 61, (2, 24))
    mask = torch.ones(2, 24, dtype=torch.long)
    mask[1, 17:] = 0
    ids[mask == 0] = 0
    labels = torch.randint(2, 61, (2, 9))
    labels[1, 6:] = -100
    out = model(input_ids=ids, attention_mask=mask, labels=labels, output_attentions=True)
    out.loss.backward()
    greedy = model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=16, do_sample=False, use_cache=False
    )
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    expected = {
        "input_ids": ids.tolist(),
        "attention_mask": mask.tolist(),
        "labels": labels.tolist(),
        "decoder_input_ids": model._shift_right(labels).tolist(),
        "loss": number(out.loss.item()),
        "logits": rounded(out.logits),
        "encoder_last_hidden_state": rounded(out.encoder_last_hidden_state),
        "attention_layer0_seq1": rounded(out.encoder_attentions[0][1]),
        "cross_attention_layer0_seq1": rounded(out.cross_attentions[0][1]),
        "grad_of_loss": {
            name: dict(norm=number(p.grad.norm().item()), first4=rounded(p.grad.flatten()[:4]))
            for name, p in model.named_parameters()
        },
        "greedy_16": {"sequences": greedy.tolist()},
    }
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")


def buckets(path):
    rules = []
    distances = torch.arange(-1000, 1001)
    for bidirectional in (True, False):
        for count in (4, 8, 16, 32, 64):
            for furthest in (40, 100, 128, 256, 1000):
                of = T5Attention._relative_position_bucket(distances, bidirectional, count, furthest).tolist()
                changes = [(d, b) for i, (d, b) in enumerate(zip(distances.tolist(), of)) if i == 0 or of[i - 1] != b]
                rules.append(
                    dict(bidirectional=bidirectional, buckets=count, maxDistance=furthest, firstOfBucket=changes)
                )
    path.write_text(json.dumps(rules) + "\n")


def main():
    root = Path(sys.argv[1])
    record(
        root / "hf-t5-gated-silu-deep", 1, d_kv=7, num_heads=5, num_layers=1, num_decoder_layers=3,
        feed_forward_proj="gated-silu", tie_word_embeddings=False,
        relative_attention_num_buckets=8, relative_attention_max_distance=12,
    )  # fmt: skip
    record(
        root / "hf-t5-gelu-shallow", 2, d_kv=3, num_heads=4, num_layers=2, num_decoder_layers=1, feed_forward_proj="gelu"
    )
    buckets(root / "t5-buckets.json")


main()
