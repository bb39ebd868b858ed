"""The operations between the matrix products in PyTorch; the counterpart of bench/ops/layers.ts."""
import torch
import torch.nn.functional as F

from common import report, seconds_per_call, task, tokens

R, C, V = task["rows"], 768, 50257
results = {}


def measure(name, run):
    results[name] = {"seconds": seconds_per_call(run, samples=task["samples"])}


def differentiable(name, op, *leaves):
    def forward():
        with torch.inference_mode():
            op()

    y = op()
    gradient = torch.randn_like(y) if y.dim() > 0 else None
    del y
    measure(name, forward)
    measure(f"{name} + backward", lambda: torch.autograd.grad(op(), leaves, gradient))


x = torch.randn(R, C, requires_grad=True)
h = torch.randn(R, 4 * C, requires_grad=True)
weight, bias = torch.ones(C, requires_grad=True), torch.zeros(C, requires_grad=True)
differentiable(f"layer norm {R} x {C}", lambda: F.layer_norm(x, (C,), weight, bias), x, weight, bias)
differentiable(f"rms norm {R} x {C}", lambda: F.rms_norm(x, (C,), weight, 1e-6), x, weight)
differentiable(f"gelu {R} x {4 * C}", lambda: F.gelu(h), h)
differentiable(f"gelu tanh {R} x {4 * C}", lambda: F.gelu(h, approximate="tanh"), h)
differentiable(f"silu {R} x {4 * C}", lambda: F.silu(h), h)
up = torch.randn(R, 4 * C, requires_grad=True)
differentiable(f"swiglu {R} x {4 * C}", lambda: F.silu(h) * up, h, up)
with torch.inference_mode():
    a, b = torch.randn(R, C), torch.randn(R, C)
    measure(f"residual add {R} x {C}", lambda: a + b)
    scores = torch.randn(12, R, R)
    measure(f"softmax 12 x {R} x {R}", lambda: scores.softmax(-1))
del scores
logits = torch.randn(R, V, requires_grad=True)
targets = tokens(R, V)
differentiable(f"cross-entropy {R} x {V}", lambda: F.cross_entropy(logits, targets), logits)
del logits
table = torch.randn(V, C, requires_grad=True)
differentiable(f"embedding {R} of {V} x {C}", lambda: F.embedding(targets, table), table)
del table
parameters = [torch.randn(12_000_000, requires_grad=True) for _ in range(2)]
for p in parameters:
    p.grad = torch.randn_like(p)
measure("AdamW 24 M", torch.optim.AdamW(parameters, lr=1e-4, fused=True).step)
report(results=results)
