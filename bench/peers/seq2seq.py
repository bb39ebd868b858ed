"""T5's training step, or its cached greedy decoding, in PyTorch; the counterpart of bench/models/seq2seq.ts."""
import statistics
import time

import torch

from common import report, task, tokens
from t5 import T5
from training import compiled, train

B, S, T = task["batch"], task["source"], task["target"]
model = T5.load(task["weights"])
V = model.config["vocab_size"]
ids = tokens(B * (S + T), V)
source, labels = ids[:B * S].view(B, S), ids[B * S:].view(B, T)

if task["train"]:
    decoder_ids = torch.cat([torch.zeros(B, 1, dtype=torch.long), labels[:, :-1]], 1)
    loss_of = compiled(model.loss)
    values, seconds = train(model, lambda: loss_of(source, decoder_ids, labels))
else:
    model.eval()

    def decode():
        """The tokens of all rows, and the seconds for those after the first."""
        sources = model.sources(model.encoder(model.shared(source)))
        caches = model.caches(B, T + 1)
        token, chosen = torch.zeros(B, 1, dtype=torch.long), []
        for i in range(T + 1):
            if i == 1:
                start = time.perf_counter()
            hidden = model.decoder(model.shared(token), sources, caches, i)
            token = model.logits(hidden[:, -1]).argmax(-1, keepdim=True)
            chosen.append(token[0].item())
        return chosen, time.perf_counter() - start

    with torch.inference_mode():
        chosen, _ = decode()
        values = chosen[:16]
        seconds = statistics.median(decode()[1] for _ in range(task["steps"]))
report(results={task["name"]: {"seconds": seconds}}, values=values)
