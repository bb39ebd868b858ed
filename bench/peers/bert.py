"""BERT in PyTorch, in the form that runs fastest there: one fused query-key-value product and fused attention. The same
function as src/models/bert.ts and the masked-token head of bert-heads.ts, from the same config.json."""
import json
import os

import torch
import torch.nn as nn
import torch.nn.functional as F

from common import load_safetensors


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        width, inner, eps = c["hidden_size"], c["intermediate_size"], c["layer_norm_eps"]
        self.heads = c["num_attention_heads"]
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm_1 = nn.LayerNorm(width, eps)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.norm_2 = nn.LayerNorm(width, eps)

    def forward(self, x, mask=None):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, self.heads, -1).transpose(1, 2) for t in self.qkv(x).split(C, -1))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = self.norm_1(x + self.proj(y.transpose(1, 2).reshape(B, T, C)))
        return self.norm_2(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = c = config
        width, eps = c["hidden_size"], c["layer_norm_eps"]
        self.words = nn.Embedding(c["vocab_size"], width)
        self.positions = nn.Embedding(c["max_position_embeddings"], width)
        self.segments = nn.Embedding(c["type_vocab_size"], width)
        self.norm = nn.LayerNorm(width, eps)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"]))
        self.transform = nn.Linear(width, width)
        self.transform_norm = nn.LayerNorm(width, eps)
        self.bias = nn.Parameter(torch.zeros(c["vocab_size"]))

    @staticmethod
    def load(folder):
        """The BertForMaskedLM that tsgpt (or Hugging Face) saved in `folder`."""
        with open(os.path.join(folder, "config.json")) as file:
            model = Bert(json.load(file))
        parameters = dict(model.named_parameters())
        width = model.config["hidden_size"]
        renamed = {
            "bert.embeddings.word_embeddings": "words",
            "bert.embeddings.position_embeddings": "positions",
            "bert.embeddings.token_type_embeddings": "segments",
            "bert.embeddings.LayerNorm": "norm",
            "bert.encoder.layer": "layers",
            "attention.output.dense": "proj",
            "attention.output.LayerNorm": "norm_1",
            "intermediate.dense": "up",
            "output.dense": "down",
            "output.LayerNorm": "norm_2",
            "cls.predictions.transform.dense": "transform",
            "cls.predictions.transform.LayerNorm": "transform_norm",
            "cls.predictions.bias": "bias",
        }

        def place(name):
            for theirs, ours in renamed.items():
                name = name.replace(theirs, ours)
            for i, part in enumerate(("query", "key", "value")):
                if f"attention.self.{part}" in name:
                    return parameters[name.replace(f"attention.self.{part}", "qkv")][i * width:(i + 1) * width]
            return parameters[name]

        load_safetensors(os.path.join(folder, "model.safetensors"), place)
        return model

    def forward(self, ids, mask=None):
        """(B, T) to (B, T, C); `mask` is true where a key may be seen, (B, 1, 1, T)."""
        x = self.norm(self.words(ids) + self.positions.weight[:ids.shape[1]] + self.segments.weight[0])
        for layer in self.layers:
            x = layer(x, mask)
        return x

    def loss(self, ids, places, labels):
        """Cross-entropy of the labels at `places` of the flattened batch: only these go through the head."""
        x = self(ids).flatten(0, 1)[places]
        x = self.transform_norm(F.gelu(self.transform(x)))
        return F.cross_entropy(F.linear(x, self.words.weight, self.bias), labels)
