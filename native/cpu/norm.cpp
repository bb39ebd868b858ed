// LayerNorm and RMSNorm over the last dimension, forward and backward, float32.
//
// A row comes from memory once; the further passes over it find it in the cache. LayerNorm takes the mean first and
// then the variance around it, which stays exact where one pass over x and x^2 cancels. The backward pass computes dx
// of a row and adds the row to the sums for weight and bias, which are kept per block of rows and combined in order.
//
//   layer norm: xhat = (x - mean) rstd,   y = xhat w + b,  g = dy w,  dx = rstd (g - mean(g) - xhat mean(g xhat))
//   rms norm:   xhat = x rstd,            y = xhat w,      g = dy w,  dx = rstd (g - xhat mean(g xhat))
//   both:       dw = sum over rows of dy xhat,  db = sum over rows of dy
#include "../kernels.h"
#include "formats.h"
#include "simd.h"

namespace tsgpt::TSGPT_NS {
namespace {

constexpr int64_t grain = 16384;       // numbers in one task
constexpr int64_t most_blocks = 64;    // of rows, each with its own partial sums of dw and db
constexpr int64_t least_rows = 32;     // in such a block
constexpr int64_t block_items = 8192;  // of a row, summed in float32

// The sum over a row of term(x), in four chains.
template <class Term> inline double sum_row(const float* x, int64_t n, Term term) {
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += block_items) {
    int64_t end = smaller(begin + block_items, n), i = begin;
    vf a = zero(), b = zero(), c = zero(), d = zero();
    for (; i + 4 * width <= end; i += 4 * width) {
      a = a + term(load(x + i));
      b = b + term(load(x + i + width));
      c = c + term(load(x + i + 2 * width));
      d = d + term(load(x + i + 3 * width));
    }
    for_vectors(end - i, [&](int64_t k, auto part) { a = a + keep(term(load(x + i + k, part)), part); });
    total += sum((a + b) + (c + d));
  }
  return total;
}

struct Statistics {
  float mean, rstd;
};

template <bool centered> inline Statistics statistics(const float* x, int64_t n, float eps) {
  double count = static_cast<double>(n), mean = 0;
  if constexpr (centered) mean = sum_row(x, n, [](vf v) { return v; }) / count;
  const vf center = set(static_cast<float>(mean));
  double variance = sum_row(x, n,
                            [=](vf v) {
                              vf d = centered ? v - center : v;
                              return d * d;
                            }) /
                    count;
  return {static_cast<float>(mean), static_cast<float>(1 / std::sqrt(variance + static_cast<double>(eps)))};
}

template <bool centered>
bool norm(const float* x_, const float* weight, const float* bias, float* y_, float* mean, float* rstd, int64_t rows,
          int64_t cols, float eps) {
  parallel_ranges(rows, greater(grain / greater(cols, 1), 1), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const float* x = x_ + row * cols;
      float* y = y_ + row * cols;
      Statistics s = statistics<centered>(x, cols, eps);
      if (mean) mean[row] = s.mean;
      if (rstd) rstd[row] = s.rstd;
      const vf scale = set(s.rstd), center = set(s.mean);
      for_vectors(cols, [=](int64_t i, auto part) {
        ask(x + cols + i);  // the next row
        vf v = load(x + i, part);
        v = (centered ? v - center : v) * scale;
        if (weight) v = v * load(weight + i, part);
        if (bias) v = v + load(bias + i, part);
        store(y + i, v, part);
      });
    }
  });
  return true;
}

