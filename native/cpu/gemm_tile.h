// The register tile of GEMM: C[MR, NV vectors] = alpha * A B + beta * C + bias, summed along k in order.
//
// All of C's tile lives in registers; each step of k loads NV vectors of B and multiplies them by MR broadcast numbers
// of A. A is read from rows (where they lie or copied, k along the row) or from a packed panel (k outside, rows inside), B
// always from a packed panel. One text serves all precisions and every instruction set: only the tile's size differs.
#pragma once

#include "simd.h"

namespace tsgpt::TSGPT_NS::gemm {

// ------------------------------------------------------------------ vectors of each precision

struct Single {
  using Scalar = float;
  using Vector = vf;
  static constexpr int lanes = static_cast<int>(width);
  static constexpr int64_t per_step = 1;  // numbers along k that one step multiplies
  static vf set(float x) { return TSGPT_NS::set(x); }
  static vf load(const float* p) { return TSGPT_NS::load(p); }
  static vf load(const float* p, int64_t n) { return TSGPT_NS::load(p, n); }
  static void store(float* p, vf x) { TSGPT_NS::store(p, x); }
  static void store(float* p, vf x, int64_t n) { TSGPT_NS::store(p, x, n); }
  static vf mul(vf a, vf b) { return a * b; }
  static vf add(vf a, vf b) { return a + b; }
  static vf fma(vf a, vf b, vf c) { return TSGPT_NS::fma(a, b, c); }
  static vf multiply(vf a, vf b, vf c) { return fma(a, b, c); }
};

#if defined(__AVX512F__)
// Two neighbours along k in a lane, as bfloat16. One instruction multiplies both pairs of a lane and adds the products to
// a float32 sum (round to nearest even, subnormal inputs and results as zero). Written as assembler, so that this file
// needs no flag beyond AVX-512; runtime/dispatch.h says where it may run.
struct Bf16Pairs : Single {
  static constexpr int64_t per_step = 2;
  static vf multiply(vf a, vf b, vf c) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(c.v) : "v"(a.v), "v"(b.v));
    return c;
  }
};
#endif

struct Double {
  using Scalar = double;
  typedef double Vector __attribute__((vector_size(4 * width)));  // as many bytes as vf
  static constexpr int lanes = static_cast<int>(width) / 2;
  static constexpr int64_t per_step = 1;
  static Vector set(double x) { return Vector{} + x; }
  static Vector load(const double* p, int64_t n = lanes) {
    Vector v{};
    std::memcpy(&v, p, static_cast<size_t>(n) * sizeof(double));
    return v;
  }
  static void store(double* p, Vector x, int64_t n = lanes) { std::memcpy(p, &x, static_cast<size_t>(n) * sizeof(double)); }
  static Vector mul(Vector a, Vector b) { return a * b; }
  static Vector add(Vector a, Vector b) { return a + b; }
  static Vector fma(Vector a, Vector b, Vector c) {
#if defined(__AVX512F__)
    return reinterpret_cast<Vector>(_mm512_fmadd_pd(a, b, c));
#elif defined(__AVX2__)
    return reinterpret_cast<Vector>(_mm256_fmadd_pd(a, b, c));
#else
    return a * b + c;
#endif
  }
  static Vector multiply(Vector a, Vector b, Vector c) { return fma(a, b, c); }
};

// ------------------------------------------------------------------ the tile

// The most rows and vectors that fit the registers together with NV vectors of B and one broadcast of A.
#if defined(__AVX512F__)
constexpr int tile_rows = 14, tile_vectors = 2;  // 28 of 32 registers
#elif defined(__ARM_NEON)
constexpr int tile_rows = 12, tile_vectors = 2;  // 24 of 32
#else
constexpr int tile_rows = 6, tile_vectors = 2;  // 12 of 16
#endif

template <class P> constexpr int tile_cols = (tile_vectors * P::lanes);

// Numbers of A per step of k in a packed panel: whole float vectors, so that packing needs no tails.
constexpr int panel_rows = (tile_rows + static_cast<int>(width) - 1) / static_cast<int>(width) * static_cast<int>(width);

template <class P> struct Output {
  typename P::Scalar* c;
  int64_t row;                     // stride
  typename P::Scalar alpha, beta;  // beta 0 does not read C
  const float* bias;               // of the tile's first column, or null
};

template <class P> inline typename P::Vector load_bias(const float* p, int64_t n) {
  if constexpr (P::lanes == width) {
    return P::load(p, n);
  } else {
    double whole[P::lanes] = {};
    for (int64_t i = 0; i < n && i < P::lanes; i++) whole[i] = p[i];
    return P::load(whole);
  }
}

