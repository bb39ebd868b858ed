"""Prefill and greedy decoding at batch 1 with a KV cache in PyTorch; the counterpart of bench/models/decode.ts."""
import statistics
import time

import torch

from common import report, task, tokens
from gpt import GPT

dtype = task.get("dtype", "float32")
model = GPT.load(task["weights"]).eval().to(getattr(torch, dtype))
prompt = tokens(task["prompt"], model.config["vocab_size"]).view(1, -1)
caches = model.caches(max(task["prompt"], 1 + task["new"]))


def last_logits(ids, past):
    return model.logits(model(ids, caches, past)[:, -1])


with torch.inference_mode():
    values = last_logits(prompt, 0)[0, :8].tolist()
    prefills = []
    for _ in range(task["prefills"]):
        start = time.perf_counter()
        last_logits(prompt, 0)
        prefills.append(time.perf_counter() - start)

    token, chosen = prompt[:, :1], []
    for i in range(task["new"] + 1):
        if i == 1:
            start = time.perf_counter()
        token = last_logits(token, i).argmax(-1, keepdim=True)
        chosen.append(token.item())
    decode = time.perf_counter() - start
report(
    results={
        f"{dtype} prefill {task['prompt']}": {"seconds": statistics.median(prefills)},
        f"{dtype} decode {task['new']}": {"seconds": decode},
    },
    values=values + chosen[:16] if dtype == "float32" else values,
)
