// Products with few rows of A (decoding): every weight is used once or a few times, so memory sets the speed. B is
// streamed once, in the order in which it lies, and never packed; half types are converted in registers.
//
// Two layouts: B stored (n, k), a linear layer's weight, as dot products of rows; B stored (k, n), GPT-2's, as sums of
// rows, in blocks of k of fixed length that are added up in order afterwards. Either way the order of every sum
// depends on sizes only.
#pragma once

#include "../kernels.h"
#include "gemm_pack.h"

namespace tsgpt::TSGPT_NS::gemm {

inline int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }

// Done sooner by the calling thread alone than by waking others: at most 2^18 multiplications, some microseconds.
inline bool is_tiny(const Gemm& g) { return g.batch * g.m * g.n * g.k < 64 * 64 * 64; }

template <class Body> inline void parallel_unless(bool alone, int64_t tasks, Body body) {
  if (!alone) return parallel(tasks, body);
  for (int64_t task = 0; task < tasks; task++) body(task);
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

// ------------------------------------------------------------------ reading ahead

// The next rows of B are asked for while these are multiplied: the processor's own prefetching starts anew with every row,
// and where a line means more work, because it holds half types or meets several rows of A, too few lines are under way.
// Without it one thread read 20 GB/s of bfloat16 instead of 32, and 24 GB/s of float32 for four rows of A instead of 29;
// one row of A and float32, 38 GB/s, gains nothing.
template <int MR, class T> inline void fetch([[maybe_unused]] const T* p) {
  if constexpr (sizeof(T) == 2 || MR > 1) __builtin_prefetch(p);
}

template <class T> constexpr int64_t line_items = 64 / sizeof(T) > width ? 64 / sizeof(T) : width;  // of a cache line

// ------------------------------------------------------------------ B stored (n, k): dot products

// sums[i][j] = a[i] . b[j] for MR rows of A and NR rows of B
template <class T, int MR, int NR>
inline void dots(const float* a, const T* b, int64_t b_stride, int64_t k, float* sums, int64_t sums_row) {
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
  for (; s + line_items<T> <= k; s += line_items<T>) {
#pragma GCC unroll 4
    for (int j = 0; j < NR; j++) fetch<MR>(b + (NR + j) * b_stride + s);
#pragma GCC unroll 4
    for (int64_t h = 0; h < line_items<T>; h += width) step([at = s + h](auto* p) { return load(p + at); });
  }
  for (; s + width <= k; s += width) step([s](auto* p) { return load(p + s); });
  if (s < k) step([s, k](auto* p) { return load(p + s, k - s); });
#pragma GCC unroll 4
  for (int i = 0; i < MR; i++) {
#pragma GCC unroll 4
    for (int j = 0; j < NR; j++) sums[i * sums_row + j] = sum(acc[i][j]);
  }
}

#if defined(__AVX512F__) || defined(__ARM_NEON)
constexpr int dot_rows = 4, dot_cols = 4;  // 16 sums, 4 vectors of B, 1 of A
#else
constexpr int dot_rows = 4, dot_cols = 2;
#endif

template <class T, int MR>
inline void dots_of_columns(const float* a, const T* b, int64_t b_stride, int64_t k, int64_t n, float* sums, int64_t sums_row) {
  int64_t j = 0;
  for (; j + dot_cols <= n; j += dot_cols) dots<T, MR, dot_cols>(a, b + j * b_stride, b_stride, k, sums + j, sums_row);
  for (; j < n; j++) dots<T, MR, 1>(a, b + j * b_stride, b_stride, k, sums + j, sums_row);
}

// a: (batch, m, k) contiguous
template <class T> inline void run_dots(const Gemm& g, const float* a) {
  constexpr int64_t chunk = 32;  // columns whose sums are collected before they are written
  int64_t cols = div_up(min_of(div_up(16384, g.k), 1024), chunk) * chunk;  // a task streams about 64 KB
  int64_t tasks = div_up(g.n, cols);
  parallel_unless(g.batch * g.n * g.k < 32768, g.batch * tasks, [&](int64_t task) {
    int64_t batch = task / tasks, begin = task % tasks * cols, end = min_of(begin + cols, g.n);
    const T* b = static_cast<const T*>(g.b) + batch * g.b_batch;
    const float* rows = a + batch * g.m * g.k;
    float sums[dot_rows * chunk];
    for (int64_t j = begin; j < end; j += chunk) {
      int64_t n = min_of(chunk, end - j);
      const T* columns = b + j * g.b_col;
      for (int64_t i = 0; i < g.m; i += dot_rows) {
        int64_t m = min_of(dot_rows, g.m - i);
        switch (m) {
          case 1: dots_of_columns<T, 1>(rows + i * g.k, columns, g.b_col, g.k, n, sums, chunk); break;
          case 2: dots_of_columns<T, 2>(rows + i * g.k, columns, g.b_col, g.k, n, sums, chunk); break;
          case 3: dots_of_columns<T, 3>(rows + i * g.k, columns, g.b_col, g.k, n, sums, chunk); break;
          default: dots_of_columns<T, 4>(rows + i * g.k, columns, g.b_col, g.k, n, sums, chunk); break;
        }
        for (int64_t r = 0; r < m; r++) finish_row(g, batch, i + r, j, sums + r * chunk, n);
      }
    }
  });
}

// ------------------------------------------------------------------ B stored (k, n): sums of rows

constexpr int64_t rows_at_once = 4;  // rows of B

// sums[i][j] += a[i][s] * b[s][j] for MR rows of A, `steps` (1 to 4) rows of B and n columns
template <class T, int MR>
inline void add_rows(const float* a, int64_t a_stride, const T* b, int64_t b_stride, int64_t steps, int64_t n, float* sums,
                     int64_t sums_row) {
  vf av[MR][rows_at_once];
#pragma GCC unroll 4
  for (int i = 0; i < MR; i++) {
#pragma GCC unroll 4
    for (int64_t s = 0; s < rows_at_once; s++) av[i][s] = set(s < steps ? a[i * a_stride + s] : 0.0f);
  }
  int64_t j = 0;
  if (steps == rows_at_once) {
    auto step = [&](int64_t at) __attribute__((always_inline)) {
      vf bv[rows_at_once];
#pragma GCC unroll 4
      for (int64_t s = 0; s < rows_at_once; s++) bv[s] = load(b + s * b_stride + at);
#pragma GCC unroll 4
      for (int i = 0; i < MR; i++) {
        float* to = sums + i * sums_row + at;
        vf v = load(to);
#pragma GCC unroll 4
        for (int64_t s = 0; s < rows_at_once; s++) v = fma(av[i][s], bv[s], v);
        store(to, v);
      }
    };
    for (; j + line_items<T> <= n; j += line_items<T>) {
#pragma GCC unroll 4
      for (int64_t s = 0; s < rows_at_once; s++) fetch<MR>(b + (rows_at_once + s) * b_stride + j);
#pragma GCC unroll 4
      for (int64_t h = 0; h < line_items<T>; h += width) step(j + h);
    }
    for (; j + width <= n; j += width) step(j);
  }
  for (; j < n; j += width) {
    int64_t left = min_of(width, n - j);
    for (int64_t s = 0; s < steps; s++) {
      vf bv = load(b + s * b_stride + j, left);
      for (int i = 0; i < MR; i++) {
        float* to = sums + i * sums_row + j;
        store(to, fma(av[i][s], bv, load(to, left)), left);
      }
    }
  }
}

// A task sums this many rows of B over this many columns: as many as leave the sums of all rows of A in level 1.
constexpr int64_t sum_rows = 128;
inline int64_t sum_cols(int64_t m) { return m == 1 ? 2048 : m < 8 ? 1024 : 512; }

// Floats of the partial sums that run_sums needs.
inline int64_t sums_size(const Gemm& g) { return g.batch * g.m * div_up(g.k, sum_rows) * g.n; }

// a: (batch, m, k) contiguous; partial: sums_size floats
template <class T> inline void run_sums(const Gemm& g, const float* a, float* partial) {
  int64_t blocks = div_up(g.k, sum_rows), cols = sum_cols(g.m), chunks = div_up(g.n, cols);
  int64_t tasks = blocks * chunks;
  parallel_unless(g.batch * g.n * g.k < 32768, g.batch * tasks, [&](int64_t task) {
    int64_t batch = task / tasks, block = task % tasks / chunks, j = task % chunks * cols;
    int64_t n = min_of(cols, g.n - j);
    int64_t begin = block * sum_rows, end = min_of(begin + sum_rows, g.k);
    const T* b = static_cast<const T*>(g.b) + batch * g.b_batch + j;
    float* sums = partial + (batch * blocks + block) * g.m * g.n + j;
    for (int64_t i = 0; i < g.m; i++) std::memset(sums + i * g.n, 0, static_cast<size_t>(n) * sizeof(float));
    for (int64_t s = begin; s < end; s += rows_at_once) {
      int64_t steps = min_of(rows_at_once, end - s);
      for (int64_t i = 0; i < g.m; i += 4) {
        const float* at = a + (batch * g.m + i) * g.k + s;
        float* to = sums + i * g.n;
        switch (min_of(4, g.m - i)) {
          case 1: add_rows<T, 1>(at, g.k, b + s * g.b_row, g.b_row, steps, n, to, g.n); break;
          case 2: add_rows<T, 2>(at, g.k, b + s * g.b_row, g.b_row, steps, n, to, g.n); break;
          case 3: add_rows<T, 3>(at, g.k, b + s * g.b_row, g.b_row, steps, n, to, g.n); break;
          default: add_rows<T, 4>(at, g.k, b + s * g.b_row, g.b_row, steps, n, to, g.n); break;
        }
      }
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
    }
  });
}

}  // namespace tsgpt::TSGPT_NS::gemm
