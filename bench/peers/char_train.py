"""Trains a character model in PyTorch with the settings of bench/models/char-train.ts and gives its loss over the whole
validation part. With `weights` in the task it only evaluates the model that tsgpt saved there."""
import json
import math
import os
import time

import torch

from common import report, task
from gpt import GPT, optimizer

B, T, STEPS = task["batch"], task["time"], task["steps"]
with open(task["text"], encoding="utf8", newline="") as file:
    text = file.read()
if "weights" in task:
    with open(os.path.join(task["weights"], "tokenizer.json")) as file:
        index = json.load(file)["model"]["vocab"]
    model = GPT.load(task["weights"])
else:
    index = {character: i for i, character in enumerate(sorted(set(text)))}
    torch.manual_seed(task["seed"])
    model = GPT({**task["config"], "vocab_size": len(index)})
ids = torch.tensor([index[character] for character in text])
cut = int(0.9 * len(ids))
train, validation = ids[:cut], ids[cut:]


def batch():
    starts = torch.randint(len(train) - T, (B,)).tolist()
    return torch.stack([train[i:i + T] for i in starts]), torch.stack([train[i + 1:i + T + 1] for i in starts])


def learning_rate(step):
    """Linear warm-up, then a cosine from lr down to minLr."""
    if step < task["warmup"]:
        return task["lr"] * (step + 1) / (task["warmup"] + 1)
    done = (step - task["warmup"]) / (STEPS - task["warmup"])
    return task["minLr"] + 0.5 * (1 + math.cos(math.pi * done)) * (task["lr"] - task["minLr"])


@torch.inference_mode()
def validation_loss():
    count = (len(validation) - 1) // T
    inputs, targets = validation[:count * T].view(count, T), validation[1:count * T + 1].view(count, T)
    total = sum(model.loss(x, y).item() * len(x) for x, y in zip(inputs.split(64), targets.split(64)))
    return total / count


start = time.perf_counter()
if "weights" not in task:
    update = optimizer(model, task["lr"])
    for step in range(STEPS):
        for group in update.param_groups:
            group["lr"] = learning_rate(step)
        model.loss(*batch()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        update.step()
        update.zero_grad(set_to_none=True)
loss = validation_loss()
seconds = time.perf_counter() - start
report(results={task["name"]: {"seconds": seconds, "tokens": B * T * STEPS, "loss": loss}})
