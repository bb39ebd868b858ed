"""Matrix products in PyTorch; the counterpart of bench/ops/gemm.ts."""
import torch

from common import relative_error, report, seconds_per_call, task

torch.set_grad_enabled(False)
dtype = getattr(torch, task["dtype"])
results = {}
for case in task["cases"]:
    kind, m, n, k = case["kind"], case["m"], case["n"], case["k"]
    # square: A B. linear: X W^T, a layer's forward. dx: G W. dw: G^T X.
    multiply = {
        "square": torch.matmul,
        "linear": torch.nn.functional.linear,
        "dx": torch.matmul,
        "dw": lambda g, x: torch.matmul(g.t(), x),
    }[kind]
    a = torch.randn((k, m) if kind == "dw" else (m, k)).to(dtype)
    b = torch.randn((n, k) if kind == "linear" else (k, n)).to(dtype)
    # From memory: enough copies of the weight that none is in a cache when its turn comes again.
    copies = [b] + [b.clone() for _ in range(case.get("copies", 1) - 1)]
    rows = a.t() if kind == "dw" else a
    expected = rows[:4].double() @ (b.t() if kind == "linear" else b).double()
    error = relative_error(multiply(a, b)[:4], expected)
    calls = [lambda b=b: multiply(a, b) for b in copies]
    results[case["name"]] = {"seconds": seconds_per_call(*calls, samples=task["samples"]), "error": error}
report(results=results)
