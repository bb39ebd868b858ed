// Softmax, log-softmax and cross-entropy over the last dimension. Log-softmax and cross-entropy read a row once from
// memory: a running maximum and a sum of exponentials relative to it, block by block, each block read twice while it is
// in the first-level cache (Milakov and Gimelshein, Online normalizer calculation for softmax, 2018); softmax keeps the
// exponentials in its output instead. Cross-entropy stores only two numbers of each row; its gradient is one pass, which
// may overwrite the logits.
// Rows are independent, so threads take whole rows. As in PyTorch, a row of -infinity gives NaN, and so does a NaN.

#include "../kernels.h"
#include "formats.h"
#include "vec_math.h"

namespace tsgpt::TSGPT_NS {
namespace {

constexpr int64_t block = 2048;  // floats of a row between two updates of the running maximum

// Rows in one task: enough work to be worth a task.
int64_t row_grain(int64_t cols) { return cols >= 16384 ? 1 : 16384 / (cols > 0 ? cols : 1) + 1; }

// The greatest of n elements; a NaN may be passed over, which the sum of exponentials then brings back.
float row_max(const float* x, int64_t n) {
  vf m0 = set(-infinity), m1 = m0, m2 = m0, m3 = m0;
  int64_t i = 0;
  for (; i + 4 * width <= n; i += 4 * width) {
    m0 = max(load(x + i), m0);
    m1 = max(load(x + i + width), m1);
    m2 = max(load(x + i + 2 * width), m2);
    m3 = max(load(x + i + 3 * width), m3);
  }
  for (; i + width <= n; i += width) m0 = max(load(x + i), m0);
  if (i < n) m1 = max(select(first(n - i), load(x + i, n - i), set(-infinity)), m1);
  return max_of(max(max(m0, m1), max(m2, m3)));
}

// Sum of the terms of [0, n), where term(i, part) gives a vector of them; four partial sums cover the latency.
template <class Term> float row_sum(int64_t n, Term term) {
  vf s0 = zero(), s1 = zero(), s2 = zero(), s3 = zero();
  int64_t i = 0;
  for (; i + 4 * width <= n; i += 4 * width) {
    s0 = s0 + term(i, Full{});
    s1 = s1 + term(i + width, Full{});
    s2 = s2 + term(i + 2 * width, Full{});
    s3 = s3 + term(i + 3 * width, Full{});
  }
  for (; i + width <= n; i += width) s0 = s0 + term(i, Full{});
  if (i < n) s1 = s1 + keep(term(i, n - i), n - i);
  return sum((s0 + s1) + (s2 + s3));
}

struct RowStats {
  float max;      // of the row
  float log_sum;  // ln of the sum of e^(x - max)
  float total;    // sum of x, where asked for
};

RowStats row_stats(const float* x, int64_t cols, bool with_total) {
  float max = -infinity;
  double sum = 0, total = 0;
  for (int64_t i = 0; i < cols; i += block) {
    const float* p = x + i;
    int64_t n = smaller(cols - i, block);
    float block_max = row_max(p, n);
    if (block_max > max) {
      sum *= std::exp(static_cast<double>(max) - block_max);
      max = block_max;
    }
    vf m = set(max == -infinity ? 0 : max);  // so that a block of -infinity adds 0, not NaN, to the row's sum
    sum += row_sum(n, [&](int64_t j, auto part) { return exp_nonpositive(load(p + j, part) - m); });
    if (with_total) total += row_sum(n, [&](int64_t j, auto part) { return load(p + j, part); });
  }
  return {max, static_cast<float>(std::log(sum)), static_cast<float>(total)};
}

void softmax_row(const float* x, float* y, int64_t cols) {
  vf m = set(row_max(x, cols));
  float sum = row_sum(cols, [&](int64_t i, auto part) {
    vf e = exp_nonpositive(load(x + i, part) - m);
    store(y + i, e, part);
    return e;
  });
  vf scale = set(1 / sum);
  for_vectors(cols, [&](int64_t i, auto part) { store(y + i, load(y + i, part) * scale, part); });
}

void log_softmax_row(const float* x, float* y, int64_t cols) {
  RowStats stats = row_stats(x, cols, false);
  vf m = set(stats.max), log_sum = set(stats.log_sum);
  for_vectors(cols, [&](int64_t i, auto part) { store(y + i, load(x + i, part) - m - log_sum, part); });
}

bool softmax(const float* x, float* y, int64_t rows, int64_t cols, bool log) {
  parallel_ranges(rows, row_grain(cols), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) (log ? log_softmax_row : softmax_row)(x + r * cols, y + r * cols, cols);
  });
  return true;
}

