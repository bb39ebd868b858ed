"""Operations on tensors of [2, 2], and the import, in PyTorch; the counterpart of bench/ops/overhead.ts."""
import statistics
import subprocess
import sys
import time

import torch

from common import relative_error, report, seconds_per_call, task

a, b = torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([[1.0, 2], [3, 4]])
learned = b.clone().requires_grad_()
results = {}


def measure(name, op, expected):
    for _ in range(200_000):
        op()
    error = relative_error(op().detach().flatten(), torch.tensor(expected).double())
    results[name] = {"seconds": seconds_per_call(op, samples=task["samples"]), "error": error}


with torch.inference_mode():
    measure("add [2, 2]", lambda: a + b, [2, 4, 6, 8])
    measure("matmul [2, 2]", lambda: a @ b, [7, 10, 15, 22])
measure("add [2, 2], recorded", lambda: a + learned, [2, 4, 6, 8])


def start(source):
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", source], check=True)
    return time.perf_counter() - begin


beyond = [-start("") + start("import torch") for _ in range(max(3, task["starts"] // 5))]
results["import"] = {"seconds": statistics.median(beyond)}
report(results=results)
