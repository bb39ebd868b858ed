"""Mean-pooled, normalized embeddings of texts of mixed length in PyTorch, in batches of 32 that are padded to their longest
text: in the order of the texts, or sorted by length first (as sentence-transformers does). The counterpart of
bench/models/embed.ts."""
import torch
import torch.nn.functional as F

from bert import Bert
from common import report, seconds_per_call, task, tokens

model = Bert.load(task["weights"]).eval()
draws = tokens(task["texts"], 120).tolist()
lengths = [8 + u * u // 120 for u in draws]
ids = tokens(sum(lengths), model.config["vocab_size"])
texts = list(ids.split(lengths))


def embed(order):
    out = torch.empty(len(texts), model.config["hidden_size"])
    for i in range(0, len(order), 32):
        places = order[i:i + 32]
        batch = torch.nn.utils.rnn.pad_sequence([texts[p] for p in places], batch_first=True)
        mask = torch.arange(batch.shape[1]) < torch.tensor([lengths[p] for p in places])[:, None]
        hidden = model(batch, mask[:, None, None])
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        out[places] = F.normalize(mean, dim=-1)
    return out


plain = list(range(len(texts)))
by_length = sorted(plain, key=lambda p: lengths[p])
with torch.inference_mode():
    values = embed(plain)[:2, :8].flatten().tolist()
    results = {
        "against plain padding": {"seconds": seconds_per_call(lambda: embed(plain), samples=3)},
        "against padding after sorting": {"seconds": seconds_per_call(lambda: embed(by_length), samples=3)},
    }
report(results=results, values=values)
