"""A training step (forward, backward, clipping, AdamW) in PyTorch; the counterpart of bench/models/train-step.ts."""
import statistics
import time

import torch

from common import report, task, tokens
from gpt import GPT, optimizer

B, T = task["batch"], task["time"]
model = GPT.load(task["weights"]) if "weights" in task else GPT(task["config"])
update = optimizer(model, task["lr"])
ids = tokens(B * T + 1, task["config"]["vocab_size"])
inputs, targets = ids[:-1].view(B, T), ids[1:].view(B, T)
loss_of = torch.compile(model.loss) if task.get("compiled") else model.loss


half = task.get("dtype") == "bfloat16"


def step():
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        loss = loss_of(inputs, targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    update.step()
    update.zero_grad(set_to_none=True)
    return loss.item()


values = [step() for _ in range(3)]
times, end = [], time.perf_counter() + task["seconds"]
while len(times) < task["steps"] or time.perf_counter() < end:
    start = time.perf_counter()
    step()
    times.append(time.perf_counter() - start)
report(results={task["name"]: {"seconds": statistics.median(times)}}, values=values)
