// Packing for GEMM: a strided matrix of any float type becomes panels that the register tile reads in order (float32,
// or float64 for float64).
//
// A panel holds `lanes` rows of A (or columns of B) with k outside: out[k][lane]. Half types are converted on the way,
// which costs nothing beside the reading. The two layouts that matter run on vectors: lanes side by side in memory
// (copied) and k side by side (transposed in registers, four lanes by four at a time). Any other strides are gathered.
#pragma once

#include "simd.h"

namespace tsgpt::TSGPT_NS::gemm {

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

inline float to_float(float x) { return x; }
inline float to_float(Half x) { return half_to_float(x.bits); }
inline float to_float(BFloat16 x) { return bf16_to_float(x.bits); }

using TSGPT_NS::load;
inline vf load(const Half* p) { return load_half(&p->bits); }
inline vf load(const BFloat16* p) { return load_bf16(&p->bits); }
template <class T> inline vf load(const T* p, int64_t n) {
  T whole[width] = {};
  std::memcpy(whole, p, static_cast<size_t>(n) * sizeof(T));
  return load(whole);
}

// ------------------------------------------------------------------ transposing width x width numbers

// quad(rows, s): four numbers of rows 0, 4, 8, ... from step s on, one row per 128 bits.
// transpose_quads(r): the 4 x 4 transpose within each 128 bits of four vectors.
#if defined(__AVX512F__)
inline vf quad(const float* const* rows, int64_t s) {
  __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(rows[0] + s));
  v = _mm512_insertf32x4(v, _mm_loadu_ps(rows[4] + s), 1);
  v = _mm512_insertf32x4(v, _mm_loadu_ps(rows[8] + s), 2);
  return {_mm512_insertf32x4(v, _mm_loadu_ps(rows[12] + s), 3)};
}
inline void transpose_quads(vf (&r)[4]) {
  __m512 a = _mm512_unpacklo_ps(r[0].v, r[1].v), b = _mm512_unpackhi_ps(r[0].v, r[1].v);
  __m512 c = _mm512_unpacklo_ps(r[2].v, r[3].v), d = _mm512_unpackhi_ps(r[2].v, r[3].v);
  r[0].v = _mm512_shuffle_ps(a, c, 0x44);
  r[1].v = _mm512_shuffle_ps(a, c, 0xee);
  r[2].v = _mm512_shuffle_ps(b, d, 0x44);
  r[3].v = _mm512_shuffle_ps(b, d, 0xee);
}
#elif defined(__AVX2__)
inline vf quad(const float* const* rows, int64_t s) {
  return {_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[0] + s)), _mm_loadu_ps(rows[4] + s), 1)};
}
inline void transpose_quads(vf (&r)[4]) {
  __m256 a = _mm256_unpacklo_ps(r[0].v, r[1].v), b = _mm256_unpackhi_ps(r[0].v, r[1].v);
  __m256 c = _mm256_unpacklo_ps(r[2].v, r[3].v), d = _mm256_unpackhi_ps(r[2].v, r[3].v);
  r[0].v = _mm256_shuffle_ps(a, c, 0x44);
  r[1].v = _mm256_shuffle_ps(a, c, 0xee);
  r[2].v = _mm256_shuffle_ps(b, d, 0x44);
  r[3].v = _mm256_shuffle_ps(b, d, 0xee);
}
#else
inline vf quad(const float* const* rows, int64_t s) { return TSGPT_NS::load(rows[0] + s); }
inline void transpose_quads(vf (&r)[4]) {
  f32x4 a = __builtin_shufflevector(r[0].v, r[1].v, 0, 4, 1, 5), b = __builtin_shufflevector(r[0].v, r[1].v, 2, 6, 3, 7);
  f32x4 c = __builtin_shufflevector(r[2].v, r[3].v, 0, 4, 1, 5), d = __builtin_shufflevector(r[2].v, r[3].v, 2, 6, 3, 7);
  r[0].v = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  r[1].v = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  r[2].v = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  r[3].v = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}
