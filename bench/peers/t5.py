"""T5 in PyTorch, in the form that runs fastest there: fused query-key-value products and fused attention, relative
positions as its additive mask. The same function as src/models/t5.ts (v1.0), from the same config.json."""
import json
import math
import os

import torch
import torch.nn as nn
import torch.nn.functional as F

from common import load_safetensors


def buckets(queries, keys, bidirectional, count, distance):
    """The bucket of each key for the last `queries` of `keys` positions (Hugging Face's rule)."""
    relative = torch.arange(keys)[None, :] - torch.arange(keys - queries, keys)[:, None]
    side = count // 2 if bidirectional else count
    first = (relative > 0).long() * side if bidirectional else torch.zeros_like(relative)
    n = relative.abs() if bidirectional else (-relative).clamp(min=0)
    exact = side // 2
    far = exact + (torch.log(n.float().clamp(min=1) / exact) / math.log(distance / exact) * (side - exact)).long()
    return first + torch.where(n < exact, n, far.clamp(max=side - 1))


class Block(nn.Module):
    def __init__(self, c, decoder):
        super().__init__()
        width, inner, eps = c["d_model"], c["num_heads"] * c["d_kv"], c["layer_norm_epsilon"]
        self.heads = c["num_heads"]
        self.norm = nn.RMSNorm(width, eps)
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.proj = nn.Linear(inner, width, bias=False)
        if decoder:
            self.cross_norm = nn.RMSNorm(width, eps)
            self.cross_q = nn.Linear(width, inner, bias=False)
            self.cross_kv = nn.Linear(width, 2 * inner, bias=False)
            self.cross_proj = nn.Linear(inner, width, bias=False)
        self.mlp_norm = nn.RMSNorm(width, eps)
        self.up = nn.Linear(width, c["d_ff"], bias=False)
        self.down = nn.Linear(c["d_ff"], width, bias=False)

    def split(self, x, parts):
        B, T, _ = x.shape
        return (t.view(B, T, self.heads, -1).transpose(1, 2) for t in x.chunk(parts, -1))

    def join(self, y):
        B, _, T, _ = y.shape
        return y.transpose(1, 2).reshape(B, T, -1)

    def source(self, encoded):
        return tuple(self.split(self.cross_kv(encoded), 2))

    def forward(self, x, bias, source=None, cache=None, past=0):
        q, k, v = self.split(self.qkv(self.norm(x)), 3)
        if cache is not None:
            T = x.shape[1]
            cache[0][:, :, past:past + T], cache[1][:, :, past:past + T] = k, v
            k, v = cache[0][:, :, :past + T], cache[1][:, :, :past + T]
        x = x + self.proj(self.join(F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)))
        if source is not None:
            (q,) = self.split(self.cross_q(self.cross_norm(x)), 1)
            x = x + self.cross_proj(self.join(F.scaled_dot_product_attention(q, *source, scale=1.0)))
        return x + self.down(F.relu(self.up(self.mlp_norm(x))))


class Stack(nn.Module):
    def __init__(self, c, decoder):
        super().__init__()
        self.config, self.decoder = c, decoder
        self.blocks = nn.ModuleList(Block(c, decoder) for _ in range(c["num_layers"]))
        self.bias = nn.Embedding(c["relative_attention_num_buckets"], c["num_heads"])
        self.final = nn.RMSNorm(c["d_model"], c["layer_norm_epsilon"])

    def relative(self, queries, keys):
        """(1, H, queries, keys), with the causal mask in a decoder."""
        c = self.config
        rule = (not self.decoder, c["relative_attention_num_buckets"], c["relative_attention_max_distance"])
        bias = self.bias(buckets(queries, keys, *rule)).permute(2, 0, 1)[None]
        if self.decoder and queries > 1:
            hidden = torch.ones(queries, keys, dtype=torch.bool).triu(keys - queries + 1)
            bias = bias.masked_fill(hidden, float("-inf"))
        return bias.contiguous()

    def forward(self, x, sources=None, caches=None, past=0):
        bias = self.relative(x.shape[1], past + x.shape[1])
        for i, block in enumerate(self.blocks):
            x = block(x, bias, None if sources is None else sources[i], None if caches is None else caches[i], past)
        return self.final(x)


class T5(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.shared = nn.Embedding(config["vocab_size"], config["d_model"])
        self.encoder = Stack(config, False)
        self.decoder = Stack(config, True)

    @staticmethod
    def load(folder):
        """The T5 that tsgpt (or Hugging Face) saved in `folder`."""
        with open(os.path.join(folder, "config.json")) as file:
            model = T5(json.load(file))
        parameters = dict(model.named_parameters())
        inner = model.config["num_heads"] * model.config["d_kv"]

        def place(name):
            name = name.replace(".block.", ".blocks.").replace("final_layer_norm", "final")
            name = name.replace("blocks.0.layer.0.SelfAttention.relative_attention_bias", "bias")
            ff = 2 if name.startswith("decoder") else 1
            renamed = {
                "layer.0.layer_norm": "norm",
                "layer.0.SelfAttention.o": "proj",
                f"layer.{ff}.layer_norm": "mlp_norm",
                f"layer.{ff}.DenseReluDense.wi": "up",
                f"layer.{ff}.DenseReluDense.wo": "down",
            }
            if ff == 2:
                renamed |= {
                    "layer.1.layer_norm": "cross_norm",
                    "layer.1.EncDecAttention.q": "cross_q",
                    "layer.1.EncDecAttention.o": "cross_proj",
                }
            for theirs, ours in renamed.items():
                name = name.replace(theirs, ours)
            for i, part in enumerate("qkv"):
                if f"layer.0.SelfAttention.{part}." in name:
                    whole = parameters[name.replace(f"layer.0.SelfAttention.{part}", "qkv")]
                    return whole[i * inner:(i + 1) * inner]
            for i, part in enumerate("kv"):
                if f"layer.1.EncDecAttention.{part}." in name:
                    whole = parameters[name.replace(f"layer.1.EncDecAttention.{part}", "cross_kv")]
                    return whole[i * inner:(i + 1) * inner]
            return parameters[name]

        load_safetensors(os.path.join(folder, "model.safetensors"), place)
        return model

    def logits(self, hidden):
        return F.linear(hidden * self.config["d_model"] ** -0.5, self.shared.weight)

    def sources(self, encoded):
        return [block.source(encoded) for block in self.decoder.blocks]

    def loss(self, ids, decoder_ids, labels):
        sources = self.sources(self.encoder(self.shared(ids)))
        hidden = self.decoder(self.shared(decoder_ids), sources)
        return F.cross_entropy(self.logits(hidden).flatten(0, 1), labels.flatten())

    def caches(self, batch, capacity):
        shape = (batch, self.config["num_heads"], capacity, self.config["d_kv"])
        return [(torch.empty(shape), torch.empty(shape)) for _ in self.decoder.blocks]
