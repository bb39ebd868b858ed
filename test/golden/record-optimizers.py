"""Records test/golden/optimizers.json: the parameters after each of 12 steps of every optimizer but AdamW (optim.json
has it), on the initial values and gradients of optim.json, in float64. PyTorch 2.13; Lion is the authors' lion_pytorch.py
(google/automl, Apache-2.0), its three lines of arithmetic written out. Muon's bfloat16 is replaced by float64, as tsgpt
computes it in float32; it also runs on the transposed matrix, and its vector is AdamW's."""

import json
import pathlib

import torch

here = pathlib.Path(__file__).parent
source = json.loads((here / "optim.json").read_text())["adamw"]
torch.set_default_dtype(torch.float64)
torch.Tensor.bfloat16 = lambda self: self.double().clone()  # a copy, as bfloat16() makes one


class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr, betas, weight_decay):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(1 - group["lr"] * group["weight_decay"])
                m = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                beta1, beta2 = group["betas"]
                p.add_(torch.sign(m * beta1 + p.grad * (1 - beta1)), alpha=-group["lr"])
                m.mul_(beta2).add_(p.grad, alpha=1 - beta2)


class MuonAndAdamW:
    def __init__(self, params, adamw, **muon):
        self.parts = [
            torch.optim.Muon([p for p in params if p.ndim == 2], **muon),
            torch.optim.AdamW([p for p in params if p.ndim != 2], lr=muon["lr"], weight_decay=muon["weight_decay"], **adamw),
        ]

    def step(self):
        for part in self.parts:
            part.step()


o = torch.optim
adamw = dict(betas=(0.9, 0.95), eps=1e-8)
muon = dict(adamw=adamw, lr=0.02, weight_decay=0.1)
cases = {
    "adam": lambda p: o.Adam(p, lr=0.01),
    "adam_l2": lambda p: o.Adam(p, lr=0.01, weight_decay=0.1),
    "adam_amsgrad_maximize": lambda p: o.Adam(p, lr=0.01, amsgrad=True, maximize=True),
    "adamw_amsgrad": lambda p: o.AdamW(p, lr=0.01, amsgrad=True),
    "sgd": lambda p: o.SGD(p, lr=0.1),
    "sgd_momentum": lambda p: o.SGD(p, lr=0.1, momentum=0.9),
    "sgd_dampening": lambda p: o.SGD(p, lr=0.1, momentum=0.9, dampening=0.3, maximize=True),
    "sgd_nesterov_l2": lambda p: o.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adagrad": lambda p: o.Adagrad(p, lr=0.1),
    "adagrad_decay": lambda p: o.Adagrad(p, lr=0.1, lr_decay=0.1, weight_decay=0.05, initial_accumulator_value=0.2),
    "rmsprop": lambda p: o.RMSprop(p, lr=0.01),
    "rmsprop_centered": lambda p: o.RMSprop(p, lr=0.01, alpha=0.9, weight_decay=0.05, momentum=0.8, centered=True),
    "adafactor": lambda p: o.Adafactor(p, lr=0.05, eps=(2.0**-23, 1e-3)),
    "adafactor_decay": lambda p: o.Adafactor(p, lr=0.05, eps=(1e-6, 1e-2), beta2_decay=-0.6, d=2.0, weight_decay=0.1),
    "lion": lambda p: Lion(p, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1),
    "muon": lambda p: MuonAndAdamW(p, **muon),
    "muon_plain": lambda p: MuonAndAdamW(p, nesterov=False, momentum=0.9, ns_steps=3, adjust_lr_fn="match_rms_adamw", **muon),
}


def tensor(recorded):
    return torch.tensor(recorded["data"]).reshape(recorded["shape"])


def matrix_twice(values):
    """The matrix, the vector, and the matrix transposed."""
    return [tensor(values[0]), tensor(values[1]), tensor(values[0]).T.contiguous()]


result = {}
for name, make in cases.items():
    params = [t.requires_grad_() for t in matrix_twice(source["init"])]
    optimizer = make(params)
    steps = []
    for grads in source["grads"]:
        for p, g in zip(params, matrix_twice(grads)):
            p.grad = g
        optimizer.step()
        steps.append([[float(f"{x:.10g}") for x in p.detach().flatten().tolist()] for p in params])
    result[name] = steps
(here / "optimizers.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")

# With the shared data at hand: the same settings give what PyTorch 1.13 gave, so that both records are of one thing.
shared = here.parents[2] / "shared/data/oracle-torch/optim.json"
names = dict(adam="adam", adamw_amsgrad="adamw_amsgrad", sgd="sgd", sgd_momentum="sgd_momentum", adagrad="adagrad",
             rmsprop="rmsprop", sgd_nesterov_l2="sgd_momentum_nesterov_wd", adam_l2="adam_wd_l2")
if shared.exists():
    recorded = json.loads(shared.read_text())["optimizers"]
    for own, other in names.items():
        last = recorded[other]["params_after_each_step"]
        error = max(abs(a - b) for s, t in zip(result[own], last) for x, y in zip(s, t) for a, b in zip(x, y["data"]))
        print(own, error)
