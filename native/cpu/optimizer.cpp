// Optimizers that update each number by itself, the whole step in one pass over parameter, gradient and state:
// memory-bound, so every array is read once and written once. All parameters are one parallel region: many are too small
// to be worth one each. As in PyTorch (torch.optim; Lion: Chen et al., arXiv 2302.06675): decoupled decay comes before the
// step, eps is added after the bias correction, and constants are rounded from double.
#include "../kernels.h"
#include "formats.h"
#include "simd.h"

namespace tsgpt::TSGPT_NS {
namespace {

constexpr int64_t grain = 16384;  // numbers of one task

inline vf constant(double x) { return set(static_cast<float>(x)); }
inline vf sign(vf x) {
  const vf zero = set(0.0f), one = set(1.0f);
  return select(zero < x, one, select(x < zero, negate(one), x));
}

// One tensor's numbers from `begin` on, and the constants that all rules share.
struct Piece {
  float* parameter;
  const float* grad;
  float* state[3];
  vf grad_scale, l2, keep, beta1, beta2, rest1, rest2, eps;

  Piece(const OptimizerTensor& t, const OptimizerStep& o, int64_t begin)
      : parameter(t.parameter + begin),
        grad(t.grad + begin),
        grad_scale(constant(o.grad_scale)),
        l2(constant(o.decoupled ? 0 : t.weight_decay)),
        keep(constant(o.decoupled ? 1 - t.lr * t.weight_decay : 1)),
        beta1(constant(o.beta1)),
        beta2(constant(o.beta2)),
        rest1(constant(1 - o.beta1)),
        rest2(constant(1 - o.beta2)),
        eps(constant(o.eps)) {
    for (int i = 0; i < 3; i++) state[i] = t.state[i] ? t.state[i] + begin : nullptr;
  }

  template <class Part> vf weight(int64_t i, Part part) const { return load(parameter + i, part); }
  // The gradient, scaled, with the decay that is not decoupled.
  template <class Part> vf gradient(int64_t i, vf p, Part part) const { return fma(l2, p, load(grad + i, part) * grad_scale); }
};

void adam(const OptimizerTensor& t, const OptimizerStep& o, int64_t begin, int64_t end) {
  const Piece x(t, o, begin);
  const vf step = constant(t.lr / t.correction1), root2 = constant(std::sqrt(t.correction2));
  float *m = x.state[0], *v = x.state[1], *greatest = x.state[2];
  for_vectors(end - begin, [=](int64_t i, auto part) {
    vf p = x.weight(i, part), g = x.gradient(i, p, part);
    vf m1 = fma(x.beta1, load(m + i, part), x.rest1 * g);
    vf v1 = fma(x.beta2, load(v + i, part), x.rest2 * g * g);
    store(m + i, m1, part);
    store(v + i, v1, part);
    if (greatest) {
      v1 = max(load(greatest + i, part), v1);
      store(greatest + i, v1, part);
    }
    store(x.parameter + i, fnma(step, m1 / (sqrt(v1) / root2 + x.eps), p * x.keep), part);
  });
}

void sgd(const OptimizerTensor& t, const OptimizerStep& o, int64_t begin, int64_t end) {
  const Piece x(t, o, begin);
  const vf step = constant(t.lr), share = constant(t.correction1);
  float* momentum = x.state[0];
  const bool nesterov = o.nesterov;
  for_vectors(end - begin, [=](int64_t i, auto part) {
    vf p = x.weight(i, part), g = x.gradient(i, p, part);
    if (momentum) {
      vf m = fma(x.beta1, load(momentum + i, part), share * g);
      store(momentum + i, m, part);
      g = nesterov ? fma(x.beta1, m, g) : m;
    }
    store(x.parameter + i, fnma(step, g, p * x.keep), part);
  });
}

void adagrad(const OptimizerTensor& t, const OptimizerStep& o, int64_t begin, int64_t end) {
  const Piece x(t, o, begin);
  const vf step = constant(t.lr);
  float* sum = x.state[0];
  for_vectors(end - begin, [=](int64_t i, auto part) {
    vf p = x.weight(i, part), g = x.gradient(i, p, part);
    vf s = fma(g, g, load(sum + i, part));
    store(sum + i, s, part);
    store(x.parameter + i, fnma(step, g / (sqrt(s) + x.eps), p * x.keep), part);
  });
}

void rmsprop(const OptimizerTensor& t, const OptimizerStep& o, int64_t begin, int64_t end) {
  const Piece x(t, o, begin);
  const vf step = constant(t.lr);
  float *square = x.state[0], *momentum = x.state[1], *mean = x.state[2];
  for_vectors(end - begin, [=](int64_t i, auto part) {
    vf p = x.weight(i, part), g = x.gradient(i, p, part);
    vf s = fma(x.beta2, load(square + i, part), x.rest2 * g * g);
    store(square + i, s, part);
    if (mean) {
      vf m = fma(x.beta2, load(mean + i, part), x.rest2 * g);
      store(mean + i, m, part);
      s = max(fnma(m, m, s), set(0.0f));  // a variance: rounding must not make it negative
    }
    vf update = g / (sqrt(s) + x.eps);
    if (momentum) {
      update = fma(x.beta1, load(momentum + i, part), update);
      store(momentum + i, update, part);
    }
    store(x.parameter + i, fnma(step, update, p * x.keep), part);
  });
}

void lion(const OptimizerTensor& t, const OptimizerStep& o, int64_t begin, int64_t end) {
  const Piece x(t, o, begin);
  const vf step = constant(t.lr);
  float* mean = x.state[0];
  for_vectors(end - begin, [=](int64_t i, auto part) {
    vf p = x.weight(i, part), g = x.gradient(i, p, part), m = load(mean + i, part);
    store(mean + i, fma(x.beta2, m, x.rest2 * g), part);
    store(x.parameter + i, fnma(step, sign(fma(x.beta1, m, x.rest1 * g)), p * x.keep), part);
  });
}

bool optimizer_step(const OptimizerTensor* tensors, int64_t count, const OptimizerStep& o) {
  constexpr decltype(&adam) rules[] = {adam, sgd, adagrad, rmsprop, lion};
  static_assert(sizeof(rules) / sizeof(*rules) == static_cast<size_t>(OptimizerRule::count_));
  auto rule = rules[static_cast<int>(o.rule)];
  auto length = [=](int64_t i) { return tensors[i].n; };
  parallel_arrays(count, grain, length,
                  [=](int64_t i, int64_t begin, int64_t end, int64_t) { rule(tensors[i], o, begin, end); });
  return true;
}

}  // namespace

void register_optimizer(KernelTable& table) { table.optimizer_step = optimizer_step; }

}  // namespace tsgpt::TSGPT_NS
