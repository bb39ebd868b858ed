"""Records test/golden/schedules.json: learning rates by step for a base of 1, from Hugging Face's transformers and PyTorch."""

import json
import pathlib

import torch
import transformers
from transformers import optimization as hf


def rates(make, steps=30):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = make(optimizer)
    result = []
    for _ in range(steps):
        result.append(float(f"{schedule.get_last_lr()[0]:.12g}"))
        optimizer.step()
        schedule.step()
    return result


cases = {
    "cosine_restarts": lambda o: hf.get_cosine_with_hard_restarts_schedule_with_warmup(o, 5, 20, num_cycles=2),
    "polynomial": lambda o: hf.get_polynomial_decay_schedule_with_warmup(o, 5, 20, lr_end=1e-3, power=2.0),
    "inverse_sqrt": lambda o: hf.get_inverse_sqrt_schedule(o, 5),
    "inverse_sqrt_timescale": lambda o: hf.get_inverse_sqrt_schedule(o, 5, timescale=12),
    "wsd_linear": lambda o: hf.get_wsd_schedule(o, 5, 10, num_training_steps=25, decay_type="linear"),
    "wsd_cosine": lambda o: hf.get_wsd_schedule(o, 5, 10, num_training_steps=25, decay_type="cosine"),
    "wsd_sqrt": lambda o: hf.get_wsd_schedule(o, 5, 10, num_training_steps=25, decay_type="1-sqrt"),
}
result = {name: rates(make) for name, make in cases.items()}
one_cycle = torch.optim.lr_scheduler.OneCycleLR
result["one_cycle"] = rates(lambda o: one_cycle(o, max_lr=1.0, total_steps=20), 20)
result["one_cycle_settings"] = rates(
    lambda o: one_cycle(o, max_lr=1.0, total_steps=20, pct_start=0.4, div_factor=10, final_div_factor=100), 20
)
path = pathlib.Path(__file__).parent / "schedules.json"
path.write_text(json.dumps(result, separators=(",", ":")) + "\n")
print("transformers", transformers.__version__, "torch", torch.__version__)
