// Rotary position embedding (Su et al., RoFormer, 2021) in the half-rotation layout of Hugging Face's checkpoints, float32:
// the pair (x[i], x[i + D/2]) is turned by the angle of its position and its i, given as cosine and sine. One pass, no copy
// of x; its gradient is the rotation back. The heads of a position lie together in a model's projections, so that a task
// takes whole positions and reads each row of the tables once for all heads.
#include "../kernels.h"
#include "formats.h"
#include "simd.h"

namespace tsgpt::TSGPT_NS {
namespace {

constexpr int64_t grain = 16384;  // numbers in one task

template <bool inverse> void turn(const float* x, const float* cosine, const float* sine, float* y, int64_t half) {
  for_vectors(half, [=](int64_t i, auto part) {
    vf a = load(x + i, part), b = load(x + half + i, part), c = load(cosine + i, part), s = load(sine + i, part);
    if (inverse) s = negate(s);
    store(y + i, fnma(b, s, a * c), part);
    store(y + half + i, fma(a, s, b * c), part);
  });
}

bool rotary(const Rotary& p) {
  int64_t half = p.head_dim / 2, position_size = greater(p.heads * p.head_dim, 1);
  parallel_ranges(p.batch * p.len, greater(grain / position_size, 1), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      int64_t b = i / p.len, t = i % p.len, row = (p.shared_tables ? t : i) * half;
      const float* x = p.x + b * p.x_stride.batch + t * p.x_stride.row;
      float* y = p.y + b * p.y_stride.batch + t * p.y_stride.row;
      for (int64_t h = 0; h < p.heads; h++, x += p.x_stride.head, y += p.y_stride.head) {
        (p.inverse ? turn<true> : turn<false>)(x, p.cosine + row, p.sine + row, y, half);
      }
    }
  });
  return true;
}

}  // namespace

void register_rotary(KernelTable& table) { table.rotary = rotary; }

}  // namespace tsgpt::TSGPT_NS