// dw and db: partial sums over the rows seen so far (null when not wanted).
template <bool centered>
inline void norm_grad_row(const float* x, const float* weight, float mean, float rstd, const float* dy, float* dx, float* dw,
                          float* db, int64_t cols) {
  const vf scale = set(rstd), center = set(mean);
  auto normalized = [=](int64_t i, auto part) {
    vf v = load(x + i, part);
    return (centered ? v - center : v) * scale;
  };
  auto weighted = [=](int64_t i, auto part) {
    vf v = load(dy + i, part);
    return weight ? v * load(weight + i, part) : v;
  };
  vf sum_g = zero(), sum_gx = zero();
  for_vectors(cols, [&](int64_t i, auto part) {
    vf xhat = normalized(i, part), g = weighted(i, part), d = load(dy + i, part);  // g and d are 0 beyond the end
    if (centered) sum_g = sum_g + g;
    sum_gx = fma(g, xhat, sum_gx);
    if (dw) store(dw + i, fma(d, xhat, load(dw + i, part)), part);
    if (db) store(db + i, d + load(db + i, part), part);
  });
  float n = static_cast<float>(cols);
  const vf mean_g = set(sum(sum_g) / n), mean_gx = set(sum(sum_gx) / n);
  for_vectors(cols, [=](int64_t i, auto part) {
    vf g = weighted(i, part);
    if (centered) g = g - mean_g;
    store(dx + i, scale * fnma(normalized(i, part), mean_gx, g), part);
  });
}

// out = the partial sums of all blocks, from `first` on in each, in order (added to what is there when accumulate)
void combine(const float* partial, int64_t blocks, int64_t stride, int64_t first, float* out, int64_t cols, bool accumulate) {
  if (!out) return;
  parallel_ranges(cols, greater(grain / greater(blocks, 1), width), [=](int64_t begin, int64_t end) {
    for_vectors(end - begin, [=](int64_t i, auto part) {
      i += begin;
      vf total = zero();
      for (int64_t b = 0; b < blocks; b++) total = total + load(partial + b * stride + first + i, part);
      store(out + i, accumulate ? load(out + i, part) + total : total, part);
    });
  });
}

template <bool centered>
bool norm_grad(const float* x, const float* weight, const float* mean, const float* rstd, const float* dy, float* dx,
               float* dweight, float* dbias, int64_t rows, int64_t cols, bool accumulate) {
  int64_t block = greater(least_rows, ceil_div(rows, most_blocks)), blocks = ceil_div(rows, block);
  int64_t sums = (dweight ? cols : 0) + (dbias ? cols : 0);  // per block: dw, then db
  size_t bytes = static_cast<size_t>(blocks * sums) * sizeof(float);
  float* partial = sums && blocks ? static_cast<float*>(thread_scratch(0, bytes)) : nullptr;
  parallel_ranges(rows, block, [=](int64_t begin, int64_t end) {
    float* dw = dweight ? partial + begin / block * sums : nullptr;
    float* db = dbias ? partial + begin / block * sums + (dweight ? cols : 0) : nullptr;
    if (sums) std::memset(dw ? dw : db, 0, static_cast<size_t>(sums) * sizeof(float));
    for (int64_t row = begin; row < end; row++) {
      int64_t at = row * cols;
      norm_grad_row<centered>(x + at, weight, centered ? mean[row] : 0, rstd[row], dy + at, dx + at, dw, db, cols);
    }
  });
  combine(partial, blocks, sums, 0, dweight, cols, accumulate);
  combine(partial, blocks, sums, dweight ? cols : 0, dbias, cols, accumulate);
  return true;
}

bool rms_norm(const float* x, const float* weight, float* y, float* rstd, int64_t rows, int64_t cols, float eps) {
  return norm<false>(x, weight, nullptr, y, nullptr, rstd, rows, cols, eps);
}

bool rms_norm_grad(const float* x, const float* weight, const float* rstd, const float* dy, float* dx, float* dweight,
                   int64_t rows, int64_t cols, bool accumulate) {
  return norm_grad<false>(x, weight, nullptr, rstd, dy, dx, dweight, nullptr, rows, cols, accumulate);
}

}  // namespace

void register_norm(KernelTable& table) {
  table.layer_norm = norm<true>;
  table.layer_norm_grad = norm_grad<true>;
  table.rms_norm = rms_norm;
  table.rms_norm_grad = rms_norm_grad;
}

}  // namespace tsgpt::TSGPT_NS
