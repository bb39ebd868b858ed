// The gate of a SwiGLU feed-forward layer (Shazeer, "GLU Variants Improve Transformer", 2020), silu(gate) * up, float32,
// forward and backward in one pass each: in simple ops the backward alone would go over memory ten times.
//
//   s = sigmoid(gate):  y = gate s up,  dgate = dy up s (1 + gate (1 - s)),  dup = dy gate s
#include "../kernels.h"
#include "formats.h"
#include "simd.h"
#include "vec_math.h"

namespace tsgpt::TSGPT_NS {
namespace {

constexpr int64_t grain = 16384;  // numbers in one task

bool swiglu(const float* gate, const float* up, float* y, int64_t n) {
  parallel_ranges(n, grain, [=](int64_t begin, int64_t end) {
    for_vectors(end - begin, [=](int64_t i, auto part) {
      vf g = load(gate + begin + i, part);
      store(y + begin + i, g * sigmoid(g) * load(up + begin + i, part), part);
    });
  });
  return true;
}

bool swiglu_grad(const float* gate, const float* up, const float* dy, float* dgate, float* dup, int64_t n) {
  parallel_ranges(n, grain, [=](int64_t begin, int64_t end) {
    for_vectors(end - begin, [=](int64_t i, auto part) {
      vf g = load(gate + begin + i, part), d = load(dy + begin + i, part), s = sigmoid(g), one = set(1);
      vf slope = s * fma(g, one - s, one);
      store(dgate + begin + i, d * load(up + begin + i, part) * slope, part);
      store(dup + begin + i, d * (g * s), part);
    });
  });
  return true;
}

}  // namespace

void register_swiglu(KernelTable& table) {
  table.swiglu = swiglu;
  table.swiglu_grad = swiglu_grad;
}

}  // namespace tsgpt::TSGPT_NS
