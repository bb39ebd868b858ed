"""Training steps in PyTorch (forward, backward, clipping, AdamW); the counterpart of bench/models/training.ts."""
import statistics
import time

import torch

from common import task
from gpt import optimizer


def train(model, loss_of):
    """The losses of the first three steps, and the median seconds of those after them."""
    update = optimizer(model, task["lr"])

    def step():
        loss = loss_of()
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
    return values, statistics.median(times)


def compiled(loss):
    return torch.compile(loss) if task.get("compiled") else loss
