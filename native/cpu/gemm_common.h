// What every way of multiplying matrices shares: how C is cut into tasks, and how a row of sums becomes one of C.
#pragma once

#include "../kernels.h"
#include "elementwise_rows.h"
#include "gemm_pack.h"

namespace tsgpt::TSGPT_NS::gemm {

// Scratch slot of the matrix products, so that kernels which call it from their own tasks can use the others.
constexpr int scratch_slot = 3;

inline int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }

// Done sooner by the calling thread alone than by waking others: at most 2^18 multiplications, some microseconds.
inline bool is_tiny(const Gemm& g) { return g.batch * g.m * g.n * g.k < 64 * 64 * 64; }

template <class Body> inline void parallel_unless(bool alone, int64_t tasks, Body body) {
  if (!alone) return parallel(tasks, body);
  for (int64_t task = 0; task < tasks; task++) body(task);
}

// ------------------------------------------------------------------ how C is cut

struct Grid {
  int64_t row_tiles, col_tiles, cols;  // cols: columns of a tile, a multiple of `unit`

  int64_t row_begin(int64_t m, int64_t tile) const { return m * tile / row_tiles; }
};

// What a tile may be and what its work costs, in float32 multiplications of one core.
struct TileCosts {
  int64_t unit, most_units;        // columns that are computed together, and how many times as many a tile may have
  int64_t rows;                    // a tile has at least about as many
  double product, pack_a, pack_b;  // one multiplication, and packing one number of A or of B
};

// Chooses the tiles that finish first: (rounds of tasks) x (cost of a task). Small tiles balance, large tiles pack less.
// The number of threads may be used here because the cut does not influence the result.
inline Grid choose_grid(const Gemm& g, const TileCosts& costs) {
  int64_t threads = thread_count(), unit = costs.unit;
  int64_t most = min_of(div_up(g.n, unit), costs.most_units) * unit;
  Grid best{1, div_up(g.n, most), most};
  if (is_tiny(g)) return best;
  double least = 0;
  for (int64_t cols = most; cols >= unit; cols -= cols > 4 * unit ? 2 * unit : unit) {
    int64_t col_tiles = div_up(g.n, cols);
    for (int64_t row_tiles = 1; row_tiles <= 4 * threads && (row_tiles - 1) * costs.rows < g.m; row_tiles++) {
      double rows = static_cast<double>(g.m) / static_cast<double>(row_tiles), c = static_cast<double>(cols);
      double number = rows * c * costs.product + costs.pack_a * rows + costs.pack_b * c;  // of k
      double task = number * static_cast<double>(g.k) + 20000;
      double rounds = static_cast<double>(div_up(g.batch * row_tiles * col_tiles, threads));
      double cost = task * (rounds + (threads > 1 ? 0.15 : 0));  // a little for threads that start late
      if (least == 0 || cost < least) {
        least = cost;
        best = {row_tiles, col_tiles, cols};
      }
    }
  }
  return best;
}

// ------------------------------------------------------------------ writing C in its own type

using TSGPT_NS::store;
inline void store(Half* p, vf x) { store_half(&p->bits, x); }
inline void store(BFloat16* p, vf x) { store_bf16(&p->bits, x); }
template <class T> inline void store(T* p, vf x, int64_t n) {
  T whole[width];
  store(whole, x);
  std::memcpy(p, whole, static_cast<size_t>(n) * sizeof(T));
}

// C[j .. j + n) of one row = alpha * sums + beta * C + bias
template <class T> inline void finish_as(const Gemm& g, T* c, int64_t j, const float* sums, int64_t n) {
  vf alpha = set(g.alpha), beta = set(g.beta);
  for (int64_t i = 0; i < n; i += width) {
    int64_t left = n - i;
    vf v = alpha * load(sums + i, left);
    if (g.beta != 0) v = fma(beta, load(c + j + i, min_of(left, width)), v);
    if (g.bias) v = v + load(g.bias + j + i, left);
    if (left >= width) {
      store(c + j + i, v);
    } else {
      store(c + j + i, v, left);
    }
  }
}

inline void finish_row(const Gemm& g, int64_t batch, int64_t row, int64_t j, const float* sums, int64_t n) {
  int64_t at = batch * g.c_batch + row * g.c_row;
  switch (g.type_c) {
    case DType::float16: return finish_as(g, static_cast<Half*>(g.c) + at, j, sums, n);
    case DType::bfloat16: return finish_as(g, static_cast<BFloat16*>(g.c) + at, j, sums, n);
    default: return finish_as(g, static_cast<float*>(g.c) + at, j, sums, n);
  }
}

// C[j .. j + n) of some rows, whole by then and in a near cache, = activation(C) + residual
inline void finish_fused(const Gemm& g, int64_t batch, int64_t row, int64_t rows, int64_t j, int64_t n) {
  bool activates = g.activation != UnaryOp::count_;
  if (!activates && !g.residual) return;
  UnaryRow activation = activates ? unary_row_of(g.activation, g.type_c) : nullptr;
  BinaryRow add = binary_row_of(BinaryOp::add, g.type_c);
  int64_t size = size_of(g.type_c);
  for (int64_t end = row + rows; row < end; row++) {
    int64_t offset = (batch * g.c_batch + row * g.c_row + j) * size;
    void* c = static_cast<char*>(g.c) + offset;
    if (activates) activation(c, c, n, 0, 0, false);
    if (g.residual) add(c, false, static_cast<const char*>(g.residual) + offset, false, c, n, false);
  }
}

}  // namespace tsgpt::TSGPT_NS::gemm
