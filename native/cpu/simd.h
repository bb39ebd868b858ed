// A thin wrapper over the machine's float32 vectors, so that a kernel is written once and compiled once per
// instruction set. The set is chosen by the compiler flags of the file (see CMakeLists.txt); everything lives in a
// namespace of that set (TSGPT_NS), so that the linker can never mix code of two sets.
//
// vf: a vector of `width` floats.  vi: as many int32.  vm: a mask of as many lanes.
// Tails use load(p, n) and store(p, v, n): only the first n lanes are touched (the others read as zero).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "../runtime/parallel.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#ifndef TSGPT_NS
#error "TSGPT_NS (the instruction set's namespace) is defined by the build"
#endif

namespace tsgpt::TSGPT_NS {

// ------------------------------------------------------------------ scalars: half types, round to nearest even

inline uint32_t bits_of(float x) {
  uint32_t u;
  std::memcpy(&u, &x, 4);
  return u;
}
inline float float_of(uint32_t u) {
  float x;
  std::memcpy(&x, &u, 4);
  return x;
}
inline float bf16_to_float(uint16_t h) { return float_of(static_cast<uint32_t>(h) << 16); }
inline uint16_t float_to_bf16(float x) {
  uint32_t u = bits_of(x);
  if ((u & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>((u >> 16) | 0x40);  // NaN stays NaN, quiet
  return static_cast<uint16_t>((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}
inline float half_to_float(uint16_t h) {
  uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 0x3ff;
  if (exponent == 31) return float_of(sign | 0x7f800000 | (mantissa ? 0x400000 | (mantissa << 13) : 0));
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24 is exact in float32
    float x = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -x : x;
  }
  return float_of(sign | ((exponent + 112) << 23) | (mantissa << 13));
}
inline uint16_t float_to_half(float x) {
  uint32_t u = bits_of(x), sign = (u >> 16) & 0x8000;
  u &= 0x7fffffff;
  if (u > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00 | ((u >> 13) & 0x3ff));
  if (u >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);  // 65520 and above round to infinity
  if (u < 0x38800000) {  // below 2^-14: adding 0.5 leaves the subnormal's rounded mantissa in the low bits
    return static_cast<uint16_t>(sign | (bits_of(float_of(u) + 0.5f) - 0x3f000000));
  }
  return static_cast<uint16_t>(sign | ((u - 0x38000000 + 0xfff + ((u >> 13) & 1)) >> 13));
}

// ------------------------------------------------------------------ vectors

#if defined(__AVX512F__)

constexpr int64_t width = 16;
struct vf {
  __m512 v;
};
struct vi {
  __m512i v;
};
struct vm {
  __mmask16 v;
};

inline vm first(int64_t n) { return {static_cast<__mmask16>(n >= 16 ? 0xffff : (1u << n) - 1)}; }
inline vf set(float x) { return {_mm512_set1_ps(x)}; }
inline vf zero() { return {_mm512_setzero_ps()}; }
inline vf load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline vf load(const float* p, int64_t n) { return {_mm512_maskz_loadu_ps(first(n).v, p)}; }
inline void store(float* p, vf x) { _mm512_storeu_ps(p, x.v); }
inline void stream(float* p, vf x) { _mm512_stream_ps(p, x.v); }  // past the caches; p aligned to a vector
inline void end_stream() { _mm_sfence(); }                        // before another thread reads what was streamed
inline void store(float* p, vf x, int64_t n) { _mm512_mask_storeu_ps(p, first(n).v, x.v); }
inline vf load_half(const uint16_t* p) { return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))}; }
inline void store_half(uint16_t* p, vf x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline vf load_bf16(const uint16_t* p) {
  return {_mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16))};
}
inline void store_bf16(uint16_t* p, vf x) {
  __m512i u = _mm512_castps_si512(x.v), odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(u, odd), _mm512_set1_epi32(0x7fff)), 16);
  __m512i quiet = _mm512_or_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(0x40));
  __m512i r = _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q), rounded, quiet);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(r));
}
inline vf operator+(vf a, vf b) { return {_mm512_add_ps(a.v, b.v)}; }
inline vf operator-(vf a, vf b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline vf operator*(vf a, vf b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline vf operator/(vf a, vf b) { return {_mm512_div_ps(a.v, b.v)}; }
inline vf fma(vf a, vf b, vf c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }    // a b + c
inline vf fnma(vf a, vf b, vf c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }  // c - a b
inline vf min(vf a, vf b) { return {_mm512_min_ps(a.v, b.v)}; }                 // b where either is NaN
inline vf max(vf a, vf b) { return {_mm512_max_ps(a.v, b.v)}; }
inline vf sqrt(vf a) { return {_mm512_sqrt_ps(a.v)}; }
inline vf round(vf a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline vf floor(vf a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)}; }
inline vf ceil(vf a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)}; }
inline vm operator<(vf a, vf b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline vm operator<=(vf a, vf b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
inline vm operator==(vf a, vf b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
inline vm is_nan(vf a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
inline vf select(vm m, vf a, vf b) { return {_mm512_mask_blend_ps(m.v, b.v, a.v)}; }  // m ? a : b
inline vm operator!(vm m) { return {static_cast<__mmask16>(~m.v)}; }
inline bool any(vm m) { return m.v != 0; }
inline void store_bool(uint8_t* p, vm m) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_maskz_set1_epi8(m.v, 1)); }
inline float sum(vf a) { return _mm512_reduce_add_ps(a.v); }
inline float max_of(vf a) { return _mm512_reduce_max_ps(a.v); }
inline float min_of(vf a) { return _mm512_reduce_min_ps(a.v); }
inline vi set_int(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline vi bits(vf a) { return {_mm512_castps_si512(a.v)}; }
inline vf as_float(vi a) { return {_mm512_castsi512_ps(a.v)}; }
inline vi to_int(vf a) { return {_mm512_cvtps_epi32(a.v)}; }  // to nearest
inline vf to_float(vi a) { return {_mm512_cvtepi32_ps(a.v)}; }
inline vi operator+(vi a, vi b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline vi operator-(vi a, vi b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline vi operator&(vi a, vi b) { return {_mm512_and_si512(a.v, b.v)}; }
inline vi operator|(vi a, vi b) { return {_mm512_or_si512(a.v, b.v)}; }
inline vi operator^(vi a, vi b) { return {_mm512_xor_si512(a.v, b.v)}; }
template <int N> inline vi shift_left(vi a) { return {_mm512_slli_epi32(a.v, N)}; }
template <int N> inline vi shift_right(vi a) { return {_mm512_srli_epi32(a.v, N)}; }  // logical

#elif defined(__AVX2__)

constexpr int64_t width = 8;
struct vf {
  __m256 v;
};
struct vi {
  __m256i v;
};
struct vm {
  __m256 v;
};

inline __m256i first_mask(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n > 8 ? 8 : n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline vm first(int64_t n) { return {_mm256_castsi256_ps(first_mask(n))}; }
inline vf set(float x) { return {_mm256_set1_ps(x)}; }
inline vf zero() { return {_mm256_setzero_ps()}; }
inline vf load(const float* p) { return {_mm256_loadu_ps(p)}; }
inline vf load(const float* p, int64_t n) { return {_mm256_maskload_ps(p, first_mask(n))}; }
inline void store(float* p, vf x) { _mm256_storeu_ps(p, x.v); }
inline void stream(float* p, vf x) { _mm256_stream_ps(p, x.v); }
inline void end_stream() { _mm_sfence(); }
inline void store(float* p, vf x, int64_t n) { _mm256_maskstore_ps(p, first_mask(n), x.v); }
inline vf load_half(const uint16_t* p) { return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
inline void store_half(uint16_t* p, vf x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline vf load_bf16(const uint16_t* p) {
  return {
      _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16))};
}
inline void store_bf16(uint16_t* p, vf x) {
  __m256i u = _mm256_castps_si256(x.v), odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
  __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(u, odd), _mm256_set1_epi32(0x7fff)), 16);
  __m256i quiet = _mm256_or_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(0x40));
  __m256i r = _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(x.v, x.v, _CMP_UNORD_Q)));
  __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(r, r), 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
}
inline vf operator+(vf a, vf b) { return {_mm256_add_ps(a.v, b.v)}; }
inline vf operator-(vf a, vf b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline vf operator*(vf a, vf b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline vf operator/(vf a, vf b) { return {_mm256_div_ps(a.v, b.v)}; }
inline vf fma(vf a, vf b, vf c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline vf fnma(vf a, vf b, vf c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
inline vf min(vf a, vf b) { return {_mm256_min_ps(a.v, b.v)}; }
inline vf max(vf a, vf b) { return {_mm256_max_ps(a.v, b.v)}; }
inline vf sqrt(vf a) { return {_mm256_sqrt_ps(a.v)}; }
inline vf round(vf a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline vf floor(vf a) { return {_mm256_floor_ps(a.v)}; }
inline vf ceil(vf a) { return {_mm256_ceil_ps(a.v)}; }
inline vm operator<(vf a, vf b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline vm operator<=(vf a, vf b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
inline vm operator==(vf a, vf b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
inline vm is_nan(vf a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
inline vf select(vm m, vf a, vf b) { return {_mm256_blendv_ps(b.v, a.v, m.v)}; }
inline vm operator!(vm m) { return {_mm256_xor_ps(m.v, _mm256_castsi256_ps(_mm256_set1_epi32(-1)))}; }
inline bool any(vm m) { return _mm256_movemask_ps(m.v) != 0; }
inline void store_bool(uint8_t* p, vm m) {
  __m256i ones = _mm256_and_si256(_mm256_castps_si256(m.v), _mm256_set1_epi32(1));
  __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(ones), _mm256_extracti128_si256(ones, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}
inline float sum(vf a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
inline float max_of(vf a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}
inline float min_of(vf a) {
  __m128 s = _mm_min_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_min_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_min_ss(s, _mm_shuffle_ps(s, s, 1)));
}
inline vi set_int(int32_t x) { return {_mm256_set1_epi32(x)}; }
inline vi bits(vf a) { return {_mm256_castps_si256(a.v)}; }
inline vf as_float(vi a) { return {_mm256_castsi256_ps(a.v)}; }
inline vi to_int(vf a) { return {_mm256_cvtps_epi32(a.v)}; }
inline vf to_float(vi a) { return {_mm256_cvtepi32_ps(a.v)}; }
inline vi operator+(vi a, vi b) { return {_mm256_add_epi32(a.v, b.v)}; }
inline vi operator-(vi a, vi b) { return {_mm256_sub_epi32(a.v, b.v)}; }
inline vi operator&(vi a, vi b) { return {_mm256_and_si256(a.v, b.v)}; }
inline vi operator|(vi a, vi b) { return {_mm256_or_si256(a.v, b.v)}; }
inline vi operator^(vi a, vi b) { return {_mm256_xor_si256(a.v, b.v)}; }
template <int N> inline vi shift_left(vi a) { return {_mm256_slli_epi32(a.v, N)}; }
template <int N> inline vi shift_right(vi a) { return {_mm256_srli_epi32(a.v, N)}; }

#else  // NEON (aarch64) and every other machine: four lanes in the compiler's vector extension, which it maps to the
       // machine's vectors where there are any. One text serves both, and the scalar set of x86-64 tests it.

constexpr int64_t width = 4;
typedef float f32x4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t i32x4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef uint32_t u32x4 __attribute__((vector_size(16), aligned(4), may_alias));
struct vf {
  f32x4 v;
};
struct vi {
  i32x4 v;
};
struct vm {
  i32x4 v;
};  // all bits of a lane set, or none

template <class F> inline vf each(F f) {
  vf r;
  for (int i = 0; i < 4; i++) r.v[i] = f(i);
  return r;
}
inline vm first(int64_t n) {
  int32_t m = static_cast<int32_t>(n > 4 ? 4 : n);
  return {i32x4{0, 1, 2, 3} < i32x4{m, m, m, m}};
}
inline vf set(float x) { return {f32x4{x, x, x, x}}; }
inline vf zero() { return set(0); }
inline vf load(const float* p) { return {*reinterpret_cast<const f32x4*>(p)}; }
inline vf load(const float* p, int64_t n) {
  return each([&](int i) { return i < n ? p[i] : 0.0f; });
}
inline void store(float* p, vf x) { *reinterpret_cast<f32x4*>(p) = x.v; }
inline void stream(float* p, vf x) { store(p, x); }
inline void end_stream() {}
inline void store(float* p, vf x, int64_t n) {
  for (int i = 0; i < n && i < 4; i++) p[i] = x.v[i];
}
inline vf load_half(const uint16_t* p) {
  return each([&](int i) { return half_to_float(p[i]); });
}
inline void store_half(uint16_t* p, vf x) {
  for (int i = 0; i < 4; i++) p[i] = float_to_half(x.v[i]);
}
inline vf load_bf16(const uint16_t* p) {
  return each([&](int i) { return bf16_to_float(p[i]); });
}
inline void store_bf16(uint16_t* p, vf x) {
  for (int i = 0; i < 4; i++) p[i] = float_to_bf16(x.v[i]);
}
inline vf operator+(vf a, vf b) { return {a.v + b.v}; }
inline vf operator-(vf a, vf b) { return {a.v - b.v}; }
inline vf operator*(vf a, vf b) { return {a.v * b.v}; }
inline vf operator/(vf a, vf b) { return {a.v / b.v}; }
#if defined(__ARM_NEON)
inline vf fma(vf a, vf b, vf c) { return {(f32x4)vfmaq_f32((float32x4_t)c.v, (float32x4_t)a.v, (float32x4_t)b.v)}; }
inline vf fnma(vf a, vf b, vf c) { return {(f32x4)vfmsq_f32((float32x4_t)c.v, (float32x4_t)a.v, (float32x4_t)b.v)}; }
inline vf round(vf a) { return {(f32x4)vrndnq_f32((float32x4_t)a.v)}; }
inline vf sqrt(vf a) { return {(f32x4)vsqrtq_f32((float32x4_t)a.v)}; }
#else
inline vf fma(vf a, vf b, vf c) { return {a.v * b.v + c.v}; }
inline vf fnma(vf a, vf b, vf c) { return {c.v - a.v * b.v}; }
inline vf round(vf a) {
  return each([&](int i) { return std::nearbyintf(a.v[i]); });
}
inline vf sqrt(vf a) {
  return each([&](int i) { return std::sqrt(a.v[i]); });
}
#endif
inline vf floor(vf a) {
  return each([&](int i) { return std::floor(a.v[i]); });
}
inline vf ceil(vf a) {
  return each([&](int i) { return std::ceil(a.v[i]); });
}
inline vm operator<(vf a, vf b) { return {a.v < b.v}; }
inline vm operator<=(vf a, vf b) { return {a.v <= b.v}; }
inline vm operator==(vf a, vf b) { return {a.v == b.v}; }
inline vm is_nan(vf a) { return {a.v != a.v}; }
inline vf select(vm m, vf a, vf b) { return {(f32x4)(((i32x4)a.v & m.v) | ((i32x4)b.v & ~m.v))}; }
inline vf min(vf a, vf b) { return select({a.v < b.v}, a, b); }
inline vf max(vf a, vf b) { return select({a.v > b.v}, a, b); }
inline vm operator!(vm m) { return {~m.v}; }
inline bool any(vm m) { return (m.v[0] | m.v[1] | m.v[2] | m.v[3]) != 0; }
inline void store_bool(uint8_t* p, vm m) {
  for (int i = 0; i < 4; i++) p[i] = m.v[i] & 1;
}
inline float sum(vf a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }
inline float max_of(vf a) {
  float x = a.v[0] > a.v[2] ? a.v[0] : a.v[2], y = a.v[1] > a.v[3] ? a.v[1] : a.v[3];
  return x > y ? x : y;
}
inline float min_of(vf a) {
  float x = a.v[0] < a.v[2] ? a.v[0] : a.v[2], y = a.v[1] < a.v[3] ? a.v[1] : a.v[3];
  return x < y ? x : y;
}
inline vi set_int(int32_t x) { return {i32x4{x, x, x, x}}; }
inline vi bits(vf a) { return {(i32x4)a.v}; }
inline vf as_float(vi a) { return {(f32x4)a.v}; }
inline vi to_int(vf a) {
  vf r = round(a);
  vi out;
  for (int i = 0; i < 4; i++)
    out.v[i] = r.v[i] >= -2147483648.0f && r.v[i] < 2147483648.0f ? static_cast<int32_t>(r.v[i]) : INT32_MIN;
  return out;
}
inline vf to_float(vi a) {
  return each([&](int i) { return static_cast<float>(a.v[i]); });
}
inline vi operator+(vi a, vi b) { return {(i32x4)((u32x4)a.v + (u32x4)b.v)}; }
inline vi operator-(vi a, vi b) { return {(i32x4)((u32x4)a.v - (u32x4)b.v)}; }
inline vi operator&(vi a, vi b) { return {a.v & b.v}; }
inline vi operator|(vi a, vi b) { return {a.v | b.v}; }
inline vi operator^(vi a, vi b) { return {a.v ^ b.v}; }
template <int N> inline vi shift_left(vi a) { return {(i32x4)((u32x4)a.v << N)}; }
template <int N> inline vi shift_right(vi a) { return {(i32x4)((u32x4)a.v >> N)}; }

#endif

inline vf abs(vf a) { return as_float(bits(a) & set_int(0x7fffffff)); }
inline vf negate(vf a) { return as_float(bits(a) ^ set_int(INT32_MIN)); }

// ------------------------------------------------------------------ threads

// Runs body(task) for every task in [0, tasks) on the thread pool.
template <class Body> inline void parallel(int64_t tasks, Body body) {
  if (tasks == 1) return body(0);
  parallel_run(
      tasks, [](void* context, int64_t task) { (*static_cast<Body*>(context))(task); }, &body);
}

// Runs body(begin, end) over [0, n) in pieces of `grain` (the last may be shorter). The pieces depend on n alone.
template <class Body> inline void parallel_ranges(int64_t n, int64_t grain, Body body) {
  if (n <= grain) {
    if (n > 0) body(0, n);
    return;
  }
  parallel((n + grain - 1) / grain, [&](int64_t i) {
    int64_t begin = i * grain;
    body(begin, begin + grain < n ? begin + grain : n);
  });
}

// Runs body(array, begin, end, piece) over several arrays, array i of length(i), in one parallel region: each is cut into
// pieces of `grain`, which are numbered through. Where most are shorter, a task takes several. Uses scratch slot 0.
template <class Length, class Body> inline void parallel_arrays(int64_t count, int64_t grain, Length length, Body body) {
  auto* first = static_cast<int64_t*>(thread_scratch(0, static_cast<size_t>(count + 1) * sizeof(int64_t)));
  int64_t total = 0;
  first[0] = 0;  // first[i]: the piece that array i begins with
  for (int64_t i = 0; i < count; i++) {
    first[i + 1] = first[i] + (length(i) + grain - 1) / grain;
    total += length(i);
  }
  if (total == 0) return;
  int64_t pieces_of_task = (first[count] * grain + total - 1) / total;
  parallel_ranges(first[count], pieces_of_task, [=](int64_t piece, int64_t last) {
    int64_t i = 0;  // the last array that begins at or before `piece`
    for (int64_t end = count; end - i > 1;) {
      int64_t middle = i + (end - i) / 2;
      (first[middle] <= piece ? i : end) = middle;
    }
    for (; piece < last; piece++) {
      while (first[i + 1] <= piece) i++;
      int64_t begin = (piece - first[i]) * grain, n = length(i);
      body(i, begin, begin + grain < n ? begin + grain : n, piece);
    }
  });
}

}  // namespace tsgpt::TSGPT_NS