#endif

// out[i][l] = rows[l][s + i] for four steps i and all lanes l
inline void transpose_steps(const float* const* rows, int64_t s, float* out, int64_t out_row) {
  vf r[4];
  for (int i = 0; i < 4; i++) r[i] = quad(rows + i, s);
  transpose_quads(r);
  for (int i = 0; i < 4; i++) store(out + i * out_row, r[i]);
}

// out[s][lane] for as many whole blocks of `width` steps as there are; vector_at(lane, s) gives the steps s, s + 1, ... of
// a lane. Answers how many steps that were. By way of a small copy: it reads every row a whole cache line at a time,
// which matters where rows lie a power of two apart and push one another out of level 1.
template <class VectorAt> inline int64_t transpose_rows(int64_t steps, float* out, int64_t padded, VectorAt vector_at) {
  float block[width * width];
  const float* block_row[width];
  for (int64_t i = 0; i < width; i++) block_row[i] = block + i * width;
  int64_t s = 0;
  for (; s + width <= steps; s += width) {
    for (int64_t i = 0; i < width; i++) store(block + i * width, vector_at(i, s));
    for (int64_t i = 0; i < width; i += 4) transpose_steps(block_row, i, out + (s + i) * padded, padded);
  }
  return s;
}

// ------------------------------------------------------------------ panels

// out[s][lane] for lanes that do not lie side by side. Along the first `dense` steps a lane's own numbers do: there
// vector_at(row, s) gives a vector of them, from step s on, each step `per_step` numbers. one_at(row, s) gives the number
// of any one step. The lanes that follow are asked for ahead: where few rows of A meet each number of B, reading B is what
// takes the time (32 x 3072 x 768 with B from memory, one thread: 145 GFLOP/s without, 167 with).
template <int64_t per_step, class T, class VectorAt, class OneAt>
inline void pack_rows(const T* p, int64_t lane_stride, int64_t lanes, int64_t steps, int64_t dense, float* out, int64_t padded,
                      VectorAt vector_at, OneAt one_at) {
  for (int64_t l = 0; l < lanes; l += width) {
    const T* row[width];
    for (int64_t i = 0; i < width; i++) row[i] = p + (l + i < lanes ? l + i : l) * lane_stride;
    float* to = out + l;
    int64_t s = transpose_rows(dense, to, padded, [&](int64_t i, int64_t step) {
      __builtin_prefetch(row[i] + width * lane_stride + per_step * step);
      return vector_at(row[i], step);
    });
    for (; s < steps; s++) {
      for (int64_t i = 0; i < width; i++) to[s * padded + i] = one_at(row[i], s);
    }
  }
}

// Packs k steps of `lanes` lanes into rows of `padded` numbers (a multiple of width). What stands in the lanes beyond
// is not determined: no result that is kept ever reads them.
template <class T>
inline void pack_panel(const T* p, int64_t lane_stride, int64_t k_stride, int64_t lanes, int64_t k, float* out,
                       int64_t padded) {
  if (lane_stride == 1) {
    for (int64_t s = 0; s < k; s++, p += k_stride, out += padded) {
      for (int64_t l = 0; l < lanes; l += width) {
        int64_t n = lanes - l;
        __builtin_prefetch(p + 16 * k_stride + l);
        store(out + l, n >= width ? load(p + l) : load(p + l, n));
      }
    }
    return;
  }
  pack_rows<1>(
      p, lane_stride, lanes, k, k_stride == 1 ? k : 0, out, padded, [](const T* row, int64_t s) { return load(row + s); },
      [=](const T* row, int64_t s) { return to_float(row[s * k_stride]); });
}

inline void pack_panel(const double* p, int64_t lane_stride, int64_t k_stride, int64_t lanes, int64_t k, double* out,
                       int64_t padded) {
  for (int64_t s = 0; s < k; s++) {
    for (int64_t l = 0; l < lanes; l++) out[s * padded + l] = p[l * lane_stride + s * k_stride];
  }
}

