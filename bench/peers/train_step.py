"""A training step of a GPT in PyTorch; the counterpart of bench/models/train-step.ts."""
import torch

from common import report, task, tokens
from gpt import GPT
from training import compiled, train

B, T = task["batch"], task["time"]
model = GPT.load(task["weights"]) if "weights" in task else GPT(task["config"])
ids = tokens(B * T + 1, task["config"]["vocab_size"])
inputs, targets = ids[:-1].view(B, T), ids[1:].view(B, T)
loss_of = compiled(model.loss)
half = task.get("dtype") == "bfloat16"


def loss():
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        return loss_of(inputs, targets)


values, seconds = train(model, loss)
report(results={task["name"]: {"seconds": seconds}}, values=values)