// dx = y (dy - sum(y dy)), and for the logarithm dx = dy - e^y sum(dy)
bool softmax_grad(const float* y, const float* dy, float* dx, int64_t rows, int64_t cols, bool log) {
  parallel_ranges(rows, row_grain(cols), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float *yr = y + r * cols, *dyr = dy + r * cols;
      float* dxr = dx + r * cols;
      if (log) {
        vf s = set(row_sum(cols, [&](int64_t i, auto part) { return load(dyr + i, part); }));
        for_vectors(cols, [&](int64_t i, auto part) {
          store(dxr + i, fnma(exp_nonpositive(load(yr + i, part)), s, load(dyr + i, part)), part);
        });
      } else {
        vf s = set(row_sum(cols, [&](int64_t i, auto part) { return load(yr + i, part) * load(dyr + i, part); }));
        for_vectors(cols, [&](int64_t i, auto part) { store(dxr + i, load(yr + i, part) * (load(dyr + i, part) - s), part); });
      }
    }
  });
  return true;
}

// With p = softmax(x) and target t: loss = (1 - smoothing) * -ln p_t + smoothing * mean over classes of -ln p.
bool cross_entropy(const float* logits, const int32_t* targets, float* loss, float* lse, int64_t rows, int64_t cols,
                   int32_t ignore_index, float smoothing) {
  parallel_ranges(rows, row_grain(cols), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float* x = logits + r * cols;
      RowStats stats = row_stats(x, cols, smoothing != 0);
      lse[2 * r] = stats.max, lse[2 * r + 1] = stats.log_sum;
      if (targets[r] == ignore_index) {
        loss[r] = 0;
        continue;
      }
      // The maximum is taken off first: ln p would lose its low digits beside a large lse.
      float value = stats.log_sum - (x[targets[r]] - stats.max);
      if (smoothing != 0) {
        float mean = stats.log_sum - (stats.total / static_cast<float>(cols) - stats.max);
        value = (1 - smoothing) * value + smoothing * mean;
      }
      loss[r] = value;
    }
  });
  return true;
}

// dx = (p - (1 - smoothing) onehot(t) - smoothing / cols) * dloss
bool cross_entropy_grad(const float* logits, const int32_t* targets, const float* lse, const float* dloss, float* dlogits,
                        int64_t rows, int64_t cols, int32_t ignore_index, float smoothing) {
  parallel_ranges(rows, row_grain(cols), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float* x = logits + r * cols;
      float* dx = dlogits + r * cols;
      if (targets[r] == ignore_index) {
        std::memset(dx, 0, static_cast<size_t>(cols) * sizeof(float));
        continue;
      }
      // As in the loss, the maximum is taken off first.
      vf m = set(lse[2 * r]), log_sum = set(lse[2 * r + 1]);
      vf g = set(dloss[r]), uniform = set(smoothing / static_cast<float>(cols) * dloss[r]);
      for_vectors(cols, [&](int64_t i, auto part) {
        store(dx + i, exp_nonpositive(load(x + i, part) - m - log_sum) * g - uniform, part);
      });
      dx[targets[r]] -= (1 - smoothing) * dloss[r];
    }
  });
  return true;
}

}  // namespace

void register_softmax(KernelTable& table) {
  table.softmax = softmax;
  table.softmax_grad = softmax_grad;
  table.cross_entropy = cross_entropy;
  table.cross_entropy_grad = cross_entropy_grad;
}

}  // namespace tsgpt::TSGPT_NS