// One row, k along it.
template <class T> inline void copy_along(const T* p, int64_t k, float* out) {
  int64_t s = 0;
  for (; s + width <= k; s += width) store(out + s, load(p + s));
  for (; s < k; s++) out[s] = to_float(p[s]);
}
inline void copy_along(const double* p, int64_t k, double* out) {
  std::memcpy(out, p, static_cast<size_t>(k) * sizeof(double));
}

// ------------------------------------------------------------------ panels of bfloat16 pairs

#if defined(__AVX512F__)

inline uint16_t to_bf16(float x) { return float_to_bf16(x); }
inline uint16_t to_bf16(BFloat16 x) { return x.bits; }

// 16 numbers of `low`, then 16 of `high`, rounded to nearest even. As assembler for the reason in gemm_tile.h.
inline __m512i to_bf16(vf low, vf high) {
  __m512i both;
  asm("vcvtne2ps2bf16 %2, %1, %0" : "=v"(both) : "v"(high.v), "v"(low.v));
  return both;
}

struct alignas(64) PairOrder {
  uint16_t at[32];
};
constexpr PairOrder pair_order{
    {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31}};

// Pairs of 16 lanes at steps k and k + 1, where lanes lie side by side
inline vf pairs_of(const float* p, const float* q, int64_t n) {
  __m512i both = to_bf16(load(p, n), load(q, n));
  return {_mm512_castsi512_ps(_mm512_permutexvar_epi16(_mm512_load_si512(&pair_order), both))};
}
inline vf pairs_of(const BFloat16* p, const BFloat16* q, int64_t n) {
  auto mask = first(n).v;
  __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p));
  __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, q));
  return {_mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)))};
}

// 16 pairs of one lane, where k lies side by side
inline vf pairs_along(const float* p) { return {_mm512_castsi512_ps(to_bf16(load(p), load(p + width)))}; }
inline vf pairs_along(const BFloat16* p) { return {_mm512_loadu_ps(p)}; }

// Any one pair; `two` is false where k ends with its first number.
template <class T> inline float pair_of(const T* p, int64_t k_stride, bool two) {
  uint32_t low = to_bf16(p[0]), high = two ? to_bf16(p[k_stride]) : 0;
  return float_of(low | high << 16);
}

// As copy_along, in pairs.
template <class T> inline void copy_pairs_along(const T* p, int64_t k, float* out) {
  int64_t s = 0;
  for (; s + 2 * width <= k; s += 2 * width) store(out + s / 2, pairs_along(p + s));
  for (; s < k; s += 2) out[s / 2] = pair_of(p + s, 1, s + 1 < k);
}

// As pack_panel, for two numbers of k in each step: out[k / 2][lane] holds k (lower half) and k + 1 (upper half, zero
// beyond the end). The numbers are bfloat16, or float32 that is rounded to it.
template <class T>
inline void pack_pairs(const T* p, int64_t lane_stride, int64_t k_stride, int64_t lanes, int64_t k, float* out,
                       int64_t padded) {
  static const T zeros[width] = {};
  int64_t steps = (k + 1) / 2;
  if (lane_stride == 1) {
    for (int64_t s = 0; s < steps; s++, p += 2 * k_stride, out += padded) {
      for (int64_t l = 0; l < lanes; l += width) {
        __builtin_prefetch(p + 16 * k_stride + l);
        __builtin_prefetch(p + 17 * k_stride + l);
        store(out + l, pairs_of(p + l, 2 * s + 1 < k ? p + k_stride + l : zeros, lanes - l));
      }
    }
    return;
  }
  auto pair_at = [=](const T* row, int64_t s) { return pair_of(row + 2 * s * k_stride, k_stride, 2 * s + 1 < k); };
  pack_rows<2>(
      p, lane_stride, lanes, steps, k_stride == 1 ? k / 2 : 0, out, padded,
      [](const T* row, int64_t s) { return pairs_along(row + 2 * s); }, pair_at);
}

#endif

}  // namespace tsgpt::TSGPT_NS::gemm
