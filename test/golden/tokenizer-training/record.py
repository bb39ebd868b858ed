"""Records what Hugging Face's tokenizers 0.23.3 train: python3 record.py (writes the files beside it).

The corpus is the first lines of examples/data/tinyshakespeare.txt, and some lines in other scripts.
"""

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

here = Path(__file__).parent
shakespeare = (here / "../../../examples/data/tinyshakespeare.txt").read_text()[:200_000]
others = "Übung macht den Meister. Größe, Straße, straßenweise.\n日本語の文を切る。日本の文。\naaa aaaa aaaaa aaaaaa\n12 123 1234\n"
CASES = {
    "bytes": dict(split="gpt2", vocabSize=600, minFrequency=2, specialTokens=["<|endoftext|>", "<|pad|>"]),
    "bytes-seen": dict(split="gpt2", vocabSize=400, initialAlphabet=[]),
    "bytes-short": dict(split="gpt2", vocabSize=700, maxTokenLength=5),
    "bytes-limited": dict(split="gpt2", vocabSize=300, limitAlphabet=40, initialAlphabet=[]),
    "bytes-all": dict(split="gpt2", vocabSize=100000, minFrequency=30),
    "llama3": dict(split="llama3", vocabSize=500),
    "qwen2": dict(split="qwen2", vocabSize=500),
    "words": dict(split="spaces", vocabSize=500, specialTokens=["<unk>"], unkToken="<unk>"),
}
modern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def train(options):
    split = options["split"]
    t = Tokenizer(models.BPE(unk_token=options.get("unkToken")))
    alphabet = options.get("initialAlphabet")
    if split == "spaces":
        t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        alphabet = alphabet or []
    else:
        alphabet = pre_tokenizers.ByteLevel.alphabet() if alphabet is None else alphabet
        steps = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split == "gpt2")]
        if split != "gpt2":
            pattern = modern if split == "llama3" else modern.replace("{1,3}", "")
            steps.insert(0, pre_tokenizers.Split(Regex(pattern), "isolated"))
        t.pre_tokenizer = pre_tokenizers.Sequence(steps)
        if split == "qwen2":
            t.normalizer = normalizers.NFC()
    more = {}
    if "limitAlphabet" in options:
        more["limit_alphabet"] = options["limitAlphabet"]
    if "maxTokenLength" in options:
        more["max_token_length"] = options["maxTokenLength"]
    trainer = trainers.BpeTrainer(
        vocab_size=options["vocabSize"],
        min_frequency=options.get("minFrequency", 0),
        special_tokens=options.get("specialTokens", []),
        initial_alphabet=alphabet,
        show_progress=False,
        **more,
    )
    t.train_from_iterator([shakespeare, others], trainer)
    model = json.loads(t.to_str())["model"]
    vocab = sorted(model["vocab"], key=model["vocab"].get)
    ids = t.encode(shakespeare[1000:1200] + others).ids
    return dict(options=options, vocab=vocab, merges=[" ".join(m) for m in model["merges"]], ids=ids)


def tokens_of(t):
    return len(t.encode(shakespeare, add_special_tokens=False).ids)


def wordpiece():
    """Its ids, and the last of equally frequent pieces, differ from run to run."""
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=1000, special_tokens=special, show_progress=False)
    t.train_from_iterator([shakespeare, others], trainer)
    return dict(vocab=sorted(t.get_vocab()), tokens=tokens_of(t))


def unigram():
    """Words are counted once each when the first substrings are chosen, other than in SentencePiece."""
    t = Tokenizer(models.Unigram())
    steps = [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    t.normalizer = normalizers.Sequence(steps)
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=1000, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False
    )
    t.train_from_iterator([shakespeare, others], trainer)
    scores = [score for _, score in json.loads(t.to_str())["model"]["vocab"]]
    log_likelihood = sum(scores[i] for i in t.encode(shakespeare).ids)
    return dict(vocab=sorted(t.get_vocab()), tokens=tokens_of(t), logLikelihood=log_likelihood)


result = {"characters": len(shakespeare), "others": others, "cases": {name: train(o) for name, o in CASES.items()}}
result["wordpiece"], result["unigram"] = wordpiece(), unigram()
(here / "huggingface.json").write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")) + "\n")