// cols: how many of the tile's columns exist; the last vector may be partial, the others are whole.
template <class P, int MR, int NV, bool in_rows>
void tile(int64_t k, const typename P::Scalar* __restrict a, int64_t a_row, const typename P::Scalar* __restrict b,
          const Output<P>& out, int64_t cols) {
  constexpr int groups = (MR + 2) / 3, lanes = P::lanes;
  typename P::Vector sum[MR][NV];
  // Three rows share a pointer, since addresses are scaled by the processor: five pointers serve 14 rows.
  const typename P::Scalar* group[groups];
#pragma GCC unroll 8
  for (int g = 0; g < groups; g++) group[g] = a + 3 * g * a_row;
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++) {
    __builtin_prefetch(out.c + i * out.row, 1);
    __builtin_prefetch(out.c + i * out.row + (NV * lanes - 1), 1);
#pragma GCC unroll 2
    for (int j = 0; j < NV; j++) sum[i][j] = P::set(0);
  }
  // Not unrolled: with several steps at hand GCC loads ahead, runs out of registers and spills the sums.
#pragma GCC unroll 1
  for (int64_t s = 0; s < k; s++) {
    typename P::Vector bv[NV];
#pragma GCC unroll 2
    for (int j = 0; j < NV; j++) bv[j] = P::load(b + j * lanes);
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
      typename P::Vector av = P::set(in_rows ? group[i / 3][(i % 3) * a_row] : a[i]);
#pragma GCC unroll 2
      for (int j = 0; j < NV; j++) sum[i][j] = P::multiply(av, bv[j], sum[i][j]);
#if defined(__AVX2__)
      asm volatile("" ::: "memory");  // one broadcast at a time, for the same reason
#endif
    }
#pragma GCC unroll 8
    for (int g = 0; in_rows && g < groups; g++) group[g]++;
    a += panel_rows;
    b += NV * lanes;
  }

  typename P::Vector alpha = P::set(out.alpha), beta = P::set(out.beta);
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++) {
    typename P::Scalar* c = out.c + i * out.row;
#pragma GCC unroll 2
    for (int j = 0; j < NV; j++) {
      int64_t n = cols - j * lanes;
      typename P::Vector v = P::mul(alpha, sum[i][j]);
      if (n >= lanes) {
        if (out.beta != 0) v = P::fma(beta, P::load(c + j * lanes), v);
        if (out.bias) v = P::add(v, load_bias<P>(out.bias + j * lanes, lanes));
        P::store(c + j * lanes, v);
      } else {
        if (out.beta != 0) v = P::fma(beta, P::load(c + j * lanes, n), v);
        if (out.bias) v = P::add(v, load_bias<P>(out.bias + j * lanes, n));
        P::store(c + j * lanes, v, n);
      }
    }
  }
}

template <class P>
using Tile = void (*)(int64_t k, const typename P::Scalar* a, int64_t a_row, const typename P::Scalar* b, const Output<P>& out,
                      int64_t cols);

// Every height from 1 to tile_rows.
template <class P, int NV, bool in_rows> inline Tile<P> tile_of_height(int64_t rows) {
  static constexpr Tile<P> table[] = {
    tile<P, 1, NV, in_rows>,
    tile<P, 2, NV, in_rows>,
    tile<P, 3, NV, in_rows>,
    tile<P, 4, NV, in_rows>,
    tile<P, 5, NV, in_rows>,
    tile<P, 6, NV, in_rows>,
#if defined(__AVX512F__) || defined(__ARM_NEON)
    tile<P, 7, NV, in_rows>,
    tile<P, 8, NV, in_rows>,
    tile<P, 9, NV, in_rows>,
    tile<P, 10, NV, in_rows>,
    tile<P, 11, NV, in_rows>,
    tile<P, 12, NV, in_rows>,
#endif
#if defined(__AVX512F__)
    tile<P, 13, NV, in_rows>,
    tile<P, 14, NV, in_rows>,
#endif
  };
  static_assert(sizeof table / sizeof table[0] == tile_rows);
  return table[rows - 1];
}

// The tile for a panel of `rows` rows of A and `cols` columns, one or two vectors wide.
template <class P> inline Tile<P> tile_for(int64_t rows, int64_t cols, bool in_rows) {
  if (cols > P::lanes) return in_rows ? tile_of_height<P, 2, true>(rows) : tile_of_height<P, 2, false>(rows);
  return in_rows ? tile_of_height<P, 1, true>(rows) : tile_of_height<P, 1, false>(rows);
}

}  // namespace tsgpt::TSGPT_NS::gemm
