"""Records adapters of Hugging Face's PEFT for the tiny models of this folder, what the models give with them, and a
merged weight. Run by hand: python record-lora.py (torch, transformers, peft)."""

import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
)

HERE = Path(__file__).parent
MODELS = {
    "gpt2": ("hf-gpt2", AutoModelForCausalLM, dict(target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True, task_type="CAUSAL_LM")),
    "llama": ("hf-llama-gqa", AutoModelForCausalLM, dict(target_modules=["q_proj", "v_proj"], use_rslora=True, task_type="CAUSAL_LM")),
    "bert": ("hf-bert-seqcls", AutoModelForSequenceClassification, dict(target_modules=["query", "value"], modules_to_save=["classifier"], task_type="SEQ_CLS")),
    "t5": ("hf-t5-v1_1-gated-gelu-untied", AutoModelForSeq2SeqLM, dict(target_modules=["q", "wo"], task_type="SEQ_2_SEQ_LM")),
}  # fmt: skip


def main():
    for name, (base, auto, settings) in MODELS.items():
        torch.manual_seed(1)
        model = auto.from_pretrained(HERE / base, dtype=torch.float32, attn_implementation="eager")
        model = get_peft_model(model, LoraConfig(r=3, lora_alpha=5, lora_dropout=0.1, **settings)).eval()
        with torch.no_grad():
            for p in model.parameters():
                if p.requires_grad:
                    p.add_(torch.randn(p.shape) * 0.1)
            ids = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [30, 29, 2, 7, 4, 6, 8, 10]])
            extra = {"decoder_input_ids": ids[:, :5]} if name == "t5" else {}
            logits = model(input_ids=ids, **extra).logits
        folder = HERE / "lora" / name
        model.save_pretrained(folder)
        (folder / "README.md").unlink()
        config = folder / "adapter_config.json"
        settings = json.loads(config.read_text())
        settings["base_model_name_or_path"] = f"../../{base}"
        settings["target_modules"] = sorted(settings["target_modules"])
        config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
        layer = next(n for n, m in model.named_modules() if hasattr(m, "lora_A"))
        merged = model.merge_and_unload()
        path = layer.removeprefix("base_model.model.")
        weight = dict(merged.named_parameters())[path + ".weight"]
        expected = {"ids": ids.tolist(), "logits": logits.tolist(), "layer": path, "merged": weight.tolist()}
        (folder / "expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
