// How each dtype lies in memory (T) and in registers (V), so that a kernel is one template over all of them.
//
// float32, float16 and bfloat16 are computed in float32 vectors, `step` numbers at a time. The others are computed one
// by one and left to the compiler's vectorizer. `Integer` gives the integers the operators of vf, with arithmetic that
// wraps and a division that never traps; the functions below it give double the names that simd.h gives vf.
#pragma once

#include <type_traits>

#include "../kernels.h"
#include "simd.h"

namespace tsgpt::TSGPT_NS {

inline int64_t size_of(DType type) {
  switch (type) {
    case DType::float64: return 8;
    case DType::float32:
    case DType::int32: return 4;
    case DType::float16:
    case DType::bfloat16: return 2;
    default: return 1;
  }
}

inline const char* at(const void* p, int64_t bytes) { return static_cast<const char*>(p) + bytes; }
inline char* at(void* p, int64_t bytes) { return static_cast<char*>(p) + bytes; }

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t greater(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// ------------------------------------------------------------------ scalars with the vocabulary of vf

template <class T> struct Integer {
  T v;
  explicit operator T() const { return v; }
};
template <class T> inline Integer<T> wrapped(int64_t x) { return {static_cast<T>(x)}; }
template <class T> inline Integer<T> operator+(Integer<T> a, Integer<T> b) { return wrapped<T>(int64_t{a.v} + b.v); }
template <class T> inline Integer<T> operator-(Integer<T> a, Integer<T> b) { return wrapped<T>(int64_t{a.v} - b.v); }
template <class T> inline Integer<T> operator*(Integer<T> a, Integer<T> b) { return wrapped<T>(int64_t{a.v} * b.v); }
template <class T> inline Integer<T> operator/(Integer<T> a, Integer<T> b) { return wrapped<T>(b.v ? int64_t{a.v} / b.v : 0); }
template <class T> inline bool operator<(Integer<T> a, Integer<T> b) { return a.v < b.v; }
template <class T> inline bool operator<=(Integer<T> a, Integer<T> b) { return a.v <= b.v; }
template <class T> inline bool operator==(Integer<T> a, Integer<T> b) { return a.v == b.v; }
template <class T> inline Integer<T> select(bool m, Integer<T> a, Integer<T> b) { return m ? a : b; }
template <class T> inline Integer<T> min(Integer<T> a, Integer<T> b) { return a.v < b.v ? a : b; }
template <class T> inline Integer<T> max(Integer<T> a, Integer<T> b) { return a.v > b.v ? a : b; }
template <class T> inline Integer<T> abs(Integer<T> a) { return wrapped<T>(a.v < 0 ? -int64_t{a.v} : int64_t{a.v}); }
template <class T> inline Integer<T> floor(Integer<T> a) { return a; }
template <class T> inline Integer<T> ceil(Integer<T> a) { return a; }
template <class T> inline Integer<T> round(Integer<T> a) { return a; }
template <class T> inline bool is_nan(Integer<T>) { return false; }
template <class T> inline Integer<T> fma(Integer<T> a, Integer<T> b, Integer<T> c) { return a * b + c; }

inline double select(bool m, double a, double b) { return m ? a : b; }
inline double min(double a, double b) { return a < b ? a : b; }
inline double max(double a, double b) { return a > b ? a : b; }
inline double fma(double a, double b, double c) { return a * b + c; }
inline double abs(double a) { return __builtin_fabs(a); }
inline double sqrt(double a) { return __builtin_sqrt(a); }
inline double floor(double a) { return __builtin_floor(a); }
inline double ceil(double a) { return __builtin_ceil(a); }
inline double round(double a) { return __builtin_nearbyint(a); }
inline double exp(double x) { return ::exp(x); }
inline double expm1(double x) { return ::expm1(x); }
inline double log(double x) { return ::log(x); }
inline double log1p(double x) { return ::log1p(x); }
inline double sin(double x) { return ::sin(x); }
inline double cos(double x) { return ::cos(x); }
inline double tanh(double x) { return ::tanh(x); }
inline double erf(double x) { return ::erf(x); }
inline double sigmoid(double x) { return 1 / (1 + ::exp(-x)); }
inline bool is_nan(double a) { return a != a; }
inline void store_bool(uint8_t* p, bool m) { *p = m; }

// A real number as an integer: truncated, the nearest end of the range outside it, 0 for NaN.
template <class T, class S> inline T to_integer(S x) {
  constexpr S least = static_cast<S>(std::is_same_v<T, int32_t> ? -2147483648.0 : 0.0);
  constexpr S beyond = static_cast<S>(std::is_same_v<T, int32_t> ? 2147483648.0 : 256.0);
  constexpr T most = std::is_same_v<T, int32_t> ? static_cast<T>(INT32_MAX) : static_cast<T>(255);
  return x >= beyond ? most : x > least ? static_cast<T>(x) : x <= least ? static_cast<T>(least) : T{0};
}

// ------------------------------------------------------------------ loops over float32 vectors

// The length of a whole vector, known to the compiler: load and store with it need no mask.
struct Full {};
inline vf load(const float* p, Full) { return load(p); }
inline void store(float* p, vf x, Full) { store(p, x); }
inline vf keep(vf x, Full) { return x; }
inline vf keep(vf x, int64_t n) { return select(first(n), x, zero()); }  // zero from lane n on

// Asks for the cache line at p, which may be beyond the end of an array. A loop over arrays that no near cache holds asks for
// lines, also of its result, `ahead` bytes before it gets there: two cores of a Granite Rapids then take 10 to 12 % less time
// for GELU and SiLU of 3 million numbers, and a quarter less for converting them.
inline void ask(const void* p) { __builtin_prefetch(p); }
constexpr int64_t ahead = 1024;

// Calls body(i, part) for the vectors of [0, n): part is Full, or at the end the number of items that remain.
template <class Body> inline void for_vectors(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + width <= n; i += width) body(i, Full{});
  if (i < n) body(i, n - i);
}

// ------------------------------------------------------------------ memory formats

template <DType> struct Format;

template <> struct Format<DType::float32> {
  using T = float;
  using V = vf;
  static constexpr int64_t step = width;
  static V load(const T* p) { return tsgpt::TSGPT_NS::load(p); }
  static V load(const T* p, int64_t n) { return tsgpt::TSGPT_NS::load(p, n); }
  static V spread(T x) { return set(x); }
  static void store(T* p, V x) { tsgpt::TSGPT_NS::store(p, x); }
  static void store(T* p, V x, int64_t n) { tsgpt::TSGPT_NS::store(p, x, n); }
};

// The two half types differ in their conversions only. Parts of a vector pass through a full one on the stack.
template <vf (*load_all)(const uint16_t*), void (*store_all)(uint16_t*, vf)> struct HalfFormat {
  using T = uint16_t;
  using V = vf;
  static constexpr int64_t step = width;
  static V load(const T* p) { return load_all(p); }
  static V load(const T* p, int64_t n) {
    T all[width] = {};
    for (int64_t i = 0; i < n; i++) all[i] = p[i];
    return load_all(all);
  }
  static V spread(T x) {
    T all[width];
    for (T& lane : all) lane = x;
    return load_all(all);
  }
  static void store(T* p, V x) { store_all(p, x); }
  static void store(T* p, V x, int64_t n) {
    T all[width];
    store_all(all, x);
    for (int64_t i = 0; i < n; i++) p[i] = all[i];
  }
};
template <> struct Format<DType::float16> : HalfFormat<load_half, store_half> {};
template <> struct Format<DType::bfloat16> : HalfFormat<load_bf16, store_bf16> {};

template <class Type, class Register> struct ScalarFormat {
  using T = Type;
  using V = Register;
  static constexpr int64_t step = 1;
  static V load(const T* p) { return {*p}; }
  static V load(const T* p, int64_t n) { return {n > 0 ? *p : T{0}}; }
  static V spread(T x) { return {x}; }
  static void store(T* p, V x) { *p = static_cast<T>(x); }
  static void store(T* p, V x, int64_t n) {
    if (n > 0) *p = static_cast<T>(x);
  }
};
template <> struct Format<DType::float64> : ScalarFormat<double, double> {};
template <> struct Format<DType::int32> : ScalarFormat<int32_t, Integer<int32_t>> {};
template <> struct Format<DType::uint8> : ScalarFormat<uint8_t, Integer<uint8_t>> {};
template <> struct Format<DType::boolean> : ScalarFormat<uint8_t, Integer<uint8_t>> {};

// A constant in the register type. Integers wrap (callers pass whole numbers only).
template <class V> inline V constant(double x) {
  if constexpr (std::is_same_v<V, vf>) return set(static_cast<float>(x));
  else if constexpr (std::is_same_v<V, double>) return x;
  else return {static_cast<decltype(V::v)>(static_cast<int64_t>(x))};
}

template <class V> constexpr bool is_real = std::is_same_v<V, vf> || std::is_same_v<V, double>;

constexpr int dtype_count = static_cast<int>(DType::boolean) + 1;

}  // namespace tsgpt::TSGPT_NS
