// The pieces that attention's forward and backward pass share: the matrix product of a tile, and which part of a tile
// is visible under a causal mask and a sliding window.
//
// Scores are kept transposed, S^T[key][query], 64 by 64 with a fixed row length. Then the statistics of softmax are one
// lane per query and need no horizontal sums, every product reads its left factor by broadcast at fixed distances, and
// only Q (and dO) are ever transposed, once per 64 queries; K, V and the outputs are used where they lie.
#pragma once

#include "../kernels.h"
#include "gemm_pack.h"
#include "vec_math.h"

namespace tsgpt::TSGPT_NS::attention {

constexpr int64_t tile = 64;  // queries and keys of a tile, and the row length of its scratch matrices

struct Range {
  int64_t begin, end;
};

// Within a tile, query i sees key j when i + lower < j <= i + upper. Both bounds are far outside where not in use.
struct Band {
  int64_t queries, keys, lower, upper;

  Range keys_of(int64_t first, int64_t last) const {  // seen by any of the queries [first, last)
    return clip(first + lower + 1, last + upper, keys);
  }
  Range queries_of(int64_t first, int64_t last) const {  // that see any of the keys [first, last)
    return clip(first - upper, last - 1 - lower, queries);
  }

 private:
  static Range clip(int64_t begin, int64_t end, int64_t n) {
    if (begin < 0) begin = 0;
    if (end > n) end = n;
    return {begin, end < begin ? begin : end};
  }
};

// ------------------------------------------------------------------ C = alpha A B + scale C

// How the left factor A(row, step) lies: a scratch tile by rows or by columns (distances known to the compiler), or a
// matrix of the caller, whose rows are `a_row` apart.
struct TileRows {
  static constexpr int64_t row = tile, step = 1;
};
struct TileColumns {
  static constexpr int64_t row = 1, step = tile;
};
struct CallerRows {
  static constexpr int64_t row = 0, step = 1;
};

struct Product {
  int64_t rows, cols;
  const float* a;
  int64_t a_row = 0;  // CallerRows only
  const float* b;     // (steps, cols)
  int64_t b_row;
  float* c;
  int64_t c_row;
  float alpha = 1;
  bool accumulate = false;           // add to C, else overwrite it
  const float* row_scale = nullptr;  // C's rows are multiplied by it before adding, or null
};

#if defined(__AVX512F__) || defined(__ARM_NEON)
constexpr int accumulators = 24, max_vecs = 4;  // of 32 registers
#else
constexpr int accumulators = 12, max_vecs = 2;  // of 16 registers
#endif

template <class Layout, int Rows, int Vecs, bool Tail>
inline void multiply_panel(const Product& p, int64_t row, int64_t col, Range steps, int64_t tail) {
  const int64_t a_row = Layout::row ? Layout::row : p.a_row, b_row = p.b_row;
  const float* a = p.a + row * a_row + steps.begin * Layout::step;
  const float* b = p.b + steps.begin * b_row + col;
  vf sum[Rows][Vecs];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; i++) {
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; v++) sum[i][v] = zero();
  }
  for (int64_t k = steps.end - steps.begin; k > 0; k--) {
    vf right[Vecs];
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; v++) right[v] = Tail && v == Vecs - 1 ? load(b + v * width, tail) : load(b + v * width);
#pragma GCC unroll 16
    for (int i = 0; i < Rows; i++) {
      vf left = set(a[i * a_row]);
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; v++) sum[i][v] = fma(left, right[v], sum[i][v]);
    }
    a += Layout::step;
    b += b_row;
  }
  float* c = p.c + row * p.c_row + col;
  vf alpha = set(p.alpha);
#pragma GCC unroll 16
  for (int i = 0; i < Rows; i++) {
    vf scale = set(p.row_scale ? p.row_scale[row + i] : 1.0f);
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; v++) {
      bool last = Tail && v == Vecs - 1;
      float* to = c + i * p.c_row + v * width;
      vf y = sum[i][v] * alpha;
      if (p.accumulate) y = fma(scale, last ? load(to, tail) : load(to), y);
      last ? store(to, y, tail) : store(to, y);
    }
  }
}

// All rows of some columns, in panels of as many rows as the registers hold.
template <class Layout, int Vecs, bool Tail, class Steps>
inline void multiply_columns(const Product& p, int64_t col, int64_t tail, Steps steps_of) {
  // The caller's rows need an address register each beyond the fixed distances' one, so that there are never many.
  constexpr int most = Layout::row == 0 ? 6 : 12, rows = accumulators / Vecs < most ? accumulators / Vecs : most;
  int64_t i = 0;
  for (; i + rows <= p.rows; i += rows) multiply_panel<Layout, rows, Vecs, Tail>(p, i, col, steps_of(i, i + rows), tail);
  for (; i + 4 <= p.rows; i += 4) multiply_panel<Layout, 4, Vecs, Tail>(p, i, col, steps_of(i, i + 4), tail);
  for (; i + 2 <= p.rows; i += 2) multiply_panel<Layout, 2, Vecs, Tail>(p, i, col, steps_of(i, i + 2), tail);
  if (i < p.rows) multiply_panel<Layout, 1, Vecs, Tail>(p, i, col, steps_of(i, i + 1), tail);
}

// The last columns: `vecs` vectors, the last of which may have only `tail` lanes (0: all of them).
template <class Layout, int Vecs, class Steps>
inline void multiply_last_columns(const Product& p, int64_t col, int64_t vecs, int64_t tail, Steps steps_of) {
  if constexpr (Vecs <= max_vecs) {
    if (vecs != Vecs) return multiply_last_columns<Layout, Vecs + 1>(p, col, vecs, tail, steps_of);
    tail ? multiply_columns<Layout, Vecs, true>(p, col, tail, steps_of)
         : multiply_columns<Layout, Vecs, false>(p, col, 0, steps_of);
  }
}

// steps_of(first, last) gives the range of steps that the rows [first, last) need; the others are known to add nothing.
template <class Layout, class Steps> inline void multiply(const Product& p, Steps steps_of) {
  constexpr int64_t most = max_vecs * width;
  int64_t col = 0;
  for (; col + most <= p.cols; col += most) multiply_columns<Layout, max_vecs, false>(p, col, 0, steps_of);
  int64_t left = p.cols - col;
  if (left > 0) multiply_last_columns<Layout, 1>(p, col, (left + width - 1) / width, left % width, steps_of);
}

// S^T = K Q^T (or V dO^T) for the visible part of a tile: rows of keys by whole vectors of queries.
inline void multiply_scores(const Band& band, const float* k, int64_t k_row, const float* q_t, int64_t head_dim, float* s) {
  constexpr int64_t panel = 6;
  for (int64_t j = 0; j < band.keys; j += panel) {
    int64_t end = j + panel < band.keys ? j + panel : band.keys;
    Range q = band.queries_of(j, end);
    int64_t from = q.begin / width * width, to = (q.end + width - 1) / width * width;
    if (q.begin == q.end) continue;
    Product p{.rows = end - j,
              .cols = to - from,
              .a = k + j * k_row,
              .a_row = k_row,
              .b = q_t + from,
              .b_row = tile,
              .c = s + j * tile + from,
              .c_row = tile};
    multiply<CallerRows>(p, [&](int64_t, int64_t) { return Range{0, head_dim}; });
  }
}

}  // namespace tsgpt::TSGPT_NS::attention
