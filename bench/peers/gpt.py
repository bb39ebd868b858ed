"""GPT-2 in PyTorch, in the form that runs fastest there: one fused query-key-value product, fused attention, weights
stored as nn.Linear wants them. The same function as src/models/gpt.ts, from the same config.json."""
import json
import os

import torch
import torch.nn as nn
import torch.nn.functional as F

from common import load_safetensors


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        width, eps = c["n_embd"], c["layer_norm_epsilon"]
        self.heads = c["n_head"]
        self.gelu = {"gelu": "none", "gelu_new": "tanh"}[c["activation_function"]]
        self.ln_1 = nn.LayerNorm(width, eps)
        self.c_attn = nn.Linear(width, 3 * width)
        self.attn_proj = nn.Linear(width, width)
        self.ln_2 = nn.LayerNorm(width, eps)
        self.c_fc = nn.Linear(width, c["n_inner"] or 4 * width)
        self.mlp_proj = nn.Linear(c["n_inner"] or 4 * width, width)

    def forward(self, x, cache=None, past=0):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, self.heads, -1).transpose(1, 2) for t in self.c_attn(self.ln_1(x)).split(C, -1))
        if cache is not None:
            cache[0][:, :, past:past + T], cache[1][:, :, past:past + T] = k, v
            k, v = cache[0][:, :, :past + T], cache[1][:, :, :past + T]
        # A prompt starts an empty cache and one new token sees all: no mask is ever needed.
        y = F.scaled_dot_product_attention(q, k, v, is_causal=T > 1)
        x = x + self.attn_proj(y.transpose(1, 2).reshape(B, T, C))
        return x + self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate=self.gelu))


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = c = {"n_inner": None, "layer_norm_epsilon": 1e-5, **config}
        self.wte = nn.Embedding(c["vocab_size"], c["n_embd"])
        self.wpe = nn.Embedding(c["n_positions"], c["n_embd"])
        self.h = nn.ModuleList(Block(c) for _ in range(c["n_layer"]))
        self.ln_f = nn.LayerNorm(c["n_embd"], c["layer_norm_epsilon"])
        for name, p in self.named_parameters():
            if name.endswith("proj.weight"):
                nn.init.normal_(p, std=0.02 / (2 * c["n_layer"]) ** 0.5)
            elif p.dim() > 1:
                nn.init.normal_(p, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    @staticmethod
    def load(folder):
        """The model that tsgpt (or Hugging Face) saved in `folder`."""
        with open(os.path.join(folder, "config.json")) as file:
            model = GPT(json.load(file))
        parameters = dict(model.named_parameters())
        renamed = {"attn.c_attn": "c_attn", "attn.c_proj": "attn_proj", "mlp.c_fc": "c_fc", "mlp.c_proj": "mlp_proj"}

        def place(name):
            name = name.removeprefix("transformer.")
            for theirs, ours in renamed.items():
                if f".{theirs}." in name:
                    target = parameters[name.replace(theirs, ours)]
                    return target.t()  # GPT-2's files hold (in, out); .t() of a bias is the bias
            return parameters[name]

        load_safetensors(os.path.join(folder, "model.safetensors"), place)
        return model

    def forward(self, ids, caches=None, past=0):
        """Hidden states after the last norm; `logits` follows, for all positions or the last."""
        x = self.wte(ids) + self.wpe.weight[past:past + ids.shape[1]]
        for i, block in enumerate(self.h):
            x = block(x, None if caches is None else caches[i], past)
        return self.ln_f(x)

    def logits(self, hidden):
        return F.linear(hidden, self.wte.weight)

    def loss(self, ids, targets):
        return F.cross_entropy(self.logits(self(ids)).flatten(0, 1), targets.flatten())

    def caches(self, capacity):
        shape = (1, self.config["n_head"], capacity, self.config["n_embd"] // self.config["n_head"])
        dtype = self.wte.weight.dtype
        return [(torch.empty(shape, dtype=dtype), torch.empty(shape, dtype=dtype)) for _ in self.h]


def optimizer(model, lr, beta2=0.99):
    """AdamW in one pass (fused), weight decay on matrices only."""
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, beta2), fused=True)
