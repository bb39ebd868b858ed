"""Records how PyTorch prints tensors: python3 record-print.py > print.json (PyTorch 2.13)."""

import json
import math

import torch

torch.manual_seed(0)
normal = (torch.randn(2000, dtype=torch.float64) * 1e4).round() / 1e4


def uniform(n, scale=1.0):
    return (normal[:n] * scale).tolist()


inf, nan = math.inf, math.nan
CASES = [
    ([], "float32", [3.0]),
    ([], "float32", [3.25]),
    ([], "float32", [-1e-7]),
    ([], "int32", [7]),
    ([], "bool", [1]),
    ([3], "float32", [1, 2, 3]),
    ([3], "float32", [1, -2, 300]),
    ([3], "float32", [0, 0, 0]),
    ([3], "float32", [-0.0, 0, 1]),
    ([3], "float32", [0.03125, 0.09375, -0.15625]),
    ([3], "float32", [1.5, inf, -inf]),
    ([4], "float32", [1, nan, inf, -inf]),
    ([2], "float32", [nan, nan]),
    ([3], "float32", [1e-5, 1, 2]),
    ([3], "float32", [1e-5, 2e-5, 1.5e-4]),
    ([3], "float32", [12345, 1.5, 2]),
    ([3], "float32", [123456, 7, 2]),
    ([3], "float32", [1e9, 2e9, 3e9]),
    ([3], "float32", [1e9, nan, -3e9]),
    ([2], "float64", [1.23445e10, 123455e3]),
    ([3], "float64", [1e-300, 1e300, 0]),
    ([3], "float64", [0.1, 0.22222222, 3]),
    ([3], "float16", [0.1, 65504, 3]),
    ([3], "bfloat16", [0.1, 0.2, 3]),
    ([3], "uint8", [0, 17, 255]),
    ([4], "int32", [-1, 10, 100, -1000]),
    ([2, 3], "int32", [1, 2, 3, 4, 5, 60000]),
    ([4], "bool", [1, 0, 1, 0]),
    ([2, 2], "bool", [1, 0, 1, 0]),
    ([0], "float32", []),
    ([0], "float64", []),
    ([0, 3], "float32", []),
    ([2, 0, 3], "uint8", []),
    ([2, 3], "float32", uniform(6)),
    ([1, 1], "float32", uniform(1)),
    ([3, 4], "float32", uniform(12, 100)),
    ([3, 4], "float32", uniform(12, 1e-3)),
    ([2, 3, 4], "float32", uniform(24)),
    ([2, 1, 2, 2], "float32", uniform(8)),
    ([30], "float32", uniform(30)),
    ([2, 30], "float32", uniform(60, 10)),
    ([40], "int32", list(range(40))),
    ([1000], "float32", uniform(1000)),
    ([1001], "float32", uniform(1001)),
    ([2000], "int32", list(range(2000))),
    ([20, 100], "float32", uniform(2000)),
    ([100, 20], "float64", uniform(2000)),
    ([7, 200], "float32", uniform(1400, 1e-6)),
    ([2, 3, 200], "float32", uniform(1200)),
    ([10, 11, 12], "float32", uniform(1320)),
    ([6, 200], "int32", list(range(1200))),
    ([2, 2, 2, 2, 80], "float32", uniform(1280)),
]


def number(x):
    return x if math.isfinite(x) else str(x)


out = []
for shape, dtype, values in CASES:
    # int32 is a default dtype of the tensor library as int64 is of PyTorch's
    torch_dtype = torch.int64 if dtype == "int32" else getattr(torch, dtype)
    t = torch.tensor(values, dtype=torch.float64).to(torch_dtype).reshape(shape)
    kept = [number(v) for v in t.to(torch.float64).flatten().tolist()]
    out.append({"shape": shape, "dtype": dtype, "values": kept, "text": repr(t)})
t = torch.tensor([1.0, 2.0], requires_grad=True)
out.append({"shape": [2], "dtype": "float32", "values": [1, 2], "requiresGrad": True, "text": repr(t)})
t = torch.tensor(uniform(8), dtype=torch.float64, requires_grad=True)
out.append({"shape": [8], "dtype": "float64", "values": uniform(8), "requiresGrad": True, "text": repr(t)})
print("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in out) + "\n]")
