"""Records what Hugging Face transformers computes with tiny BERTs, RoBERTas and DistilBERTs of random weights.

Run by hand: python record-encoders.py FOLDER (torch, transformers). The folders it writes are read by the tests of
test/src/models. Biases and norms are drawn at random too: as initialized they would hide mistakes.
"""

import json
import sys
from pathlib import Path

import torch
import transformers as hf

SIZES = dict(vocab_size=61, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24)
DISTIL = dict(vocab_size=61, dim=16, n_layers=2, n_heads=4, hidden_dim=24, max_position_embeddings=20)
THREE = dict(id2label={0: "no", 1: "perhaps", 2: "yes"}, label2id={"no": 0, "perhaps": 1, "yes": 2})
TOKEN_LABELS = [[-100, 1, 2, 0, 1, 2, 0, 1, 2, -100], [-100, 2, 2, 0, -100, -100, -100, -100, -100, -100]]


def bert(**more):
    return hf.BertConfig(**SIZES, max_position_embeddings=20, attn_implementation="eager", **more)


def roberta(**more):
    return hf.RobertaConfig(
        **SIZES, max_position_embeddings=22, type_vocab_size=1, pad_token_id=1, attn_implementation="eager", **more
    )


def distil(**more):
    return hf.DistilBertConfig(**DISTIL, attn_implementation="eager", **more)


def number(x):
    return float(f"{x:.8g}")


def rounded(tensor):
    return [rounded(t) for t in tensor] if tensor.dim() > 0 else number(tensor.item())


def record(folder, cls, config, seed, **labels):
    torch.manual_seed(seed)
    model = cls(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            norm = "norm" in name.lower() and name.endswith("weight")
            p.copy_(torch.randn_like(p) * 0.3 + (1 if norm else 0))
    pad = config.pad_token_id
    ids = torch.randint(2, 61, (2, 10))
    mask = torch.ones(2, 10, dtype=torch.long)
    mask[1, 6:] = 0
    ids[mask == 0] = pad
    inputs = dict(input_ids=ids, attention_mask=mask)
    if isinstance(config, hf.BertConfig):
        inputs["token_type_ids"] = (torch.arange(10).expand(2, 10) >= 5).long()
    labels = {name: torch.tensor(value) for name, value in labels.items()}
    # A pad row of an embedding gets no gradient in PyTorch; here it does, from tokens alone, which makes no difference.
    out = model(**inputs, **labels)
    out.loss.backward()
    model.save_pretrained(folder)
    logits = {key: rounded(value) for key, value in out.items() if key.endswith("logits")}
    expected = {
        **{name: value.tolist() for name, value in inputs.items()},
        "labels": {name: value.tolist() for name, value in labels.items()},
        **logits,
        "loss": number(out.loss.item()),
        "grads": {
            name: dict(norm=number(p.grad.norm().item()), first4=rounded(p.grad.flatten()[:4]))
            for name, p in model.named_parameters()
            if p.grad is not None
        },
    }
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")


def main():
    root = Path(sys.argv[1])
    tokens = [[-100, 7, -100, -100, 30, -100, -100, -100, 60, -100], [-100, -100, 5, -100, 9] + [-100] * 5]
    one = dict(id2label={0: "score"}, label2id={"score": 0})
    answers = dict(start_positions=[3, 12], end_positions=[8, 4])  # 12 is behind the end: does not count
    multi = dict(labels=[[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    token_labels = dict(labels=TOKEN_LABELS)

    record(root / "hf-bert-mlm-untied", hf.BertForMaskedLM, bert(tie_word_embeddings=False), 1, labels=tokens)
    record(root / "hf-bert-regression", hf.BertForSequenceClassification, bert(**one), 2, labels=[0.5, -1.25])
    problem = dict(problem_type="multi_label_classification", **THREE)
    record(root / "hf-bert-multilabel", hf.BertForSequenceClassification, bert(**problem), 3, **multi)
    record(root / "hf-bert-qa", hf.BertForQuestionAnswering, bert(hidden_act="relu"), 4, **answers)

    record(root / "hf-roberta-mlm", hf.RobertaForMaskedLM, roberta(), 5, labels=tokens)
    record(root / "hf-roberta-seqcls", hf.RobertaForSequenceClassification, roberta(**THREE), 6, labels=[2, 0])
    record(root / "hf-roberta-tokcls", hf.RobertaForTokenClassification, roberta(**THREE), 7, **token_labels)
    record(root / "hf-roberta-qa", hf.RobertaForQuestionAnswering, roberta(), 8, **answers)

    record(root / "hf-distilbert-mlm", hf.DistilBertForMaskedLM, distil(), 9, labels=tokens)
    record(root / "hf-distilbert-seqcls", hf.DistilBertForSequenceClassification, distil(**THREE), 10, labels=[2, 0])
    record(root / "hf-distilbert-tokcls", hf.DistilBertForTokenClassification, distil(**THREE), 11, **token_labels)
    record(root / "hf-distilbert-qa", hf.DistilBertForQuestionAnswering, distil(), 12, **answers)


main()
