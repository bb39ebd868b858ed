// Products with few rows of A (decoding): every weight is used once or a few times, so memory sets the speed. B is
// streamed once and never packed; half types are converted in registers.
//
// Two layouts: B stored (n, k), a linear layer's weight, as dot products of rows; B stored (k, n), GPT-2's, as sums of
// rows, in blocks of k of fixed length that are added up in order afterwards. Either way the order of every sum
// depends on k only.
//
// Several rows of B are multiplied at once, and they are not neighbours: a task cuts its rows into as many runs and goes
// along all runs together. The processor's prefetching follows a few long runs of memory, and starts anew where four
// neighbouring rows of 1.5 KB end together: on two cores of a Zen 4, 50257 x 768 bfloat16 is read at 36 GB/s instead of 23
// (what the machine reads: 34 to 40), float32 at 32 instead of 28, GPT-2's 768 x 2304 at 36 and 40 instead of 22 and 30.
#pragma once

#include <algorithm>
#include <type_traits>

#include "gemm_common.h"

namespace tsgpt::TSGPT_NS::gemm {

// ------------------------------------------------------------------ rows of A

constexpr int64_t most_rows = 4;  // that meet a vector of B at once

// f(how many of the `rows` that are left come next, a constant)
template <class F> inline void with_rows(int64_t rows, F f) {
  switch (rows) {
    case 1: return f(std::integral_constant<int, 1>());
    case 2: return f(std::integral_constant<int, 2>());
    case 3: return f(std::integral_constant<int, 3>());
    default: return f(std::integral_constant<int, most_rows>());
  }
}

// ------------------------------------------------------------------ B stored (n, k): dot products

// sums[i][j * sums_col] = a[i] . b[j] for MR rows of A and NR rows of B
template <class T, int MR, int NR>
inline void dots(const float* a, const T* b, int64_t b_stride, int64_t k, float* sums, int64_t sums_row, int64_t sums_col) {
  vf acc[MR][NR];
#pragma GCC unroll 4
  for (int i = 0; i < MR; i++) {
    for (int j = 0; j < NR; j++) acc[i][j] = zero();
  }
  auto step = [&](auto load_at) __attribute__((always_inline)) {
    vf bv[NR];
#pragma GCC unroll 4
    for (int j = 0; j < NR; j++) bv[j] = load_at(b + j * b_stride);
#pragma GCC unroll 4
    for (int i = 0; i < MR; i++) {
      vf av = load_at(a + i * k);
#pragma GCC unroll 4
      for (int j = 0; j < NR; j++) acc[i][j] = fma(av, bv[j], acc[i][j]);
    }
  };
  int64_t s = 0;
  for (; s + width <= k; s += width) step([s](auto* p) { return load(p + s); });
  if (s < k) step([s, k](auto* p) { return load(p + s, k - s); });
#pragma GCC unroll 4
  for (int i = 0; i < MR; i++) {
#pragma GCC unroll 4
    for (int j = 0; j < NR; j++) sums[i * sums_row + j * sums_col] = sum(acc[i][j]);
  }
}

// Runs of B's rows: 16 sums, 4 vectors of B, 1 of A; half as many where there are 16 registers.
#if defined(__AVX512F__) || defined(__ARM_NEON)
constexpr int dot_runs = 4;
#else
constexpr int dot_runs = 2;
#endif

constexpr int64_t dot_bytes = 128 << 10;  // of B, that a task reads: about, or four rows
constexpr int64_t most_cols = 1024;       // of a task

// a: (batch, m, k) contiguous
template <class T> inline void run_dots(const Gemm& g, const float* a) {
  int64_t threads = thread_count(), bytes = g.n * g.k * static_cast<int64_t>(sizeof(T));
  int64_t pieces = div_up(div_up(bytes, dot_bytes), threads) * threads;
  int64_t cols = min_of(div_up(div_up(g.n, pieces), dot_runs) * dot_runs, most_cols), tasks = div_up(g.n, cols);
  parallel_unless(g.batch * g.n * g.k < 32768, g.batch * tasks, [&](int64_t task) {
    int64_t batch = task / tasks, col = task % tasks * cols, n = min_of(cols, g.n - col), run = n / dot_runs;
    const T* b = static_cast<const T*>(g.b) + batch * g.b_batch + col * g.b_col;
    const float* rows = a + batch * g.m * g.k;
    float sums[most_rows * most_cols];
    for (int64_t i = 0; i < g.m; i += most_rows) {
      int64_t m = min_of(most_rows, g.m - i);
      with_rows(m, [&](auto count) {
        constexpr int MR = count;
        const float* at = rows + i * g.k;
        for (int64_t j = 0; j < run; j++) {
          dots<T, MR, dot_runs>(at, b + j * g.b_col, run * g.b_col, g.k, sums + j, cols, run);
        }
        for (int64_t j = run * dot_runs; j < n; j++) dots<T, MR, 1>(at, b + j * g.b_col, 0, g.k, sums + j, cols, 0);
      });
      for (int64_t r = 0; r < m; r++) finish_row(g, batch, i + r, col, sums + r * cols, n);
      finish_fused(g, batch, i, m, col, n);
    }
  });
}

// ------------------------------------------------------------------ B stored (k, n): sums of rows

// sums[i][j] += a[i][s * a_step] * b[s][j] for MR rows of A, NS rows of B and n columns. AHEAD: asks for the rows of B
// that follow.
template <class T, int MR, int NS, bool AHEAD>
inline void add_rows(const float* a, int64_t a_row, int64_t a_step, const T* b, int64_t b_row, int64_t b_step, int64_t n,
                     float* sums, int64_t sums_row) {
  vf av[MR][NS];
#pragma GCC unroll 4
  for (int i = 0; i < MR; i++) {
#pragma GCC unroll 4
    for (int s = 0; s < NS; s++) av[i][s] = set(a[i * a_row + s * a_step]);
  }
  for (int64_t j = 0; j < n; j += width) {
    bool whole = n - j >= width;
    auto load_at = [&](auto* p) __attribute__((always_inline)) { return whole ? load(p + j) : load(p + j, n - j); };
    vf bv[NS];
#pragma GCC unroll 4
    for (int s = 0; s < NS; s++) {
      bv[s] = load_at(b + s * b_step);
      if constexpr (AHEAD) __builtin_prefetch(b + s * b_step + b_row + j);
    }
#pragma GCC unroll 4
    for (int i = 0; i < MR; i++) {
      float* to = sums + i * sums_row;
      vf v = load_at(to);
#pragma GCC unroll 4
      for (int s = 0; s < NS; s++) v = fma(av[i][s], bv[s], v);
      if (whole) {
        store(to + j, v);
      } else {
        store(to + j, v, n - j);
      }
    }
  }
}

constexpr int sum_runs = 4;        // of B's rows
constexpr int64_t sum_rows = 128;  // of B, that a task adds up

// The most columns of a task: long pieces of rows, while the sums of all rows of A take at most 64 KB. Where rows
// have more, the pieces that one run reads do not adjoin, and the next is asked for.
inline int64_t sum_cols(int64_t m) { return m <= most_rows ? 4096 : 1024; }

// Floats of the partial sums that run_sums needs.
inline int64_t sums_size(const Gemm& g) { return g.batch * g.m * div_up(g.k, sum_rows) * g.n; }

// a: (batch, m, k) contiguous; partial: sums_size floats
template <class T> inline void run_sums(const Gemm& g, const float* a, float* partial) {
  int64_t blocks = div_up(g.k, sum_rows), threads = thread_count();
  int64_t pieces = std::max(div_up(g.n, sum_cols(g.m)), min_of(div_up(threads, g.batch * blocks), div_up(g.n, 256)));
  int64_t cols = div_up(div_up(g.n, pieces), 64) * 64, chunks = div_up(g.n, cols), tasks = blocks * chunks;
  parallel_unless(g.batch * g.n * g.k < 32768, g.batch * tasks, [&](int64_t task) {
    int64_t batch = task / tasks, block = task % tasks / chunks, j = task % chunks * cols;
    int64_t n = min_of(cols, g.n - j), begin = block * sum_rows, rows = min_of(sum_rows, g.k - begin);
    int64_t run = rows / sum_runs, step = run * g.b_row;
    const float* at = a + batch * g.m * g.k + begin;
    const T* b = static_cast<const T*>(g.b) + batch * g.b_batch + begin * g.b_row + j;
    float* sums = partial + (batch * blocks + block) * g.m * g.n + j;
    for (int64_t i = 0; i < g.m; i++) std::memset(sums + i * g.n, 0, static_cast<size_t>(n) * sizeof(float));
    for (int64_t s = 0; s < run; s++, b += g.b_row, at++) {
      for (int64_t i = 0; i < g.m; i += most_rows) {
        with_rows(g.m - i, [&](auto count) {
          const float* ai = at + i * g.k;
          float* to = sums + i * g.n;
          if (i == 0 && chunks > 1) {
            add_rows<T, count, sum_runs, true>(ai, g.k, run, b, g.b_row, step, n, to, g.n);
          } else {
            add_rows<T, count, sum_runs, false>(ai, g.k, run, b, g.b_row, step, n, to, g.n);
          }
        });
      }
    }
    b += (sum_runs - 1) * step, at += (sum_runs - 1) * run;
    for (int64_t s = run * sum_runs; s < rows; s++, b += g.b_row, at++) {
      for (int64_t i = 0; i < g.m; i++) add_rows<T, 1, 1, false>(at + i * g.k, 0, 0, b, 0, 0, n, sums + i * g.n, 0);
    }
  });
  parallel_ranges(g.batch * g.m * chunks, 8, [&](int64_t first, int64_t last) {
    for (int64_t piece = first; piece < last; piece++) {
      int64_t row = piece / chunks, batch = row / g.m, j = piece % chunks * cols;
      int64_t n = min_of(cols, g.n - j);
      float* sums = partial + (batch * blocks * g.m + row % g.m) * g.n + j;
      for (int64_t block = 1; block < blocks; block++) {
        const float* more = sums + block * g.m * g.n;
        for (int64_t i = 0; i < n; i += width) {
          int64_t left = n - i;
          if (left >= width) {
            store(sums + i, load(sums + i) + load(more + i));
          } else {
            store(sums + i, load(sums + i, left) + load(more + i, left), left);
          }
        }
      }
      finish_row(g, batch, row % g.m, j, sums, n);
      finish_fused(g, batch, row % g.m, 1, j, n);
    }
  });
}

}  // namespace tsgpt::TSGPT_NS::gemm
