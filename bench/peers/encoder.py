"""BERT's forward pass or training step in PyTorch; the counterpart of bench/models/encoder.ts."""
import statistics
import time

import torch

from bert import Bert
from common import report, seconds_per_call, task, tokens
from gpt import optimizer

B, T = task["batch"], task["time"]
model = Bert.load(task["weights"])
V = model.config["vocab_size"]
ids = tokens(B * T, V).view(B, T)

if task["train"]:
    update = optimizer(model, task["lr"])
    places = torch.arange(0, B * T, 7)
    labels = tokens(2 * B * T, V)[B * T:][places]
    loss_of = torch.compile(model.loss) if task.get("compiled") else model.loss

    def step():
        loss = loss_of(ids, places, labels)
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
    seconds = statistics.median(times)
else:
    model.eval()
    forward = torch.compile(model) if task.get("compiled") else model
    with torch.inference_mode():
        values = forward(ids)[-1, -1, :8].tolist()
        seconds = seconds_per_call(lambda: forward(ids), samples=task["steps"])
report(results={task["name"]: {"seconds": seconds}}, values=values)
