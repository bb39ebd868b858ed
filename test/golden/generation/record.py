"""Records what Hugging Face's transformers generates with the tiny GPT-2 in ../hf-gpt2, for test/src/generation.

python record.py > expected.json        (transformers 5.24.0, torch 2.13.0, CPU, float32)
"""

import itertools
import json
import os

import torch
from transformers import GenerationConfig, GPT2LMHeadModel

here = os.path.dirname(os.path.abspath(__file__))
model = GPT2LMHeadModel.from_pretrained(os.path.join(here, "..", "hf-gpt2")).eval()
model.generation_config.eos_token_id = None

PROMPTS = [[28, 66, 83, 94, 84, 58], [48, 111, 128, 7, 37, 15, 4, 77, 40, 120], [5]]


def run(prompts, **options):
    """Runs `generate` on left-padded prompts; new tokens up to the first end token, and the scores of beams."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    options.setdefault("eos_token_id", None)
    config = GenerationConfig(do_sample=False, pad_token_id=130, **options)
    out = model.generate(
        ids, attention_mask=mask, generation_config=config, return_dict_in_generate=True, output_scores=True
    )
    eos = options["eos_token_id"]
    eos = set(eos if isinstance(eos, list) else [eos])
    rows = []
    for row in out.sequences[:, width:].tolist():
        end = next((i for i, token in enumerate(row) if token in eos), len(row))
        rows.append(row[:end])
    case = {"prompts": prompts, "options": options, "tokens": rows}
    if options.get("num_beams", 1) > 1:
        case["scores"] = out.sequences_scores.tolist()
    return case


cases = []
for beams, penalty, early in itertools.product([2, 5], [-1.0, 0.0, 0.6, 2.0], [False, True, "never"]):
    cases.append(
        run(PROMPTS[:2], num_beams=beams, length_penalty=penalty, early_stopping=early, num_return_sequences=2,
            max_new_tokens=14, eos_token_id=[88, 59])
    )
cases.append(run(PROMPTS, num_beams=4, max_new_tokens=12, num_return_sequences=4, eos_token_id=1))
cases.append(run(PROMPTS, num_beams=3, max_new_tokens=12, repetition_penalty=1.4, no_repeat_ngram_size=3))
cases.append(run(PROMPTS[:1], num_beams=4, max_new_tokens=9, min_new_tokens=6, eos_token_id=[59, 88], length_penalty=0.0))
cases.append(run(PROMPTS[:1], num_beams=3, max_new_tokens=8, bad_words_ids=[[59], [88, 88], [45, 38]]))
cases.append(run(PROMPTS, max_new_tokens=12))
cases.append(run(PROMPTS, max_new_tokens=12, repetition_penalty=1.3))
cases.append(run(PROMPTS, max_new_tokens=12, no_repeat_ngram_size=2, min_new_tokens=5, eos_token_id=[88, 1]))
cases.append(run(PROMPTS[:1], max_new_tokens=12, suppress_tokens=[59, 88], forced_bos_token_id=7))
cases.append(run(PROMPTS[2:], max_new_tokens=6, forced_bos_token_id=7))
cases.append(run(PROMPTS[:1], max_new_tokens=20, eos_token_id=40, exponential_decay_length_penalty=(3, 1.5)))
print(json.dumps({"cases": cases}, separators=(",", ":")).replace('{"prompts"', '\n{"prompts"'))
