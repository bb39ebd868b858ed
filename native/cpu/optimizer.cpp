// AdamW (Loshchilov and Hutter, arXiv 1711.05101), the whole update in one pass over parameter, gradient and both
// moments: memory-bound, so every array is read once and written once. All parameters are one parallel region: many
// are too small to be worth one each. As in PyTorch (torch.optim.AdamW): the decay comes before the step, eps is added
// after the bias correction, and constants are rounded from double.
#include "../kernels.h"
#include "formats.h"
#include "simd.h"

namespace tsgpt::TSGPT_NS {
namespace {

constexpr int64_t grain = 16384;  // numbers of one task

void update(const AdamWTensor& t, const AdamW& o, int64_t begin, int64_t end) {
  auto constant = [](double x) { return set(static_cast<float>(x)); };
  const vf grad_scale = constant(o.grad_scale), decay = constant(1 - t.lr * t.weight_decay), eps = constant(o.eps);
  const vf beta1 = constant(o.beta1), beta2 = constant(o.beta2);
  const vf rest1 = constant(1 - o.beta1), rest2 = constant(1 - o.beta2);
  const vf step = constant(t.lr / t.bias_correction1), root2 = constant(std::sqrt(t.bias_correction2));
  float *parameter = t.parameter + begin, *m = t.m + begin, *v = t.v + begin;
  const float* grad = t.grad + begin;
  for_vectors(end - begin, [=](int64_t i, auto part) {
    vf g = load(grad + i, part) * grad_scale;
    vf m1 = fma(beta1, load(m + i, part), rest1 * g);
    vf v1 = fma(beta2, load(v + i, part), rest2 * g * g);
    vf p = load(parameter + i, part) * decay;
    store(m + i, m1, part);
    store(v + i, v1, part);
    store(parameter + i, fnma(step, m1 / (sqrt(v1) / root2 + eps), p), part);
  });
}

bool adamw(const AdamWTensor* tensors, int64_t count, const AdamW& o) {
  auto length = [=](int64_t i) { return tensors[i].n; };
  parallel_arrays(count, grain, length,
                  [=](int64_t i, int64_t begin, int64_t end, int64_t) { update(tensors[i], o, begin, end); });
  return true;
}

}  // namespace

void register_optimizer(KernelTable& table) { table.adamw = adamw; }

}  // namespace tsgpt::TSGPT_NS
