// The greatest error of each function of vec_math.h, in units in the last place of the float32 result, against the C
// library in float64, over every `step`-th float32 of all 2^32 (infinities and NaNs included).
//
//   g++ -O2 -std=c++20 -ffp-contract=off -pthread -DTSGPT_NS=avx2 -mavx2 -mfma -mf16c native/test/vec_math.cpp
//       native/runtime/parallel.cpp -o /tmp/vec_math && /tmp/vec_math 509
//
// Other sets: -DTSGPT_NS=avx512 with the flags of CMakeLists.txt, or -DTSGPT_NS=base with none.
#include "../cpu/vec_math.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

using namespace tsgpt::TSGPT_NS;

namespace {

double error_in_ulp(float got, double expected) {
  float nearest = static_cast<float>(expected);
  if (std::isnan(expected)) return std::isnan(got) ? 0 : INFINITY;
  if (got == nearest)
    return std::isinf(got) ? 0 : std::fabs(got - expected) / std::ldexp(1.0, std::max(std::ilogb(nearest), -126) - 23);
  if (std::isnan(got)) return INFINITY;
  // At the edge of overflow the value beyond the greatest float is as good as 2^128.
  double value = std::isinf(got) ? std::copysign(0x1p128, got) : got, exact = std::fmin(std::fmax(expected, -0x1p128), 0x1p128);
  return std::fabs(value - exact) / std::ldexp(1.0, std::max(exact == 0 ? -126 : std::ilogb(exact), -126) - 23);
}

struct Function {
  const char* name;
  vf (*fast)(vf);
  double (*exact)(double);
  float from, to;  // the arguments that the function is for
};

const Function functions[] = {
    {"exp", exp, std::exp, -INFINITY, INFINITY},
    {"exp_nonpositive", exp_nonpositive, std::exp, -87.33f, 0},
    {"exp2_nonpositive", exp2_nonpositive, std::exp2, -100, 0},
    {"expm1", expm1, std::expm1, -INFINITY, INFINITY},
    {"log", log, std::log, -INFINITY, INFINITY},
    {"log1p", log1p, std::log1p, -INFINITY, INFINITY},
    {"sigmoid", sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, -INFINITY, INFINITY},
    {"tanh", tanh, std::tanh, -INFINITY, INFINITY},
    {"erf", erf, std::erf, -INFINITY, INFINITY},
    {"sin", sin, std::sin, -INFINITY, INFINITY},
    {"cos", cos, std::cos, -INFINITY, INFINITY},
};

}  // namespace

int main(int argc, char** argv) {
  uint64_t step = argc > 1 ? strtoull(argv[1], nullptr, 10) : 1009;
  bool failed = false;
  for (const Function& f : functions) {
    double worst = 0;
    float worst_at = 0;
    for (uint64_t u = 0; u < uint64_t{1} << 32; u += step * width) {
      float x[width], y[width];
      for (int64_t i = 0; i < width; i++) {
        x[i] = float_of(static_cast<uint32_t>(u + static_cast<uint64_t>(i) * step));
        if (x[i] < f.from || x[i] > f.to) x[i] = f.to;
      }
      store(y, f.fast(load(x)));
      for (int64_t i = 0; i < width; i++) {
        double error = error_in_ulp(y[i], f.exact(x[i]));
        if (error > worst) worst = error, worst_at = x[i];
      }
    }
    std::printf("%-18s %.2f ulp, at %.9g\n", f.name, worst, worst_at);
    failed |= !(worst < 2.6);
  }
  return failed;
}
