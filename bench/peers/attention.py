"""Causal attention in PyTorch (its fused kernel); the counterpart of bench/ops/attention.ts."""
import torch
import torch.nn.functional as F

from common import relative_error, report, seconds_per_call, task

B, H, D = 1, 12, 64
results = {}
for T in task["lengths"]:
    q, k, v = (torch.randn(B, H, T, D, requires_grad=True) for _ in range(3))
    gradient = torch.randn(B, H, T, D)

    def attend():
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def forward():
        with torch.inference_mode():
            return attend()

    def both():
        return torch.autograd.grad(attend(), (q, k, v), gradient)

    # The definition in float64, over the first head.
    head = [x[:, :1].detach().double().requires_grad_() for x in (q, k, v)]
    scores = (head[0] @ head[1].transpose(-2, -1) / D**0.5).masked_fill(~torch.ones(T, T).tril().bool(), float("-inf"))
    expected = scores.softmax(-1) @ head[2]
    gradients = torch.autograd.grad(expected, head, gradient[:, :1].double())
    errors = [relative_error(got[:, :1], want) for got, want in zip((forward(), *both()), (expected.detach(), *gradients))]

    for name, call, error in (("forward", forward, errors[0]), ("forward + backward", both, max(errors[1:]))):
        results[f"T {T}, {name}"] = {"seconds": seconds_per_call(call, samples=task["samples"]), "error": error}
    del q, k, v, head, scores, expected, gradients
report(results=results)
