"""BERT's forward pass or training step in PyTorch; the counterpart of bench/models/encoder.ts."""
import torch

from bert import Bert
from common import report, seconds_per_call, task, tokens
from training import compiled, train

B, T = task["batch"], task["time"]
model = Bert.load(task["weights"])
V = model.config["vocab_size"]
ids = tokens(B * T, V).view(B, T)

if task["train"]:
    places = torch.arange(0, B * T, 7)
    labels = tokens(2 * B * T, V)[B * T:][places]
    loss_of = compiled(model.loss)
    values, seconds = train(model, lambda: loss_of(ids, places, labels))
else:
    model.eval()
    forward = compiled(model)
    with torch.inference_mode():
        values = forward(ids)[-1, -1, :8].tolist()
        seconds = seconds_per_call(lambda: forward(ids), samples=task["steps"])
report(results={task["name"]: {"seconds": seconds}}, values=values)
