// AdamW (Loshchilov and Hutter, arXiv 1711.05101), the whole update in one pass over parameter, gradient and both
// moments: memory-bound, so every array is read once and written once. As in PyTorch (torch.optim.AdamW): the decay
// comes before the step, eps is added after the bias correction, and constants are rounded from double.
#include "../kernels.h"
#include "formats.h"
#include "simd.h"

namespace tsgpt::TSGPT_NS {
namespace {

constexpr int64_t grain = 16384;  // numbers in one task

bool adamw(float* parameter, const float* grad, float* m, float* v, int64_t n, const AdamW& o) {
  auto constant = [](double x) { return set(static_cast<float>(x)); };
  const vf grad_scale = constant(o.grad_scale), decay = constant(1 - o.lr * o.weight_decay), eps = constant(o.eps);
  const vf beta1 = constant(o.beta1), beta2 = constant(o.beta2);
  const vf rest1 = constant(1 - o.beta1), rest2 = constant(1 - o.beta2);
  const vf step = constant(o.lr / o.bias_correction1), root2 = constant(std::sqrt(o.bias_correction2));
  parallel_ranges(n, grain, [=](int64_t begin, int64_t end) {
    for_vectors(end - begin, [=](int64_t i, auto part) {
      i += begin;
      vf g = load(grad + i, part) * grad_scale;
      vf m1 = fma(beta1, load(m + i, part), rest1 * g);
      vf v1 = fma(beta2, load(v + i, part), rest2 * g * g);
      vf p = load(parameter + i, part) * decay;
      store(m + i, m1, part);
      store(v + i, v1, part);
      store(parameter + i, fnma(step, m1 / (sqrt(v1) / root2 + eps), p), part);
    });
  });
  return true;
}

}  // namespace

void register_optimizer(KernelTable& table) { table.adamw = adamw; }

}  // namespace tsgpt::TSGPT_NS
