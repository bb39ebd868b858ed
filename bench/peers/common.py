"""What the PyTorch side of every benchmark shares: the task, timing, reading weights, the report.

A program is started as `python3 NAME.py '{"threads": 2, ...}'` (the same JSON task that the tsgpt side gets) and ends
with one JSON line on stdout. bench/run.ts starts it with glibc told to keep freed memory, without which PyTorch pays
page faults for every large temporary."""
import json
import math
import resource
import statistics
import sys
import time

import torch

task = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
if "threads" in task:
    torch.set_num_threads(task["threads"])
torch.manual_seed(0)


def seconds_per_call(*calls, samples=9, least=0.02, most=4.0, warm_up=0.1):
    """Median seconds of a call, over samples of at least `least` seconds; several calls take turns. A call that takes
    longer than `most` is made once."""
    times, turn, begin, fastest = [], 0, time.perf_counter(), math.inf
    while turn < 3 or time.perf_counter() - begin < warm_up:
        start = time.perf_counter()
        calls[turn % len(calls)]()
        seconds = time.perf_counter() - start
        if seconds > most:
            return seconds
        fastest = min(fastest, seconds)
        turn += 1
    repeats = max(1, math.ceil(least / max(fastest, 1e-7)))
    while len(times) < samples and (len(times) < 3 or sum(times) * repeats < most):
        start = time.perf_counter()
        for _ in range(repeats):
            calls[turn % len(calls)]()
            turn += 1
        times.append((time.perf_counter() - start) / repeats)
    return statistics.median(times)


def tokens(count, vocabulary):
    """The ids that the tsgpt side computes too (Park and Miller's generator)."""
    ids, state = [], 1
    for _ in range(count):
        state = state * 16807 % 2147483647
        ids.append(state % vocabulary)
    return torch.tensor(ids)


def relative_error(got, expected):
    """Greatest difference, relative to the greatest value expected."""
    return ((got.double() - expected).abs().max() / expected.abs().max()).item()


def load_safetensors(path, target):
    """Copies each tensor of the file into `target(name)`, a float32 tensor of its shape."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        base = file.tell()
        header.pop("__metadata__", None)
        for name, entry in header.items():
            assert entry["dtype"] == "F32", f"{name}: {entry['dtype']}"
            values = torch.empty(entry["shape"])
            file.seek(base + entry["data_offsets"][0])
            file.readinto(memoryview(values.numpy()).cast("B"))
            with torch.no_grad():
                target(name).copy_(values)


def report(**fields):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**fields, "peakRssBytes": peak, "version": f"PyTorch {torch.__version__}"}))
